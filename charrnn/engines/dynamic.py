"""Dynamic evaluation (Krause et al. 2018): a model that goes on learning from the text it has just scored.

What a symbol costs never depends on that symbol or on what comes after it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from charrnn.config.eval import DYNAMIC_RATE
from charrnn.engines.base import Array, InferenceEngine, State
from charrnn.engines.native.training import NativeTraining
from charrnn.engines.select import choose_engine
from charrnn.machine import available_cpus
from charrnn.network.architecture import Architecture

if TYPE_CHECKING:
    from charrnn.engines.torch.model import TorchGradients


SEGMENT = 32
"""Symbols that are scored before the weights learn from them."""


# Of the way back to the trained weights, so much at every segment, where gradients are as large as usual.
_DECAY = 4e-3


_MEMORY = 0.999  # of squared gradients, from segment to segment


_EPSILON = 1e-8


class DynamicEngine(InferenceEngine):
    """`InferenceEngine` of one row, whose weights follow what it scores: gradient descent on each segment once it is
    scored, every weight's step divided by the root of its mean squared gradient so far, with a decay back to the
    trained weights that is stronger where gradients are large. On the CPU.

    Args:
        architecture: the model's sizes.
        weights: the trained ones, named and shaped as `architecture.shapes()`.
        rate: of learning; None: `DYNAMIC_RATE` by the largest layer's size.
    """

    name = "dynamic"
    model: "NativeTraining | TorchGradients"

    def __init__(self, architecture: Architecture, weights: Mapping[str, Array], *, rate: float | None = None) -> None:
        self.architecture = architecture
        if choose_engine("auto", "cpu", cell=architecture.cell, training=True) == "native":
            self.model = NativeTraining(architecture)
            self.model.set_num_threads(available_cpus())
        else:
            from charrnn.engines.torch.model import TorchGradients  # imports torch

            self.model = TorchGradients(architecture)
        self.weights = self.model.weights
        self.trained = {name: np.array(weights[name], np.float32) for name in self.weights}
        for name, weight in self.weights.items():
            weight[:] = self.trained[name]
        self.squares = {name: np.zeros_like(weight) for name, weight in self.weights.items()}
        self.rate = DYNAMIC_RATE / max(architecture.hidden) if rate is None else rate
        self.segments = 0

    def score(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`; B is 1."""
        assert len(ids) == 1, "one row at a time"
        nats = np.zeros(ids.shape)
        for begin in range(0, ids.shape[1], SEGMENT):
            end = begin + SEGMENT
            nats[0, begin:end], state = self._segment(ids[:, begin:end], state)
        return nats, state

    def step(self, ids: Array, state: State) -> tuple[Array, State]:
        """Nothing is known of what it reads: it would learn nothing."""
        raise NotImplementedError

    def _segment(self, ids: Array, state: State) -> tuple[Array, State]:
        """Score ids (1, N), then learn from them; nats (N,)."""
        read, after = self.model.forward(ids, state)
        features = np.concatenate((self._features(state)[None], read[:-1, 0]))  # (N, F), before each id
        scored = np.flatnonzero(ids[0] != self.architecture.bos_id)
        nats = np.zeros(ids.shape[1])
        if not len(scored):
            return nats, after
        head, features, targets = self.weights["head.weight"], features[scored], ids[0, scored]
        logits = features @ head.T + self.weights["head.bias"]
        logits -= logits.max(axis=1, keepdims=True)
        odds = np.exp(logits)
        sums = odds.sum(axis=1, keepdims=True)
        places = np.arange(len(scored))
        nats[scored] = np.log(sums[:, 0], dtype=np.float64) - logits[places, targets]
        grad = odds / sums  # of the mean cost by the logits
        grad[places, targets] -= 1
        grad /= len(scored)
        by_features = np.zeros((ids.shape[1], head.shape[1]), np.float32)
        by_features[scored] = grad @ head
        # the first symbol's features came with the state, and where that came from is no longer known
        self.model.backward(np.concatenate((by_features[1:], np.zeros_like(by_features[:1])))[:, None])
        self.model.gradients["head.weight"] = grad.T @ features
        self.model.gradients["head.bias"] = grad.sum(axis=0)
        self._learn()
        return nats, after

    def _features(self, state: State) -> Array:
        """What the head reads of a row's state."""
        outputs = [layer[0, 0] for layer in state]
        return np.asarray(sum(outputs) if self.architecture.sums_layers else np.concatenate(outputs))

    def _learn(self) -> None:
        self.segments += 1
        sizes = {}  # of gradients, the root of the mean square
        for name, square in self.squares.items():
            square *= _MEMORY
            square += (1 - _MEMORY) * self.model.gradients[name] ** 2
            sizes[name] = np.sqrt(square / (1 - _MEMORY**self.segments))
        usual = sum(float(size.sum()) for size in sizes.values()) / self.architecture.num_parameters
        for name, weight in self.weights.items():
            weight += np.minimum(sizes[name] * (_DECAY / max(usual, 1e-30)), 1) * (self.trained[name] - weight)
            weight -= self.rate * self.model.gradients[name] / (sizes[name] + _EPSILON)
