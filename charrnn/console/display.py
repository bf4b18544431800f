"""What a person sees of a training: a live display on a terminal, plain lines elsewhere.

Both are fed the events of `train --json`, so that they can show nothing that a script cannot have.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from charrnn.console.format import count
from charrnn.console.streams import Console
from charrnn.runs.events import Event

if TYPE_CHECKING:
    from charrnn.training.learner import Step
    from charrnn.training.plan import Plan
from charrnn.console.format import EmaLoss, losses, plan_lines, summary_lines

_QUIET_FOR = 10.0  # seconds after which plain lines tell of a step, if nothing else has happened


class Display(Protocol):
    """What shows a training."""

    def event(self, event: Event) -> None:
        """Something happened."""

    def step(self, number: int, found: "Step", rate: float) -> None:
        """A step was taken."""

    def abandon(self) -> None:
        """The program ends at once."""


@contextlib.contextmanager
def display(console: Console, plan: "Plan", *, json: bool) -> Iterator[Display]:
    """The display that suits the streams; with `json` events go to stdout besides."""
    if console.interactive:
        from charrnn.console.live import LiveDisplay

        shown: LiveDisplay | PlainDisplay = LiveDisplay(console, plan)
    else:
        shown = PlainDisplay(console, plan)
    with contextlib.ExitStack() as stack:
        stack.callback(shown.close)
        shown.open()
        yield _WithEvents(console, shown) if json else shown


class _WithEvents:
    """A display, and JSON Lines on stdout."""

    def __init__(self, console: Console, shown: Display) -> None:
        self._console, self._shown = console, shown
        self.step, self.abandon = shown.step, shown.abandon

    def event(self, event: Event) -> None:
        self._console.write_json(event, flush=True)
        self._shown.event(event)


class PlainDisplay:
    """A line for each thing worth telling."""

    def __init__(self, console: Console, plan: "Plan") -> None:
        self.console, self.plan = console, plan
        self.smooth = EmaLoss()
        self.told = time.monotonic()

    def event(self, event: Event) -> None:
        """See `Display`."""
        match event["event"]:
            case "plan":
                plan_lines(self.console.info, event)
            case "eval":
                self._tell(
                    f"{self._where(event)}  {losses(self.smooth.value, event)}" + ("  best" if event["best"] else "")
                )
            case "step" if time.monotonic() - self.told > _QUIET_FOR or self.console.verbose:
                speed = f"{count(event['chars_per_second'])} chars/s"
                rate = f"lr {event['learning_rate']:.2g}  grad {event['gradient_norm']:.2g}"
                self._tell(f"{self._where(event)}  {losses(self.smooth.value, None)}  {speed}  {rate}")
            case "sample":
                self.console.debug(f"sample: {event['text']}")
            case "save":
                self.console.debug(f"saved {event['path']}")
            case "done":
                for line in summary_lines(event):
                    self.console.info(line)

    def _where(self, event: Event) -> str:
        return f"step {event['step']:,}  epoch {event['epoch']:.2f}"

    def _tell(self, line: str) -> None:
        self.told = time.monotonic()
        self.console.info(line)

    def step(self, number: int, found: "Step", rate: float) -> None:
        """See `Display`."""
        self.smooth.add(found.loss)

    def abandon(self) -> None:
        """See `Display`."""

    def open(self) -> None:
        """The training begins."""

    def close(self) -> None:
        """The training is over, one way or another."""
