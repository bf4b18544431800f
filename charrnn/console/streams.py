"""The streams: what is data goes to stdout, untouched; messages go to stderr, made harmless.

Nothing else in the program knows of file descriptors, terminals or colour.
"""

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from charrnn.console.terminal_text import TerminalText, escape_json, escape_line
from charrnn.errors import OutputError

FLUSH = 0.02
"""Seconds between flushes of a stream of text."""


class Console:
    """The program's stdout and stderr.

    Args:
        quiet: nothing but errors on stderr. verbose: details too.
        color: False turns colour off; None leaves it to the terminal, NO_COLOR and TERM.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, color: bool | None = None) -> None:
        self.quiet, self.verbose = quiet, verbose
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or color is False
        self.color = not plain
        self._flushed = 0.0
        self.above: Callable[[str], None] | None = None  # prints a line above a live display

    @property
    def interactive(self) -> bool:
        """Whether stderr is a terminal that a display can be drawn on."""
        return _is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb" and not self.quiet

    @property
    def stdout_is_tty(self) -> bool:
        """Whether stdout is read by a person."""
        return _is_terminal(sys.stdout)

    @property
    def stdin_is_tty(self) -> bool:
        """Whether stdin is a person's keyboard."""
        return _is_terminal(sys.stdin)

    def write(self, data: bytes, *, flush: bool = False) -> None:
        """Put data on stdout, as it is.

        Raises:
            OutputError: it cannot be written. BrokenPipeError: the reader has gone.
        """
        if sys.stdout is None or sys.stdout.closed:
            raise OutputError("cannot write to stdout: it is closed")
        try:
            sys.stdout.buffer.write(data)
            now = time.monotonic()
            if flush or now - self._flushed >= FLUSH:
                sys.stdout.buffer.flush()
                self._flushed = now
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write to stdout: {error.strerror}") from None

    def write_json(self, value: Mapping[str, Any], *, flush: bool = False) -> None:
        """Put a JSON object on stdout, on a line of its own."""
        text = escape_json(json.dumps(value, ensure_ascii=False, allow_nan=False))
        self.write(text.encode("utf-8") + b"\n", flush=flush)

    def text(self, *, raw: bool = False) -> TerminalText | None:
        """What makes text harmless for the terminal that stdout is; None where it goes out as it is."""
        return None if raw or not self.stdout_is_tty else TerminalText()

    def flush(self) -> None:
        """Raises as `write`."""
        if sys.stdout is not None and not sys.stdout.closed:
            self.write(b"", flush=True)

    def info(self, message: str) -> None:
        """A line for the user, unless they want quiet."""
        if not self.quiet:
            self._to_stderr(message)

    def debug(self, message: str) -> None:
        """A line for users who want to know more."""
        if self.verbose:
            self._to_stderr(message)

    def warn(self, message: str) -> None:
        """A line about something that was got over."""
        self.info(f"Warning: {message}")

    def error(self, message: str) -> None:
        """The one line about what went wrong."""
        self._to_stderr(f"Error: {message}")

    def trace(self) -> None:
        """The traceback of the exception being handled."""
        for line in traceback.format_exc().rstrip("\n").split("\n"):
            self._to_stderr(line)

    def _to_stderr(self, line: str) -> None:
        line = escape_line(line)
        if self.above is not None:
            self.above(line)
            return
        try:
            sys.stderr.buffer.write(line.encode("utf-8", "backslashreplace") + b"\n")
            sys.stderr.buffer.flush()
        except (OSError, ValueError, AttributeError):
            drop(sys.stderr)
        except RuntimeError:
            pass  # a signal's line in the middle of another one


def drop(stream: Any) -> None:
    """Nobody is at the other end: let nothing be written there any more, not even when Python ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # closed
        return False
