"""From gradients to an update of the weights: by PyTorch, or by the compiled core."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from charrnn.config import TrainConfig
from charrnn.engines import Array
from charrnn.engines.native_torch import AdamWStep
from charrnn.model import LanguageModel

BETAS = (0.5, 0.99)
"""Of Adam and AdamW; short means, as runs are short."""

PACES = {"embedding": 2.0, "head.weight": 3.0}
"""How much faster than the layers other matrices learn with Adam and AdamW: all rates are those of the layers, which
would become unstable first."""


class Optimizer(ABC):
    """What updates a model's weights. Biases are not decayed.

    Attributes:
        weights: by the names of `Architecture.shapes`.
        decays, paces: of each weight, its weight decay and its learning rate as a multiple of the run's.
    """

    def __init__(self, model: LanguageModel, config: TrainConfig) -> None:
        self.weights = model.named_weights()
        self.decays = [config.weight_decay if weight.ndim > 1 else 0.0 for weight in self.weights.values()]
        adaptive = config.optimizer.startswith("adam")
        self.paces = [PACES.get(name, 1.0) if adaptive else 1.0 for name in self.weights]

    def forget(self) -> None:
        """Drop the gradients."""
        for weight in self.weights.values():
            weight.grad = None

    @abstractmethod
    def norm(self) -> float:
        """The norm of all gradients together."""

    @abstractmethod
    def update(self, rate: float, limit: float) -> None:
        """Make a step, after `norm` was asked for.

        Args:
            rate: the learning rate.
            limit: gradients whose norm is larger are scaled down to it (Pascanu et al. 2013).
        """

    @abstractmethod
    def state(self) -> dict[str, dict[str, Tensor]]:
        """What is carried from step to step, by weight: `step`, and tensors of the weight's shape. Live."""

    @abstractmethod
    def load(self, state: Mapping[str, Mapping[str, Array]]) -> None:
        """Take up what `state` gave."""


def optimizer_of(model: LanguageModel, config: TrainConfig) -> Optimizer:
    """The optimizer that a run asks for; the model is on its device."""
    if model.machine and config.optimizer == "adamw":
        return NativeAdamW(model, config)
    return TorchOptimizer(model, config)


class TorchOptimizer(Optimizer):
    """Adam: Kingma & Ba 2015; AdamW: Loshchilov & Hutter 2019; RMSprop: Hinton 2012; SGD with momentum."""

    def __init__(self, model: LanguageModel, config: TrainConfig) -> None:
        super().__init__(model, config)
        assert config.lr is not None
        groups = [
            {"params": [weight], "weight_decay": decay, "pace": pace}
            for weight, decay, pace in zip(self.weights.values(), self.decays, self.paces, strict=True)
        ]
        optimizer: torch.optim.Optimizer
        match config.optimizer:
            case "adamw":
                optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=BETAS, fused=True)
            case "adam":
                optimizer = torch.optim.Adam(groups, lr=config.lr, betas=BETAS, fused=True)
            case "rmsprop":
                optimizer = torch.optim.RMSprop(groups, lr=config.lr, alpha=0.95)
            case _:
                optimizer = torch.optim.SGD(groups, lr=config.lr, momentum=0.9)
        self.optimizer = optimizer
        self._norm = torch.zeros(())

    def norm(self) -> float:
        """See `Optimizer`."""
        gradients = [weight.grad for weight in self.weights.values() if weight.grad is not None]
        self._norm = torch.nn.utils.get_total_norm(gradients)
        return float(self._norm)

    def update(self, rate: float, limit: float) -> None:
        """See `Optimizer`."""
        torch.nn.utils.clip_grads_with_norm_(self.weights.values(), limit, self._norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["pace"]
        self.optimizer.step()

    def state(self) -> dict[str, dict[str, Tensor]]:
        """See `Optimizer`."""
        return {
            name: {key: value for key, value in self.optimizer.state[weight].items() if isinstance(value, Tensor)}
            for name, weight in self.weights.items()
        }

    def load(self, state: Mapping[str, Mapping[str, Array]]) -> None:
        """See `Optimizer`."""
        # the step count stays where the optimizer keeps it: on the CPU, unless it is fused on CUDA
        fused = bool(self.optimizer.param_groups[0].get("fused"))
        for name, values in state.items():
            weight = self.weights[name]
            for key, value in values.items():
                device = weight.device if key != "step" or fused else torch.device("cpu")
                self.optimizer.state[weight][key] = torch.from_numpy(np.array(value)).to(device)


class NativeAdamW(Optimizer):
    """AdamW by the core, in one pass over the weights; its state is that of `torch.optim.AdamW`."""

    def __init__(self, model: LanguageModel, config: TrainConfig) -> None:
        super().__init__(model, config)
        assert model.machine is not None
        self.steps = 0
        self.means = [torch.zeros_like(weight) for weight in self.weights.values()]
        self.squares = [torch.zeros_like(weight) for weight in self.weights.values()]
        self._norm = 0.0
        self.core = AdamWStep(model.machine, [*self.weights.values()], self.means, self.squares)

    def norm(self) -> float:
        """See `Optimizer`."""
        self._norm = self.core.norm()
        return self._norm

    def update(self, rate: float, limit: float) -> None:
        """See `Optimizer`."""
        self.steps += 1
        beta1, beta2 = BETAS
        rates = [rate * pace for pace in self.paces]
        self.core.run(
            kept=[1 - rate * decay for rate, decay in zip(rates, self.decays, strict=True)],
            rates=[rate / (1 - beta1**self.steps) for rate in rates],
            scale=min(1.0, limit / (self._norm + 1e-6)),
            betas=BETAS,
            correction=(1 - beta2**self.steps) ** -0.5,
        )

    def state(self) -> dict[str, dict[str, Tensor]]:
        """See `Optimizer`."""
        if not self.steps:
            return {name: {} for name in self.weights}
        return {
            name: {"step": torch.tensor(float(self.steps)), "exp_avg": mean, "exp_avg_sq": square}
            for name, mean, square in zip(self.weights, self.means, self.squares, strict=True)
        }

    def load(self, state: Mapping[str, Mapping[str, Array]]) -> None:
        """See `Optimizer`."""
        for name, mean, square in zip(self.weights, self.means, self.squares, strict=True):
            if values := state.get(name):
                self.steps = int(values["step"])
                mean.copy_(torch.from_numpy(np.array(values["exp_avg"])))
                square.copy_(torch.from_numpy(np.array(values["exp_avg_sq"])))
