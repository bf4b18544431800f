"""AdamW by the compiled core."""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from charrnn.config.train import TrainConfig
from charrnn.engines.base import Array, Optimizer
from charrnn.engines.native.lib import AdamWStep, aligned


class Trainable(Protocol):
    """What an optimizer needs of a model that the core trains."""

    core: ctypes.CDLL
    threads: int
    weights: dict[str, npt.NDArray[np.float32]]
    gradients: dict[str, npt.NDArray[np.float32]]

    def work(self, size: int) -> int:
        """The address of so many bytes, good until the next call."""
        ...


class AdamW:
    """AdamW (Loshchilov & Hutter 2019) on a model's weights, in one pass over them.

    Attributes:
        means, squares: the running means of gradients and of their squares, by weight.
    """

    def __init__(self, model: Trainable) -> None:
        self.model = model
        names = [*model.weights]
        self.means = {name: aligned(model.weights[name].shape) for name in names}
        self.squares = {name: aligned(model.weights[name].shape) for name in names}
        sizes = (ctypes.c_int64 * len(names))(*(model.weights[name].size for name in names))
        places = [
            (ctypes.c_void_p * len(names))(*(arrays[name].ctypes.data for name in names))
            for arrays in (model.weights, model.gradients, self.means, self.squares)
        ]
        self._alive = sizes, places
        self._call = AdamWStep(1, len(names), ctypes.addressof(sizes), *map(ctypes.addressof, places))

    def norm(self) -> float:
        """The norm of all gradients together."""
        call = self._call
        call.threads = self.model.threads
        call.work = self.model.work(self.model.core.charrnn_optimizer_work_size(call))
        return float(self.model.core.charrnn_optimizer_gradient_norm(call))

    def update(
        self,
        *,
        kept: Sequence[float],
        rates: Sequence[float],
        scale: float,
        betas: tuple[float, float],
        correction: float,
    ) -> None:
        """Make a step; `charrnn_optimizer` in native/charrnn.h has the formula.

        Args:
            kept: what weight decay leaves of each weight. rates: how far each goes along its means.
            scale: of the gradients.
            correction: of the squares' roots.
        """
        floats = ctypes.c_float * len(kept)
        decay_factors, step_sizes = floats(*kept), floats(*rates)
        call = self._call
        call.threads = self.model.threads
        call.decay_factors, call.step_sizes = ctypes.addressof(decay_factors), ctypes.addressof(step_sizes)
        call.scale, (call.beta1, call.beta2) = scale, betas
        call.correction, call.epsilon = correction, 1e-8
        self.model.core.charrnn_optimizer_adamw(call)


class NativeAdamW(Optimizer):
    """AdamW by the core; its state is that of `torch.optim.AdamW`."""

    def __init__(self, model: Trainable, config: TrainConfig) -> None:
        super().__init__({name: weight.shape for name, weight in model.weights.items()}, config)
        self.core = AdamW(model)
        self.steps = 0
        self._norm = 0.0

    def norm(self) -> float:
        """See `Optimizer`."""
        self._norm = self.core.norm()
        return self._norm

    def update(self, rate: float, limit: float) -> None:
        """See `Optimizer`."""
        self.steps += 1
        beta1, beta2 = self.betas
        rates = [rate * pace for pace in self.lr_multipliers]
        self.core.update(
            kept=[1 - rate * decay for rate, decay in zip(rates, self.decays, strict=True)],
            rates=[rate / (1 - beta1**self.steps) for rate in rates],
            scale=min(1.0, limit / (self._norm + 1e-6)),
            betas=self.betas,
            correction=(1 - beta2**self.steps) ** -0.5,
        )

    def state(self) -> dict[str, dict[str, Array]]:
        """See `Optimizer`."""
        means, squares = self.core.means, self.core.squares
        if not self.steps:
            return {name: {} for name in means}
        step = np.array(self.steps, np.float32)
        return {
            name: {"step": step, "exp_avg": means[name].copy(), "exp_avg_sq": squares[name].copy()} for name in means
        }

    def load(self, state: Mapping[str, Mapping[str, Array]]) -> None:
        """See `Optimizer`."""
        for name, mean in self.core.means.items():
            if values := state.get(name):
                self.steps = int(values["step"])
                mean[:] = values["exp_avg"]
                self.core.squares[name][:] = values["exp_avg_sq"]
