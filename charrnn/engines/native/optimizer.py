"""AdamW by the compiled core."""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from charrnn.engines.base import Array, OptimizerParams
from charrnn.engines.native.lib import AdamWStep, aligned

EPSILON = 1e-8


class Trainable(Protocol):
    """What the optimizer needs of a model that the core trains."""

    core: ctypes.CDLL
    threads: int
    parameters: dict[str, npt.NDArray[np.float32]]
    grads: dict[str, npt.NDArray[np.float32]]

    def work(self, size: int) -> int:
        """Return the address of so many bytes, good until the next call."""
        ...


class AdamW:
    """AdamW (Loshchilov & Hutter 2019) on a model's weights, in one pass over them. Its state is that of
    `torch.optim.AdamW`.

    Attributes:
        exp_avg, exp_avg_sq: the running means of gradients and of their squares, by weight.
        steps: made so far.
    """

    def __init__(self, model: Trainable, params: OptimizerParams) -> None:
        self.model, self.params, self.steps = model, params, 0
        shapes = {name: weight.shape for name, weight in model.parameters.items()}
        self.exp_avg = {name: aligned(shape) for name, shape in shapes.items()}
        self.exp_avg_sq = {name: aligned(shape) for name, shape in shapes.items()}
        self._weight_decays = [params.weight_decay_of(shape) for shape in shapes.values()]
        self._lr_multipliers = [params.lr_multiplier(name) for name in shapes]
        self._norm = 0.0
        sizes = (ctypes.c_int64 * len(shapes))(*(weight.size for weight in model.parameters.values()))
        tensors = [
            (ctypes.c_void_p * len(shapes))(*(arrays[name].ctypes.data for name in shapes))
            for arrays in (model.parameters, model.grads, self.exp_avg, self.exp_avg_sq)
        ]
        self._alive = sizes, tensors
        self._call = AdamWStep(1, len(shapes), ctypes.addressof(sizes), *map(ctypes.addressof, tensors))

    def gradient_norm(self) -> float:
        """See `Optimizer`."""
        call = self._call
        call.threads = self.model.threads
        call.work = self.model.work(self.model.core.charrnn_optimizer_work_size(call))
        self._norm = float(self.model.core.charrnn_optimizer_gradient_norm(call))
        return self._norm

    def step(self, lr: float, max_norm: float) -> None:
        """See `Optimizer`; `charrnn_optimizer` in native/charrnn.h has the formula."""
        self.steps += 1
        call, (beta1, beta2) = self._call, self.params.betas
        rates = [lr * multiplier for multiplier in self._lr_multipliers]
        decays = [1 - rate * decay for rate, decay in zip(rates, self._weight_decays, strict=True)]
        decay_factors, step_sizes = _floats(decays), _floats([rate / (1 - beta1**self.steps) for rate in rates])
        call.threads = self.model.threads
        call.decay_factors, call.step_sizes = ctypes.addressof(decay_factors), ctypes.addressof(step_sizes)
        call.scale, call.beta1, call.beta2 = min(1.0, max_norm / (self._norm + 1e-6)), beta1, beta2
        call.correction, call.epsilon = (1 - beta2**self.steps) ** -0.5, EPSILON
        self.model.core.charrnn_optimizer_adamw(call)

    def overflowed(self) -> bool:
        """See `Optimizer`."""
        return False

    def state_dict(self) -> dict[str, dict[str, Array]]:
        """See `Optimizer`."""
        if not self.steps:
            return {}
        step = np.array(self.steps, np.float32)
        return {
            name: {"step": step, "exp_avg": exp_avg.copy(), "exp_avg_sq": self.exp_avg_sq[name].copy()}
            for name, exp_avg in self.exp_avg.items()
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, Array]]) -> None:
        """See `Optimizer`."""
        if not state.keys() - {"scaler"}:
            return
        shapes = {name: weight.shape for name, weight in self.exp_avg.items()}
        self.params.check_state(state, shapes)
        for name in shapes:
            self.steps = int(state[name]["step"])
            self.exp_avg[name][:] = state[name]["exp_avg"]
            self.exp_avg_sq[name][:] = state[name]["exp_avg_sq"]


def _floats(numbers: Sequence[float]) -> "ctypes.Array[ctypes.c_float]":
    return (ctypes.c_float * len(numbers))(*numbers)
