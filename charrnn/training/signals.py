"""Being asked to stop: the first signal lets the step in hand finish and its work be saved, a
second one ends the program at once."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)


class Cancelled(Exception):  # noqa: N818 (it is no error)
    """Raised where work may be left undone, once a signal has asked for it."""


class SignalHandler:
    """Whether a signal has come.

    Args:
        announce: called at a first signal that is only noted. abandon: called right before a second one ends all.

    Attributes:
        signal: the first one, or None.
        patient: whether the first signal is only noted. Before there is anything to save it is
            raised on the spot instead.
    """

    def __init__(self, announce: Callable[[], None] = lambda: None, abandon: Callable[[], None] = lambda: None) -> None:
        self.signal: int | None = None
        self.deferred = False
        self.announce, self.abandon = announce, abandon

    def check(self) -> None:
        """Raises StopRequested if a signal has come."""
        if self.signal is not None:
            raise Cancelled

    @contextlib.contextmanager
    def listen(self) -> Iterator["SignalHandler"]:
        """Take the signals for as long as the block lasts, but for those that are ignored: `nohup` and
        shells' background jobs want it so."""
        heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._receive) for number in heard}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            self.abandon()
            os._exit(128 + number)
        self.signal = number
        if not self.deferred:
            raise Cancelled
        self.announce()
