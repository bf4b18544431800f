"""The equations, as the papers print them: the oracle that every other engine is tested against.

One row at a time, one symbol at a time, in float64; slow, and meant to be read. Weights may be
complex too: every function here is analytic, so a derivative is Im f(w + ih) / h, exact to the
last digits because nothing is subtracted (the complex step, Squire & Trapp 1998).
"""

from collections.abc import Callable, Mapping

import numpy as np

from charrnn.architecture import Architecture
from charrnn.engines import Array, Inference, State


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), written so that it cannot overflow."""
    return np.asarray((1 + np.tanh(x / 2)) / 2)


def relu(x: Array) -> Array:
    """max(x, 0); of complex numbers the real part decides."""
    return np.where(x.real > 0, x, 0)


def log_softmax(x: Array) -> Array:
    """ln(exp(x) / sum exp(x)); the largest real part is taken out first."""
    x = x - x.real.max()
    return np.asarray(x - np.log(np.exp(x).sum()))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"tanh": np.tanh, "relu": relu, "sigmoid": sigmoid}


def rnn(W: Array, U: Array, b: Array, d: Array, x: Array, h: Array, activation: str) -> Array:
    """The simple recurrent network, Elman 1990.

    Args:
        W, U, b, d: `weight_ih` (H, in), `weight_hh` (H, H), `bias_ih` and `bias_hh` (H,).
        x, h: input (in,) and state (H,).

    Returns:
        The next state h (H,).
    """
    return np.asarray(ACTIVATIONS[activation](W @ x + b + U @ h + d))


def lstm(W: Array, U: Array, b: Array, d: Array, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """Long short-term memory, Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.

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
    """The gated recurrent unit, Cho et al. 2014, the reset gate applied after the product as cuDNN does.

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


class ReferenceEngine(Inference):
    """`Inference` in float64, or in complex128 where a weight is complex.

    Args:
        architecture: the model's sizes.
        weights: arrays named and shaped as `architecture.shapes()`.
    """

    name = "reference"

    def __init__(self, architecture: Architecture, weights: Mapping[str, Array]) -> None:
        self.architecture = architecture
        self.dtype = np.result_type(np.float64, *weights.values())
        self.weights = {name: np.asarray(weights[name], self.dtype) for name in architecture.shapes()}

    def score(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `Inference`."""
        nats, state = self.nats(ids, state)
        return np.asarray(nats.real, np.float64), state

    def nats(self, ids: Array, state: State) -> tuple[Array, State]:
        """`score`, the nats being of the weights' own type, so that they can be differentiated."""
        nats = np.zeros(ids.shape, self.dtype)  # (B, T)
        after = tuple(np.array(layer, self.dtype) for layer in state)
        for row, text in enumerate(ids):
            vectors = [layer[:, row] for layer in after]
            for t, symbol in enumerate(text):
                if symbol != self.architecture.start:
                    nats[row, t] = -log_softmax(self._logits(vectors))[symbol]
                vectors = self._read(symbol, vectors)
            for layer, vector in zip(after, vectors, strict=True):
                layer[:, row] = vector
        return nats, after

    def step(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `Inference`."""
        logits = np.zeros((len(ids), self.architecture.vocabulary), self.dtype)  # (B, V)
        after = tuple(np.array(layer, self.dtype) for layer in state)
        for row, symbol in enumerate(ids):
            vectors = self._read(symbol, [layer[:, row] for layer in after])
            logits[row] = self._logits(vectors)
            for layer, vector in zip(after, vectors, strict=True):
                layer[:, row] = vector
        return logits, after

    def _logits(self, vectors: list[Array]) -> Array:
        """(V,) from one row's state, a vector (S, H) per layer: the head reads each layer's h."""
        outputs = [vector[0] for vector in vectors]
        features = np.sum(outputs, axis=0) if self.architecture.summed else np.concatenate(outputs)
        return np.asarray(self.weights["head.weight"] @ features + self.weights["head.bias"])

    def _read(self, symbol: int, vectors: list[Array]) -> list[Array]:
        """One row's state after one more symbol."""
        if symbol == self.architecture.start:
            vectors = [np.zeros_like(vector) for vector in vectors]
        x = self.weights["embedding"][symbol]  # (E,)
        after = []
        for layer, vector in enumerate(vectors):
            W, U, b, d = (
                self.weights[f"layers.{layer}.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            match self.architecture.cell:
                case "rnn":
                    new = [rnn(W, U, b, d, x, vector[0], self.architecture.activation)]
                case "lstm":
                    new = [*lstm(W, U, b, d, x, vector[0], vector[1])]
                case _:
                    new = [gru(W, U, b, d, x, vector[0])]
            x = new[0]
            after.append(np.stack(new))  # (S, H)
        return after
