"""Figures as text: counts, perplexities, curves, and the lines that describe a plan and a finished run."""

import math
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from charrnn.config.params import seconds
from charrnn.errors import counted
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


def chart(points: Sequence[tuple[float, float]], width: int, height: int, label: Callable[[float], str]) -> list[str]:
    """Return `curve` with its axes: what `label` makes of the highest, the middle and the lowest y, and steps below.

    Args:
        width, height: of the curve. Others as for `curve`; two points at least.
    """
    low, high = (pick(y for _, y in points if math.isfinite(y)) for pick in (min, max))
    labels = {0: label(high), height // 2: label((low + high) / 2), height - 1: label(low)}
    margin = max(map(len, labels.values()))
    lines = [
        f"{labels.get(number, ''):>{margin}} {'┤' if number in labels else '│'}{line}"
        for number, line in enumerate(curve(points, width, height))
    ]
    first, last = f"{points[0][0]:,}", f"{points[-1][0]:,} steps"
    return [*lines, f"{'':>{margin}} └{'─' * width}", f"{'':>{margin}}  {first}{last.rjust(width - len(first))}"]


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


def plan_lines(event: PlanEvent | ReplanEvent, *, before_command: str | None = None) -> list[str]:
    """Return the plan, or a change of it, in a few lines.

    Args:
        before_command: stands before the command that repeats the plan, which is the last line. None: what says whether
            that is the run; with a time budget it is as long as nothing is changed under way.
    """
    if isinstance(event, ReplanEvent):
        return [f"plan: now {counted(event.steps, 'step')} ({event.reason})"]
    sizes = "+".join(map(str, event.hidden))
    speed = f" at {count(event.chars_per_second)} chars/s" if event.chars_per_second else ""
    took = f", {seconds(event.time)} in all" if event.time else ""
    end = "all" if event.exact_tokens == event.val_tokens else f"the first {event.exact_tokens:,}"
    scored = f" ({event.eval_tokens:,} of them in pieces while training, {end} exactly at the end)"
    if before_command is None:
        before_command = "this plan again: " if event.time else "the same again: "
    return [
        f"model: {event.cell} {sizes}, vocabulary of {event.vocabulary:,}, {count(event.parameters)} parameters,"
        f" about {count(event.memory)}B of memory",
        f"text: {counted(event.train_tokens, 'token')} to train on, {event.val_tokens:,} to validate on"
        + (scored if event.val_tokens else ""),
        f"plan: {counted(event.steps, 'step')}, {counted(event.epochs, 'epoch', '.3g')}{speed}{took};"
        f" {event.engine} on {event.device}",
        *([f"from: {origin(event.origin)}", *_before_lines(event.origin)] if event.origin else []),
        *([f"to compare with: {baselines(event.baselines)} bits per char"] if event.baselines else []),
        *(f"  {reason}" for reason in event.reasons),
        *([f"{before_command}{event.command}"] if event.command else []),
    ]


def origin(values: Mapping[str, Any]) -> str:
    """Return which model was fine-tuned, and how; what `values` lacks is left out."""
    name, digest, new, share = (values.get(key) for key in ("name", "sha256", "new_characters", "mix_share"))
    return ", ".join(
        (
            f"{name} (SHA-256 {str(digest)[:16]}...)",
            *([f"{counted(new, 'character')} new to it"] if isinstance(new, int) and new else []),
            *([f"{share:.0%} of each batch from another text"] if isinstance(share, float) else []),
        )
    )


def _before_lines(values: Mapping[str, Any]) -> list[str]:
    """Return the figures of the model that is fine-tuned as it was; none where there are none."""
    where = {"bits_per_char": "validation text", "mix_bits_per_char": "text that is mixed in, what is held out of it"}
    found = [f"{values[key]:.4f} ({name})" for key, name in where.items() if isinstance(values.get(key), float)]
    return [f"before: {', '.join(found)} bits per char"] if found else []


def baselines(values: Mapping[str, Any]) -> str:
    """Return what simpler models reach, in bits per character; figures that `values` lacks are left out."""
    names = {"uniform": "guessing", "unigram": "frequencies", "ngram": "5-gram", "xz": "xz"}
    found = ((name, values.get(key)) for key, name in names.items())
    return ", ".join(f"{name} {value:.3f}" for name, value in found if isinstance(value, float))


def scored_tokens(tokens: int, val_tokens: int | None) -> str:
    """Return on how much of the validation text a figure is; val_tokens: of all of it, None: not known."""
    if val_tokens is None or tokens >= val_tokens:
        return counted(tokens, "validation token")
    return f"the first {tokens:,} of {counted(val_tokens, 'validation token')}"


def summary_lines(event: DoneEvent) -> list[str]:
    """Return the metrics of a finished run, and what to try next, in a few lines."""
    lines, best = [], ""
    if event.carried is not None and event.window_256 is not None and event.tokens is not None:
        lines += [
            f"perplexity      {_figure(event.perplexity)}",
            f"bits per char   {_figure(event.bits_per_char)}   (per byte {_figure(event.bits_per_byte)})",
            *_after_lines(event),
            *([f"to compare with {baselines(event.baselines)}"] if event.baselines else []),
            f"nats per token  {event.carried:.4f} carried, {event.window_256:.4f} in windows of 256",
            f"{'the model' if event.val_tokens is None else 'all of these'} on"
            f" {scored_tokens(event.tokens, event.val_tokens)}",
        ]
        best = f"; the best after step {event.best_step:,}"
    why = {"steps": "", "patience": ", as validation no longer improved"}.get(event.reason, "")
    lines.append(f"{counted(event.step, 'step')} in {seconds(event.seconds)}{why}{best}")
    folder = os.path.dirname(event.model)
    name = shlex.quote(folder or event.model)
    go_on = f"charrnn train --resume --steps {2 * event.step} --out {name}"
    return [
        *lines,
        f"model           {event.model}",
        f"try             charrnn sample -m {name} --temp 0.8",
        f"                charrnn eval -m {name} FILE",
        *([f"go on           {go_on}"] if event.resume_bytes != 0 else []),
        *([f"                from last.safetensors, {count(event.resume_bytes)}B"] if event.resume_bytes else []),
        *([f"the same again  {event.command}"] if event.command else []),
    ]


def _after_lines(event: DoneEvent) -> list[str]:
    """Return, of a model that was fine-tuned, what it was before, and what it has become on the text mixed in."""
    if event.origin is None:
        return []
    before, mixed = event.origin.get("bits_per_char"), event.origin.get("mix_bits_per_char")
    lines = [f"before          {before:.4f} bits per char"] if isinstance(before, float) else []
    if event.mix_bits_per_char is not None:
        was = f", before {mixed:.4f}" if isinstance(mixed, float) else ""
        lines.append(f"text mixed in   {event.mix_bits_per_char:.4f} bits per char{was}")
    return lines


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
