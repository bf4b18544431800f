"""Recurrent layers in PyTorch whose state can be reset within a sequence, and the precision of their matrix
products."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from charrnn.engines.cell_steps import STEPS, Functions, Inputs
from charrnn.network.cells import CELLS

FUNCTIONS = Functions(torch.sigmoid, nn.functional.logsigmoid, torch.tanh, torch.relu)


SIXTEEN_BITS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@contextlib.contextmanager
def matmul_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Let matrix products in this block, forward and backward, have operands of this precision; sums are float32.

    Args:
        precision: "float32"; "tf32", 19 bits of it, on CUDA; or "float16", or on the CPU "bfloat16", by PyTorch's
            autocast.
    """
    tf32 = precision != "float32"
    matmul, mkldnn = torch.backends.cuda.matmul, torch.backends.mkldnn
    with contextlib.ExitStack() as settings:
        settings.callback(setattr, matmul, "allow_tf32", matmul.allow_tf32)
        matmul.allow_tf32 = tf32
        settings.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32))
        if precision in SIXTEEN_BITS:
            settings.enter_context(torch.autocast(device.type, SIXTEEN_BITS[precision]))
            settings.callback(setattr, mkldnn, "enabled", mkldnn.enabled)
            mkldnn.enabled = False  # type: ignore[assignment]  # many processors lack what oneDNN's LSTM then wants
        yield


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; the processor does not wait for a copy to a GPU."""
    if device.type == "cpu" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class RecurrentLayer(nn.Module):
    """A differentiable layer `(x, resets, state) -> (outputs, state)`.

    The weights are those of the module `rnn`, one layer of `nn.RNN`, `nn.LSTM` or `nn.GRU`; zero until
    they are loaded, so that making a layer draws nothing from torch's generator.

    Args:
        cell, activation: as in `Architecture`, of those that torch has.
        width: size of the input.
        size: H.
    """

    def __init__(self, cell: str, width: int, size: int, activation: str = "tanh") -> None:
        super().__init__()
        rnn: nn.RNNBase
        if cell == "lstm":
            rnn = nn.LSTM(width, size, batch_first=True, device="meta")
        elif cell == "gru":
            rnn = nn.GRU(width, size, batch_first=True, device="meta")
        else:
            nonlinearity = "relu" if activation == "relu" else "tanh"
            rnn = nn.RNN(width, size, nonlinearity=nonlinearity, batch_first=True, device="meta")
        self.rnn = rnn.to_empty(device="cpu")
        with torch.no_grad():
            for weight in self.rnn.parameters():
                weight.zero_()

    def weights(self) -> dict[str, nn.Parameter]:
        """Return the parameters `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`."""
        return {name.removesuffix("_l0"): weight for name, weight in self.rnn.named_parameters()}

    def forward(self, x: Tensor, resets: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run T time steps.

        Args:
            x: (B, T, width).
            resets: bool (B, T), best on the CPU (it decides how to run): whether the row's state is zeroed before that
                step. None: never.
            state: (S, B, H) before the first step.

        Returns:
            Outputs (B, T, H), and the state (S, B, H) after the last step.
        """
        if resets is None:
            return self._run(x, state)
        resets = resets.cpu()
        state = state.masked_fill(to_device(resets[:, 0], x.device)[None, :, None], 0)
        if not resets[:, 1:].any():
            return self._run(x, state)
        return self._cut(x, resets, state)

    def _run(self, x: Tensor | PackedSequence, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run the fused module; the outputs of a PackedSequence are its data."""
        state = state.contiguous()  # on CUDA it wants to have it so
        if isinstance(self.rnn, nn.LSTM):
            outputs, (h, c) = self.rnn(x, (state[0:1], state[1:2]))
            state = torch.cat((h, c))
        else:
            outputs, state = self.rnn(x, state)
        return (outputs.data if isinstance(outputs, PackedSequence) else outputs), state

    def _cut(self, x: Tensor, resets: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run segments side by side: each begins at a reset or at t = 0 and ends before the next.

        Laid end to end the segments are the rows laid end to end, so all is index arithmetic on
        positions 0 <= p < B*T. `state` is zero already in rows that are reset at t = 0.
        """
        B, T = resets.shape
        is_start = resets.clone()
        is_start[:, 0] = True
        first = is_start.flatten().nonzero().flatten()  # (N,) each segment's first position
        segment = is_start.flatten().cumsum(0) - 1  # (B*T,)
        offset = torch.arange(B * T) - first[segment]  # (B*T,) within the segment
        lengths = torch.bincount(segment)  # (N,)
        order = lengths.argsort(descending=True, stable=True)  # (N,) as PackedSequence wants them
        rank = order.argsort()  # (N,) its inverse
        # Packed: the first steps of all segments, the longest segment's first; then all second steps; and so on.
        packed = (offset * len(first) + rank[segment]).argsort()  # (B*T,)
        sizes = torch.bincount(offset)

        device = x.device
        opening = segment[::T]  # (B,) the segments that go on from `state`; all others begin at zero
        closing = segment[T - 1 :: T]  # (B,) those whose last state is the row's
        start = state.new_zeros(len(state), len(first), state.shape[2])
        start = start.index_copy(1, to_device(rank[opening], device), state)
        steps = x.reshape(B * T, -1)[to_device(packed, device)]
        outputs, end = self._run(PackedSequence(steps, sizes), start)
        return outputs[to_device(packed.argsort(), device)].reshape(B, T, -1), end[:, to_device(rank[closing], device)]


class StepLayer(nn.Module):
    """`RecurrentLayer` for the cells that torch does not have: step by step, by `cell_steps.STEPS`.

    Args:
        cell, activation: as in `Architecture`, of those in `cell_steps.STEPS`.
        width: size of the input.
        size: H.
    """

    def __init__(self, cell: str, width: int, size: int, activation: str = "tanh") -> None:
        super().__init__()
        self.cell, self.advance = CELLS[cell], STEPS[cell, activation]
        for name, shape in self.cell.shapes(width, size).items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))

    def weights(self) -> dict[str, nn.Parameter]:
        """Return the parameters, by the names of `Cell.shapes`."""
        return dict(self.named_parameters())

    def forward(self, x: Tensor, resets: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        """See `RecurrentLayer.forward`."""
        weights, H = self.weights(), state.shape[2]
        input_projection = nn.functional.linear(x, weights["weight_ih"], weights["bias_ih"])  # (B, T, G*H)
        rows = [H * count for count in self.cell.recurrent_matmuls]
        matrices = torch.split_with_sizes(weights["weight_hh"], rows) if rows else ()
        biases = torch.split_with_sizes(weights["bias_hh"], rows) if rows else ()
        peepholes = torch.chunk(weights["weight_ch"], self.cell.num_peepholes) if self.cell.num_peepholes else ()

        def product(number: int, vectors: Tensor) -> tuple[Tensor, ...]:
            sums = nn.functional.linear(vectors, matrices[number], biases[number])
            return torch.chunk(sums, self.cell.recurrent_matmuls[number], dim=1)

        reset_rows = None if resets is None else to_device(resets, x.device)
        vectors, outputs = tuple(state), []  # (B, H) each
        for t, gates in enumerate(input_projection.unbind(1)):
            if reset_rows is not None:
                vectors = tuple(vector.masked_fill(reset_rows[:, t, None], 0) for vector in vectors)
            vectors = self.advance(
                Inputs(FUNCTIONS, torch.chunk(gates, len(self.cell.gates), dim=1), vectors, product, peepholes)
            )
            outputs.append(vectors[0])
        return torch.stack(outputs, dim=1), torch.stack(vectors)


def layer_of(cell: str, width: int, size: int, activation: str) -> RecurrentLayer | StepLayer:
    """Return a layer of any cell; arguments as for `RecurrentLayer`."""
    kind = StepLayer if (cell, activation) in STEPS else RecurrentLayer
    return kind(cell, width, size, activation)
