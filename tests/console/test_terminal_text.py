"""Text made harmless for a terminal."""

import json

import pytest

from charrnn.console.terminal_text import TerminalText, escape, escape_json

PAIRS = [
    ("plain, é 日😀 text\n\t", "plain, é 日😀 text\n\t"),
    ("\x1b]0;pwn\x07", r"\x1b]0;pwn\x07"),
    ("\x1b[2J", r"\x1b[2J"),
    ("\x9b31m", r"\x9b31m"),
    ("\x85", r"\x85"),
    ("\x00\x08\x0b\x0c\x7f", r"\x00\x08\x0b\x0c\x7f"),
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
    """SE-01, SE-03."""
    assert escape(text) == shown


@pytest.mark.parametrize(("text", "shown"), [("\udcff\udc9b", r"\xff\x9b"), ("\ud800", "<U+D800>")], ids=ascii)
def test_what_no_utf8_holds(text: str, shown: str) -> None:
    """SE-03: a file's name may be any bytes."""
    assert escape(text) == shown


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


def test_only_what_may_be_half_of_something_is_held_back() -> None:
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
