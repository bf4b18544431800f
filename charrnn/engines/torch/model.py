"""The language model as PyTorch trains it: ids and a state in, logits and the next state out."""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from charrnn.config.train import TrainConfig
from charrnn.engines.base import Array, Optimizer, State
from charrnn.engines.torch.layers import RecurrentLayer, StepLayer, layer_of, matmul_precision, to_device
from charrnn.network.architecture import Architecture

TorchState = tuple[Tensor, ...]
"""One tensor (S, B, H) per layer: `h`, and for LSTM then `c`. As `engines.State`."""


class Head(nn.Module):
    """Logits (..., V) of features (..., F). The weights are zero until they are written."""

    def __init__(self, features: int, vocabulary: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(vocabulary, features))
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return nn.functional.linear(features, self.weight, self.bias)


class LanguageModel(nn.Module):
    """A recurrent language model over V symbols.

    All weights are zero until `load_weights`; nothing is ever drawn from torch's own
    generator. The loss belongs to the caller.

    Args:
        architecture: the model's sizes.
        precision: of what products multiply in `forward_backward`, as for `engines.torch.matmul_precision`.

    Attributes:
        scaler: of costs, so that float16 can hold their gradients (Micikevicius et al. 2018); optimizers heed it.
    """

    name: ClassVar[str] = "torch"

    def __init__(self, architecture: Architecture, precision: str = "float32") -> None:
        super().__init__()
        self.architecture, self.precision = architecture, precision
        self.scaler = torch.amp.GradScaler(enabled=False)
        V, F = architecture.vocabulary, architecture.feature_size
        self.embedding = nn.Parameter(torch.zeros(V + 1, architecture.embedding))
        cell, activation = architecture.cell, architecture.activation
        self.layers = nn.ModuleList(
            layer_of(cell, width, size, activation)
            for width, size in zip(architecture.input_sizes, architecture.hidden, strict=True)
        )
        self.head = Head(F, V)

    def to(self, *where: Any, **how: Any) -> Self:
        """See `torch.nn.Module`."""
        super().to(*where, **how)
        self.scaler = torch.amp.GradScaler(self.embedding.device.type, enabled=self.precision == "float16")
        return self

    def set_num_threads(self, count: int) -> None:
        """How many of the processor's threads PyTorch takes, in all it does."""
        torch.set_num_threads(count)

    def zero_state(self, batch: int) -> TorchState:
        """The state of `batch` rows that have read nothing; `<s>` must come next."""
        S = self.architecture.num_states
        return tuple(self.embedding.new_zeros(S, batch, H) for H in self.architecture.hidden)

    def state_from_numpy(self, arrays: Sequence[Array]) -> TorchState:
        """A state as arrays (S, B, H) tell it."""
        return tuple(self.embedding.new_tensor(layer) for layer in arrays)

    def state_to_numpy(self, state: TorchState) -> State:
        """What `state_from_numpy` takes."""
        return tuple(np.array(layer.detach().cpu().numpy()) for layer in state)

    def make_optimizer(self, config: TrainConfig) -> Optimizer:
        """See `engines.TrainingEngine`."""
        from charrnn.engines.torch.optimizer import TorchOptimizer

        return TorchOptimizer(self.named_weights(), config, self.scaler)

    def forward_backward(
        self,
        ids: Array,
        targets: Array,
        state: TorchState,
        masks: Sequence[Array] | None = None,
        weight_masks: Mapping[str, Array] | None = None,
    ) -> tuple[Tensor, TorchState]:
        """See `engines.TrainingEngine`; the gradients are those of the parameters. Never waits for a GPU."""
        device = self.embedding.device
        self.zero_grad()
        on_device = None if masks is None else [to_device(torch.from_numpy(mask), device) for mask in masks]
        with self._masked(weight_masks or {}):
            with matmul_precision(self.precision, device):
                features, after = self.outputs(torch.from_numpy(ids), state, on_device)
                loss = self.loss(features, to_device(torch.from_numpy(targets), device))
            with matmul_precision("float32" if self.precision == "float32" else "tf32", device):
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss.detach(), tuple(layer.detach().float() for layer in after)

    @contextlib.contextmanager
    def _masked(self, masks: Mapping[str, Array]) -> Iterator[None]:
        """Let weights be multiplied by masks for as long as the block lasts, and then the gradients left."""
        named = self.named_weights()
        masked = [(named[name], to_device(torch.from_numpy(mask), named[name].device)) for name, mask in masks.items()]
        whole = [weight.detach().clone() for weight, _ in masked]
        for weight, mask in masked:
            weight.data.mul_(mask)
        yield
        for (weight, mask), before in zip(masked, whole, strict=True):
            weight.data.copy_(before)
            assert weight.grad is not None
            weight.grad.mul_(mask)

    def forward(
        self, ids: Tensor, state: TorchState, masks: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, TorchState]:
        """Read ids, predicting after each.

        Args:
            ids: int64 (B, T) in [0, V], best on the CPU: where to reset decides which kernels run. Before an id V,
                `<s>`, is read that row's state is set to zero.
            state: of B rows, after all that came before `ids`.
            masks: `draws.dropout_masks` as tensors (B, width), or None.

        Returns:
            logits (B, T, V) of the symbol after each of `ids`; the state after the last of them.
        """
        features, state = self.outputs(ids, state, masks)
        return self.head(features), state

    def outputs(
        self, ids: Tensor, state: TorchState, masks: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, TorchState]:
        """`forward` up to the head: features (B, T, F), for a caller who wants logits in pieces."""
        starts = (ids == self.architecture.bos_id).cpu()  # (B, T)
        resets = starts if starts.any() else None
        x = nn.functional.embedding(to_device(ids, self.embedding.device), self.embedding)  # (B, T, E)
        after, outputs = [], []
        for number, (layer, before) in enumerate(zip(self.layers, state, strict=True)):
            if masks is not None and number:
                x = x * masks[number - 1][:, None]
            x, new = layer(x, resets, before)  # (B, T, H)
            outputs.append(x)
            after.append(new)
        features = self.features(outputs)
        if masks is not None:
            features = features * masks[-1][:, None]
        return features, tuple(after)

    def features(self, outputs: Sequence[Tensor]) -> Tensor:
        """What the head reads, (..., F), from each layer's output (..., H)."""
        if self.architecture.sums_layers:
            return functools.reduce(torch.add, outputs)
        return torch.cat(tuple(outputs), dim=-1)

    def loss(self, features: Tensor, targets: Tensor) -> Tensor:
        """The mean of -ln p of the targets, int64 (B, T) in [0, V), in nats."""
        return nn.functional.cross_entropy(self.head(features).flatten(0, 1), targets.flatten())

    def named_weights(self) -> dict[str, nn.Parameter]:
        """The parameters themselves under the names of `architecture.shapes()`, in its order."""
        named: dict[str, nn.Parameter] = {"embedding": self.embedding}
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, RecurrentLayer | StepLayer)
            named |= {f"layers.{number}.{name}": weight for name, weight in layer.weights().items()}
        named |= {f"head.{name}": weight for name, weight in self.head.named_parameters()}
        return named

    def copy_weights(self) -> dict[str, Array]:
        """Float32 copies in main memory, named and shaped as `architecture.shapes()`."""
        return {
            name: np.array(weight.detach().float().cpu().numpy(), order="C")
            for name, weight in self.named_weights().items()
        }

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Array]) -> None:
        """Write all weights, converted to the model's own type.

        Args:
            weights: arrays named and shaped as `architecture.shapes()`; a checkpoint checks its own.
        """
        shapes = self.architecture.shapes()
        assert set(weights) == set(shapes), "names of weights"
        for name, weight in self.named_weights().items():
            assert weights[name].shape == shapes[name], f"shape of {name}"
            weight.copy_(torch.tensor(weights[name]))


class TorchGradients:
    """What `NativeTraining` has to follow a cost back by, on the CPU, for cells that the core does not run.

    Args:
        architecture: the model's sizes.

    Attributes:
        weights: float32, by the names of `Architecture.shapes`; zero until they are written, in place.
        gradients: what `backward` leaves.
    """

    def __init__(self, architecture: Architecture) -> None:
        self.model = LanguageModel(architecture)
        self.weights = {name: weight.detach().numpy() for name, weight in self.model.named_weights().items()}
        self.gradients: dict[str, Array] = {}
        self._features: Tensor | None = None

    def forward(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `NativeTraining`."""
        features, after = self.model.outputs(torch.from_numpy(ids), self.model.state_from_numpy(state))
        self._features = features.transpose(0, 1)
        return self._features.detach().numpy(), self.model.state_to_numpy(after)

    def backward(self, grad: Array) -> None:
        """See `NativeTraining`."""
        assert self._features is not None, "what was read is followed back once"
        features, self._features = self._features, None
        self.model.zero_grad()
        features.backward(torch.from_numpy(grad))  # type: ignore[no-untyped-call]
        for name, weight in self.model.named_weights().items():
            if weight.grad is not None:
                self.gradients[name] = weight.grad.numpy()
