"""Several models as one: the mean of their probabilities."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from charrnn.engines.base import Array, Ids, InferenceEngine, State


class Ensemble(InferenceEngine):
    """Models whose probabilities are averaged. Its state is those of all of them, one after another.

    Args:
        engines: of one vocabulary.
    """

    name = "ensemble"

    def __init__(self, engines: Sequence[InferenceEngine]) -> None:
        self.engines, self.vocabulary = engines, engines[0].vocabulary
        self.adaptive = any(engine.adaptive for engine in engines)
        ends = itertools.accumulate(len(engine.zero_state(1)) for engine in engines)
        self._cuts = [slice(begin, end) for begin, end in itertools.pairwise([0, *ends])]  # of the state, by engine
        self._log_count = np.log(len(engines))

    def zero_state(self, batch: int) -> State:
        """See `InferenceEngine`."""
        return tuple(layer for engine in self.engines for layer in engine.zero_state(batch))

    def score(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        parts, after = self._each(lambda engine, part: engine.score(ids, part), state)
        with np.errstate(all="ignore"):  # the caller checks what comes out
            nats = self._log_count - np.logaddexp.reduce([-nats for nats in parts])
        nats[ids == self.vocabulary] = 0
        return nats, after

    def predict(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        parts, after = self._each(lambda engine, part: engine.predict(ids, part), state)
        with np.errstate(all="ignore"):
            ln_p = np.logaddexp.reduce(parts, dtype=np.float64) - self._log_count
        ln_p[ids == self.vocabulary] = 0
        return ln_p.astype(np.float32), after

    def step(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`; the logits are ln p."""
        parts, after = self._each(lambda engine, part: engine.step(ids, part), state)
        with np.errstate(all="ignore"):
            logits = np.logaddexp.reduce([_log_softmax(logits) for logits in parts]) - self._log_count
        return logits, after

    def fresh(self) -> "Ensemble":
        """See `InferenceEngine`."""
        return Ensemble([engine.fresh() for engine in self.engines]) if self.adaptive else self

    def _each(
        self, call: Callable[[InferenceEngine, State], tuple[Array, State]], state: State
    ) -> tuple[list[Array], State]:
        """Call each engine with its part of the state; return the results, and the state after."""
        found = [call(engine, state[cut]) for engine, cut in zip(self.engines, self._cuts, strict=True)]
        return [result for result, _ in found], tuple(layer for _, after in found for layer in after)


def _log_softmax(logits: Array) -> Array:
    """ln p of rows (B, V), float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
