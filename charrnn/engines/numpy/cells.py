"""One time step of each cell in NumPy float32, with its buffers and the layout of its weights."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from charrnn.engines.base import Array
from charrnn.engines.cell_steps import STEPS, Functions, Inputs
from charrnn.engines.numpy.int8 import Int8Matrix
from charrnn.network.architecture import Architecture

Vectors = Array | Sequence[Array]  # a layer's h (B, H), and where there is one c


ZERO = np.array(0, np.float32)


ONE = np.array(1, np.float32)  # an array of no axes adds faster than a scalar


def _sigmoid(x: Array) -> Array:
    return np.reciprocal(ONE + np.exp(-x))


FUNCTIONS = Functions(_sigmoid, lambda x: -np.logaddexp(ZERO, -x), np.tanh, lambda x: np.maximum(x, ZERO))


class Product:
    """A matrix (N, K), and products with it, by default those of float32."""

    def __init__(self, matrix: Array) -> None:
        # In column order: OpenBLAS's matrix-vector product is then a little faster.
        self.matrix = np.asfortranarray(matrix, dtype=np.float32)
        self._from = np.empty(self.matrix.shape[1], np.float32)
        self._to = np.empty(self.matrix.shape[0], np.float32)

    def by_row(self, rows: Array, products: Array) -> None:
        """Write (B, N) from (B, K), one product a row, from and to the same addresses: a BLAS chooses its order of
        summation by shape and sometimes by alignment, and a row's bits must not depend on the batch."""
        for row in range(len(rows)):
            self._from[:] = rows[row]
            products[row] = self.matrix.dot(self._from, self._to)

    def together(self, rows: Array, products: Array) -> None:
        """Do the same in one product, which is faster."""
        np.dot(rows, self.matrix.T, out=products)

    def of(self, rows: Array, begin: int = 0, end: int | None = None) -> Array:
        """Return the product of the matrix, or some rows of it, with many rows (B, K): (B, N)."""
        return np.asarray(rows @ self.matrix[begin:end].T)


class Int8Product(Product):
    """The same in int8: no product depends on its neighbours."""

    def __init__(self, matrix: Array) -> None:
        self._int8 = Int8Matrix(matrix)

    def by_row(self, rows: Array, products: Array) -> None:
        """See `Product`."""
        products[:] = self._int8.multiply(rows)

    together = by_row

    def of(self, rows: Array, begin: int = 0, end: int | None = None) -> Array:
        """See `Product`."""
        return self._int8.multiply(rows, begin, end)


Multiply = Callable[[Product, Array, Array], None]
"""`by_row` or `together`."""


def by_row(product: Product, rows: Array, products: Array) -> None:
    """See `Product.by_row`."""
    product.by_row(rows, products)


def together(product: Product, rows: Array, products: Array) -> None:
    """See `Product.together`."""
    product.together(rows, products)


PRODUCTS = {"float32": Product, "int8": Int8Product}
"""By precision."""


class Layer:
    """One layer's weights, laid out for its `_Cell`: the gates that go through a sigmoid come first, and are negated.

    For `_StepCell` they are unchanged. `precision` is that of products with the state, and with the output of the layer
    below.
    """

    def __init__(
        self, architecture: Architecture, weights: Mapping[str, Array], layer: int, precision: str = "float32"
    ) -> None:
        product = PRODUCTS[precision]
        H = self.size = architecture.hidden[layer]
        cell_type, G = architecture.cell_type, architecture.num_gates
        self.name = architecture.cell, architecture.activation
        cell: type[_Cell]
        order, signs, cell = {
            "lstm": ([0, 1, 3, 2], [-1, -1, -1, 1], _LSTM),  # i, f, o, g
            "gru": ([0, 1, 2], [-1, -1, 1], _GRU),  # r, z, n
            "rnn": ([0], [-1 if architecture.activation == "sigmoid" else 1], _RNN),
        }.get(architecture.cell, ([*range(G)], [1] * G, _StepCell))

        self._cell = cell

        def laid_out(name: str) -> Array:
            array = np.array(weights[f"layers.{layer}.{name}"], np.float32)
            gates = array.reshape(G, H, -1)[order]
            return np.asarray(gates * np.array(signs, np.float32)[:, None, None]).reshape(array.shape)

        self.input = (product if layer else Product)(laid_out("weight_ih"))  # (in,) -> (G*H,)
        self.bias = laid_out("bias_ih")  # (G*H,)
        self.products: list[Product] = []  # (H,) -> (G*H,), or some gates each
        self.biases: list[Array] = []
        self.peepholes: list[Array] = []  # (H,) each
        if cell_type.recurrent_matmuls:
            ends = H * np.cumsum(cell_type.recurrent_matmuls)[:-1]
            self.products = [product(part) for part in np.split(laid_out("weight_hh"), ends)]
            self.biases = np.split(laid_out("bias_hh"), ends)
        if cell_type.num_peepholes:
            peepholes = np.array(weights[f"layers.{layer}.weight_ch"], np.float32)
            self.peepholes = np.split(peepholes, cell_type.num_peepholes)
        if cell is not _StepCell:
            joining = slice(2 * H if cell is _GRU else G * H)  # GRU's reset gate multiplies the last
            self.bias[joining] += self.biases[0][joining]

    def cell(self, B: int) -> "_Cell":
        """Return one time step of this layer for B rows."""
        return self._cell(self, B)

    def inputs(self, x: Array) -> Array:
        """Return the input projection with its bias for many inputs at once: (N, G*H) from (N, in)."""
        product = self.input.of(x)
        product += self.bias
        return product


class _Cell:
    """One time step of a layer, with buffers and the views of them that it needs: making a view takes as long as a
    small sum.

    Before each `run` the caller writes `gates` (B, G*H), the input projection with its bias.
    `run(multiply, old, new)` writes `new` and overwrites `gates`; `old` and `new` are h (B, H), and where there
    is one c (B, H). `new`'s c may be `old`'s own, its h may not.
    """

    def __init__(self, layer: Layer, B: int) -> None:
        self.layer = layer
        self.gates = np.empty((B, len(layer.bias)), np.float32)
        self.product = np.empty_like(self.gates)  # of h

    def run(self, multiply: Multiply, old: Vectors, new: Vectors) -> None:
        multiply(self.layer.products[0], old[0], self.product)
        self.advance(old, new)

    def advance(self, old: Vectors, new: Vectors) -> None:
        raise NotImplementedError


class _RNN(_Cell):
    def __init__(self, layer: Layer, B: int) -> None:
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
    def __init__(self, layer: Layer, B: int) -> None:
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
    def __init__(self, layer: Layer, B: int) -> None:
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


class _StepCell(_Cell):
    """A cell of `cell_steps.STEPS`: an array for each operation of its equations."""

    def __init__(self, layer: Layer, B: int) -> None:
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
