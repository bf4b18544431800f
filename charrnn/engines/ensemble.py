"""Several models as one: the mean of their probabilities."""

from collections.abc import Sequence

import numpy as np

from charrnn.engines.base import Array, InferenceEngine, State


class Ensemble(InferenceEngine):
    """Models whose probabilities are averaged.

    Its state is that of all of them, one after another; its architecture, for the vocabulary, the first one's.

    Args:
        engines: of one vocabulary.
    """

    name = "ensemble"

    def __init__(self, engines: Sequence[InferenceEngine]) -> None:
        self.engines, self.architecture = engines, engines[0].architecture
        self._share = np.log(len(engines))

    def zero_state(self, batch: int) -> State:
        """See `InferenceEngine`."""
        return tuple(layer for engine in self.engines for layer in engine.zero_state(batch))

    def score(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        found = [engine.score(ids, part) for engine, part in zip(self.engines, self._parts(state), strict=True)]
        with np.errstate(all="ignore"):  # who asked looks at what comes out
            nats = self._share - np.logaddexp.reduce([-nats for nats, _ in found])
        nats[ids == self.architecture.bos_id] = 0
        return nats, tuple(layer for _, after in found for layer in after)

    def step(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`; the logits are ln p."""
        found = [engine.step(ids, part) for engine, part in zip(self.engines, self._parts(state), strict=True)]
        with np.errstate(all="ignore"):
            logits = np.logaddexp.reduce([_log_softmax(logits) for logits, _ in found]) - self._share
        return logits, tuple(layer for _, after in found for layer in after)

    def _parts(self, state: State) -> list[State]:
        parts, begin = [], 0
        for engine in self.engines:
            end = begin + engine.architecture.num_layers
            parts.append(state[begin:end])
            begin = end
        return parts


def _log_softmax(logits: Array) -> Array:
    """Of rows (B, V), float64."""
    apart = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(apart - np.log(np.exp(apart).sum(axis=1, keepdims=True)))
