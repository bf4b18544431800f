"""A step of the cells that have no kernel of their own: once for NumPy and PyTorch, on whole batches.

`reference.py` has the same equations as the papers print them, with their sources.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Vectors = Any
"""An array or a tensor (B, H)."""


class Functions(NamedTuple):
    """Of arrays, element by element."""

    sigmoid: Callable[[Vectors], Vectors]
    log_sigmoid: Callable[[Vectors], Vectors]
    tanh: Callable[[Vectors], Vectors]
    relu: Callable[[Vectors], Vectors]


class Inputs(NamedTuple):
    """What a step is made of.

    Attributes:
        do: functions of arrays.
        x: the input's part of each gate, with its bias, each (B, H).
        state: h, and of some cells c, each (B, H).
        product: the product of that number with a state vector, and its bias: one (B, H) for each gate that it drives.
        peepholes: weights (H,) of each gate that sees c.
    """

    do: Functions
    x: Sequence[Vectors]
    state: Sequence[Vectors]
    product: Callable[[int, Vectors], Sequence[Vectors]]
    peepholes: Sequence[Vectors]

    def sums(self) -> list[Vectors]:
        """What goes into the gates of a cell whose only product is that with h."""
        return [one + other for one, other in zip(self.x, self.product(0, self.state[0]), strict=True)]


def _rnn_sigmoid(given: Inputs) -> tuple[Vectors, ...]:
    (a,) = given.sums()
    return (given.do.sigmoid(a),)


def _lstm_sigmoid(given: Inputs) -> tuple[Vectors, ...]:
    do, (i, f, g, o) = given.do, given.sums()
    c = do.sigmoid(f) * given.state[1] + do.sigmoid(i) * do.sigmoid(g)
    return do.sigmoid(o) * do.tanh(c), c


def _lstm_relu(given: Inputs) -> tuple[Vectors, ...]:
    do, (i, f, g, o) = given.do, given.sums()
    c = do.sigmoid(f) * given.state[1] + do.sigmoid(i) * do.relu(g)
    return do.sigmoid(o) * do.relu(c), c


def _lstm_peephole(given: Inputs) -> tuple[Vectors, ...]:
    do, (i, f, g, o), (pi, pf, po), c = given.do, given.sums(), given.peepholes, given.state[1]
    c = do.sigmoid(f + pf * c) * c + do.sigmoid(i + pi * c) * do.tanh(g)
    return do.sigmoid(o + po * c) * do.tanh(c), c


def _lstm_sigmoid_peephole(given: Inputs) -> tuple[Vectors, ...]:
    do, (i, f, g, o), (pi, pf, po), c = given.do, given.sums(), given.peepholes, given.state[1]
    o = do.sigmoid(o + po * c)
    c = do.sigmoid(f + pf * c) * c + do.sigmoid(i + pi * c) * do.sigmoid(g)
    return o * do.tanh(c), c


def _lstm_cellless(given: Inputs) -> tuple[Vectors, ...]:
    do, (i, o, n) = given.do, given.sums()
    return (do.sigmoid(i) * do.tanh(n) + do.sigmoid(o) * given.state[0],)


def _gru_v1(given: Inputs) -> tuple[Vectors, ...]:
    do, (h,) = given.do, given.state
    hr, hz = given.product(0, h)
    r, z = do.sigmoid(given.x[0] + hr), do.sigmoid(given.x[1] + hz)
    n = do.tanh(given.x[2] + given.product(1, r * h)[0])
    return (n + z * (h - n),)


def _gru_crossed(given: Inputs) -> tuple[Vectors, ...]:
    do, (h,) = given.do, given.state
    hr, hz, hn = given.product(0, h)
    r, z = do.sigmoid(given.x[0] + hr), do.sigmoid(given.x[1] + hz)
    n = do.tanh(r * given.x[2] + (1 - z) * hn)
    return (n + z * (h - n),)


def _mgu(given: Inputs) -> tuple[Vectors, ...]:
    do, (h,) = given.do, given.state
    f = do.sigmoid(given.x[0] + given.product(0, h)[0])
    n = do.tanh(given.x[1] + given.product(1, f * h)[0])
    return (h + f * (n - h),)


def _positive(do: Functions, x: Vectors) -> Vectors:
    """x + 1/2 from zero on, below it sigmoid(x)."""
    return do.relu(x) + do.sigmoid(-do.relu(-x))


def _mingru(given: Inputs) -> tuple[Vectors, ...]:
    do, (h,), (z, n) = given.do, given.state, given.x
    return (h + do.sigmoid(z) * (_positive(do, n) - h),)


def _minlstm(given: Inputs) -> tuple[Vectors, ...]:
    do, (h,), (f, i, n) = given.do, given.state, given.x
    n = _positive(do, n)
    kept = do.sigmoid(do.log_sigmoid(f) - do.log_sigmoid(i))  # f / (f + i) of the two gates, which may both be 0
    return (n + kept * (h - n),)


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
"""The next state of a cell, by its name and activation."""
