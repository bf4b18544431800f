"""Text for a terminal: control characters are escaped."""

import itertools
import json
import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.console.terminal_text import TerminalText, colored, escape, escape_json, escape_line

PAIRS = [
    ("plain, é 日😀 text\n\t", "plain, é 日😀 text\n\t"),
    ("\x1b]0;pwn\x07", r"\x1b]0;pwn\x07"),
    ("\x1b[2J", r"\x1b[2J"),
    ("\x9b31m", r"\x9b31m"),
    ("\x85", r"\x85"),
    ("\x00\x08\x0b\x0c\x0e\x7f\x80", r"\x00\x08\x0b\x0c\x0e\x7f\x80"),
    ("a\tb\nc\r\nd", "a\tb\nc\r\nd"),
    ("\r\r\n", "\\x0d\r\n"),
    ("\u202eabc\u2066", "<U+202E>abc<U+2066>"),
    ("\u200f\u061c\u2028", "<U+200F><U+061C><U+2028>"),
    ("a\rb", r"a\x0db"),
    ("a\r\nb", "a\r\nb"),
    ("\r\r\n\r", "\\x0d\r\n\\x0d"),
    ("\u202e\u2066\u2069\u200e\u200f\u061c", "<U+202E><U+2066><U+2069><U+200E><U+200F><U+061C>"),
    ("\u2028\u2029", "<U+2028><U+2029>"),
    ("[red]x[/]", "[red]x[/]"),
    ("\\x1b", "\\x1b"),
]
BYTES = [
    (b"\xff", "\ufffd"),
    (b"a\xe2\x80", "a\ufffd"),
    (b"\x9b31m", "\ufffd31m"),
    (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
    ("é日😀".encode(), "é日😀"),
]


@pytest.mark.parametrize(("text", "shown"), PAIRS, ids=lambda each: ascii(each))
def test_escape(text: str, shown: str) -> None:
    """SE-01, SE-03: control characters, C1 and bidirectional controls; markup is not read."""
    assert escape(text) == shown
    assert escape(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"), [("\udcff\udce9\udc9b", r"\xff\xe9\x9b"), ("\ud800", "<U+D800>")], ids=ascii
)
def test_lone_surrogates(text: str, shown: str) -> None:
    """SE-03: the name of a file may be any bytes."""
    assert escape(text) == shown


def test_a_colour_is_all_that_gets_through() -> None:
    """SE-01."""
    assert colored("a\x1b[0m", "4;31") == "\x1b[4;31ma\\x1b[0m\x1b[0m"
    assert colored("a\x1b[0m", "") == r"a\x1b[0m"


@pytest.mark.parametrize(
    ("data", "shown"), [*((text.encode(), shown) for text, shown in PAIRS), *BYTES], ids=lambda each: ascii(each)
)
def test_pieces_come_to_the_same_however_they_are_cut(data: bytes, shown: str) -> None:
    """SE-01, IN-15."""
    for size in range(1, len(data) + 1):
        terminal = TerminalText()
        pieces = [terminal.feed(data[at : at + size]) for at in range(0, len(data), size)]
        found = b"".join(pieces) + terminal.feed(b"", final=True)
        assert found.decode() == shown
        for piece in pieces:
            piece.decode()


def test_only_an_incomplete_character_or_line_end_is_held_back() -> None:
    terminal = TerminalText()
    assert terminal.feed(b"a\r") == b"a"
    assert terminal.feed(b"b\xc3") == b"\\x0db"
    assert terminal.feed(b"\xa9\r") == "é".encode()
    assert terminal.feed(b"\n") == b"\r\n"
    assert terminal.feed(b"\r", final=True) == b"\\x0d"


@pytest.mark.parametrize("text", [*(text for text, _ in PAIRS), "\ud800 \udcff", 'quo"te\\'], ids=ascii)
def test_json_means_the_same(text: str) -> None:
    """SE-01, CL-19."""
    shown = escape_json(json.dumps({text: [text]}, ensure_ascii=False))
    assert json.loads(shown.encode()) == {text: [text]}
    assert escape(shown) == shown
    assert "\n" not in shown


def safe(text: str, passing: str) -> bool:
    """Return whether a text has no control or bidirectional characters but those of `passing`, by Unicode's tables."""
    bidirectional = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return all(
        character in passing
        or (
            unicodedata.category(character) not in ("Cc", "Cs")
            and unicodedata.bidirectional(character) not in bidirectional
        )
        for character in text
    )


ANYTHING = st.text(st.characters(exclude_categories=())) | st.binary().map(os.fsdecode)


@given(ANYTHING)
def test_nothing_unsafe_is_left(text: str) -> None:
    """SE-01, SE-03."""
    assert safe(escape(text).replace("\r\n", "\n"), "\n\t")
    assert safe(escape_line(text), "\t")
    escape(text).encode()


@given(ANYTHING)
def test_escaped_json_means_the_same(text: str) -> None:
    """SE-03, CL-19."""
    line = escape_json(json.dumps({"text": text}, ensure_ascii=False))
    assert safe(line, "")
    assert json.loads(line.encode()) == {"text": text}


@given(st.binary(), st.lists(st.integers(0, 40)))
def test_pieces_for_a_terminal(data: bytes, cuts: list[int]) -> None:
    """IN-15, CL-27: however the bytes are cut, a terminal gets what it would get of the whole, in valid UTF-8."""
    whole = escape(data.decode("utf-8", "replace"))
    terminal = TerminalText()
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    pieces = [terminal.feed(data[a:b]) for a, b in itertools.pairwise(places)]
    for piece in pieces:
        piece.decode()
    assert b"".join([*pieces, terminal.feed(b"", final=True)]).decode() == whole
