"""Dynamic evaluation (Krause et al. 2018): a model that goes on learning from the text it has just scored.

The nats of a token never depend on that token or on what comes after it.
"""

from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from charrnn.config.eval import DYNAMIC_RATE
from charrnn.engines.arrays import layer_features, zero_state
from charrnn.engines.base import Array, Ids, InferenceEngine, State, tokens_of
from charrnn.engines.native import lib
from charrnn.engines.native.training import NativeTraining
from charrnn.machine import available_cpus
from charrnn.network.architecture import Architecture
from charrnn.network.head import HeadLayout

if TYPE_CHECKING:
    from charrnn.engines.torch.model import TorchGradients

SEGMENT = 32
"""Tokens that are scored before the weights learn from them."""

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
        rate: learning rate; None: `DYNAMIC_RATE` by the largest layer's size.
    """

    name = "dynamic"
    adaptive = True
    model: "NativeTraining | TorchGradients"

    def __init__(self, architecture: Architecture, weights: Mapping[str, Array], *, rate: float | None = None) -> None:
        self.architecture, self.vocabulary, self._lock = architecture, architecture.vocabulary, Lock()
        if lib.is_fast():
            self.model = NativeTraining(architecture)
            self.model.set_num_threads(available_cpus())
        else:
            from charrnn.engines.torch.model import TorchGradients  # imports torch

            self.model = TorchGradients(architecture)
        self.weights = self.model.parameters
        self.trained = {name: np.array(weights[name], np.float32) for name in self.weights}
        for name, weight in self.weights.items():
            weight[:] = self.trained[name]
        self.mean_squares = {name: np.zeros_like(weight) for name, weight in self.weights.items()}
        self.layout = HeadLayout.of(architecture)
        self.rate = DYNAMIC_RATE / max(architecture.hidden) if rate is None else rate
        self.segments = 0

    def zero_state(self, batch: int) -> State:
        """See `InferenceEngine`."""
        return zero_state(self.architecture, batch)

    def fresh(self) -> "DynamicEngine":
        """See `InferenceEngine`."""
        return DynamicEngine(self.architecture, self.trained, rate=self.rate)

    def score(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`; B is 1."""
        ids, places = self._without_ends(ids)
        nats = np.zeros(ids.shape)
        with self._lock:
            for begin, end in self._segments(ids):
                nats[0, begin:end], _, state = self._learn(ids[:, begin:end], state)
        return nats[:, places], state

    def predict(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`; B is 1."""
        ids, places = self._without_ends(ids)
        ln_p = np.zeros((*ids.shape, self.vocabulary), np.float32)
        with self._lock:
            for begin, end in self._segments(ids):
                _, ln_p[0, begin:end], state = self._learn(ids[:, begin:end], state)
        return ln_p[:, places], state

    def step(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`; nothing is learnt."""
        with self._lock:
            features, after = self.model.forward(ids[:, None], state)
            logits = features[0] @ self.weights["head.weight"].T + self.weights["head.bias"]
            return self.layout.ln_p(logits).astype(np.float32) if self.architecture.clusters else logits, after

    def _without_ends(self, ids: Ids) -> tuple[Ids, Ids]:
        """Return ids (1, N) in which `<s>` stands after each token that ends a text, and the places of the others."""
        if len(ids) != 1:
            raise ValueError(f"{len(ids)} rows of an engine that reads one at a time")
        ends = np.flatnonzero(ids[0] > self.vocabulary)
        plain = np.insert(tokens_of(ids[0], self.vocabulary), ends + 1, self.vocabulary)
        return plain[None], np.delete(np.arange(len(plain)), ends + 1 + np.arange(len(ends)))

    def _segments(self, ids: Ids) -> list[tuple[int, int]]:
        """Where segments begin and end."""
        T = ids.shape[1]
        return [(begin, min(begin + SEGMENT, T)) for begin in range(0, T, SEGMENT)]

    def _learn(self, ids: Ids, state: State) -> tuple[Array, Array, State]:
        """Score ids (1, N), then learn from them; return nats (N,), ln p (N, V) and the state after."""
        read, after = self.model.forward(ids, state)
        before = layer_features(self.architecture, [layer[0, 0] for layer in state])
        features = np.concatenate((before[None], read[:-1, 0]))  # (N, F), before each id
        scored = np.flatnonzero(ids[0] != self.vocabulary)
        nats, ln_p = np.zeros(ids.shape[1]), np.zeros((ids.shape[1], self.vocabulary), np.float32)
        if not len(scored):
            return nats, ln_p, after
        head, features, targets = self.weights["head.weight"], features[scored], ids[0, scored]
        logits = features @ head.T + self.weights["head.bias"]
        ln_p[scored] = found = self.layout.ln_p(logits)
        nats[scored] = -found[np.arange(len(scored)), targets]
        grad = self.layout.loss_gradient(logits, targets)
        by_features = np.zeros((ids.shape[1], head.shape[1]), np.float32)
        by_features[scored] = grad @ head
        # the first token's features came with the state, and where that came from is no longer known
        self.model.backward(np.concatenate((by_features[1:], np.zeros_like(by_features[:1])))[:, None])
        self.model.grads["head.weight"][:] = grad.T @ features
        self.model.grads["head.bias"][:] = grad.sum(axis=0)
        self._update()
        return nats, ln_p, after

    def _update(self) -> None:
        """Make a step along the gradients."""
        self.segments += 1
        rms = {}  # of gradients
        for name, square in self.mean_squares.items():
            square *= _MEMORY
            square += (1 - _MEMORY) * self.model.grads[name] ** 2
            rms[name] = np.sqrt(square / (1 - _MEMORY**self.segments))
        mean_rms = sum(float(size.sum()) for size in rms.values()) / self.architecture.num_parameters
        for name, weight in self.weights.items():
            weight += np.minimum(rms[name] * (_DECAY / max(mean_rms, 1e-30)), 1) * (self.trained[name] - weight)
            weight -= self.rate * self.model.grads[name] / (rms[name] + _EPSILON)
