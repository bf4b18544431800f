"""The temperature of a finished model, fitted to the validation text."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from charrnn.dataset.dataset import Dataset
from charrnn.engines.base import Array, InferenceEngine
from charrnn.training.distributed import ALONE, World
from charrnn.training.evaluation import Check, evaluate_streams

FIT_TOKENS = 1 << 14
"""Validation tokens that a temperature is fitted to: enough to know it to a hundredth."""

MAX_FITS = 7
"""Temperatures tried, at most."""

MIN_FIT_TOKENS = 1000
"""With fewer validation tokens the temperature stays 1."""


def scale_head(weights: Mapping[str, Array], temperature: float) -> dict[str, Array]:
    """Return the weights of the model whose logits are divided by a temperature."""
    head = ("head.weight", "head.bias")
    return {name: weight / np.float32(temperature) if name in head else weight for name, weight in weights.items()}


def fit_temperature(
    make_engine: Callable[[Mapping[str, Array]], InferenceEngine],
    weights: Mapping[str, Array],
    dataset: Dataset,
    limit: int,
    check: Check,
    world: World = ALONE,
) -> float:
    """Return the temperature at which the validation text has the lowest loss: temperature scaling, Guo et al. 2017.

    A model that was trained on its text more than once is too sure of what comes in another. The loss is nearly a
    parabola in the logarithm of the temperature; its minimum is found step by step.

    Args:
        make_engine: returns an engine of weights.
        weights: the model's.
        limit: validation tokens that are scored for each temperature.

    Returns:
        The best temperature of those that were tried; 1 is one of them.
    """
    if min(limit, len(dataset.val)) < MIN_FIT_TOKENS:
        return 1.0
    losses: dict[float, float] = {}  # total nats, by the logarithm of the temperature

    def try_out(x: float) -> None:
        engine = make_engine(scale_head(weights, math.exp(x)))
        losses[x] = evaluate_streams(engine, dataset, limit, check, world).nats

    def best() -> list[float]:
        return sorted(losses, key=lambda x: losses[x])

    for x in (0.0, -0.1, 0.1):
        try_out(x)
    while len(losses) < MAX_FITS:
        low, middle, high = sorted(best()[:3])
        curvature, slope, _ = np.polyfit((low, middle, high), [losses[low], losses[middle], losses[high]], 2)
        x = -slope / (2 * curvature) if curvature > 0 else 3 * best()[0]
        x = world.broadcast(float(np.clip(x, max(low - 0.6, -1), min(high + 0.6, 1))))
        if min(abs(x - each) for each in losses) < 1e-3:
            break
        try_out(x)
    return math.exp(best()[0])
