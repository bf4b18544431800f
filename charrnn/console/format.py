"""Figures as text: counts, perplexities, curves, and the lines that describe a plan and a finished run."""

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from charrnn.config.params import seconds
from charrnn.runs.events import DoneEvent, EvalEvent, PlanEvent, ReplanEvent

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of a braille cell: by column, then row


def curve(points: Sequence[tuple[float, float]], width: int, height: int) -> list[str]:
    """Return a line through points, in braille: two by four dots a character.

    Args:
        points: (x, y), x ascending; y that is not finite is left out.
        width, height: in characters.

    Returns:
        `height` strings of `width` characters, the highest y first; blank for fewer than two points.
    """
    shown = [(x, y) for x, y in points if math.isfinite(y)]
    cells = [[0] * width for _ in range(height)]
    if len(shown) >= 2 and shown[-1][0] > shown[0][0]:
        left, right = shown[0][0], shown[-1][0]
        low, high = min(y for _, y in shown), max(y for _, y in shown)
        after = 0
        for column in range(2 * width):
            x = left + (right - left) * column / (2 * width - 1)
            while after < len(shown) - 2 and shown[after + 1][0] < x:
                after += 1
            (x0, y0), (x1, y1) = shown[after], shown[after + 1]
            y = y0 + (y1 - y0) * (x - x0) / (x1 - x0) if x1 > x0 else y1
            row = round((high - y) / (high - low) * (4 * height - 1)) if high > low else 2 * height
            cells[row // 4][column // 2] |= _DOTS[column % 2][row % 4]
    return ["".join(chr(0x2800 + cell) for cell in row) for row in cells]


def count(number: float) -> str:
    """Return a quantity in three digits: `1.2M`, `34k`, `560`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 0.9995 * size:  # what would be rounded up to 1000 of the unit below
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


class EmaLoss:
    """An exponential moving average of the loss; the plain mean of the first fifty steps.

    Attributes:
        value: the average, in the loss's unit; NaN before any.
    """

    def __init__(self) -> None:
        self.value = math.nan
        self._count = 0

    def add(self, loss: float) -> None:
        """Include the loss of one more step."""
        self._count += 1
        weight = max(0.02, 1 / self._count)
        self.value = loss if self._count == 1 else self.value + weight * (loss - self.value)


def perplexity(loss: float) -> str:
    """Return exp(loss), for people."""
    return f"{math.exp(loss):,.3f}" if loss < 50 else "huge"


def losses(training: float, evaluation: EvalEvent | None) -> str:
    """Return the training loss, in nats per token, and an evaluation as perplexities; NaN and None are left out."""
    text = "" if math.isnan(training) else f"train {perplexity(training)}"
    if evaluation is not None:
        loss = evaluation.nats / evaluation.tokens
        bits = "-" if evaluation.bits_per_char is None else f"{evaluation.bits_per_char:.3f}"
        text += f"  validation perplexity {perplexity(loss)} ({bits} bits/char)"
    return text.strip()


def plan_lines(event: PlanEvent | ReplanEvent, *, before_command: str = "the same again: ") -> list[str]:
    """Return the plan, or a change of it, in a few lines.

    Args:
        before_command: stands before the command that repeats the plan, which is the last line.
    """
    if isinstance(event, ReplanEvent):
        return [f"plan: now {event.steps:,} steps ({event.reason})"]
    sizes = "+".join(map(str, event.hidden))
    speed = f" at {count(event.chars_per_second)} chars/s" if event.chars_per_second else ""
    took = f", {seconds(event.time)} in all" if event.time else ""
    return [
        f"model: {event.cell} {sizes}, vocabulary of {event.vocabulary:,}, {count(event.parameters)} parameters,"
        f" about {count(event.memory)}B of memory",
        f"text: {event.train_tokens:,} tokens to train on, {event.val_tokens:,} to validate on"
        f" ({event.eval_tokens:,} of them in pieces while training, {event.exact_tokens:,} exactly at the end)",
        f"plan: {event.steps:,} steps, {event.epochs:.3g} epochs{speed}{took}; {event.engine} on {event.device}",
        *([f"to compare with: {baselines(event.baselines)} bits per char"] if event.baselines else []),
        *(f"  {reason}" for reason in event.reasons),
        f"{before_command}{event.command}",
    ]


def baselines(values: Mapping[str, Any]) -> str:
    """Return what simpler models reach, in bits per character."""
    names = {"uniform": "guessing", "unigram": "frequencies", "ngram": "5-gram", "xz": "xz"}
    return ", ".join(f"{name} {values[key]:.3f}" for key, name in names.items() if values[key] is not None)


def summary_lines(event: DoneEvent) -> list[str]:
    """Return the metrics of a finished run, and what to try next, in a few lines."""
    lines = []
    if event.carried is not None and event.window_256 is not None:
        lines += [
            f"perplexity      {_figure(event.perplexity)}",
            f"bits per char   {_figure(event.bits_per_char)}   (per byte {_figure(event.bits_per_byte)})",
            *([f"to compare with {baselines(event.baselines)}"] if event.baselines else []),
            f"nats per token  {event.carried:.4f} carried, {event.window_256:.4f} in windows of 256,"
            f" on {event.tokens:,} validation tokens",
        ]
    why = {"steps": "", "patience": ", as validation no longer improved"}.get(event.reason, "")
    lines.append(f"{event.step:,} steps in {seconds(event.seconds)}{why}; the best after step {event.best_step:,}")
    name = shlex.quote(os.path.dirname(event.model) or event.model)
    return [
        *lines,
        f"model           {event.model}",
        f"try             charrnn sample -m {name} --temp 0.8",
        f"                charrnn eval -m {name} FILE",
    ]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
