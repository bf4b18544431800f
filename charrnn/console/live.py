"""The live display of a training on a terminal."""

import math
import os
import sys
import time
from collections import deque
from typing import IO, Any, Protocol, cast

from rich.console import Console as Rich
from rich.console import ConsoleDimensions, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from charrnn.config.params import seconds
from charrnn.console.format import EmaLoss, count, curve, perplexity, plan_lines, summary_lines
from charrnn.console.streams import Console, discard
from charrnn.console.terminal_text import escape, escape_line
from charrnn.runs.events import DoneEvent, EvalEvent, Event, PlanEvent, ReplanEvent, SampleEvent, StepEvent

_EVERY = 0.2  # seconds between frames
_CURVE = (56, 6)
_WIDE = 80  # columns; on a narrower terminal figures stand below one another, without curve, bars and frames
_HAS_SAMPLE = 40  # columns that a sample needs


class _Stderr:
    """Where the display is drawn. A terminal that was closed does not end a training."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)

    def write(self, text: str) -> int:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            discard(sys.stderr)
        except RuntimeError:
            pass  # a signal handler writes in the middle of another write
        return len(text)

    def flush(self) -> None:
        pass


class Screen(Protocol):
    """Where frames are drawn, each in the place of the one before: what is used of `rich.live.Live`."""

    @property
    def is_started(self) -> bool:
        """Whether frames are drawn."""
        ...

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End."""

    def update(self, renderable: Any, *, refresh: bool = False) -> None:
        """Draw a frame."""


class LiveDisplay:
    """Progress, metrics, the curve so far and what the model writes; drawn from the plan on, until closed."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.rich = Rich(
            file=cast(IO[str], _Stderr()), no_color=not console.color, highlight=False, markup=False, emoji=False
        )
        self.loss = EmaLoss()
        self.steps = 1
        self.now: dict[str, Any] = {"step": 0, "epoch": 0.0, "rate": 0.0, "norm": 0.0, "speed": 0.0}
        self.best = math.nan
        self.validation: list[tuple[float, float]] = []
        self.training: list[tuple[float, float]] = []
        self.sample = ""
        self.title = "starting"
        self.drawn = time.monotonic()
        self.marks: deque[tuple[int, float]] = deque(maxlen=20)  # steps and their times: the first, then logged ones
        self.live: Screen = Live(
            console=self.rich, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )

    def __call__(self, event: Event) -> None:
        """See `Figures`."""
        match event:
            case DoneEvent():
                self.close()
                self._fit()
                lines = Text("\n".join(map(escape_line, summary_lines(event))))
                narrow = self.rich.width < _HAS_SAMPLE
                panel = Panel(lines, title="done", title_align="left", expand=False, padding=(0, 1))
                self.rich.print(lines if narrow else panel)
                return
            case PlanEvent() | ReplanEvent():
                self._plan(event)
            case StepEvent():
                self._step(event)
            case EvalEvent():
                loss = event.nats / event.tokens
                self.validation.append((event.step, loss))
                self.best = min(self.best, loss) if not math.isnan(self.best) else loss
            case SampleEvent():
                self.sample = event.text
        self.now |= {"step": event.step, "epoch": event.epoch}
        self.title = "scoring the finished model" if event.step >= self.steps else "training"
        if not isinstance(event, StepEvent) or event.logged or time.monotonic() - self.drawn >= _EVERY:
            self._draw()

    def _plan(self, event: PlanEvent | ReplanEvent) -> None:
        if isinstance(event, PlanEvent) and not self.live.is_started:
            self.now["speed"] = event.chars_per_second
            self.live.start()
            self.console.print_above = lambda line: self.rich.print(Text(line))
        self.steps = event.steps
        for line in plan_lines(event):
            self.console.info(line)

    def _step(self, event: StepEvent) -> None:
        if not self.marks or event.logged:
            self.marks.append((event.step, time.monotonic()))
        self.loss.add(event.loss)
        self.now |= {"rate": event.learning_rate, "norm": event.gradient_norm}
        if event.logged:
            self.now["speed"] = event.chars_per_second
            self.training.append((event.step, self.loss.value))

    def abandon(self) -> None:
        """See `Figures`."""
        os.write(sys.stderr.fileno(), b"\x1b[?25h\n")  # show the cursor

    def close(self) -> None:
        """Give the terminal back."""
        self.console.print_above = None
        if self.live.is_started:
            self.live.update(Text(), refresh=True)  # else a frame cut to fit the terminal is drawn once more, whole
        self.live.stop()

    def _fit(self) -> None:
        """Take the terminal's size as it is now."""
        self.rich.size = ConsoleDimensions(*self.console.size)

    def _draw(self) -> None:
        self.drawn = time.monotonic()
        self._fit()
        self.live.update(Group(*self._parts()), refresh=True)

    def _left(self) -> str:
        """Return the time to the last step, at the speed since two evaluations ago or so: a pause is soon forgotten."""
        step, since = self.marks[0] if self.marks else (0, 0.0)
        if not self.marks or (done := self.now["step"] - step) <= 0:
            return "-"
        return seconds((time.monotonic() - since) / done * max(0, self.steps - self.now["step"]))

    def _parts(self) -> list[Any]:
        wide = self.rich.width >= _WIDE
        parts = self._figures_and_curve() if wide else self._lines()
        if self.sample and self.rich.width >= _HAS_SAMPLE:
            text = Text(escape(self.sample), overflow="fold")
            parts.append(Panel(text, title="a sample, at temperature 0.8", title_align="left", height=8, style="dim"))
        return parts

    def _lines(self) -> list[Any]:
        now, validation = self.now, self.validation[-1][1] if self.validation else math.nan
        losses = (("train", self.loss.value), ("val", validation), ("best", self.best))
        return [
            Text(f"{self.title}\nstep {now['step']:,} of {self.steps:,}"),
            Text(f"epoch {now['epoch']:.2f}\n{self._left()} left\nperplexity"),
            *(Text(f"{name} {perplexity(loss)}", style="bold") for name, loss in losses if not math.isnan(loss)),
            Text(f"{count(now['speed'])} chars/s\nlr {now['rate']:.2g}\ngrad {now['norm']:.2g}"),
        ]

    def _figures_and_curve(self) -> list[Any]:
        now = self.now
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(f"{self.title}, step {now['step']:,} of {self.steps:,}"),
            ProgressBar(total=self.steps, completed=min(now["step"], self.steps), width=24),
            Text(f"epoch {now['epoch']:.2f}"),
            Text(f"{self._left()} left"),
        )
        metrics = Table.grid(padding=(0, 2))
        metrics.add_row("", Text("perplexity", style="dim"), Text("bits/token", style="dim"), Text("nats", style="dim"))
        validation = self.validation[-1][1] if self.validation else math.nan
        for name, loss in (("training", self.loss.value), ("validation", validation), ("best", self.best)):
            metrics.add_row(name, *_cells(loss))
        machine = Table.grid(padding=(0, 2))
        machine.add_row("speed", Text(f"{count(now['speed'])} chars/s"))
        machine.add_row("learning rate", Text(f"{now['rate']:.2g}"))
        machine.add_row("gradient norm", Text(f"{now['norm']:.2g}"))
        both = Table.grid(padding=(0, 6))
        both.add_row(metrics, machine)
        return [head, Text(), both, *self._picture()]

    def _picture(self) -> list[Any]:
        """Return the curve so far, with what is to stand above it; nothing where there is none yet."""
        points = self.validation if len(self.validation) > 1 else self.training
        if len(points) > 1 and not self.rich.options.ascii_only:
            kind = "validation" if points is self.validation else "training"
            top, low = max(y for _, y in points), min(y for _, y in points)
            lines = curve(points, *_CURVE)
            labels = [perplexity(top), *[""] * (len(lines) - 2), f"{perplexity(low)} {kind} perplexity"]
            picture = Text(
                "\n".join(f"{line} {label}" for line, label in zip(lines, labels, strict=True)), style="cyan"
            )
            return [Text(), picture]
        return []


def _cells(loss: float) -> list[Text]:
    if math.isnan(loss):
        return [Text("-")] * 3
    return [Text(perplexity(loss), style="bold"), Text(f"{loss / math.log(2):.4f}"), Text(f"{loss:.4f}")]
