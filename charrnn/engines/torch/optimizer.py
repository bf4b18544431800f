"""PyTorch's optimizers, on tensors or on the native engine's arrays."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from charrnn.engines.base import OPTIMIZER_TENSORS, Array, OptimizerParams


def as_parameters(weights: Mapping[str, Array], grads: Mapping[str, Array]) -> dict[str, nn.Parameter]:
    """Return parameters that share the memory of arrays, and whose gradients do."""
    parameters = {name: nn.Parameter(torch.from_numpy(weight)) for name, weight in weights.items()}
    for name, parameter in parameters.items():
        parameter.grad = torch.from_numpy(grads[name])
    return parameters


class TorchOptimizer:
    """Adam: Kingma & Ba 2015; AdamW: Loshchilov & Hutter 2019; RMSprop: Hinton 2012; SGD with momentum.

    Args:
        weights: by name, on their device.
        params: which optimizer.
        scaler: of the loss; None: it is not scaled.
    """

    def __init__(
        self, weights: dict[str, nn.Parameter], params: OptimizerParams, scaler: torch.amp.GradScaler | None = None
    ) -> None:
        self.weights, self.params = weights, params
        self.scaler = torch.amp.GradScaler(enabled=False) if scaler is None else scaler
        groups = [
            {
                "params": [weight],
                "weight_decay": params.weight_decay_of(weight.shape),
                "lr_multiplier": params.lr_multiplier(name),
            }
            for name, weight in weights.items()
        ]
        optimizer: torch.optim.Optimizer
        match params.name:
            case "adamw":
                optimizer = torch.optim.AdamW(groups, betas=params.betas, fused=True)
            case "adam":
                optimizer = torch.optim.Adam(groups, betas=params.betas, fused=True)
            case "rmsprop":
                optimizer = torch.optim.RMSprop(groups, alpha=0.95)
            case _:
                optimizer = torch.optim.SGD(groups, momentum=0.9)
        self.optimizer = optimizer
        self._norm = torch.zeros(())

    def gradient_norm(self) -> Tensor:
        """See `Optimizer`."""
        self.scaler.unscale_(self.optimizer)
        grads = [weight.grad for weight in self.weights.values() if weight.grad is not None]
        self._norm = torch.nn.utils.get_total_norm(grads)
        return self._norm

    def step(self, lr: float, max_norm: float) -> None:
        """See `Optimizer`."""
        torch.nn.utils.clip_grads_with_norm_(self.weights.values(), max_norm, self._norm)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_multiplier"]
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def overflowed(self) -> bool:
        """See `Optimizer`."""
        return self.scaler.is_enabled() and self.scaler.get_scale() >= 1

    def state_dict(self) -> dict[str, dict[str, Array]]:
        """See `Optimizer`; and of the scaler."""
        state = {
            name: {
                key: np.array(value.detach().cpu().numpy())
                for key, value in self.optimizer.state[weight].items()
                if isinstance(value, Tensor)
            }
            for name, weight in self.weights.items()
            if weight in self.optimizer.state
        }
        scaler = {key: np.array(value) for key, value in self.scaler.state_dict().items()}
        return {**state, "scaler": scaler} if scaler else state

    def load_state_dict(self, state: Mapping[str, Mapping[str, Array]]) -> None:
        """See `Optimizer`."""
        self.params.check_state(state, {name: tuple(weight.shape) for name, weight in self.weights.items()})
        if self.scaler.is_enabled() and "scaler" in state:
            self.scaler.load_state_dict({key: value.item() for key, value in state["scaler"].items()})
        if not state.keys() - {"scaler"}:
            return
        tensors, steps = OPTIMIZER_TENSORS[self.params.name], self.params.name != "sgd"
        # the step count stays where the optimizer keeps it: on the CPU, unless it is fused on CUDA
        fused = bool(self.optimizer.param_groups[0].get("fused"))
        for name, weight in self.weights.items():
            for key in (*tensors, "step") if steps else tensors:
                device = weight.device if key != "step" or fused else torch.device("cpu")
                self.optimizer.state[weight][key] = torch.from_numpy(np.array(state[name][key])).to(device)
