"""Streams: data goes out untouched, what is told is made harmless, and a reader that has gone is noticed."""

import io
import itertools
import json
import math
import os
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.cli.eval_writers import show_scores
from charrnn.console.progress import progress_bar
from charrnn.console.streams import Console, discard
from charrnn.console.tables import print_table
from charrnn.console.terminal_text import TerminalText, escape, escape_json, escape_line
from charrnn.errors import OutputError
from charrnn.scoring.score import Score

Capture = pytest.CaptureFixture[bytes]

# Escaping

ESCAPED = [
    ("plain caf\u00e9 \u65e5\u672c\u8a9e \U0001f600", "plain caf\u00e9 \u65e5\u672c\u8a9e \U0001f600"),
    ("a\tb\nc\r\nd", "a\tb\nc\r\nd"),
    ("a\rb", "a\\x0db"),
    ("\r\r\n", "\\x0d\r\n"),
    ("\x1b]0;pwn\x07", "\\x1b]0;pwn\\x07"),
    ("\x1b[2J", "\\x1b[2J"),
    ("\x9b31m", "\\x9b31m"),
    ("\x00\x08\x0b\x0c\x0e\x7f\x80", "\\x00\\x08\\x0b\\x0c\\x0e\\x7f\\x80"),
    ("\x85", "\\x85"),
    ("\u202eabc\u2066", "<U+202E>abc<U+2066>"),
    ("\u200f\u061c\u2028", "<U+200F><U+061C><U+2028>"),
    ("\udcff\udce9", "\\xff\\xe9"),  # bytes that were no UTF-8, as the system hands them over
    ("\ud800", "<U+D800>"),
    ("[red]x[/]", "[red]x[/]"),
]


@pytest.mark.parametrize(("text", "shown"), ESCAPED, ids=ascii)
def test_escape(text: str, shown: str) -> None:
    """SE-01, SE-03."""
    assert escape(text) == shown
    assert escape(shown) == shown


def safe(text: str, passing: str) -> bool:
    """Whether nothing in the text could steer a terminal, by what Unicode says of its characters."""
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


# stdout


class Broken(io.BytesIO):
    """A stream that cannot be written to."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def write(self, data: Any) -> int:
        raise self.error

    flush = write  # type: ignore[assignment]


class Stream:
    """What `sys.stdout` may turn out to be."""

    def __init__(self, buffer: Any, terminal: bool = False, closed: bool = False) -> None:
        self.buffer, self.terminal, self.closed = buffer, terminal, closed

    def isatty(self) -> bool:
        return self.terminal


def test_data_goes_out_as_it_is(capfdbinary: Capture) -> None:
    data = bytes(range(256)) + b"\r\n\x1b[2J"
    console = Console(quiet=True)
    console.write(data)
    console.write_json({"b": "\u00e9", "a": [1.5, None]}, flush=True)
    console.write(b"more")
    console.flush()
    assert capfdbinary.readouterr() == (data + b'{"b": "\xc3\xa9", "a": [1.5, null]}\nmore', b"")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_has_no_such_numbers(value: float) -> None:
    """CL-19."""
    with pytest.raises(ValueError, match="JSON"):
        Console().write_json({"x": value})


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(5, "Input/output error")])
def test_what_cannot_be_written_is_told(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-07."""
    monkeypatch.setattr(sys, "stdout", Stream(Broken(error)))
    with pytest.raises(OutputError, match=f"^cannot write to stdout: {error.strerror}$"):
        Console().write(b"x", flush=True)
    with pytest.raises(OutputError, match=f"^cannot write to stdout: {error.strerror}$"):
        Console().flush()


def test_a_reader_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-06."""
    monkeypatch.setattr(sys, "stdout", Stream(Broken(BrokenPipeError())))
    with pytest.raises(BrokenPipeError):
        Console().write(b"x", flush=True)


@pytest.mark.parametrize("stream", [None, Stream(io.BytesIO(), closed=True)])
def test_closed_stdout(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-07: data is never dropped without a word, but flushing what nobody wrote is no fault."""
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(OutputError, match="closed"):
        Console().write(b"x")
    Console().flush()
    assert not Console().stdout_is_tty


def test_flushed_as_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-27: at the first write, then about every 20 ms, or when asked to."""
    now = [100.0]
    monkeypatch.setattr(
        sys, "stdout", Stream(io.BufferedWriter(io.FileIO(os.open("out", os.O_CREAT | os.O_RDWR), "w")))
    )
    monkeypatch.setattr("charrnn.console.streams.time.monotonic", lambda: now[0])
    console = Console()
    written = []
    for wait, flush in ((0, False), (0.01, False), (0.005, False), (0.01, False), (0.001, False), (0, True)):
        now[0] += wait
        console.write(b"x", flush=flush)
        written.append(Path("out").stat().st_size)
    assert written == [1, 1, 1, 4, 4, 6]
    sys.stdout.buffer.close()


def test_for_whom_text_is_made_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """SE-01, SE-02: for a terminal, unless raw output is asked for."""
    for terminal, raw, harmless in ((False, False, False), (True, False, True), (True, True, False)):
        monkeypatch.setattr(sys, "stdout", Stream(io.BytesIO(), terminal))
        assert (Console().terminal_text(raw=raw) is not None) is harmless


# stderr

HOSTILE = "a\x1b[2J\u202e[red][/]\nError: b\r\n"
HARMLESS = b"a\\x1b[2J<U+202E>[red][/]\\nError: b\\x0d\\n\n"


@pytest.mark.parametrize(
    ("call", "prefix", "quietly", "plainly"),
    [
        (Console.info, b"", False, True),
        (Console.warn, b"Warning: ", False, True),
        (Console.debug, b"", False, False),
        (Console.error, b"Error: ", True, True),
    ],
)
def test_what_is_told(
    call: Callable[[Console, str], None], prefix: bytes, quietly: bool, plainly: bool, capfdbinary: Capture
) -> None:
    """CL-23, SE-03: one line each, harmless, with no markup read into it; -q leaves the errors."""
    for console, told in (
        (Console(quiet=True), quietly),
        (Console(), plainly),
        (Console(verbose=True), True),
    ):
        call(console, HOSTILE)
        assert capfdbinary.readouterr() == (b"", prefix + HARMLESS if told else b"")
        above: list[str] = []
        console.print_above = above.append
        call(console, HOSTILE)
        assert above == ([(prefix + HARMLESS).decode().removesuffix("\n")] if told else [])
        assert capfdbinary.readouterr() == (b"", b"")


def test_surrogates_are_told(capfdbinary: Capture) -> None:
    """CL-20: a name that is no UTF-8."""
    Console().error(os.fsdecode(b"caf\xe9 \xed\xa0\x80"))
    assert capfdbinary.readouterr().err == b"Error: caf\\xe9 \\xed\\xa0\\x80\n"


@pytest.mark.parametrize(
    "stream",
    [
        None,
        Stream(Broken(OSError(5, "gone"))),
        Stream(Broken(ValueError("closed"))),
        Stream(Broken(RuntimeError("reentrant"))),
    ],
)
def test_nobody_left_to_be_told(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    Console().error("x")
    assert not Console().interactive


def test_a_traceback_is_harmless(capfdbinary: Capture) -> None:
    """CL-13, SE-03."""
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        Console().print_traceback()
    err = capfdbinary.readouterr().err
    assert err.startswith(b"Traceback (most recent call last):\n")
    assert b"ValueError: a\\x1b[2J<U+202E>[red][/]\n" in err


def test_a_dropped_stream_takes_anything() -> None:
    with open("out", "w+b", buffering=0) as stream:
        stream.write(b"before")
        discard(stream)
        stream.write(b"after")
    assert Path("out").read_bytes() == b"before"
    discard(None)
    discard(io.BytesIO())


@pytest.mark.parametrize(
    ("environ", "color", "expected"),
    [
        ({}, None, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, None, False),
        ({"NO_COLOR": ""}, None, True),
        ({"TERM": "dumb"}, None, False),
        ({"TERM": "xterm", "CI": "1"}, None, True),
    ],
)
def test_colour(environ: dict[str, str], color: bool | None, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-03."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert Console(color=color).color is expected


@pytest.mark.parametrize(
    ("terminal", "kind", "quiet", "expected"),
    [
        (True, "xterm", False, True),
        (True, "dumb", False, False),
        (True, "xterm", True, False),
        (False, "xterm", False, False),
    ],
)
def test_where_a_display_is_drawn(
    terminal: bool, kind: str, quiet: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CL-03, CL-04, CL-23."""
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setattr(sys, "stderr", Stream(io.BytesIO(), terminal))
    assert Console(quiet=quiet).interactive is expected


@pytest.mark.parametrize("terminal", [True, False])
def test_whether_somebody_types(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-17."""
    monkeypatch.setattr(sys, "stdin", Stream(io.BytesIO(), terminal))
    assert Console().stdin_is_tty is terminal
    monkeypatch.setattr(sys, "stdin", None)
    assert Console().stdin_is_tty is False


# Tables and bars


@pytest.mark.parametrize("terminal", [True, False])
def test_a_table(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """SE-03, CL-03: names with markup and escape sequences; colour only where it is wanted."""
    out = io.BytesIO()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "stdout", Stream(out, terminal))
    print_table(Console(color=False), ("name", "figure"), [("[red]x[/]", "1"), ("\x1b[2J", "2"), ("\udcff", "3")])
    page = out.getvalue().decode()
    assert "[red]x[/]" in page
    assert "\\x1b[2J" in page
    assert "\\xff" in page
    assert "\x1b[2J" not in page
    assert ("\x1b" in page) <= terminal


def test_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", Stream(out))
    score = Score(nats=2000 * math.log(2), tokens=1000, oov=3, chars=1000, bytes=1250, words=100)
    show_scores(Console(), [("a.txt", [score]), ("b.txt", [Score(nats=1.0, tokens=1)])])
    lines = out.getvalue().decode().split("\n")
    [row] = [line.split() for line in lines if "a.txt" in line]
    assert row == ["a.txt", "4.0000", "2.0000", "1.6000", "1,000", "3"]
    [row] = [line.split() for line in lines if "b.txt" in line]
    assert row[2:4] == ["-", "-"]


def test_no_bar_where_nobody_looks(capfdbinary: Capture) -> None:
    """CL-04."""
    with progress_bar(Console(), "scoring", 10) as advance:
        advance(5)
    assert capfdbinary.readouterr() == (b"", b"")


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It appears after a second, and leaves nothing behind."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    for total in (100, None):
        with progress_bar(Console(), "scoring", total) as advance:
            for _ in range(10):
                advance(10)
    assert "scoring" not in terminal.getvalue()
