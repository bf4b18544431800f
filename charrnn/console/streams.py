"""The standard streams: results go to stdout as they are; messages go to stderr with control characters escaped.

No other room uses file descriptors of streams, terminals or colour.
"""

import contextlib
import json
import os
import stat
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from charrnn.console.terminal_text import TerminalText, colored, escape_json, escape_line
from charrnn.errors import OutputError
from charrnn.launcher import launched_rank

FLUSH_INTERVAL = 0.02
"""Seconds between flushes of stdout."""


_LONGEST_ERROR = 2000  # characters


MAX_COLUMNS = 500
"""Of a terminal that are made use of."""


class Console:
    """The program's stdout and stderr. Of several processes that were started together the first alone has them: from
    the others comes nothing but the traceback of a bug.

    Args:
        quiet: print errors only.
        verbose: print more detail.
        color: False: no colour. None: no colour if NO_COLOR is set or TERM is `dumb`.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, color: bool | None = None) -> None:
        self.is_silent = launched_rank() > 0
        self.quiet, self.verbose = quiet or self.is_silent, verbose and not self.is_silent
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or color is False
        self.color = not plain
        self._flushed = 0.0
        self.print_above: Callable[[str], None] | None = None  # set by a live display: prints a line above it

    @property
    def interactive(self) -> bool:
        """Whether stderr is a terminal on which a live display can be drawn."""
        return _is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb" and not self.quiet

    @property
    def stdout_is_tty(self) -> bool:
        """Whether stdout is a terminal."""
        return _is_terminal(sys.stdout)

    @property
    def size(self) -> os.terminal_size:
        """Columns and lines of the terminal: $COLUMNS and $LINES, else its own, else 80 and 24; 0 is none of these."""
        columns, lines = (_positive(os.environ.get(name, "")) for name in ("COLUMNS", "LINES"))
        for stream in (sys.stderr, sys.stdout):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or no terminal
                own = os.get_terminal_size(stream.fileno())
                columns, lines = columns or own.columns, lines or own.lines
        return os.terminal_size((min(columns or 80, MAX_COLUMNS), lines or 24))

    @property
    def stdin_is_tty(self) -> bool:
        """Whether stdin is a terminal."""
        return _is_terminal(sys.stdin)

    @property
    def stdin_is_piped(self) -> bool:
        """Whether stdin is a pipe or a file, so that a program's output or a text may be in it."""
        try:
            mode = os.fstat(sys.stdin.fileno()).st_mode
        except (AttributeError, OSError, ValueError):  # closed
            return False
        return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)

    def write(self, data: bytes, *, flush: bool = False) -> None:
        """Write data to stdout as it is; flush it if asked to, or if the last flush was FLUSH_INTERVAL ago.

        Raises:
            OutputError: stdout is closed or cannot be written.
            BrokenPipeError: the reader has closed the pipe.
        """
        if self.is_silent:
            return
        if sys.stdout is None or sys.stdout.closed:
            raise OutputError("cannot write to stdout: it is closed")
        try:
            left = memoryview(data)
            while left:  # one that is not buffered, as with PYTHONUNBUFFERED, may write less when a signal comes
                left = left[sys.stdout.buffer.write(left) :]
            now = time.monotonic()
            if flush or now - self._flushed >= FLUSH_INTERVAL:
                sys.stdout.buffer.flush()
                self._flushed = now
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write to stdout: {error.strerror}") from None

    def write_json(self, value: Mapping[str, Any], *, flush: bool = False) -> None:
        """Write a JSON object to stdout, on a line of its own. Raise as `write`."""
        text = escape_json(json.dumps(value, ensure_ascii=False, allow_nan=False))
        self.write(text.encode("utf-8") + b"\n", flush=flush)

    def write_text(self, text: str) -> None:
        """Write text to stdout as UTF-8 whatever the locale, the bytes of names as they are; on a terminal control
        characters are escaped. Raise as `write`."""
        data, terminal = text.encode("utf-8", "surrogateescape"), self.terminal_text()
        self.write(terminal.feed(data, final=True) if terminal else data)

    def terminal_text(self, *, raw: bool = False) -> TerminalText | None:
        """Return an escaper of control characters if stdout is a terminal; None if it is not, or with `raw`."""
        return None if raw or not self.stdout_is_tty else TerminalText()

    def flush(self) -> None:
        """Flush stdout. Raise as `write`."""
        if sys.stdout is not None and not sys.stdout.closed:
            self.write(b"", flush=True)

    def info(self, message: str) -> None:
        """Print a message to stderr, unless `quiet`."""
        if not self.quiet:
            self._write_stderr(message)

    def info_colored(self, spans: Iterable[tuple[str, str]]) -> None:
        """Print a message to stderr, unless `quiet`; in colours if stderr is a terminal.

        Args:
            spans: parts of the message, and the colour of each as `colored` takes it.
        """
        plain = not (self.color and _is_terminal(sys.stderr))
        if not self.quiet:
            self._write_escaped("".join(colored(escape_line(text), "" if plain else sgr) for text, sgr in spans))

    def debug(self, message: str) -> None:
        """Print a message to stderr if `verbose`."""
        if self.verbose:
            self._write_stderr(message)

    def warn(self, message: str) -> None:
        """Print a warning to stderr, unless `quiet`."""
        self.info(f"Warning: {message}")

    def error(self, message: str) -> None:
        """Print an error to stderr; the middle of one that quotes a long value is left out."""
        if self.is_silent:
            return
        if len(message) > _LONGEST_ERROR:
            message = f"{message[: _LONGEST_ERROR // 2]} ... {message[-_LONGEST_ERROR // 2 :]}"
        self._write_stderr(f"Error: {message}")

    def print_traceback(self) -> None:
        """Print the traceback of the exception that is being handled to stderr."""
        for line in traceback.format_exc().rstrip("\n").split("\n"):
            self._write_stderr(line)

    def _write_stderr(self, line: str) -> None:
        self._write_escaped(escape_line(line))

    def _write_escaped(self, line: str) -> None:
        if self.print_above is not None:
            self.print_above(line)
            return
        try:
            sys.stderr.buffer.write(line.encode("utf-8", "backslashreplace") + b"\n")
            sys.stderr.buffer.flush()
        except (OSError, ValueError, AttributeError):
            discard(sys.stderr)
        except RuntimeError:
            pass  # a signal handler's message while another one is being written


def discard(stream: Any) -> None:
    """Point a stream whose reader has gone at the null device, so that flushing it at exit cannot fail."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _positive(text: str) -> int:
    """Return a number above 0; 0 where the text is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # closed
        return False
