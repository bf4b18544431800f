"""From gradients to an update of the weights: by the compiled core, or by PyTorch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import SupportsFloat

import numpy as np

from charrnn.config.train import TrainConfig
from charrnn.engines import Array
from charrnn.engines.native_training import AdamW, Trainable

BETAS = (0.5, 0.99)
"""Of Adam and AdamW; short means, as runs are short."""

PACES = {"embedding": 2.0, "head.weight": 3.0}
"""How much faster than the layers other matrices learn with Adam and AdamW: all rates are those of the layers, which
would become unstable first."""


class Optimizer(ABC):
    """What updates a model's weights. Biases are not decayed.

    Args:
        shapes: of the weights, by name.
        config: complete.

    Attributes:
        decays, paces: of each weight, its weight decay and its learning rate as a multiple of the run's.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], config: TrainConfig) -> None:
        adaptive = config.optimizer.startswith("adam")
        self.decays = [config.weight_decay if len(shape) > 1 else 0.0 for shape in shapes.values()]
        self.paces = [PACES.get(name, 1.0) if adaptive else 1.0 for name in shapes]

    @abstractmethod
    def norm(self) -> SupportsFloat:
        """The norm of all gradients together, which a GPU may yet be at work on."""

    def overflows(self) -> bool:
        """Whether gradients that are not finite may be float16's fault: then `update` changes nothing but the scale of
        the next ones."""
        return False

    @abstractmethod
    def update(self, rate: float, limit: float) -> None:
        """Make a step, after `norm` was asked for.

        Args:
            rate: the learning rate.
            limit: gradients whose norm is larger are scaled down to it (Pascanu et al. 2013).
        """

    @abstractmethod
    def state(self) -> dict[str, dict[str, Array]]:
        """What is carried from step to step, by weight: `step`, and arrays of the weight's shape; copies."""

    @abstractmethod
    def load(self, state: Mapping[str, Mapping[str, Array]]) -> None:
        """Take up what `state` gave."""


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
        beta1, beta2 = BETAS
        rates = [rate * pace for pace in self.paces]
        self.core.update(
            kept=[1 - rate * decay for rate, decay in zip(rates, self.decays, strict=True)],
            rates=[rate / (1 - beta1**self.steps) for rate in rates],
            scale=min(1.0, limit / (self._norm + 1e-6)),
            betas=BETAS,
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
