"""Training by the compiled core: its layers and its softmax as differentiable functions of torch."""

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from charrnn.cells import CELLS
from charrnn.engines.core import PRECISIONS, WEIGHTS, Head, Layer, Update, Weights, library, number_of


class Machine:
    """The core as one model uses it: its threads, and the memory that calls work in.

    Args:
        precision: "float32", or "bfloat16" for the operands of products.

    Attributes:
        threads: of the processor.
    """

    def __init__(self, precision: str = "float32") -> None:
        core = library()
        assert core is not None, "there is no core"
        self.core, self.threads, self.precision = core, 1, PRECISIONS[precision]
        self._work = torch.empty(0)
        _keep_memory()

    def work(self, size: int) -> int:
        """The address of so many bytes, good until the next call."""
        if self._work.numel() * 4 < size:
            self._work = aligned(size)
        return self._work.data_ptr()


def aligned(size: int) -> Tensor:
    """Floats that fill so many bytes, from a multiple of 64 on, as the core wants them."""
    memory = torch.empty((size + 3) // 4)
    assert memory.data_ptr() % 64 == 0, "memory is not aligned"
    return memory


@functools.cache
def _keep_memory() -> None:
    """Let the C library keep large blocks that are freed: a step needs them again, and fresh ones cost a page fault
    every 4 kB, some 10 % of a small step. A C library without `mallopt` does as it likes."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    m_trim_threshold, m_mmap_threshold = -1, -3
    if not mallopt(m_mmap_threshold, 1 << 30):
        mallopt(m_mmap_threshold, 1 << 25)  # the most that some C libraries take
    mallopt(m_trim_threshold, 1 << 30)


class NativeLayer(nn.Module):
    """`RecurrentLayer` by the core. The weights are zero until they are written.

    Args:
        machine: runs it.
        cell, activation: as in `Architecture`.
        width: of the input.
        size: H.
    """

    def __init__(self, machine: Machine, cell: str, width: int, size: int, activation: str) -> None:
        super().__init__()
        self.machine, self.number, self.size = machine, number_of(cell, activation), size
        for name, shape in CELLS[cell].shapes(width, size).items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))

    def weights(self) -> dict[str, nn.Parameter]:
        """`weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`."""
        return dict(self.named_parameters())

    def forward(
        self, x: Tensor, resets: Tensor | None, state: Tensor, ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `RecurrentLayer.forward`."""
        if ids is not None and len(x) > ids.numel():  # products only for the rows that are read
            known, ids = torch.unique(ids, return_inverse=True)
            x = x.index_select(0, known)
        weights = (getattr(self, name) for name in WEIGHTS)
        outputs, after = _Run.apply(self, x, ids, resets, state, *weights)  # type: ignore[no-untyped-call]
        return outputs, after


class _Run(torch.autograd.Function):
    """The steps of a layer. The core has time first, and rows of whole vectors."""

    @staticmethod
    def forward(
        ctx: Any,
        layer: NativeLayer,
        x: Tensor,
        ids: Tensor | None,
        resets: Tensor | None,
        state: Tensor,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        machine, H = layer.machine, layer.size
        x = x.detach().contiguous() if ids is not None else x.detach().transpose(0, 1).contiguous()
        B, T = ids.shape if ids is not None else (x.shape[1], x.shape[0])
        index = ids.T.to(torch.int32).contiguous() if ids is not None else None
        marks = resets.T.to(torch.uint8).contiguous() if resets is not None else None
        state = state.detach().contiguous()
        weights = tuple(weight.detach().contiguous() for weight in weights)
        call = Layer(
            machine.precision, layer.number, machine.threads, T, B, x.shape[-1], H, x.numel() // x.shape[-1],
            x.data_ptr(),
            None if index is None else index.data_ptr(),
            None if marks is None else marks.data_ptr(),
            Weights(*(weight.data_ptr() for weight in weights)),
            state.data_ptr(),
        )  # fmt: skip
        kept = aligned(machine.core.charrnn_layer_kept(call))
        call.kept, call.work = kept.data_ptr(), machine.work(machine.core.charrnn_layer_work(call))
        after = torch.empty_like(state)
        machine.core.charrnn_layer_forward(call, after.data_ptr())
        ctx.call, ctx.machine, ctx.shape = call, machine, x.shape
        ctx.alive = (x, index, marks, state, weights, kept)
        ctx.batch_first = ids is None
        wide = -(-H // 16) * 16
        outputs = kept[: (T + 1) * B * wide].view(T + 1, B, wide)[1:, :, :H].transpose(0, 1)
        return outputs, after

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, d_after: Tensor) -> tuple[Tensor | None, ...]:
        machine, call = ctx.machine, ctx.call
        x, _, _, state, weights, _ = ctx.alive
        d_rows = _rows(d_outputs)
        d_after = d_after.contiguous()
        d_x, d_state = torch.empty_like(x), torch.empty_like(state)
        d_weights = [torch.empty_like(weight) for weight in weights]
        call.work = machine.work(machine.core.charrnn_layer_work(call))
        machine.core.charrnn_layer_backward(
            call, d_rows.data_ptr(), d_rows.stride(0), d_after.data_ptr(),
            d_x.data_ptr(), *(weight.data_ptr() for weight in d_weights), d_state.data_ptr(),
        )  # fmt: skip
        ctx.alive = None  # the gradients of gates have replaced the gates
        return None, d_x.transpose(0, 1) if ctx.batch_first else d_x, None, None, d_state, *d_weights


def _rows(x: Tensor) -> Tensor:
    """(B, T, N) as the core has it, (T * B, N); what the core itself has made is not copied."""
    rows = x.transpose(0, 1).reshape(-1, x.shape[2])
    return rows if rows.stride(1) == 1 else rows.contiguous()


def mean_cost(machine: Machine, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """The mean of -ln p of the targets, in nats, differentiable once.

    Args:
        machine: runs it.
        features: (B, T, F). weight, bias: of the head, (V, F) and (V,). targets: integers (B, T) in [0, V).
    """
    cost: Tensor = _Cost.apply(machine, features, weight, bias, targets)  # type: ignore[no-untyped-call]
    return cost


class _Cost(torch.autograd.Function):
    """The gradients come with the cost, while the logits are at hand."""

    @staticmethod
    def forward(ctx: Any, machine: Machine, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        B, T, F = features.shape
        rows = _rows(features.detach())
        wanted = targets.T.to(torch.int32).contiguous()
        weight, bias = weight.detach().contiguous(), bias.detach().contiguous()
        call = Head(
            machine.precision, machine.threads, T * B, F, len(bias),
            rows.data_ptr(), rows.stride(0), weight.data_ptr(), bias.data_ptr(), wanted.data_ptr(),
        )  # fmt: skip
        call.work = machine.work(machine.core.charrnn_head_work(call))
        d_rows, d_weight, d_bias = rows.new_empty(T, B, F), torch.empty_like(weight), torch.empty_like(bias)
        cost = machine.core.charrnn_head_loss(call, d_rows.data_ptr(), F, d_weight.data_ptr(), d_bias.data_ptr())
        ctx.gradients = (d_rows.transpose(0, 1), d_weight, d_bias)
        return torch.tensor(cost, dtype=torch.float32)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_cost: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        if float(d_cost) != 1:
            gradients = tuple(gradient * d_cost for gradient in gradients)
        return None, *gradients, None


class AdamWStep:
    """A step of AdamW on some tensors, whose gradients autograd has left.

    Args:
        machine: runs it.
        weights, means, squares: float32, contiguous: the weights, the running means of their gradients, and those of
            the gradients' squares.
    """

    def __init__(self, machine: Machine, weights: Sequence[Tensor], means: list[Tensor], squares: list[Tensor]) -> None:
        self.machine, self.weights = machine, weights
        self._sizes = (ctypes.c_int64 * len(weights))(*(weight.numel() for weight in weights))
        self._alive: list[object] = [means, squares, self._sizes]
        self._call = Update(tensors=len(weights), sizes=ctypes.addressof(self._sizes))
        self._call.weights = self._addresses(weights)
        self._call.means, self._call.squares = self._addresses(means), self._addresses(squares)

    def norm(self) -> float:
        """The norm of all gradients together."""
        self._gradients = [weight.grad.contiguous() for weight in self.weights if weight.grad is not None]
        assert len(self._gradients) == len(self.weights), "a weight has no gradient"
        self._places = (ctypes.c_void_p * len(self._gradients))(*(part.data_ptr() for part in self._gradients))
        call = self._call
        call.threads, call.gradients = self.machine.threads, ctypes.addressof(self._places)
        call.work = self.machine.work(self.machine.core.charrnn_update_work(call))
        return float(self.machine.core.charrnn_gradient_norm(call))

    def run(
        self,
        *,
        kept: Sequence[float],
        rates: Sequence[float],
        scale: float,
        betas: tuple[float, float],
        correction: float,
    ) -> None:
        """Update weights and means, after `norm`; `charrnn_update` in native/charrnn.h has the formula.

        Args:
            kept: what weight decay leaves of each tensor. rates: how far each goes along its means.
            scale: of the gradients.
            correction: of the squares' roots.
        """
        floats = ctypes.c_float * len(kept)
        each_kept, each_rate = floats(*kept), floats(*rates)
        call = self._call
        call.kept, call.rates, call.scale = ctypes.addressof(each_kept), ctypes.addressof(each_rate), scale
        call.beta1, call.beta2 = betas
        call.correction, call.epsilon = correction, 1e-8
        self.machine.core.charrnn_adamw(call)

    def _addresses(self, tensors: Sequence[Tensor]) -> int:
        assert all(tensor.is_contiguous() and tensor.dtype == torch.float32 for tensor in tensors), "a tensor's layout"
        places = (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
        self._alive.append(places)
        return ctypes.addressof(places)
