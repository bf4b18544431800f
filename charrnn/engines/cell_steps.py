"""One step of the cells that NumPy and PyTorch have no layers for, written once for both, on whole batches.

`reference.py` has the same equations as the papers print them, with their sources.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Vectors = Any
"""An array or a tensor (B, H)."""


class Functions(NamedTuple):
    """Element-wise functions of NumPy arrays or of tensors."""

    sigmoid: Callable[[Vectors], Vectors]
    log_sigmoid: Callable[[Vectors], Vectors]
    tanh: Callable[[Vectors], Vectors]
    relu: Callable[[Vectors], Vectors]


class Inputs(NamedTuple):
    """What a step reads.

    Attributes:
        fn: element-wise functions.
        x: the input projection of each gate, with its bias, each (B, H).
        state: h, and of some cells c, each (B, H).
        matmul: the n-th recurrent matrix product, of `Cell.recurrent_matmuls`, with a state vector, and its bias: one
            (B, H) for each gate that it serves.
        peepholes: weights (H,) of each gate that reads c.
    """

    fn: Functions
    x: Sequence[Vectors]
    state: Sequence[Vectors]
    matmul: Callable[[int, Vectors], Sequence[Vectors]]
    peepholes: Sequence[Vectors]

    def gate_inputs(self) -> list[Vectors]:
        """Return the pre-activation of each gate of a cell whose only recurrent matrix product is that with h."""
        return [x + h for x, h in zip(self.x, self.matmul(0, self.state[0]), strict=True)]


def _rnn_sigmoid(inputs: Inputs) -> tuple[Vectors, ...]:
    (a,) = inputs.gate_inputs()
    return (inputs.fn.sigmoid(a),)


def _lstm_sigmoid(inputs: Inputs) -> tuple[Vectors, ...]:
    fn, (i, f, g, o) = inputs.fn, inputs.gate_inputs()
    c = fn.sigmoid(f) * inputs.state[1] + fn.sigmoid(i) * fn.sigmoid(g)
    return fn.sigmoid(o) * fn.tanh(c), c


def _lstm_relu(inputs: Inputs) -> tuple[Vectors, ...]:
    fn, (i, f, g, o) = inputs.fn, inputs.gate_inputs()
    c = fn.sigmoid(f) * inputs.state[1] + fn.sigmoid(i) * fn.relu(g)
    return fn.sigmoid(o) * fn.relu(c), c


def _lstm_peephole(inputs: Inputs) -> tuple[Vectors, ...]:
    fn, (i, f, g, o), (pi, pf, po), c = inputs.fn, inputs.gate_inputs(), inputs.peepholes, inputs.state[1]
    c = fn.sigmoid(f + pf * c) * c + fn.sigmoid(i + pi * c) * fn.tanh(g)
    return fn.sigmoid(o + po * c) * fn.tanh(c), c


def _lstm_sigmoid_peephole(inputs: Inputs) -> tuple[Vectors, ...]:
    fn, (i, f, g, o), (pi, pf, po), c = inputs.fn, inputs.gate_inputs(), inputs.peepholes, inputs.state[1]
    o = fn.sigmoid(o + po * c)
    c = fn.sigmoid(f + pf * c) * c + fn.sigmoid(i + pi * c) * fn.sigmoid(g)
    return o * fn.tanh(c), c


def _lstm_cellless(inputs: Inputs) -> tuple[Vectors, ...]:
    fn, (i, o, n) = inputs.fn, inputs.gate_inputs()
    return (fn.sigmoid(i) * fn.tanh(n) + fn.sigmoid(o) * inputs.state[0],)


def _gru_v1(inputs: Inputs) -> tuple[Vectors, ...]:
    fn, (h,) = inputs.fn, inputs.state
    hr, hz = inputs.matmul(0, h)
    r, z = fn.sigmoid(inputs.x[0] + hr), fn.sigmoid(inputs.x[1] + hz)
    n = fn.tanh(inputs.x[2] + inputs.matmul(1, r * h)[0])
    return (n + z * (h - n),)


def _gru_crossed(inputs: Inputs) -> tuple[Vectors, ...]:
    fn, (h,) = inputs.fn, inputs.state
    hr, hz, hn = inputs.matmul(0, h)
    r, z = fn.sigmoid(inputs.x[0] + hr), fn.sigmoid(inputs.x[1] + hz)
    n = fn.tanh(r * inputs.x[2] + (1 - z) * hn)
    return (n + z * (h - n),)


def _mgu(inputs: Inputs) -> tuple[Vectors, ...]:
    fn, (h,) = inputs.fn, inputs.state
    f = fn.sigmoid(inputs.x[0] + inputs.matmul(0, h)[0])
    n = fn.tanh(inputs.x[1] + inputs.matmul(1, f * h)[0])
    return (h + f * (n - h),)


def _positive(fn: Functions, x: Vectors) -> Vectors:
    """Return x + 1/2 where x >= 0, else sigmoid(x)."""
    return fn.relu(x) + fn.sigmoid(-fn.relu(-x))


def _mingru(inputs: Inputs) -> tuple[Vectors, ...]:
    fn, (h,), (z, n) = inputs.fn, inputs.state, inputs.x
    return (h + fn.sigmoid(z) * (_positive(fn, n) - h),)


def _minlstm(inputs: Inputs) -> tuple[Vectors, ...]:
    fn, (h,), (f, i, n) = inputs.fn, inputs.state, inputs.x
    n = _positive(fn, n)
    f = fn.sigmoid(fn.log_sigmoid(f) - fn.log_sigmoid(i))  # f / (f + i) of the two gates, which may both be 0
    return (n + f * (h - n),)


STEPS: dict[tuple[str, str], Callable[[Inputs], tuple[Vectors, ...]]] = {
    ("rnn", "sigmoid"): _rnn_sigmoid,
    ("lstm-peephole", "tanh"): _lstm_peephole,
    ("gru-v1", "tanh"): _gru_v1,
    ("mgu", "tanh"): _mgu,
    ("mingru", "tanh"): _mingru,
    ("minlstm", "tanh"): _minlstm,
    ("lstm-sigmoid", "tanh"): _lstm_sigmoid,
    ("lstm-sigmoid-peephole", "tanh"): _lstm_sigmoid_peephole,
    ("lstm-relu", "tanh"): _lstm_relu,
    ("lstm-cellless", "tanh"): _lstm_cellless,
    ("gru-crossed", "tanh"): _gru_crossed,
}
"""By a cell's name and activation: the function that returns its next state."""
