"""Scoring and sampling in NumPy float32: what runs where there is neither a GPU nor a compiled core.

Three things make it fast. The first layer's input product is a row of a table made once. A sigmoid is
1 / (1 + exp(-x)), with its sign folded into the weights and its quotient taken where the gate is used:
three cheap passes (NumPy's float32 `exp` costs half a `tanh`). A chunk is run layer by layer: one
product for all its inputs, then one small product a step.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from charrnn.engines import Array, Inference, State
from charrnn.engines.equations import STEPS, Functions, Inputs
from charrnn.network.architecture import Architecture

TABLE = 1 << 24  # largest input table, in floats (64 MB); beyond it rows are made for the ids at hand
BLOCK = 1 << 24  # largest array of gates or logits that `score` makes at a time, in floats
ZERO = np.array(0, np.float32)
ONE = np.array(1, np.float32)  # an array of no axes adds faster than a scalar

Vectors = Array | Sequence[Array]  # a layer's h (B, H), and where there is one c


class NumpyEngine(Inference):
    """`Inference` in float32 on the CPU. Not for use by two threads at once: `step` has buffers.

    Overflow is not told: where weights are huge or not finite, so are nats and logits.

    Args:
        architecture: the model's sizes.
        weights: arrays named and shaped as `architecture.shapes()`; copied, never changed.
    """

    name = "numpy"

    @np.errstate(all="ignore")
    def __init__(self, architecture: Architecture, weights: Mapping[str, Array]) -> None:
        self.architecture = architecture
        self._embedding = np.array(weights["embedding"], np.float32)  # (V + 1, E)
        self._layers = [_Layer(architecture, weights, layer) for layer in range(architecture.layers)]
        self._head = _Product(weights["head.weight"])  # (F,) -> (V,)
        self._head_bias = np.array(weights["head.bias"], np.float32)  # (V,)
        self._cells = [layer.cell(1) for layer in self._layers]  # for a batch of the last step's size
        first = self._layers[0]
        self._table: Array | None = None  # (V + 1, G*H)
        if len(self._embedding) * len(first.bias) <= TABLE:
            self._table = first.inputs(self._embedding)

    @np.errstate(all="ignore")
    def step(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `Inference`."""
        B, symbols = len(ids), ids.tolist()
        assert 0 <= min(symbols) <= max(symbols) <= self.architecture.start, "an id is out of range"
        if len(self._cells[0].gates) != B:
            self._cells = [layer.cell(B) for layer in self._layers]
        if max(symbols) == self.architecture.start:
            going = (ids != self.architecture.start)[:, None]  # (B, 1)
            state = tuple(np.where(going, layer, ZERO) for layer in state)
        after = tuple([np.empty(layer.shape, np.float32) for layer in state])  # (S, B, H) each
        outputs: list[Array] = []
        for layer, cell, old, new in zip(self._layers, self._cells, state, after, strict=True):
            if outputs:
                layer.input.by_row(outputs[-1], cell.gates)
                cell.gates += layer.bias
            elif self._table is not None:
                self._table.take(ids, axis=0, out=cell.gates, mode="clip")  # "raise" would copy `out`
            else:
                layer.input.by_row(self._embedding[ids], cell.gates)
                cell.gates += layer.bias
            cell.run(_Product.by_row, old, new)
            outputs.append(new[0])
        logits = np.empty((B, self.architecture.vocabulary), np.float32)
        self._head.by_row(self._features(outputs), logits)
        logits += self._head_bias
        return logits, after

    @np.errstate(all="ignore")
    def score(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `Inference`. Takes memory for BLOCK floats besides what B*T needs, whatever V."""
        B, T = ids.shape
        assert 0 <= ids.min() <= ids.max() <= self.architecture.start, "an id is out of range"
        nats = np.empty((B, T), np.float64)
        steps = max(1, BLOCK // (B * max(len(layer.bias) for layer in self._layers)))
        for t in range(0, T, steps):
            nats[:, t : t + steps], state = self._score(ids[:, t : t + steps], state)
        return nats, state

    def _score(self, ids: Array, state: State) -> tuple[Array, State]:
        """`score` of a piece short enough to keep all layers' outputs of all its steps."""
        symbols = np.ascontiguousarray(ids.T)  # (T, B)
        T, B = symbols.shape
        starts = symbols == self.architecture.start
        resets = starts.any(axis=1)  # (T,)
        table, rows = self._table, symbols
        if table is None:
            known, rows = np.unique(symbols, return_inverse=True)
            table, rows = self._layers[0].inputs(self._embedding[known]), rows.reshape(T, B)
        after: list[Array] = []
        outputs: list[Array] = []
        for layer, old in zip(self._layers, state, strict=True):
            H = old.shape[2]
            h = np.empty((T + 1, B, H), np.float32)  # the state before each step, and the last
            h[0] = old[0]
            rest = [np.array(vector, np.float32) for vector in old[1:]]  # LSTM's c (B, H), renewed in place
            cell = layer.cell(B)
            drive: Array | None = None  # (T, B, G*H)
            if outputs:
                drive = layer.inputs(outputs[-1][1:].reshape(T * B, -1)).reshape(T, B, -1)
            for t in range(T):
                if resets[t]:
                    # h[t] was the output of step t - 1 too. Zeroing it there is seen only by what is
                    # thrown away: the cost of `<s>`, and states of the layers above that it resets.
                    h[t, starts[t]] = 0
                    for vector in rest:
                        vector[starts[t]] = 0
                if drive is None:
                    np.take(table, rows[t], axis=0, out=cell.gates, mode="clip")
                else:
                    np.copyto(cell.gates, drive[t])
                cell.run(_Product.together, [h[t], *rest], [h[t + 1], *rest])
            after.append(np.stack([h[T], *rest]))
            outputs.append(h)
        features = self._features([h[:T] for h in outputs]).reshape(T * B, -1)
        nats = np.where(starts.ravel(), 0.0, self._costs(features, np.where(starts, 0, symbols).ravel()))
        return nats.reshape(T, B).T, tuple(after)

    def _costs(self, features: Array, symbols: Array) -> Array:
        """-ln p of each symbol (N,), float64, given what the head reads (N, F)."""
        costs = np.empty(len(symbols), np.float64)
        rows = max(1, BLOCK // len(self._head_bias))
        for n in range(0, len(symbols), rows):
            logits = features[n : n + rows] @ self._head.matrix.T  # (rows, V)
            logits += self._head_bias
            logits -= logits.max(axis=1, keepdims=True)
            chosen = logits[np.arange(len(logits)), symbols[n : n + rows]].astype(np.float64)
            total = np.exp(logits, out=logits).sum(axis=1)
            costs[n : n + rows] = np.log(total.astype(np.float64)) - chosen
        return costs

    def _features(self, outputs: Sequence[Array]) -> Array:
        """What the head reads, (..., F), from each layer's output (..., H)."""
        if len(outputs) == 1:
            return outputs[0]
        if not self.architecture.summed:
            return np.concatenate(outputs, axis=-1)
        total = outputs[0] + outputs[1]
        for output in outputs[2:]:
            total += output
        return total


class _Product:
    """A matrix (N, K), and a product with it that does not depend on a row's neighbours."""

    def __init__(self, matrix: Array) -> None:
        # In column order: OpenBLAS's matrix-vector product is then a little faster.
        self.matrix = np.asfortranarray(matrix, dtype=np.float32)
        self._from = np.empty(self.matrix.shape[1], np.float32)
        self._to = np.empty(self.matrix.shape[0], np.float32)

    def by_row(self, rows: Array, products: Array) -> None:
        """Write (B, N) from (B, K). One product a row, from and to the same addresses: a BLAS chooses its
        order of summation by shape and sometimes by alignment, and a row must come out the same bits
        whatever the batch."""
        for row in range(len(rows)):
            self._from[:] = rows[row]
            products[row] = self.matrix.dot(self._from, self._to)

    def together(self, rows: Array, products: Array) -> None:
        """The same in one product, which is faster."""
        np.dot(rows, self.matrix.T, out=products)


Multiply = Callable[[_Product, Array, Array], None]
"""`_Product.by_row` or `_Product.together`."""


class _Layer:
    """One layer's weights, laid out for its `_Cell`: gates that go through a sigmoid first, and negative.

    For `_Stepped` they are as they came.
    """

    def __init__(self, architecture: Architecture, weights: Mapping[str, Array], layer: int) -> None:
        H = self.size = architecture.hidden[layer]
        kind, G = architecture.kind, architecture.gates
        self.name = architecture.cell, architecture.activation
        cell: type[_Cell]
        order, signs, cell = {
            "lstm": ([0, 1, 3, 2], [-1, -1, -1, 1], _LSTM),  # i, f, o, g
            "gru": ([0, 1, 2], [-1, -1, 1], _GRU),  # r, z, n
            "rnn": ([0], [-1 if architecture.activation == "sigmoid" else 1], _RNN),
        }.get(architecture.cell, ([*range(G)], [1] * G, _Stepped))

        self._cell = cell

        def laid_out(name: str) -> Array:
            array = np.array(weights[f"layers.{layer}.{name}"], np.float32)
            gates = array.reshape(G, H, -1)[order]
            return np.asarray(gates * np.array(signs, np.float32)[:, None, None]).reshape(array.shape)

        self.input = _Product(laid_out("weight_ih"))  # (in,) -> (G*H,)
        self.bias = laid_out("bias_ih")  # (G*H,)
        self.products: list[_Product] = []  # (H,) -> (G*H,), or some gates each
        self.biases: list[Array] = []
        self.peepholes: list[Array] = []  # (H,) each
        if kind.products:
            ends = H * np.cumsum(kind.products)[:-1]
            self.products = [_Product(part) for part in np.split(laid_out("weight_hh"), ends)]
            self.biases = np.split(laid_out("bias_hh"), ends)
        if kind.peepholes:
            peepholes = np.array(weights[f"layers.{layer}.weight_ch"], np.float32)
            self.peepholes = np.split(peepholes, kind.peepholes)
        if cell is not _Stepped:
            joining = slice(2 * H if cell is _GRU else G * H)  # GRU's reset gate multiplies the last
            self.bias[joining] += self.biases[0][joining]

    def cell(self, B: int) -> "_Cell":
        """One step of this layer for B rows."""
        return self._cell(self, B)

    def inputs(self, x: Array) -> Array:
        """The input's product with the bias for many inputs at once: (N, G*H) from (N, in)."""
        product = x @ self.input.matrix.T
        product += self.bias
        return np.asarray(product)


class _Cell:
    """One step of a layer, with buffers and the views of them that it needs: a view costs as much as
    a small sum.

    Before each `run` the caller writes `gates` (B, G*H), the input's product with its bias.
    `run(multiply, old, new)` writes `new` and spoils that; `old` and `new` are h (B, H), and where there
    is one c (B, H). `new`'s c may be `old`'s own, its h may not.
    """

    def __init__(self, layer: _Layer, B: int) -> None:
        self.layer = layer
        self.gates = np.empty((B, len(layer.bias)), np.float32)
        self.product = np.empty_like(self.gates)  # of h

    def run(self, multiply: Multiply, old: Vectors, new: Vectors) -> None:
        multiply(self.layer.products[0], old[0], self.product)
        self.advance(old, new)

    def advance(self, old: Vectors, new: Vectors) -> None:
        raise NotImplementedError


class _RNN(_Cell):
    def __init__(self, layer: _Layer, B: int) -> None:
        super().__init__(layer, B)
        self.activation = layer.name[1]

    def advance(self, old: Vectors, new: Vectors) -> None:
        h = new[0]
        np.add(self.gates, self.product, h)
        if self.activation == "tanh":
            np.tanh(h, h)
        elif self.activation == "relu":
            np.maximum(h, ZERO, out=h)
        else:
            np.exp(h, h)
            np.add(h, ONE, h)
            np.reciprocal(h, h)


class _LSTM(_Cell):
    def __init__(self, layer: _Layer, B: int) -> None:
        super().__init__(layer, B)
        H = layer.size
        self.sigmoids, self.g = self.gates[:, : 3 * H], self.gates[:, 3 * H :]
        self.i, self.f, self.o = (self.gates[:, gate * H : (gate + 1) * H] for gate in range(3))

    def advance(self, old: Vectors, new: Vectors) -> None:
        h, c = new
        np.add(self.gates, self.product, self.gates)
        np.exp(self.sigmoids, self.sigmoids)
        np.add(self.sigmoids, ONE, self.sigmoids)  # the reciprocals of i, f, o
        np.tanh(self.g, self.g)
        np.divide(self.g, self.i, self.g)
        np.divide(old[1], self.f, c)
        np.add(c, self.g, c)
        np.tanh(c, h)
        np.divide(h, self.o, h)


class _GRU(_Cell):
    def __init__(self, layer: _Layer, B: int) -> None:
        super().__init__(layer, B)
        H = layer.size
        self.bias_n = layer.biases[0][2 * H :]
        self.sigmoids, self.recurrent = self.gates[:, : 2 * H], self.product[:, : 2 * H]
        self.r, self.z, self.n = (self.gates[:, gate * H : (gate + 1) * H] for gate in range(3))
        self.recurrent_n = self.product[:, 2 * H :]

    def advance(self, old: Vectors, new: Vectors) -> None:
        h, n, recurrent_n = new[0], self.n, self.recurrent_n
        np.add(self.sigmoids, self.recurrent, self.sigmoids)
        np.exp(self.sigmoids, self.sigmoids)
        np.add(self.sigmoids, ONE, self.sigmoids)  # the reciprocals of r, z
        np.add(recurrent_n, self.bias_n, recurrent_n)
        np.divide(recurrent_n, self.r, recurrent_n)
        np.add(n, recurrent_n, n)
        np.tanh(n, n)
        np.subtract(old[0], n, h)  # h = (1 - z) n + z h = n + z (h - n)
        np.divide(h, self.z, h)
        np.add(h, n, h)


class _Stepped(_Cell):
    """A cell of `equations.STEPS`: as many arrays as its equations have signs."""

    def __init__(self, layer: _Layer, B: int) -> None:
        super().__init__(layer, B)
        self.advance_by = STEPS[layer.name]
        self.x = np.split(self.gates, self.gates.shape[1] // layer.size, axis=1)
        self.sums = [np.empty((B, len(bias)), np.float32) for bias in layer.biases]

    def run(self, multiply: Multiply, old: Vectors, new: Vectors) -> None:
        layer = self.layer

        def product(number: int, rows: Array) -> list[Array]:
            multiply(layer.products[number], rows, self.sums[number])
            sums = self.sums[number] + layer.biases[number]
            return np.split(sums, sums.shape[1] // layer.size, axis=1)

        after = self.advance_by(Inputs(FUNCTIONS, self.x, [*old], product, layer.peepholes))
        for to, value in zip(new, after, strict=True):
            np.copyto(to, value)


def _sigmoid(x: Array) -> Array:
    return np.reciprocal(ONE + np.exp(-x))


FUNCTIONS = Functions(_sigmoid, lambda x: -np.logaddexp(ZERO, -x), np.tanh, lambda x: np.maximum(x, ZERO))
