"""The language model as PyTorch trains it: ids and a state in, logits and the next state out."""

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from charrnn.architecture import Architecture
from charrnn.draws import Purpose, generator
from charrnn.engines import Array
from charrnn.engines.native_torch import Machine, NativeLayer, mean_cost
from charrnn.engines.torch import RecurrentLayer, SteppedLayer, layer_of

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

    All weights are zero until `initialise` or `load_weights`; nothing is ever drawn from torch's own
    generator. The loss belongs to the caller.

    Args:
        architecture: the model's sizes.
        engine: what runs it, "torch" or "native"; the weights' names and shapes are the same.
        precision: of the native engine's products, "float32" or "bfloat16".

    Attributes:
        machine: the native engine's, or None.
    """

    def __init__(self, architecture: Architecture, engine: str = "torch", precision: str = "float32") -> None:
        super().__init__()
        self.architecture = architecture
        self.machine = Machine(precision) if engine == "native" else None
        V, F = architecture.vocabulary, architecture.features
        self.embedding = nn.Parameter(torch.zeros(V + 1, architecture.embedding))
        cell, activation = architecture.cell, architecture.activation
        self.layers = nn.ModuleList(
            NativeLayer(self.machine, cell, width, size, activation)
            if self.machine
            else layer_of(cell, width, size, activation)
            for width, size in zip(architecture.inputs, architecture.hidden, strict=True)
        )
        self.head = Head(F, V)

    def zero_state(self, batch: int) -> TorchState:
        """The state of `batch` rows that have read nothing; `<s>` must come next."""
        S = self.architecture.states
        return tuple(self.embedding.new_zeros(S, batch, H) for H in self.architecture.hidden)

    def forward(
        self, ids: Tensor, state: TorchState, masks: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, TorchState]:
        """Read ids, predicting after each.

        Args:
            ids: int64 (B, T) in [0, V]; before an id V, `<s>`, is read that row's state is set to zero.
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
        # Where to reset decides which kernels run, so the CPU has to know: one wait for the device.
        starts = (ids == self.architecture.start).cpu()  # (B, T)
        resets = starts if starts.any() else None
        x: Tensor = self.embedding
        read = ids if masks is None else None  # the first layer looks ids up itself
        if masks is not None:
            x = nn.functional.embedding(ids, self.embedding)  # (B, T, E)
        after, outputs = [], []
        for number, (layer, before) in enumerate(zip(self.layers, state, strict=True)):
            if masks is not None:
                x = x * masks[number][:, None]
            x, new = layer(x, resets, before, read)  # (B, T, H)
            read = None
            outputs.append(x)
            after.append(new)
        features = self.features(outputs)
        if masks is not None:
            features = features * masks[-1][:, None]
        return features, tuple(after)

    def features(self, outputs: Sequence[Tensor]) -> Tensor:
        """What the head reads, (..., F), from each layer's output (..., H)."""
        if self.architecture.summed:
            return functools.reduce(torch.add, outputs)
        return torch.cat(tuple(outputs), dim=-1)

    def cost(self, features: Tensor, targets: Tensor) -> Tensor:
        """The mean of -ln p of the targets, int64 (B, T) in [0, V), in nats."""
        if self.machine:
            return mean_cost(self.machine, features, self.head.weight, self.head.bias, targets)
        return nn.functional.cross_entropy(self.head(features).flatten(0, 1), targets.flatten())

    def named_weights(self) -> dict[str, nn.Parameter]:
        """The parameters themselves under the names of `architecture.shapes()`, in its order."""
        named: dict[str, nn.Parameter] = {"embedding": self.embedding}
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, NativeLayer | RecurrentLayer | SteppedLayer)
            named |= {f"layers.{number}.{name}": weight for name, weight in layer.weights().items()}
        named |= {f"head.{name}": weight for name, weight in self.head.named_parameters()}
        return named

    def weights(self) -> dict[str, Array]:
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

    def initialise(self, seed: int) -> None:
        """Write the weights of a model that has learnt nothing, as `initial_weights` draws them."""
        self.load_weights(initial_weights(self.architecture, seed))


def initial_weights(architecture: Architecture, seed: int) -> dict[str, Array]:
    """Float32 weights to begin training with, a function of the seed alone.

    The same on every machine but for the last bit, where its LAPACK rounds otherwise.

    - The embedding is normal of deviation 1/2: with 0.1 the symbols look alike at first, and a GRU is
      half a nat behind after 150 steps. The head is so small that the first loss is ln V.
    - Input matrices are uniform of variance 1 / fan in (LeCun et al. 1998), recurrent ones orthogonal gate
      by gate (Saxe et al. 2013), also for relu: the identity (Le et al. 2015) adds up without bound over
      a state that is carried through a whole text.
    - Biases and peepholes are zero, but 1 is the bias of a forget gate (Gers et al. 2000; Jozefowicz et al. 2015).
    - The sigmoid network starts as the image of a tanh one under sigmoid(a) = (1 + tanh(a/2)) / 2.
      Otherwise a slope of 1/4 and a mean output of 1/2 make it forget at once, and it learns little.

    Args:
        architecture: the model's sizes.
        seed: of the run.
    """
    weights: dict[str, Array] = {}
    cell = architecture.kind
    for number, (name, shape) in enumerate(architecture.shapes().items()):
        draw = generator(seed, Purpose.INITIALISE, number)
        if name == "embedding":
            value = 0.5 * draw.standard_normal(shape)
        elif name == "head.weight":
            value = 0.2 / np.sqrt(shape[1]) * draw.standard_normal(shape)
        elif name.endswith("weight_ih"):
            value = draw.uniform(-1, 1, shape) * np.sqrt(3 / shape[1])
        elif name.endswith("weight_hh"):
            value = np.concatenate([_orthogonal(draw, shape[1]) for _ in range(architecture.gates)])
        else:
            value = np.zeros(shape)
        if name.endswith("bias_ih") and cell.forget:
            value.reshape(len(cell.gates), -1)[cell.gates.index(cell.forget)] = 1
        weights[name] = value.astype(np.float32)
    if architecture.activation == "sigmoid":
        _tanh_to_sigmoid(architecture, weights)
    return weights


def _orthogonal(draw: np.random.Generator, size: int) -> Array:
    """A matrix drawn evenly from all orthogonal ones (H, H), float64."""
    q, r = np.linalg.qr(draw.standard_normal((size, size)))
    return np.asarray(q * np.sign(np.diag(r)))  # a sign left to LAPACK would not be even


def _tanh_to_sigmoid(architecture: Architecture, weights: dict[str, Array]) -> None:
    """Make h' = sigmoid(W' x' + U' h' + b') follow h = tanh(W x + U h), as h' = (1 + h) / 2.

    So a' = 2 (W x + U (2 h' - 1)), and likewise where x is the h of the layer below.
    """
    for layer in range(architecture.layers):
        W, U = weights[f"layers.{layer}.weight_ih"], weights[f"layers.{layer}.weight_hh"]
        bias = -2 * U.sum(axis=1)
        W *= 2
        U *= 4
        if layer > 0:
            bias -= W.sum(axis=1)
            W *= 2
        weights[f"layers.{layer}.bias_ih"] += bias
