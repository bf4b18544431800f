"""How well a model does on the validation text: at a glance while training, exactly at the end."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from charrnn.dataset.dataset import Split
from charrnn.engines.base import Array, Inference
from charrnn.scoring.batching import score_ids
from charrnn.scoring.score import Score
from charrnn.scoring.scorer import score_records, score_texts, score_windows

VAL_STREAMS = 64
"""Pieces that an evaluation during training scores side by side."""

WINDOW = 256
"""Of the figure that is comparable with models of fixed context."""

FIT_TOKENS = 1 << 14
"""Symbols that a temperature is fitted to: enough to know it to a hundredth."""

FITS = 7
"""How often they are scored for that, at most."""

LEAST_FIT = 1000
"""Fewer symbols tell nothing of a model's temperature."""

Check = Callable[[int], None]


def look(engine: Inference, split: Split, limit: int, check: Check) -> Score:
    """The first `limit` symbols, in pieces scored side by side."""
    pieces = split.val.pieces(VAL_STREAMS, limit, engine.architecture.start)
    score = sum(score_ids(engine, split.tokenizer, ([piece] for piece in pieces), check=check), Score())
    share = score.tokens / len(split.val)  # of the text's characters and bytes, near enough
    counts = split.val_counts
    return replace(score, chars=round(counts.chars * share), bytes=round(counts.bytes * share))


def tempered(weights: Mapping[str, Array], temperature: float) -> dict[str, Array]:
    """The model whose logits are divided by a temperature."""
    head = ("head.weight", "head.bias")
    return {name: weight / np.float32(temperature) if name in head else weight for name, weight in weights.items()}


def fit_temperature(
    engine_of: Callable[[Mapping[str, Array]], Inference],
    weights: Mapping[str, Array],
    split: Split,
    limit: int,
    check: Check,
) -> float:
    """The temperature at which the validation text costs least: temperature scaling, Guo et al. 2017.

    A model that has read its text more than once is surer than it should be of what comes in another. The cost is
    nearly a parabola in the temperature's logarithm, whose lowest point is found step by step.

    Args:
        engine_of: makes an engine of weights.
        weights: of the model.
        limit: symbols of the text that are scored each time.

    Returns:
        The best of those that were tried, 1 among them.
    """
    if min(limit, len(split.val)) < LEAST_FIT:
        return 1.0
    costs: dict[float, float] = {}  # by the temperature's logarithm

    def score(place: float) -> None:
        costs[place] = look(engine_of(tempered(weights, math.exp(place))), split, limit, check).nats

    def best() -> list[float]:
        return sorted(costs, key=lambda place: costs[place])

    for place in (0.0, -0.1, 0.1):
        score(place)
    while len(costs) < FITS:
        low, middle, high = sorted(best()[:3])
        curvature, slope, _ = np.polyfit((low, middle, high), [costs[low], costs[middle], costs[high]], 2)
        place = -slope / (2 * curvature) if curvature > 0 else 3 * best()[0]
        place = float(np.clip(place, max(low - 0.6, -1), min(high + 0.6, 1)))
        if min(abs(place - each) for each in costs) < 1e-3:
            break
        score(place)
    return math.exp(best()[0])


def exact(engine: Inference, split: Split, symbols: int, errors: str, check: Check) -> dict[str, Any]:
    """The figures of a finished model, as `charrnn eval` finds them.

    Args:
        symbols: of the validation text's beginning that are scored.
    """
    texts, tokenizer, separator = split.val_head(symbols), split.tokenizer, split.separator

    def score(text: bytes, window: int) -> Score:
        if separator:
            return score_records(engine, tokenizer, [text], separator, window=window, errors=errors, check=check)
        return score_windows(engine, tokenizer, [text], window, errors=errors, check=check)

    if separator:
        carried = sum((score(text, 0) for text in texts), Score())
    else:
        carried = sum(score_texts(engine, tokenizer, ([text] for text in texts), check=check, errors=errors), Score())
    cut = sum((score(text, WINDOW) for text in texts), Score())
    return {
        **figures(carried),
        "oov": carried.oov,
        "carried": carried.nats / carried.tokens,
        "window_256": cut.nats / cut.tokens,
    }


def figures(score: Score) -> dict[str, Any]:
    """What an `eval` event tells of a score."""
    return {
        "nats": score.nats,
        "tokens": score.tokens,
        "perplexity": perplexity(score.nats / score.tokens),
        "bits_per_char": score.bits_per_char,
        "bits_per_byte": score.bits_per_byte,
    }


def perplexity(loss: float) -> float | None:
    """exp(loss), or None where JSON has no number for it."""
    return math.exp(loss) if loss < 700 else None
