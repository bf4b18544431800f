"""Training by the compiled core: a model's loss and its gradients. It starts at once, without PyTorch.

Inside, time comes first, as the core has it: rows (T, B, ...).
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.engines.arrays import as_rows, check_weights, gradient_views, row_stride, zero_state
from charrnn.engines.base import Array, Ids, Optimizer, OptimizerParams, State
from charrnn.engines.native.lib import (
    PRECISIONS,
    Layer,
    SoftmaxXent,
    Weights,
    aligned,
    as_ids,
    cell_number,
    check_threads,
    loaded,
    weight_addresses,
)
from charrnn.network.architecture import Architecture
from charrnn.network.dropout import NO_MASKS, Masks
from charrnn.network.head import HeadLayout

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Forward:
    """What `backward` needs of the last `forward`.

    Attributes:
        calls: of each layer.
        alive: arrays whose addresses are in the calls.
        known: the ids (N,) whose rows of the embedding the first layer has; None: it has them all.
        masks: as given.
    """

    calls: list[Layer]
    alive: list[object]
    known: Array | None
    masks: Sequence[Array] | None


class NativeTraining:
    """`TrainingEngine` by the core. Losses, gradients and states are the same to the last bit for every number of
    threads and, in float32, instruction set.

    Args:
        architecture: of a cell that the core runs.
        precision: "float32", or "bfloat16" for the operands of products.

    Attributes:
        parameters: the weights themselves, float32, by the names of `Architecture.shapes`.
        gradients: see `TrainingEngine`. grads: each weight's part of them.
        threads: of the processor.
    """

    name = "native"

    def __init__(self, architecture: Architecture, precision: str = "float32") -> None:
        self.core, self.architecture, self.precision, self.threads = loaded(), architecture, PRECISIONS[precision], 1
        self.layout = HeadLayout.of(architecture)
        shapes = architecture.shapes()
        self.parameters: dict[str, Floats] = {name: aligned(shape) for name, shape in shapes.items()}
        self.gradients = aligned([architecture.num_parameters + 2])
        self.grads: dict[str, Floats] = gradient_views(self.gradients, shapes)
        layers = range(architecture.num_layers)
        self._weights = [Weights(*weight_addresses(self.parameters, layer)) for layer in layers]
        self._grad_addresses = [weight_addresses(self.grads, layer) for layer in layers]
        self._last: _Forward | None = None
        self._memory: dict[str, Floats] = {}

    def set_num_threads(self, count: int) -> None:
        """See `TrainingEngine`."""
        self.threads = check_threads(count)

    def weights(self) -> dict[str, Array]:
        """See `TrainingEngine`."""
        return {name: weight.copy() for name, weight in self.parameters.items()}

    def load_weights(self, weights: Mapping[str, Array]) -> None:
        """See `TrainingEngine`."""
        check_weights(weights, self.architecture)
        for name, weight in self.parameters.items():
            weight[:] = weights[name]

    def zero_state(self, batch: int) -> State:
        """See `TrainingEngine`."""
        return zero_state(self.architecture, batch)

    def state_from_numpy(self, arrays: Sequence[Array]) -> State:
        """See `TrainingEngine`."""
        return tuple(np.array(layer, np.float32, order="C") for layer in arrays)

    def state_to_numpy(self, state: State) -> State:
        """See `TrainingEngine`."""
        return state

    def make_optimizer(self, params: OptimizerParams) -> Optimizer:
        """See `TrainingEngine`."""
        if params.name == "adamw":
            from charrnn.engines.native.optimizer import AdamW

            return AdamW(self, params)
        from charrnn.engines.torch.optimizer import TorchOptimizer, as_parameters

        return TorchOptimizer(as_parameters(self.parameters, self.grads), params)

    def forward_backward(self, inputs: Ids, targets: Ids, state: State, masks: Masks = NO_MASKS) -> tuple[float, State]:
        """See `TrainingEngine`."""
        with self._masked(masks.weights):
            features, after = self.forward(inputs, state, masks.units)
            loss, grad = self.loss(features, targets)
            self.backward(grad)
        self.gradients[-2] = loss
        return loss, after

    def forward(self, inputs: Ids, state: State, masks: Sequence[Array] | None = None) -> tuple[Array, State]:
        """Return what the head reads, (T, B, F), good until the next call; and the state after the last id.

        Args:
            inputs, state: as for `forward_backward`.
            masks: `Masks.units`.
        """
        architecture, (B, T) = self.architecture, inputs.shape
        ids = as_ids(inputs.T, architecture.bos_id)  # (T, B)
        self._check_state(state, B)
        bos = ids == architecture.bos_id
        resets = bos.view(np.uint8) if bos.any() else None
        table = self.parameters["embedding"]
        x: Array = table
        index: Array | None = ids
        known: Array | None = None
        if len(table) > ids.size:  # products only for the rows that are read
            known, places = np.unique(ids, return_inverse=True)
            x, index = table[known], np.ascontiguousarray(places.reshape(T, B), np.int32)
        outputs: list[Array] = []
        after: list[Array] = []
        calls: list[Layer] = []
        alive: list[object] = [resets, index, state]
        for layer, (H, before) in enumerate(zip(architecture.hidden, state, strict=True)):
            before = np.ascontiguousarray(before, np.float32)
            call = Layer(
                self.precision, cell_number(architecture.cell, architecture.activation), self.threads, T, B,
                x.shape[-1], H, x.size // x.shape[-1], x.ctypes.data,
                None if index is None else index.ctypes.data,
                None if resets is None else resets.ctypes.data,
                self._weights[layer],
                before.ctypes.data,
            )  # fmt: skip
            saved = self._reserve(f"saved {layer}", self.core.charrnn_layer_saved_size(call))
            call.saved, call.work = saved.ctypes.data, self.work(self.core.charrnn_layer_work_size(call))
            new = np.empty_like(before)
            self.core.charrnn_layer_forward(call, new.ctypes.data)
            padded = -(-H // 16) * 16
            h = saved[: (T + 1) * B * padded].reshape(T + 1, B, padded)[1:, :, :H]
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
        self._last = _Forward(calls, alive, known, masks)
        return features, tuple(after)

    def loss(self, features: Array, targets: Ids) -> tuple[float, Array]:
        """Return the mean of -ln p of the targets (B, T), given features (T, B, F); and its gradient by the features.
        That by the head's weights is left in `gradients`."""
        (B, T), F = targets.shape, self.architecture.feature_size
        wanted = as_ids(targets.T, self.architecture.vocabulary - 1).ravel()
        rows, grad, loss = as_rows(features, (T, B, F)), self._array("grad", features.shape), 0.0
        for level, (begin, end) in enumerate(self.layout.levels):
            among, targets_of_level = self.layout.targets_of(level, wanted)
            places = targets_of_level.astype(np.int32)
            weight, bias = self.grads["head.weight"][begin:end], self.grads["head.bias"][begin:end]
            if not len(places):
                weight[:] = bias[:] = 0
                continue
            x, dx = rows, grad.reshape(T * B, F)
            if level:
                x, dx = rows[among], self._array("grad of a cluster", (len(places), F))
            call = SoftmaxXent(
                self.precision, self.threads, len(places), F, end - begin, len(wanted), x.ctypes.data, row_stride(x),
                self.parameters["head.weight"][begin:end].ctypes.data,
                self.parameters["head.bias"][begin:end].ctypes.data, places.ctypes.data,
            )  # fmt: skip
            call.work = self.work(self.core.charrnn_softmax_xent_work_size(call))
            loss += self.core.charrnn_softmax_xent_loss(call, dx.ctypes.data, F, weight.ctypes.data, bias.ctypes.data)
            if level:
                grad.reshape(T * B, F)[among] += dx
        return loss, grad

    def backward(self, grad: Array, after: State | None = None) -> State:
        """Backpropagate through the last `forward`, once; the gradients of layers and embedding are left in
        `gradients`.

        Args:
            grad: the loss's gradient by the features, (T, B, F).
            after: that by the state after the last id; None: zero.

        Returns:
            That by the state before.
        """
        if self._last is None:
            raise RuntimeError("there is no forward pass to go back through")
        last = self._last
        architecture, calls, masks = self.architecture, last.calls, last.masks
        (T, B), F = (calls[0].steps, calls[0].batch), architecture.feature_size
        if grad.shape != (T, B, F):
            raise ValueError(f"a gradient of shape {grad.shape}, not {(T, B, F)}")
        if after is not None:
            self._check_state(after, B)
        self._last = None  # the gradients of the gates replace the gates
        if masks is not None:
            grad = np.multiply(grad, masks[-1], out=self._array("grad", grad.shape))
        places = np.cumsum([0, *architecture.hidden])
        before: list[Array] = []
        above: Array | None = None  # the gradient by a layer's output that comes from the next layer
        for layer in reversed(range(architecture.num_layers)):
            call = calls[layer]
            own = grad if architecture.sums_layers else grad[:, :, places[layer] : places[layer + 1]]
            rows = as_rows(own if above is None else np.add(own, above, out=above), (T, B, call.hidden))
            if layer or last.known is not None:
                below = self._array(f"below {layer}", (call.rows, call.inputs))
            else:
                below = self.grads["embedding"]
            d_after = None if after is None else np.ascontiguousarray(after[layer], np.float32)
            d_state = np.empty((architecture.num_states, call.batch, call.hidden), np.float32)
            call.work = self.work(self.core.charrnn_layer_work_size(call))
            self.core.charrnn_layer_backward(
                call, rows.ctypes.data, row_stride(rows), None if d_after is None else d_after.ctypes.data,
                below.ctypes.data, *self._grad_addresses[layer], d_state.ctypes.data,
            )  # fmt: skip
            before.insert(0, d_state)
            if layer:
                above = below.reshape(call.steps, call.batch, -1)
                if masks is not None:
                    above *= masks[layer - 1]
        if last.known is not None:
            self.grads["embedding"][:] = 0
            self.grads["embedding"][last.known] = below
        return tuple(before)

    @contextlib.contextmanager
    def _masked(self, masks: Mapping[str, Array]) -> Iterator[None]:
        """Multiply weights by masks for as long as the block lasts, and the gradients that it leaves."""
        whole = {name: self.parameters[name].copy() for name in masks}
        try:
            for name, mask in masks.items():
                self.parameters[name] *= mask
            yield
        finally:
            for name, weight in whole.items():
                self.parameters[name][:] = weight
        for name, mask in masks.items():
            self.grads[name] *= mask

    def _check_state(self, state: State, batch: int) -> None:
        """Raise ValueError unless this is a state, or its gradient, of so many rows."""
        shapes = [(self.architecture.num_states, batch, H) for H in self.architecture.hidden]
        if [layer.shape for layer in state] != shapes:
            raise ValueError(f"a state of shapes {[layer.shape for layer in state]}, not {shapes}")

    def work(self, size: int) -> int:
        """Return the address of so many bytes, good until the next call."""
        return self._reserve("work", size).ctypes.data

    def _reserve(self, name: str, size: int) -> Floats:
        """Return so many bytes that stay from call to call: fresh ones would cost a page fault every 4 kB."""
        if name not in self._memory or self._memory[name].nbytes < size:
            self._memory[name] = aligned([-(-size // 4)])
        return self._memory[name]

    def _array(self, name: str, shape: Sequence[int]) -> Floats:
        size = math.prod(shape)
        return self._reserve(name, 4 * size)[:size].reshape(shape)
