"""Signals that end a training: a first one lets the step in hand finish and saves it, a second one ends all at once."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from charrnn.errors import Interrupted, LostProcessError

SIGNALS = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)


LAUNCHER_SECONDS = 2.0
"""Seconds in which what has ended one process sends the others a signal too."""


class Cancelled(Exception):  # noqa: N818 (it is no error)
    """Raised where work may be left undone, once a signal has come."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


def _raise_interrupt(number: int) -> None:
    raise KeyboardInterrupt


class SignalHandler:
    """Receives signals.

    Args:
        abandon: called with the number of a second signal; it must end the training at once.

    Attributes:
        announce: called at a first signal that is deferred.
        signal: the number of the first one, or None.
        deferred: whether a first signal is only noted. Until there is something to save it raises Cancelled instead.
    """

    def __init__(self, abandon: Callable[[int], None] = _raise_interrupt) -> None:
        self.signal: int | None = None
        self.deferred = False
        self.announce: Callable[[], None] = lambda: None
        self.abandon = abandon

    def check(self) -> None:
        """Raise Cancelled if a signal has come."""
        if self.signal is not None:
            raise Cancelled(self.signal)

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """Turn what comes of a signal in this block into Interrupted: before there is anything to save, or where
        another process has heard of it first."""
        try:
            yield
        except Cancelled as error:
            raise Interrupted("stopped before the first step; nothing to save", error.signal_number) from None
        except LostProcessError:
            end = time.monotonic() + LAUNCHER_SECONDS
            while self.signal is None and time.monotonic() < end:
                time.sleep(0.02)
            if self.signal is None:
                raise
            raise Interrupted("stopped, as another process has ended", self.signal) from None

    @contextlib.contextmanager
    def listen(self) -> Iterator["SignalHandler"]:
        """Receive signals for as long as the block lasts, but for those that are ignored, as with `nohup` and in the
        background jobs of a shell. Only the main thread can receive any."""
        main = threading.current_thread() is threading.main_thread()
        numbers = [number for number in SIGNALS if main and signal.getsignal(number) not in (signal.SIG_IGN, None)]
        before = {number: signal.signal(number, self._receive) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            self.abandon(number)
            return
        self.signal = number
        if not self.deferred:
            raise Cancelled(number)
        self.announce()
