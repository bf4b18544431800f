"""What a person sees of a training: a live display on a terminal, plain lines elsewhere.

Both are fed the events of `train --json`, so that they can show nothing that a script cannot have.
"""

import contextlib
import math
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from charrnn.config.params import seconds
from charrnn.console import Console
from charrnn.report import count

if TYPE_CHECKING:
    from charrnn.training.learner import Step
    from charrnn.training.plan import Plan

Event = dict[str, Any]

_QUIET_FOR = 10.0  # seconds after which plain lines tell of a step, if nothing else has happened


class Shown(Protocol):
    """What shows a training."""

    def event(self, event: Event) -> None:
        """Something happened."""

    def step(self, number: int, found: "Step", rate: float) -> None:
        """A step was taken."""

    def abandon(self) -> None:
        """The program ends at once."""


@contextlib.contextmanager
def display(console: Console, plan: "Plan", *, json: bool) -> Iterator[Shown]:
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

    def __init__(self, console: Console, shown: Shown) -> None:
        self._console, self._shown = console, shown
        self.step, self.abandon = shown.step, shown.abandon

    def event(self, event: Event) -> None:
        self._console.write_json(event, flush=True)
        self._shown.event(event)


class PlainDisplay:
    """A line for each thing worth telling."""

    def __init__(self, console: Console, plan: "Plan") -> None:
        self.console, self.plan = console, plan
        self.smooth = Smooth()
        self.told = time.monotonic()

    def event(self, event: Event) -> None:
        """See `Shown`."""
        match event["event"]:
            case "plan":
                tell_plan(self.console.tell, event)
            case "eval":
                self._tell(
                    f"{self._where(event)}  {_losses(self.smooth.value, event)}" + ("  best" if event["best"] else "")
                )
            case "step" if time.monotonic() - self.told > _QUIET_FOR or self.console.verbose:
                speed = f"{count(event['chars_per_second'])} chars/s"
                rate = f"lr {event['learning_rate']:.2g}  grad {event['gradient_norm']:.2g}"
                self._tell(f"{self._where(event)}  {_losses(self.smooth.value, None)}  {speed}  {rate}")
            case "sample":
                self.console.detail(f"sample: {event['text']}")
            case "save":
                self.console.detail(f"saved {event['path']}")
            case "done":
                for line in closing(event):
                    self.console.tell(line)

    def _where(self, event: Event) -> str:
        return f"step {event['step']:,}  epoch {event['epoch']:.2f}"

    def _tell(self, line: str) -> None:
        self.told = time.monotonic()
        self.console.tell(line)

    def step(self, number: int, found: "Step", rate: float) -> None:
        """See `Shown`."""
        self.smooth.add(found.loss)

    def abandon(self) -> None:
        """See `Shown`."""

    def open(self) -> None:
        """The training begins."""

    def close(self) -> None:
        """The training is over, one way or another."""


class Smooth:
    """A running mean of the loss."""

    def __init__(self) -> None:
        self.value = math.nan
        self._seen = 0

    def add(self, loss: float) -> None:
        """Take in the loss of one more step."""
        self._seen += 1
        share = max(0.02, 1 / self._seen)
        self.value = loss if self._seen == 1 else self.value + share * (loss - self.value)


def perplexity(loss: float) -> str:
    """exp(loss), for people."""
    return f"{math.exp(loss):,.3f}" if loss < 50 else "huge"


def _losses(training: float, evaluation: Event | None) -> str:
    text = "" if math.isnan(training) else f"train {perplexity(training)}"
    if evaluation is not None:
        loss = evaluation["nats"] / evaluation["tokens"]
        text += f"  validation perplexity {perplexity(loss)} ({evaluation['bits_per_char']:.3f} bits/char)"
    return text.strip()


def tell_plan(tell: Callable[[str], None], event: Event) -> None:
    """The plan, or a change of it, in a few lines."""
    if "command" not in event:
        tell(f"plan: now {event['steps']:,} steps ({event['reason']})")
        return
    sizes = "+".join(map(str, event["hidden"]))
    tell(
        f"model: {event['cell']} {sizes}, {event['vocabulary']:,} symbols, {count(event['parameters'])} parameters,"
        f" about {count(event['memory'])}B of memory"
    )
    tell(
        f"text: {event['train_tokens']:,} symbols to train on, {event['val_tokens']:,} to validate on"
        f" ({event['eval_tokens']:,} of them in pieces while training, {event['exact_tokens']:,} exactly at the end)"
    )
    speed = f" at {count(event['chars_per_second'])} chars/s" if event["chars_per_second"] else ""
    took = f", {seconds(event['time'])} in all" if event["time"] else ""
    where = f"{event['engine']} on {event['device']}"
    tell(f"plan: {event['steps']:,} steps, {event['epochs']:.3g} epochs{speed}{took}; {where}")
    if event["baselines"]:
        tell(f"to compare with: {baselines(event['baselines'])} bits per char")
    for reason in event["reasons"]:
        tell(f"  {reason}")
    tell(f"the same again: {event['command']}")


def baselines(figures: Mapping[str, Any]) -> str:
    """What simpler models come to, in bits per character."""
    names = {"uniform": "guessing", "unigram": "frequencies", "ngram": "5-gram", "xz": "xz"}
    return ", ".join(f"{name} {figures[key]:.3f}" for key, name in names.items() if figures[key] is not None)


def closing(event: Event) -> list[str]:
    """What a finished run comes to, and what to try next."""
    lines = []
    if "carried" in event:
        lines += [
            f"perplexity      {_figure(event['perplexity'])}",
            f"bits per char   {_figure(event['bits_per_char'])}   (per byte {_figure(event['bits_per_byte'])})",
            *([f"to compare with {baselines(event['baselines'])}"] if event["baselines"] else []),
            f"nats per symbol {event['carried']:.4f} carried, {event['window_256']:.4f} in windows of 256,"
            f" on {event['tokens']:,} validation symbols",
        ]
    why = {"steps": "", "patience": ", as validation no longer improved"}.get(event["reason"], "")
    lines.append(f"{event['step']:,} steps in {seconds(event['seconds'])}{why}; the best after step {event['best']:,}")
    name = shlex.quote(os.path.dirname(event["model"]) or event["model"])
    lines += [
        f"model           {event['model']}",
        f"try             charrnn sample -m {name} --temp 0.8",
        f"                charrnn eval -m {name} FILE",
    ]
    return lines


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
