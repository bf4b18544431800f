"""The language model in PyTorch: ids and a state in, logits and the next state out; its loss, and its gradients."""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from charrnn.engines.arrays import check_weights, gradient_views
from charrnn.engines.base import Array, Ids, Optimizer, OptimizerParams, State
from charrnn.engines.torch.layers import RecurrentLayer, StepLayer, layer_of, matmul_precision, to_device
from charrnn.errors import UsageError
from charrnn.machine import available_cpus, startable_threads
from charrnn.network.architecture import Architecture
from charrnn.network.dropout import NO_MASKS, Masks
from charrnn.network.head import HeadLayout

TorchState = tuple[Tensor, ...]
"""One tensor (S, B, H) per layer: `h`, and for LSTM then `c`. As `engines.base.State`."""


class Head(nn.Module):
    """Logits (..., V) of features (..., F); of two levels ln p. The weights are zero until they are loaded."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.layout = HeadLayout.of(architecture)
        rows = self.layout.levels[-1][1]
        self.weight = nn.Parameter(torch.zeros(rows, architecture.feature_size))
        self.bias = nn.Parameter(torch.zeros(rows))
        for name in ("row_of", "entry_of", "level_of"):
            self.register_buffer(name, torch.from_numpy(getattr(self.layout, name)), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        levels = [self.level(number, features) for number in range(len(self.layout.levels))]
        if len(levels) == 1:
            return levels[0]
        wide = [logits if logits.dtype == torch.float64 else logits.float() for logits in levels]
        rows = torch.cat([torch.log_softmax(logits, dim=-1) for logits in wide], dim=-1)
        of_clusters = rows[..., self.get_buffer("entry_of")].masked_fill(self.get_buffer("level_of") == 0, 0)
        return rows[..., self.get_buffer("row_of")] + of_clusters

    def level(self, number: int, features: Tensor) -> Tensor:
        """Return the logits of one level."""
        begin, end = self.layout.levels[number]
        return nn.functional.linear(features, self.weight[begin:end], self.bias[begin:end])

    def loss(self, features: Tensor, tokens: Tensor) -> Tensor:
        """Return the mean of -ln p of N tokens, int64 (N,) on the CPU, given features (N, F)."""
        parts = []
        for number in range(len(self.layout.levels)):
            among, places = self.layout.targets_of(number, tokens.numpy())
            if not len(places):
                continue
            read = features if number == 0 else features[to_device(torch.from_numpy(among), features.device)]
            wanted = to_device(torch.from_numpy(places), features.device)
            mean = nn.functional.cross_entropy(self.level(number, read), wanted)
            parts.append(mean * (len(places) / len(tokens)))
        return functools.reduce(torch.add, parts)


class LanguageModel(nn.Module):
    """A recurrent language model over V tokens; `TrainingEngine` by PyTorch.

    All weights are zero until `load_weights`; nothing is ever drawn from torch's own generator.

    Args:
        architecture: the model's sizes.
        precision: of matrix products in `forward_backward`, as for `layers.matmul_precision`.

    Attributes:
        scaler: scales the loss, so that float16 can hold its gradients (Micikevicius et al. 2018); optimizers use it.
    """

    name = "torch"

    def __init__(self, architecture: Architecture, precision: str = "float32") -> None:
        super().__init__()
        self.architecture, self.precision = architecture, precision
        self.scaler = torch.amp.GradScaler(enabled=False)
        self._gradients: Tensor | None = None
        self._grads: dict[str, Tensor] = {}
        self.embedding = nn.Parameter(torch.zeros(architecture.vocabulary + 1, architecture.embedding))
        cell, activation = architecture.cell, architecture.activation
        self.layers = nn.ModuleList(
            layer_of(cell, width, size, activation)
            for width, size in zip(architecture.input_sizes, architecture.hidden, strict=True)
        )
        self.head = Head(architecture)

    def to(self, *where: Any, **options: Any) -> Self:
        """See `torch.nn.Module`."""
        super().to(*where, **options)
        self.scaler = torch.amp.GradScaler(self.embedding.device.type, enabled=self.precision == "float16")
        return self

    @property
    def gradients(self) -> Tensor:
        """See `TrainingEngine`; the parameters' gradients are parts of it."""
        weight = self.embedding
        if self._gradients is None or (self._gradients.device, self._gradients.dtype) != (weight.device, weight.dtype):
            self._gradients = weight.new_zeros(self.architecture.num_parameters + 2)
            self._grads = gradient_views(self._gradients, self.architecture.shapes())
        for name, parameter in self.named_weights().items():
            parameter.grad = self._grads[name]
        return self._gradients

    def set_num_threads(self, count: int) -> None:
        """See `TrainingEngine`; of all that PyTorch does. Its OpenMP ends the process where it gets fewer.

        Raises:
            UsageError: so many threads cannot be started here.
        """
        if count > available_cpus() and (most := startable_threads(count)) < count:
            raise UsageError(f"{{threads}} {count}: no more than {most} can be started here", ("threads",))
        torch.set_num_threads(count)

    def zero_state(self, batch: int) -> TorchState:
        """See `TrainingEngine`."""
        S = self.architecture.num_states
        return tuple(self.embedding.new_zeros(S, batch, H) for H in self.architecture.hidden)

    def state_from_numpy(self, arrays: Sequence[Array]) -> TorchState:
        """See `TrainingEngine`."""
        return tuple(self.embedding.new_tensor(layer) for layer in arrays)

    def state_to_numpy(self, state: TorchState) -> State:
        """See `TrainingEngine`."""
        return tuple(np.array(layer.detach().cpu().numpy()) for layer in state)

    def make_optimizer(self, params: OptimizerParams) -> Optimizer:
        """See `TrainingEngine`."""
        from charrnn.engines.torch.optimizer import TorchOptimizer

        return TorchOptimizer(self.named_weights(), params, self.scaler)

    def forward_backward(
        self, inputs: Ids, targets: Ids, state: TorchState, masks: Masks = NO_MASKS
    ) -> tuple[Tensor, TorchState]:
        """See `TrainingEngine`. Never waits for a GPU."""
        device, gradients = self.embedding.device, self.gradients
        gradients[:-2].zero_()
        units = None if masks.units is None else [to_device(torch.from_numpy(mask), device) for mask in masks.units]
        with self._masked(masks.weights):
            with matmul_precision(self.precision, device):
                features, after = self.outputs(torch.from_numpy(inputs), state, units)
                loss = self.loss(features, torch.from_numpy(targets))
            with matmul_precision("float32" if self.precision == "float32" else "tf32", device):
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        gradients[-2] = loss.detach()
        return loss.detach(), tuple(layer.detach().float() for layer in after)

    @contextlib.contextmanager
    def _masked(self, masks: Mapping[str, Array]) -> Iterator[None]:
        """Multiply weights by masks for as long as the block lasts, and the gradients that it leaves."""
        named = self.named_weights()
        masked = [(named[name], to_device(torch.from_numpy(mask), named[name].device)) for name, mask in masks.items()]
        whole = [weight.detach().clone() for weight, _ in masked]
        try:
            for weight, mask in masked:
                weight.data.mul_(mask)
            yield
        finally:
            for (weight, _), before in zip(masked, whole, strict=True):
                weight.data.copy_(before)
        for weight, mask in masked:
            if weight.grad is not None:
                weight.grad.mul_(mask)

    def forward(
        self, ids: Tensor, state: TorchState, masks: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, TorchState]:
        """Read ids, and predict the next one after each.

        Args:
            ids: int64 (B, T) in [0, V], best on the CPU: where states are reset decides which kernels run. Before an id
                V, `<s>`, is read its row's state is zeroed.
            state: of B rows, after all that comes before `ids`.
            masks: `Masks.units` as tensors (B, width), or None.

        Returns:
            Logits (B, T, V) of the token after each of `ids`, and the state after the last of them.
        """
        features, state = self.outputs(ids, state, masks)
        return self.head(features), state

    def outputs(
        self, ids: Tensor, state: TorchState, masks: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, TorchState]:
        """Return what the head reads, (B, T, F), and the state after: `forward` for a caller who wants logits in
        pieces."""
        is_bos = (ids == self.architecture.bos_id).cpu()  # (B, T)
        resets = is_bos if is_bos.any() else None
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
        """Return what the head reads, (..., F), from each layer's output (..., H)."""
        if self.architecture.sums_layers:
            return functools.reduce(torch.add, outputs)
        return torch.cat(tuple(outputs), dim=-1)

    def loss(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of -ln p of the targets, int64 (B, T) in [0, V) on the CPU, in nats."""
        return self.head.loss(features.flatten(0, 1), targets.flatten())

    def named_weights(self) -> dict[str, nn.Parameter]:
        """Return the parameters themselves, by the names of `architecture.shapes()`, in its order."""
        named: dict[str, nn.Parameter] = {"embedding": self.embedding}
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, RecurrentLayer | StepLayer)
            named |= {f"layers.{number}.{name}": weight for name, weight in layer.weights().items()}
        named |= {f"head.{name}": weight for name, weight in self.head.named_parameters()}
        return named

    def weights(self) -> dict[str, Array]:
        """See `TrainingEngine`."""
        return {
            name: np.array(weight.detach().float().cpu().numpy(), order="C")
            for name, weight in self.named_weights().items()
        }

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Array]) -> None:
        """See `TrainingEngine`; they are converted to the model's own type."""
        check_weights(weights, self.architecture)
        for name, weight in self.named_weights().items():
            weight.copy_(torch.tensor(weights[name]))


class TorchGradients:
    """What `NativeTraining` has to backpropagate with, on the CPU, where there is no core.

    Args:
        architecture: the model's sizes.

    Attributes:
        parameters: the weights themselves, float32, by the names of `Architecture.shapes`.
        grads: what `backward` leaves, likewise.
    """

    def __init__(self, architecture: Architecture) -> None:
        self.model = LanguageModel(architecture)
        self.parameters = {name: weight.detach().numpy() for name, weight in self.model.named_weights().items()}
        self.grads: dict[str, Array] = gradient_views(self.model.gradients.numpy(), architecture.shapes())
        self._features: Tensor | None = None

    def forward(self, inputs: Ids, state: State) -> tuple[Array, State]:
        """See `NativeTraining`."""
        features, after = self.model.outputs(torch.from_numpy(inputs), self.model.state_from_numpy(state))
        self._features = features.transpose(0, 1)
        return self._features.detach().numpy(), self.model.state_to_numpy(after)

    def backward(self, grad: Array) -> None:
        """See `NativeTraining`."""
        if self._features is None:
            raise RuntimeError("there is no forward pass to go back through")
        features, self._features = self._features, None
        self.model.gradients.zero_()
        features.backward(torch.from_numpy(grad))  # type: ignore[no-untyped-call]
