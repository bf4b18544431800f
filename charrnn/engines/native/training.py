"""Training by the compiled core: a model's cost and its gradients, and AdamW. It starts at once, without PyTorch.

Inside, time comes first, as the core has it: rows (T, B, ...).
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from charrnn.config.train import TrainConfig
from charrnn.engines.base import Array, Optimizer, State
from charrnn.engines.native.lib import PRECISIONS, WEIGHTS, Layer, SoftmaxXent, Weights, aligned, library, number_of
from charrnn.network.architecture import Architecture


@dataclass(frozen=True, eq=False)
class _Read:
    """What `backward` needs of the ids that were read last.

    Attributes:
        calls: of each layer.
        alive: arrays whose addresses are in the calls.
        known: the ids (N,) whose rows of the embedding the first layer has; None: it has them all.
        masks: as they were given.
    """

    calls: list[Layer]
    alive: list[object]
    known: Array | None
    masks: Sequence[Array] | None


class NativeTraining:
    """A language model that learns. Costs, gradients and states are the same to the last bit for every number of
    threads and, in float32, instruction set.

    Args:
        architecture: of a cell that the core runs.
        precision: "float32", or "bfloat16" for the operands of products.

    Attributes:
        weights: float32, by the names of `Architecture.shapes`; zero until they are written, in place.
        gradients: the same for what `forward_backward` leaves.
        threads: of the processor.
    """

    name: ClassVar[str] = "native"

    def __init__(self, architecture: Architecture, precision: str = "float32") -> None:
        core = library()
        assert core is not None, "there is no core"
        self.core, self.architecture, self.precision, self.threads = core, architecture, PRECISIONS[precision], 1
        self.weights = {name: aligned(shape) for name, shape in architecture.shapes().items()}
        self.gradients = {name: aligned(shape) for name, shape in architecture.shapes().items()}
        self._read: _Read | None = None
        self._memory: dict[str, npt.NDArray[np.float32]] = {}

    def set_num_threads(self, count: int) -> None:
        """How many of the processor's threads calls take."""
        self.threads = count

    def copy_weights(self) -> dict[str, Array]:
        """A copy of the weights."""
        return {name: weight.copy() for name, weight in self.weights.items()}

    def load_weights(self, weights: Mapping[str, Array]) -> None:
        """Write all weights; `weights` are named and shaped as `Architecture.shapes`."""
        assert set(weights) == set(self.weights), "names of weights"
        for name, weight in self.weights.items():
            assert weights[name].shape == weight.shape, f"shape of {name}"
            weight[:] = weights[name]

    def zero_state(self, batch: int) -> State:
        """The state of `batch` rows that have read nothing; `<s>` must come next."""
        S = self.architecture.num_states
        return tuple(np.zeros((S, batch, H), np.float32) for H in self.architecture.hidden)

    def state_from_numpy(self, arrays: Sequence[Array]) -> State:
        """A state as arrays (S, B, H) tell it."""
        return tuple(np.array(layer, np.float32, order="C") for layer in arrays)

    def state_to_numpy(self, state: State) -> State:
        """What `state_from_numpy` takes."""
        return state

    def make_optimizer(self, config: TrainConfig) -> Optimizer:
        """See `engines.TrainingEngine`."""
        if config.optimizer == "adamw":
            from charrnn.engines.native.optimizer import NativeAdamW

            return NativeAdamW(self, config)
        from charrnn.engines.torch.optimizer import TorchOptimizer, parameters_of

        return TorchOptimizer(parameters_of(self.weights, self.gradients), config)

    def forward_backward(
        self,
        ids: Array,
        targets: Array,
        state: State,
        masks: Sequence[Array] | None = None,
        weight_masks: Mapping[str, Array] | None = None,
    ) -> tuple[float, State]:
        """See `engines.TrainingEngine`."""
        with self._masked(weight_masks or {}):
            features, after = self.forward(ids, state, masks)
            loss, grad = self.loss(features, targets)
            self.backward(grad)
        return loss, after

    def forward(self, ids: Array, state: State, masks: Sequence[Array] | None = None) -> tuple[Array, State]:
        """`forward_backward` up to what the head reads: features (T, B, F), good until the next call; and the state."""
        architecture, (B, T) = self.architecture, ids.shape
        symbols = np.ascontiguousarray(ids.T, np.int32)  # (T, B)
        assert symbols.size, "no ids"
        assert 0 <= symbols.min() <= symbols.max() <= architecture.bos_id, "an id is out of range"
        starts = symbols == architecture.bos_id
        marks = starts.view(np.uint8) if starts.any() else None
        table = self.weights["embedding"]
        x: Array = table
        index: Array | None = symbols
        known: Array | None = None
        if len(table) > symbols.size:  # products only for the rows that are read
            known, places = np.unique(symbols, return_inverse=True)
            x, index = table[known], np.ascontiguousarray(places.reshape(T, B), np.int32)
        outputs: list[Array] = []
        after: list[Array] = []
        calls: list[Layer] = []
        alive: list[object] = [marks, index, state]
        for layer, (H, before) in enumerate(zip(architecture.hidden, state, strict=True)):
            assert before.shape == (architecture.num_states, B, H), "the state's shape"
            before = np.ascontiguousarray(before, np.float32)
            call = Layer(
                self.precision, number_of(architecture.cell, architecture.activation), self.threads, T, B, x.shape[-1],
                H, x.size // x.shape[-1], x.ctypes.data,
                None if index is None else index.ctypes.data,
                None if marks is None else marks.ctypes.data,
                self._addresses(layer),
                before.ctypes.data,
            )  # fmt: skip
            kept = self._reserve(f"kept {layer}", self.core.charrnn_layer_saved_size(call))
            call.saved, call.work = kept.ctypes.data, self.work(self.core.charrnn_layer_work_size(call))
            new = np.empty_like(before)
            self.core.charrnn_layer_forward(call, new.ctypes.data)
            wide = -(-H // 16) * 16
            h = kept[: (T + 1) * B * wide].reshape(T + 1, B, wide)[1:, :, :H]
            alive += [x, before]
            calls.append(call)
            outputs.append(h)
            after.append(new)
            if layer + 1 < architecture.num_layers:
                index = None
                if masks is None:
                    x = np.ascontiguousarray(h)
                else:
                    x = np.multiply(h, masks[layer], out=self._array(f"input {layer}", h.shape))
        features = outputs[0]
        shape = (T, B, architecture.feature_size)
        if not architecture.sums_layers:
            features = np.concatenate(outputs, axis=2, out=self._array("features", shape))
        else:
            for h in outputs[1:]:
                features = np.add(features, h, out=self._array("features", shape))
        if masks is not None:
            features = np.multiply(features, masks[-1], out=self._array("features", shape))
        self._read = _Read(calls, alive, known, masks)
        return features, tuple(after)

    def loss(self, features: Array, targets: Array) -> tuple[float, Array]:
        """The mean of -ln p of the targets (B, T), given features (T, B, F); its gradient by them; those of the
        head are left in `gradients`."""
        T, B, F = features.shape
        wanted = np.ascontiguousarray(targets.T, np.int32)
        assert wanted.shape == (T, B), "the targets' shape"
        assert 0 <= wanted.min() <= wanted.max() < self.architecture.vocabulary, "a target is out of range"
        rows = _rows(features)
        call = SoftmaxXent(
            self.precision, self.threads, T * B, F, self.architecture.vocabulary, rows.ctypes.data, _distance(rows),
            self.weights["head.weight"].ctypes.data, self.weights["head.bias"].ctypes.data, wanted.ctypes.data,
        )  # fmt: skip
        call.work = self.work(self.core.charrnn_softmax_xent_work_size(call))
        grad = self._array("slopes", features.shape)
        weight, bias = self.gradients["head.weight"], self.gradients["head.bias"]
        loss = self.core.charrnn_softmax_xent_loss(call, grad.ctypes.data, F, weight.ctypes.data, bias.ctypes.data)
        return float(loss), grad

    def backward(self, grad: Array, after: State | None = None) -> State:
        """Follow a cost back through what was read last, once; the gradients of layers and embedding are left in
        `gradients`.

        Args:
            slopes: the cost's gradient by the features, (T, B, F).
            after: that by the state after the last id; None: zero.

        Returns:
            That by the state before.
        """
        assert self._read is not None, "what was read is followed back once"
        read, self._read = self._read, None  # the gradients of gates replace the gates
        architecture, calls, masks = self.architecture, read.calls, read.masks
        if masks is not None:
            grad = np.multiply(grad, masks[-1], out=self._array("slopes", grad.shape))
        places = np.cumsum([0, *architecture.hidden])
        before: list[Array] = []
        above: Array | None = None  # the gradient by a layer's output that comes from the next layer
        for layer in reversed(range(architecture.num_layers)):
            call = calls[layer]
            own = grad if architecture.sums_layers else grad[:, :, places[layer] : places[layer + 1]]
            rows = _rows(own if above is None else np.add(own, above, out=above))
            if layer or read.known is not None:
                below = self._array(f"below {layer}", (call.rows, call.inputs))
            else:
                below = self.gradients["embedding"]
            d_after = None if after is None else np.ascontiguousarray(after[layer], np.float32)
            d_state = np.empty((architecture.num_states, call.batch, call.hidden), np.float32)
            call.work = self.work(self.core.charrnn_layer_work_size(call))
            self.core.charrnn_layer_backward(
                call, rows.ctypes.data, _distance(rows), None if d_after is None else d_after.ctypes.data,
                below.ctypes.data, *(self.gradients[f"layers.{layer}.{name}"].ctypes.data for name in WEIGHTS),
                d_state.ctypes.data,
            )  # fmt: skip
            before.insert(0, d_state)
            if layer:
                above = below.reshape(call.steps, call.batch, -1)
                if masks is not None:
                    above *= masks[layer - 1]
        if read.known is not None:
            self.gradients["embedding"][:] = 0
            self.gradients["embedding"][read.known] = below
        return tuple(before)

    @contextlib.contextmanager
    def _masked(self, masks: Mapping[str, Array]) -> Iterator[None]:
        """Let weights be multiplied by masks for as long as the block lasts, and then the gradients left."""
        whole = {name: self.weights[name].copy() for name in masks}
        for name, mask in masks.items():
            self.weights[name] *= mask
        yield
        for name, mask in masks.items():
            self.weights[name][:] = whole[name]
            self.gradients[name] *= mask

    def _addresses(self, layer: int) -> Weights:
        return Weights(*(self.weights[f"layers.{layer}.{name}"].ctypes.data for name in WEIGHTS))

    def work(self, size: int) -> int:
        """The address of so many bytes, good until the next call."""
        return self._reserve("work", size).ctypes.data

    def _reserve(self, name: str, size: int) -> npt.NDArray[np.float32]:
        """So many bytes that stay from call to call: fresh ones would cost a page fault every 4 kB."""
        if name not in self._memory or self._memory[name].nbytes < size:
            self._memory[name] = aligned([-(-size // 4)])
        return self._memory[name]

    def _array(self, name: str, shape: Sequence[int]) -> npt.NDArray[np.float32]:
        size = math.prod(shape)
        return self._reserve(name, 4 * size)[:size].reshape(shape)


def _rows(x: Array) -> Array:
    """(T, B, N) as rows (T * B, N) at any distance; what the core itself has made is not copied."""
    rows = x.reshape(-1, x.shape[2])
    return rows if rows.strides[1] == rows.itemsize else np.ascontiguousarray(rows)


def _distance(rows: Array) -> int:
    return rows.strides[0] // rows.itemsize
