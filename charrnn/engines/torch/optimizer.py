"""PyTorch's optimizers, on tensors or on the native engine's arrays."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from charrnn.config.train import TrainConfig
from charrnn.engines.base import Array, Optimizer


def parameters_of(weights: Mapping[str, Array], gradients: Mapping[str, Array]) -> dict[str, nn.Parameter]:
    """Parameters that share the memory of arrays, and so do their gradients."""
    parameters = {name: nn.Parameter(torch.from_numpy(weight)) for name, weight in weights.items()}
    for name, parameter in parameters.items():
        parameter.grad = torch.from_numpy(gradients[name])
    return parameters


class TorchOptimizer(Optimizer):
    """Adam: Kingma & Ba 2015; AdamW: Loshchilov & Hutter 2019; RMSprop: Hinton 2012; SGD with momentum.

    Args:
        weights: by name, on their device.
        config: complete.
        scaler: of the loss; None: it is not scaled.
    """

    def __init__(
        self, weights: dict[str, nn.Parameter], config: TrainConfig, scaler: torch.amp.GradScaler | None = None
    ) -> None:
        super().__init__({name: tuple(weight.shape) for name, weight in weights.items()}, config)
        assert config.lr is not None
        self.weights = weights
        self.scaler = torch.amp.GradScaler(enabled=False) if scaler is None else scaler
        groups = [
            {"params": [weight], "weight_decay": decay, "pace": pace}
            for weight, decay, pace in zip(weights.values(), self.decays, self.lr_multipliers, strict=True)
        ]
        optimizer: torch.optim.Optimizer
        match config.optimizer:
            case "adamw":
                optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=self.betas, fused=True)
            case "adam":
                optimizer = torch.optim.Adam(groups, lr=config.lr, betas=self.betas, fused=True)
            case "rmsprop":
                optimizer = torch.optim.RMSprop(groups, lr=config.lr, alpha=0.95)
            case _:
                optimizer = torch.optim.SGD(groups, lr=config.lr, momentum=0.9)
        self.optimizer = optimizer
        self._norm = torch.zeros(())

    def norm(self) -> Tensor:
        """See `Optimizer`."""
        self.scaler.unscale_(self.optimizer)
        gradients = [weight.grad for weight in self.weights.values() if weight.grad is not None]
        self._norm = torch.nn.utils.get_total_norm(gradients)
        return self._norm

    def overflows(self) -> bool:
        """See `Optimizer`."""
        return self.scaler.is_enabled() and self.scaler.get_scale() >= 1

    def update(self, rate: float, limit: float) -> None:
        """See `Optimizer`."""
        torch.nn.utils.clip_grads_with_norm_(self.weights.values(), limit, self._norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["pace"]
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def state(self) -> dict[str, dict[str, Array]]:
        """See `Optimizer`; and of the scaler."""
        scaler = {key: np.array(value) for key, value in self.scaler.state_dict().items()}
        moments = {
            name: {
                key: np.array(value.detach().cpu().numpy())
                for key, value in self.optimizer.state[weight].items()
                if isinstance(value, Tensor)
            }
            for name, weight in self.weights.items()
        }
        return {**moments, "scaler": scaler} if scaler else moments

    def load(self, state: Mapping[str, Mapping[str, Array]]) -> None:
        """See `Optimizer`."""
        # the step count stays where the optimizer keeps it: on the CPU, unless it is fused on CUDA
        fused = bool(self.optimizer.param_groups[0].get("fused"))
        if self.scaler.is_enabled() and "scaler" in state:
            self.scaler.load_state_dict({key: value.item() for key, value in state["scaler"].items()})
        for name, weight in self.weights.items():
            values = state.get(name, {})
            for key, value in values.items():
                device = weight.device if key != "step" or fused else torch.device("cpu")
                self.optimizer.state[weight][key] = torch.from_numpy(np.array(value)).to(device)
