"""The temperature of a finished model, fitted to the validation text."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from charrnn.dataset.dataset import Dataset
from charrnn.engines.base import Array, InferenceEngine
from charrnn.training.evaluation import Check, evaluate_streams

FIT_TOKENS = 1 << 14
"""Symbols that a temperature is fitted to: enough to know it to a hundredth."""


MAX_FITS = 7
"""How often they are scored for that, at most."""


MIN_FIT_TOKENS = 1000
"""Fewer symbols tell nothing of a model's temperature."""


def scale_head(weights: Mapping[str, Array], temperature: float) -> dict[str, Array]:
    """The model whose logits are divided by a temperature."""
    head = ("head.weight", "head.bias")
    return {name: weight / np.float32(temperature) if name in head else weight for name, weight in weights.items()}


def fit_temperature(
    ensemble_engine: Callable[[Mapping[str, Array]], InferenceEngine],
    weights: Mapping[str, Array],
    split: Dataset,
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
    if min(limit, len(split.val)) < MIN_FIT_TOKENS:
        return 1.0
    costs: dict[float, float] = {}  # by the temperature's logarithm

    def score(place: float) -> None:
        costs[place] = evaluate_streams(ensemble_engine(scale_head(weights, math.exp(place))), split, limit, check).nats

    def best() -> list[float]:
        return sorted(costs, key=lambda place: costs[place])

    for place in (0.0, -0.1, 0.1):
        score(place)
    while len(costs) < MAX_FITS:
        low, middle, high = sorted(best()[:3])
        curvature, slope, _ = np.polyfit((low, middle, high), [costs[low], costs[middle], costs[high]], 2)
        place = -slope / (2 * curvature) if curvature > 0 else 3 * best()[0]
        place = float(np.clip(place, max(low - 0.6, -1), min(high + 0.6, 1)))
        if min(abs(place - each) for each in costs) < 1e-3:
            break
        score(place)
    return math.exp(best()[0])
