"""What a person sees of a training: a live display on a terminal, plain lines elsewhere.

A display is an event callback, fed with what `train --json` prints, and with notes and every single step besides.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Protocol

from charrnn.console.format import EmaLoss, count, losses, plan_lines, summary_lines
from charrnn.console.streams import Console
from charrnn.runs.events import (
    Callback,
    DoneEvent,
    EvalEvent,
    Event,
    Note,
    PlanEvent,
    ReplanEvent,
    SampleEvent,
    SaveEvent,
    StepEvent,
    is_stored,
    to_json,
)

_QUIET_FOR = 10.0
"""Seconds without a line after which plain lines show a step."""


@contextlib.contextmanager
def open_display(console: Console, *, json: bool = False, live: bool = True) -> Iterator["TrainingDisplay"]:
    """Yield the display that suits the streams, and close it.

    Args:
        json: whether events go to stdout besides, as JSON Lines.
        live: whether a terminal may be drawn on; False: plain lines always.
    """
    if live and console.interactive:
        from charrnn.console.live import LiveDisplay

        with contextlib.closing(LiveDisplay(console)) as display:
            yield TrainingDisplay(console, display, json=json)
    else:
        yield TrainingDisplay(console, PlainDisplay(console), json=json)


@contextlib.contextmanager
def notebook_display() -> Iterator[list[Callback]]:
    """Yield a live display as a callback if the program is a notebook; else nothing."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if not any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__):
        yield []
        return
    from charrnn.console.notebook import NotebookDisplay

    with contextlib.closing(NotebookDisplay()) as display:
        yield [lambda event: None if isinstance(event, Note) else display(event)]


class Display(Protocol):
    """Shows the progress and metrics of a training; `TrainingDisplay` handles notes."""

    def __call__(self, event: Event) -> None:
        """Show what happened."""

    def abandon(self) -> None:
        """Put the terminal in order: the program exits at once, without unwinding."""


class TrainingDisplay:
    """An event callback that shows a training: metrics, notes, and, if asked for, JSON Lines on stdout."""

    def __init__(self, console: Console, display: Display, *, json: bool) -> None:
        self.console, self.display, self.json = console, display, json
        self.abandon = display.abandon

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Note):
            show = {"debug": self.console.debug, "info": self.console.info, "warning": self.console.warn}
            show[event.level](event.message)
            return
        if self.json and is_stored(event):
            self.console.write_json(to_json(event), flush=True)
        self.display(event)


class PlainDisplay:
    """A line for each thing worth knowing."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.loss = EmaLoss()
        self.printed = time.monotonic()

    def __call__(self, event: Event) -> None:
        """See `Display`."""
        match event:
            case PlanEvent() | ReplanEvent():
                for line in plan_lines(event):
                    self.console.info(line)
            case StepEvent():
                self._step(event)
            case EvalEvent():
                best = "  best" if event.best else ""
                self._progress(event, f"{losses(self.loss.value, event)}{best}")
            case SampleEvent(text=text):
                self.console.debug(f"sample: {text}")
            case SaveEvent(path=path):
                self.console.debug(f"saved {path}")
            case DoneEvent():
                for line in summary_lines(event):
                    self.console.info(line)

    def _step(self, event: StepEvent) -> None:
        self.loss.add(event.loss)
        if event.logged and (self.console.verbose or time.monotonic() - self.printed > _QUIET_FOR):
            speed = f"{count(event.chars_per_second)} chars/s"
            rate = f"lr {event.learning_rate:.2g}  grad {event.gradient_norm:.2g}"
            self._progress(event, f"{losses(self.loss.value, None)}  {speed}  {rate}")

    def _progress(self, event: Event, text: str) -> None:
        self.printed = time.monotonic()
        self.console.info(f"step {event.step:,}  epoch {event.epoch:.2f}  {text}")

    def abandon(self) -> None:
        """See `Display`."""
