"""The equations as the papers print them: the oracle that every other engine is tested against.

One row at a time, one token at a time, in float64; slow, and meant to be read. Weights may be complex too: every
function here is analytic, so a derivative is Im f(w + ih) / h, exact to the last digits because nothing is subtracted
(the complex step, Squire & Trapp 1998).

This file is long because all equations stand side by side, to be compared with the papers and with one another.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from charrnn.engines.arrays import layer_features, zero_state
from charrnn.engines.base import Array, Ids, InferenceEngine, State, tokens_of
from charrnn.network.architecture import Architecture


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)), computed so that it cannot overflow."""
    return np.asarray((1 + np.tanh(x / 2)) / 2)


def relu(x: Array) -> Array:
    """Return max(x, 0); for complex numbers the real part decides."""
    return np.where(x.real > 0, x, 0)


def log_softmax(x: Array) -> Array:
    """Return ln(exp(x) / sum exp(x)); the largest real part is subtracted first."""
    x = x - x.real.max()
    return np.asarray(x - np.log(np.exp(x).sum()))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"tanh": np.tanh, "relu": relu, "sigmoid": sigmoid}


def rnn(W: Array, U: Array, b: Array, d: Array, x: Array, h: Array, activation: str) -> Array:
    """Return the next state of the simple recurrent network, Elman 1990.

    Args:
        W, U, b, d: `weight_ih` (H, in), `weight_hh` (H, H), `bias_ih` and `bias_hh` (H,).
        x, h: input (in,) and state (H,).

    Returns:
        The next state h (H,).
    """
    return np.asarray(ACTIVATIONS[activation](W @ x + b + U @ h + d))


def lstm(W: Array, U: Array, b: Array, d: Array, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """Return the next state of the LSTM, Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.

    Args:
        W, U, b, d: as in `rnn`, the gates i, f, g, o stacked: 4H rows.
        x, h, c: input (in,), output (H,) and cell (H,).

    Returns:
        The next h and c.
    """
    i, f, g, o = np.split(W @ x + b + U @ h + d, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(W: Array, U: Array, b: Array, d: Array, x: Array, h: Array) -> Array:
    """Return the next state of the GRU, Cho et al. 2014, with the reset gate after the matrix product, as in cuDNN.

    Args:
        W, U, b, d: as in `rnn`, the gates r, z, n stacked: 3H rows.
        x, h: input (in,) and state (H,).

    Returns:
        The next state h (H,).
    """
    xr, xz, xn = np.split(W @ x + b, 3)
    hr, hz, hn = np.split(U @ h + d, 3)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    n = np.tanh(xn + r * hn)
    return np.asarray((1 - z) * n + z * h)


def lstm_peephole(
    W: Array, U: Array, b: Array, d: Array, p: Array, x: Array, h: Array, c: Array
) -> tuple[Array, Array]:
    """Return the next state of the LSTM with peepholes, Gers & Schmidhuber 2000: i and f read the old c, o the new one.

    Args:
        W, U, b, d, x, h, c: as in `lstm`. p: `weight_ch`, for i, f and o: 3H numbers.

    Returns:
        The next h and c.
    """
    i, f, g, o = np.split(W @ x + b + U @ h + d, 4)
    pi, pf, po = np.split(p, 3)
    c_next = sigmoid(f + pf * c) * c + sigmoid(i + pi * c) * np.tanh(g)
    return sigmoid(o + po * c_next) * np.tanh(c_next), c_next


def gru_v1(W: Array, U: Array, b: Array, d: Array, x: Array, h: Array) -> Array:
    """Return the next state of the GRU as first published, Cho et al. 2014: the reset gate before the matrix product.

    Args:
        W, U, b, d, x, h: as in `gru`.

    Returns:
        The next state h (H,).
    """
    (Wr, Wz, Wn), (Ur, Uz, Un) = np.split(W, 3), np.split(U, 3)
    (br, bz, bn), (dr, dz, dn) = np.split(b, 3), np.split(d, 3)
    r = sigmoid(Wr @ x + br + Ur @ h + dr)
    z = sigmoid(Wz @ x + bz + Uz @ h + dz)
    n = np.tanh(Wn @ x + bn + Un @ (r * h) + dn)
    return np.asarray((1 - z) * n + z * h)


def mgu(W: Array, U: Array, b: Array, d: Array, x: Array, h: Array) -> Array:
    """Return the next state of the minimal gated unit, Zhou et al. 2016: one gate both forgets and resets.

    Args:
        W, U, b, d, x, h: as in `rnn`, the gates f, n stacked: 2H rows.

    Returns:
        The next state h (H,).
    """
    (Wf, Wn), (Uf, Un), (bf, bn), (df, dn) = np.split(W, 2), np.split(U, 2), np.split(b, 2), np.split(d, 2)
    f = sigmoid(Wf @ x + bf + Uf @ h + df)
    n = np.tanh(Wn @ x + bn + Un @ (f * h) + dn)
    return np.asarray((1 - f) * h + f * n)


def positive(x: Array) -> Array:
    """Return g of Feng et al. 2024: x + 1/2 where x >= 0, else sigmoid(x)."""
    return np.where(x.real >= 0, x + 0.5, sigmoid(x))


def mingru(W: Array, b: Array, x: Array, h: Array) -> Array:
    """Return the next state of minGRU, Feng et al. 2024: the gate reads the input alone.

    Args:
        W, b: `weight_ih` (2H, in) and `bias_ih` (2H,), the gates z, n stacked.
        x, h: input (in,) and state (H,).

    Returns:
        The next state h (H,).
    """
    z, n = np.split(W @ x + b, 2)
    return np.asarray((1 - sigmoid(z)) * h + sigmoid(z) * positive(n))


def minlstm(W: Array, b: Array, x: Array, h: Array) -> Array:
    """Return the next state of minLSTM, Feng et al. 2024: as minGRU, with two gates normalised to sum to 1.

    Args:
        W, b, x, h: as in `mingru`, the gates f, i, n stacked: 3H rows.

    Returns:
        The next state h (H,).
    """
    f, i, n = np.split(W @ x + b, 3)
    f, i = sigmoid(f), sigmoid(i)
    return np.asarray(f / (f + i) * h + i / (f + i) * positive(n))


def lstm_sigmoid(W: Array, U: Array, b: Array, d: Array, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """Return the next h and c of `lstm` as some tutorials have it: the candidate is a sigmoid, so only f lowers c."""
    i, f, g, o = np.split(W @ x + b + U @ h + d, 4)
    c = sigmoid(f) * c + sigmoid(i) * sigmoid(g)
    return sigmoid(o) * np.tanh(c), c


def lstm_sigmoid_peephole(
    W: Array, U: Array, b: Array, d: Array, p: Array, x: Array, h: Array, c: Array
) -> tuple[Array, Array]:
    """Return the next h and c of `lstm_peephole` as some tutorials have it: all gates read the old c.

    The candidate is as in `lstm_sigmoid`.
    """
    i, f, g, o = np.split(W @ x + b + U @ h + d, 4)
    pi, pf, po = np.split(p, 3)
    c_next = sigmoid(f + pf * c) * c + sigmoid(i + pi * c) * sigmoid(g)
    return sigmoid(o + po * c) * np.tanh(c_next), c_next


def lstm_relu(W: Array, U: Array, b: Array, d: Array, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """Return the next h and c of `lstm` with max(x, 0) for both its tanh, as `activation="relu"` does in Keras."""
    i, f, g, o = np.split(W @ x + b + U @ h + d, 4)
    c = sigmoid(f) * c + sigmoid(i) * relu(g)
    return sigmoid(o) * relu(c), c


def lstm_cellless(W: Array, U: Array, b: Array, d: Array, x: Array, h: Array) -> Array:
    """Return the next state of `lstm` as some tutorials shorten it: h takes the place of the cell c.

    Args:
        W, U, b, d, x, h: as in `gru`, the gates i, o, n stacked: 3H rows.

    Returns:
        The next state h (H,).
    """
    i, o, n = np.split(W @ x + b + U @ h + d, 3)
    return np.asarray(sigmoid(i) * np.tanh(n) + sigmoid(o) * h)


def gru_crossed(W: Array, U: Array, b: Array, d: Array, x: Array, h: Array) -> Array:
    """Return the next state of `gru` as some tutorials have it: r gates the input's product, 1 - z the state's.

    Args:
        W, U, b, d, x, h: as in `gru`.

    Returns:
        The next state h (H,).
    """
    xr, xz, xn = np.split(W @ x + b, 3)
    hr, hz, hn = np.split(U @ h + d, 3)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    n = np.tanh(r * xn + (1 - z) * hn)
    return np.asarray((1 - z) * n + z * h)


CELLS: dict[str, Callable[..., Any]] = {
    "lstm": lstm,
    "gru": gru,
    "lstm-peephole": lstm_peephole,
    "gru-v1": gru_v1,
    "mgu": mgu,
    "mingru": mingru,
    "minlstm": minlstm,
    "lstm-sigmoid": lstm_sigmoid,
    "lstm-sigmoid-peephole": lstm_sigmoid_peephole,
    "lstm-relu": lstm_relu,
    "lstm-cellless": lstm_cellless,
    "gru-crossed": gru_crossed,
}
"""By name, functions of a layer's weights (those of W, U, b, d, p that it has, in this order), x, and the state."""

ORDER = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_ch")


class ReferenceEngine(InferenceEngine):
    """Inference in float64, or in complex128 where a weight is complex.

    Args:
        architecture: the model's sizes.
        weights: arrays named and shaped as `architecture.shapes()`.
    """

    name = "reference"

    def __init__(self, architecture: Architecture, weights: Mapping[str, Array]) -> None:
        self.architecture, self.vocabulary = architecture, architecture.vocabulary
        self.dtype = np.result_type(np.float64, *weights.values())
        self.weights = {name: np.asarray(weights[name], self.dtype) for name in architecture.shapes()}

    def zero_state(self, batch: int) -> State:
        """See `InferenceEngine`."""
        return zero_state(self.architecture, batch, self.dtype)

    def score(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        nats, state = self.nats(ids, state)
        return np.asarray(nats.real, np.float64), state

    def nats(self, ids: Ids, state: State) -> tuple[Array, State]:
        """Return what `score` does, with nats of the weights' own dtype, so that they can be differentiated."""
        ln_p, after = self._ln_p(ids, state)
        targets = np.where(ids == self.vocabulary, 0, tokens_of(ids, self.vocabulary))
        return -np.take_along_axis(ln_p, targets[..., None], axis=2)[..., 0], after

    def predict(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`; in float64."""
        ln_p, after = self._ln_p(ids, state)
        return np.asarray(ln_p.real, np.float64), after

    def _ln_p(self, ids: Ids, state: State) -> tuple[Array, State]:
        """Return what `predict` does, ln p of the weights' own dtype."""
        ln_p = np.zeros((*ids.shape, self.vocabulary), self.dtype)
        after = tuple(np.array(layer, self.dtype) for layer in state)
        for row, text in enumerate(ids):
            vectors = [layer[:, row] for layer in after]
            for t, token in enumerate(text):
                if token != self.vocabulary:
                    ln_p[row, t] = log_softmax(self._logits(vectors))
                vectors = self._read(min(token, self.vocabulary), vectors)
            for layer, vector in zip(after, vectors, strict=True):
                layer[:, row] = vector
        return ln_p, after

    def step(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        logits = np.zeros((len(ids), self.vocabulary), self.dtype)  # (B, V)
        after = tuple(np.array(layer, self.dtype) for layer in state)
        for row, token in enumerate(ids):
            vectors = self._read(token, [layer[:, row] for layer in after])
            logits[row] = self._logits(vectors)
            for layer, vector in zip(after, vectors, strict=True):
                layer[:, row] = vector
        return logits, after

    def _logits(self, vectors: list[Array]) -> Array:
        """Return logits (V,) from one row's state, an array (S, H) per layer: the head reads each layer's h.

        Those of a head of two levels are ln p, of Grave et al. 2017: that of the token's cluster and that within it.
        """
        features = layer_features(self.architecture, [vector[0] for vector in vectors])
        logits = np.asarray(self.weights["head.weight"] @ features + self.weights["head.bias"])
        clusters, count = list(self.architecture.clusters), self.architecture.num_clusters
        if not count:
            return logits
        ln_p = np.zeros(self.vocabulary, self.dtype)
        end = clusters.count(0) + count
        first_level = log_softmax(logits[:end])
        for cluster in range(count + 1):
            tokens = [token for token, its in enumerate(clusters) if its == cluster]
            if cluster == 0:
                ln_p[tokens] = first_level[: len(tokens)]
                continue
            begin, end = end, end + len(tokens)
            ln_p[tokens] = first_level[clusters.count(0) + cluster - 1] + log_softmax(logits[begin:end])
        return ln_p

    def _read(self, token: int, vectors: list[Array]) -> list[Array]:
        """Return one row's state after it has read one more token."""
        if token == self.vocabulary:
            vectors = [np.zeros_like(vector) for vector in vectors]
        x = self.weights["embedding"][token]  # (E,)
        after = []
        for layer, vector in enumerate(vectors):
            weights = [self.weights[key] for name in ORDER if (key := f"layers.{layer}.{name}") in self.weights]
            if self.architecture.cell == "rnn":
                W, U, b, d = weights
                output = rnn(W, U, b, d, x, vector[0], self.architecture.activation)
            else:
                output = CELLS[self.architecture.cell](*weights, x, *vector)
            new = output if isinstance(output, tuple) else (output,)
            x = new[0]
            after.append(np.stack(new))  # (S, H)
        return after
