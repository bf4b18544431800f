"""Figures as text: counts, perplexities, curves, and the lines that a plan and a finished run come to."""

import math
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from charrnn.config.params import seconds
from charrnn.runs.events import Event

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of a braille cell: by column, then row


def curve(points: Sequence[tuple[float, float]], width: int, height: int) -> list[str]:
    """A line through points, in braille: two by four dots a character.

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
    """A quantity in few digits: `1.2M`, `34k`, `560`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 0.9995 * size:  # what would be rounded up to 1000 of the unit below
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


class EmaLoss:
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


def losses(training: float, evaluation: Event | None) -> str:
    text = "" if math.isnan(training) else f"train {perplexity(training)}"
    if evaluation is not None:
        loss = evaluation["nats"] / evaluation["tokens"]
        text += f"  validation perplexity {perplexity(loss)} ({evaluation['bits_per_char']:.3f} bits/char)"
    return text.strip()


def plan_lines(info: Callable[[str], None], event: Event) -> None:
    """The plan, or a change of it, in a few lines."""
    if "command" not in event:
        info(f"plan: now {event['steps']:,} steps ({event['reason']})")
        return
    sizes = "+".join(map(str, event["hidden"]))
    info(
        f"model: {event['cell']} {sizes}, {event['vocabulary']:,} symbols, {count(event['parameters'])} parameters,"
        f" about {count(event['memory'])}B of memory"
    )
    info(
        f"text: {event['train_tokens']:,} symbols to train on, {event['val_tokens']:,} to validate on"
        f" ({event['eval_tokens']:,} of them in pieces while training, {event['exact_tokens']:,} exactly at the end)"
    )
    speed = f" at {count(event['chars_per_second'])} chars/s" if event["chars_per_second"] else ""
    took = f", {seconds(event['time'])} in all" if event["time"] else ""
    where = f"{event['engine']} on {event['device']}"
    info(f"plan: {event['steps']:,} steps, {event['epochs']:.3g} epochs{speed}{took}; {where}")
    if event["baselines"]:
        info(f"to compare with: {baselines(event['baselines'])} bits per char")
    for reason in event["reasons"]:
        info(f"  {reason}")
    info(f"the same again: {event['command']}")


def baselines(figures: Mapping[str, Any]) -> str:
    """What simpler models come to, in bits per character."""
    names = {"uniform": "guessing", "unigram": "frequencies", "ngram": "5-gram", "xz": "xz"}
    return ", ".join(f"{name} {figures[key]:.3f}" for key, name in names.items() if figures[key] is not None)


def summary_lines(event: Event) -> list[str]:
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
