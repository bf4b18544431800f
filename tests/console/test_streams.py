"""Streams: results are written as they are, messages are escaped, and a reader that has gone is noticed."""

import io
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charrnn.console.progress import progress_bar
from charrnn.console.streams import Console, discard
from charrnn.console.tables import print_table
from charrnn.errors import OutputError

Capture = pytest.CaptureFixture[bytes]

# stdout


class Broken(io.BytesIO):
    """A stream whose writes fail."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def write(self, data: Any) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error


class Stream:
    """A stand-in for `sys.stdout`."""

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


def test_a_stream_that_takes_less_than_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does that is not buffered, where a signal interrupts it."""

    class Slow(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data)[:3])

    slow = Slow()
    monkeypatch.setattr(sys, "stdout", Stream(slow))
    Console().write(b"0123456789")
    assert slow.getvalue() == b"0123456789"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_has_no_such_numbers(value: float) -> None:
    """CL-19."""
    with pytest.raises(ValueError, match="JSON"):
        Console().write_json({"x": value})


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(5, "Input/output error")])
def test_write_errors(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
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
    """CL-07: data is never lost silently; flushing nothing is not an error."""
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


def test_text_is_escaped_for_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """SE-01, SE-02: unless raw output is asked for."""
    for terminal, raw, escaped in ((False, False, False), (True, False, True), (True, True, False)):
        monkeypatch.setattr(sys, "stdout", Stream(io.BytesIO(), terminal))
        assert (Console().terminal_text(raw=raw) is not None) is escaped


# stderr

HOSTILE = "a\x1b[2J\u202e[red][/]\nError: b\r\n"
ESCAPED = b"a\\x1b[2J<U+202E>[red][/]\\nError: b\\x0d\\n\n"


@pytest.mark.parametrize(
    ("call", "prefix", "quiet", "normal"),
    [
        (Console.info, b"", False, True),
        (Console.warn, b"Warning: ", False, True),
        (Console.debug, b"", False, False),
        (Console.error, b"Error: ", True, True),
    ],
)
def test_messages(
    call: Callable[[Console, str], None], prefix: bytes, quiet: bool, normal: bool, capfdbinary: Capture
) -> None:
    """CL-23, SE-03: one line each, escaped, without reading markup; -q leaves errors alone."""
    for console, printed in (
        (Console(quiet=True), quiet),
        (Console(), normal),
        (Console(verbose=True), True),
    ):
        call(console, HOSTILE)
        assert capfdbinary.readouterr() == (b"", prefix + ESCAPED if printed else b"")
        above: list[str] = []
        console.print_above = above.append
        call(console, HOSTILE)
        assert above == ([(prefix + ESCAPED).decode().removesuffix("\n")] if printed else [])
        assert capfdbinary.readouterr() == (b"", b"")


@pytest.mark.parametrize(
    ("terminal", "options", "printed"),
    [
        (True, {}, b"a\\nb\x1b[4mc\\x1b[0m\x1b[0m\n"),
        (False, {}, b"a\\nbc\\x1b[0m\n"),
        (True, {"color": False}, b"a\\nbc\\x1b[0m\n"),
        (True, {"quiet": True}, b""),
    ],
)
def test_a_message_in_colours(
    terminal: bool, options: dict[str, bool], printed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CL-03, CL-23, SE-03: on a terminal; no sequences but the colours'."""
    err = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", Stream(err, terminal))
    monkeypatch.setenv("TERM", "xterm")
    Console(**options).info_colored([("a\nb", ""), ("c\x1b[0m", "4")])
    assert err.getvalue() == printed


def test_surrogates_in_messages(capfdbinary: Capture) -> None:
    """CL-20: a name that is not UTF-8."""
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
def test_messages_to_a_closed_stderr(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    Console().error("x")
    assert not Console().interactive


def test_a_traceback_is_escaped(capfdbinary: Capture) -> None:
    """CL-13, SE-03."""
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        Console().print_traceback()
    err = capfdbinary.readouterr().err
    assert err.startswith(b"Traceback (most recent call last):\n")
    assert b"ValueError: a\\x1b[2J<U+202E>[red][/]\n" in err


def test_a_discarded_stream_takes_anything() -> None:
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
def test_stdin_is_tty(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-17."""
    monkeypatch.setattr(sys, "stdin", Stream(io.BytesIO(), terminal))
    assert Console().stdin_is_tty is terminal
    monkeypatch.setattr(sys, "stdin", None)
    assert Console().stdin_is_tty is False


# Tables and bars


@pytest.mark.parametrize("terminal", [True, False])
def test_a_table(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """SE-03, CL-03: names with markup and escape sequences; colour on a terminal only."""
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


def test_no_bar_unless_on_a_terminal(capfdbinary: Capture) -> None:
    """CL-04."""
    with progress_bar(Console(), "scoring", 10) as advance:
        advance(5)
    assert capfdbinary.readouterr() == (b"", b"")


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It appears after a second, and is removed at the end."""

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
