"""The temperature of a finished model, fitted to the validation text."""

import math
from collections.abc import Mapping

import numpy as np

from charrnn.dataset.dataset import Dataset
from charrnn.engines.base import Array, Ids, InferenceEngine, State, tokens_of
from charrnn.network.architecture import Architecture
from charrnn.network.head import HeadLayout
from charrnn.training.distributed import ALONE, World
from charrnn.training.evaluation import Check, evaluate_streams

FIT_TOKENS = 1 << 14
"""Validation tokens that a temperature is fitted to: enough to know it to a hundredth."""

FIT_COST = 2
"""What the fit takes, in scorings of as many tokens."""

MIN_FIT_TOKENS = 1000
"""With fewer validation tokens the temperature stays 1."""

MAX_TEMPERATURE = math.e
"""The highest; its inverse is the lowest."""

_STEP = 0.25
_PLACES = _STEP * np.arange(1, 12)
"""The K inverse temperatures at which the loss is measured; they reach a little further than those that are chosen."""

_CALL_PROBABILITIES = 1 << 22  # of all tokens at all places of one call of the engine: bounds the memory


_BLOCK = 1 << 16  # probabilities that are raised to powers at a time: they stay in the cache


def scale_head(weights: Mapping[str, Array], temperature: float) -> dict[str, Array]:
    """Return the weights of the model whose logits are divided by a temperature; of a head of two levels those of each
    of its softmaxes, so that their product stays a distribution."""
    head = ("head.weight", "head.bias")
    return {name: weight / np.float32(temperature) if name in head else weight for name, weight in weights.items()}


def fit_temperature(
    engine: InferenceEngine,
    architecture: Architecture,
    dataset: Dataset,
    limit: int,
    check: Check,
    world: World = ALONE,
) -> float:
    """Return the temperature at which the validation text has the lowest loss: temperature scaling, Guo et al. 2017.

    A model that was trained on its text more than once is too sure of what comes in another. The text is read once, and
    its loss measured at several temperatures; that of all between them is the polynomial through these, since it is a
    smooth function of the inverse temperature.

    Args:
        engine: of the model as it was trained. architecture: the model's.
        limit: validation tokens that are scored.
    """
    if min(limit, len(dataset.val)) < MIN_FIT_TOKENS:
        return 1.0
    measuring = _Measuring(engine, HeadLayout.of(architecture))
    evaluate_streams(measuring, dataset, limit, check, world)
    nats = np.sum(world.gather(measuring.nats), axis=0)
    if not np.isfinite(nats).all():
        return 1.0
    loss = np.polynomial.Polynomial.fit(_PLACES, nats, len(_PLACES) - 1)
    extrema = [each.real for each in loss.deriv().roots() if abs(each.imag) < 1e-6]
    tried = [1.0, *np.clip([0.0, *extrema, math.inf], 1 / MAX_TEMPERATURE, MAX_TEMPERATURE)]
    return float(world.broadcast(1 / min(tried, key=loss)))


class _Measuring(InferenceEngine):
    """An engine whose scores are measured at other temperatures too.

    Attributes:
        nats: float64 (K,), the sum of all scores, at each inverse temperature.
    """

    def __init__(self, engine: InferenceEngine, head: HeadLayout) -> None:
        self._engine, self._head, self.name, self.vocabulary = engine, head, engine.name, engine.vocabulary
        self.nats = np.zeros(len(_PLACES))

    def zero_state(self, batch: int) -> State:
        """See `InferenceEngine`."""
        return self._engine.zero_state(batch)

    @np.errstate(all="ignore")
    def score(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        B, T = ids.shape
        nats = np.zeros((B, T))
        steps = max(1, _CALL_PROBABILITIES // (B * self.vocabulary))
        for t in range(0, T, steps):
            tokens = tokens_of(ids[:, t : t + steps], self.vocabulary)
            ln_p, state = self._engine.predict(ids[:, t : t + steps], state)  # (B, t, V)
            scored = tokens < self.vocabulary
            rows = ln_p[scored]  # (N, V)
            found = np.take_along_axis(rows, tokens[scored][:, None], 1)[:, 0].astype(np.float64)
            nats[:, t : t + steps][scored] = -found
            for logits, places in self._head.softmaxes(rows, tokens[scored]):
                targets = np.take_along_axis(logits, places[:, None], 1).sum(dtype=np.float64)
                self.nats += _log_totals(logits) - _PLACES * targets
        return nats, state

    def predict(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`; nothing is measured. So does `step`."""
        return self._engine.predict(ids, state)

    def step(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        return self._engine.step(ids, state)


def _log_totals(ln_p: Array) -> Array:
    """Return ln of the sum of p to each of the K powers, float64 (K,), summed over places; ln p: (N, tokens)."""
    totals = np.zeros(len(_PLACES))
    rows = max(1, _BLOCK // ln_p.shape[1])
    for n in range(0, len(ln_p), rows):
        base = np.exp(ln_p[n : n + rows] * np.float32(_STEP))
        power = np.ones_like(base)
        for k in range(len(_PLACES)):  # one exponential for all of them
            power *= base
            totals[k] += np.log(power.sum(axis=1), dtype=np.float64).sum()
    return totals
