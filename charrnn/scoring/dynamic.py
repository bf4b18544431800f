"""Dynamic evaluation (Krause et al. 2018): a model that goes on learning from the text it has just scored.

What a symbol costs never depends on that symbol or on what comes after it.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from charrnn.architecture import Architecture
from charrnn.config import DYNAMIC_RATE
from charrnn.engines import Array, State, choose_engine
from charrnn.engines.torch import TorchEngine
from charrnn.machine import processors

SEGMENT = 32
"""Symbols that are scored before the weights learn from them."""

# Of the way back to the trained weights, so much at every segment, where gradients are as large as usual.
_DECAY = 4e-3
_MEMORY = 0.999  # of squared gradients, from segment to segment
_EPSILON = 1e-8


class DynamicEngine(TorchEngine):
    """`Inference` of one row, whose weights follow what it scores: gradient descent on each segment once it is scored,
    every weight's step divided by the root of its mean squared gradient so far, with a decay back to the
    trained weights that is stronger where gradients are large.

    Args:
        architecture: the model's sizes.
        weights: the trained ones, named and shaped as `architecture.shapes()`.
        rate: of learning; None: `DYNAMIC_RATE` by the largest layer's size.
        device: "cpu", "cuda" or "cuda:N".

    Raises:
        UsageError: as `choose_engine` does.
    """

    name = "dynamic"

    def __init__(
        self,
        architecture: Architecture,
        weights: Mapping[str, Array],
        *,
        rate: float | None = None,
        device: str = "cpu",
    ) -> None:
        layers = choose_engine("auto", device, cell=architecture.cell, training=True)
        super().__init__(architecture, weights, device, layers=layers)
        if self.model.machine:
            self.model.machine.threads = processors()
            torch.set_num_threads(1)  # little is left for torch's own
        self.rate = DYNAMIC_RATE / max(architecture.hidden) if rate is None else rate
        self.segments = 0
        self.weights = [*self.model.named_weights().values()]
        self.trained = [weight.detach().clone() for weight in self.weights]
        self.squares = [torch.zeros_like(weight) for weight in self.weights]
        self.count = sum(weight.numel() for weight in self.weights)

    def score(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `Inference`; B is 1."""
        assert len(ids) == 1, "one row at a time"
        nats = np.zeros(ids.shape)
        for begin in range(0, ids.shape[1], SEGMENT):
            end = begin + SEGMENT
            nats[0, begin:end], state = self._segment(ids[:, begin:end], state)
        return nats, state

    def _segment(self, ids: Array, state: State) -> tuple[Array, State]:
        """Score ids (1, N), then learn from them; nats (N,)."""
        symbols, before = self._to_device(ids, state)
        for weight in self.weights:
            weight.grad = None
        features, after = self._features(symbols, before)
        scored = symbols[0] != self.architecture.start
        logits = self.model.head(features[0, scored])
        costs = nn.functional.cross_entropy(logits, symbols[0, scored], reduction="none")
        nats = np.zeros(ids.shape[1])
        if len(costs):
            costs.mean().backward()  # type: ignore[no-untyped-call]
            self._learn()
            nats[scored.cpu().numpy()] = costs.detach().double().cpu().numpy()
        return nats, self._to_numpy(after)

    @torch.no_grad()
    def _learn(self) -> None:
        self.segments += 1
        sizes = []  # of gradients, the root of the mean square
        for weight, square in zip(self.weights, self.squares, strict=True):
            if weight.grad is not None:
                square.mul_(_MEMORY).addcmul_(weight.grad, weight.grad, value=1 - _MEMORY)
            sizes.append((square / (1 - _MEMORY**self.segments)).sqrt_())
        usual = sum(float(size.sum()) for size in sizes) / self.count
        for weight, trained, size in zip(self.weights, self.trained, sizes, strict=True):
            decay = (size * (_DECAY / max(usual, 1e-30))).clamp_(max=1)
            weight.addcmul_(decay, trained - weight)
            if weight.grad is not None:
                weight.addcdiv_(weight.grad, size.add_(_EPSILON), value=-self.rate)
