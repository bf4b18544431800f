"""The models that score and write a text: one, or several that speak as one."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from charrnn.checkpoint import format as checkpoint
from charrnn.checkpoint.format import Checkpoint
from charrnn.engines import Array, Inference, State, inference
from charrnn.errors import UsageError
from charrnn.files import quote
from charrnn.runs.locate import find_model


def read_models(names: Sequence[str]) -> list[Checkpoint]:
    """Read models, of which each name means one as `runs.find_model` has it; without names, the one it finds.

    Raises:
        CheckpointError: there is no such model, or its file cannot be used.
        UsageError: their symbols, or what ends their records, are not the same.
    """
    first, *others = [find_model(name) for name in (*names,) or (None,)]
    model = checkpoint.read(first)
    models = [model]
    for path in others:
        other = checkpoint.read(path)
        if (other.tokenizer.name, other.separator) != (model.tokenizer.name, model.separator) or not np.array_equal(
            other.tokenizer.table, model.tokenizer.table
        ):
            raise UsageError(f"{quote(first)} and {quote(path)} cannot speak as one: their symbols are not the same")
        models.append(other)
    return models


def engine_of(models: Sequence[Checkpoint], **how: Any) -> Inference:
    """What runs the models; `how` is as for `inference`."""
    engines = [inference(model.architecture, model.weights, **how) for model in models]
    return engines[0] if len(engines) == 1 else Ensemble(engines)


class Ensemble(Inference):
    """Models whose probabilities are averaged.

    Its state is that of all of them, one after another; its architecture, for the vocabulary, the first one's.

    Args:
        engines: of one vocabulary.
    """

    name = "ensemble"

    def __init__(self, engines: Sequence[Inference]) -> None:
        self.engines, self.architecture = engines, engines[0].architecture
        self._share = np.log(len(engines))

    def zero_state(self, batch: int) -> State:
        """See `Inference`."""
        return tuple(layer for engine in self.engines for layer in engine.zero_state(batch))

    def score(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `Inference`."""
        found = [engine.score(ids, part) for engine, part in zip(self.engines, self._parts(state), strict=True)]
        with np.errstate(all="ignore"):  # who asked looks at what comes out
            nats = self._share - np.logaddexp.reduce([-nats for nats, _ in found])
        nats[ids == self.architecture.start] = 0
        return nats, tuple(layer for _, after in found for layer in after)

    def step(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `Inference`; the logits are ln p."""
        found = [engine.step(ids, part) for engine, part in zip(self.engines, self._parts(state), strict=True)]
        with np.errstate(all="ignore"):
            logits = np.logaddexp.reduce([_log_softmax(logits) for logits, _ in found]) - self._share
        return logits, tuple(layer for _, after in found for layer in after)

    def _parts(self, state: State) -> list[State]:
        parts, begin = [], 0
        for engine in self.engines:
            end = begin + engine.architecture.layers
            parts.append(state[begin:end])
            begin = end
        return parts


def _log_softmax(logits: Array) -> Array:
    """Of rows (B, V), float64."""
    apart = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(apart - np.log(np.exp(apart).sum(axis=1, keepdims=True)))
