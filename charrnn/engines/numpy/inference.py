"""Scoring and sampling in NumPy float32: what runs where there is neither a GPU nor a compiled core.

Three things make it fast. The first layer's input product is a row of a table made once. A sigmoid is
1 / (1 + exp(-x)), with its sign folded into the weights and its quotient taken where the gate is used:
three cheap passes (NumPy's float32 `exp` costs half a `tanh`). A chunk is run layer by layer: one
product for all its inputs, then one small product a step.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from charrnn.engines.base import Array, InferenceEngine, State
from charrnn.engines.numpy.cells import ZERO, Layer, Product
from charrnn.network.architecture import Architecture

TABLE = 1 << 24  # largest input table, in floats (64 MB); beyond it rows are made for the ids at hand


BLOCK = 1 << 24  # largest array of gates or logits that `score` makes at a time, in floats


class NumpyInference(InferenceEngine):
    """`InferenceEngine` in float32 on the CPU. Not for use by two threads at once: `step` has buffers.

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
        self._layers = [Layer(architecture, weights, layer) for layer in range(architecture.num_layers)]
        self._head = Product(weights["head.weight"])  # (F,) -> (V,)
        self._head_bias = np.array(weights["head.bias"], np.float32)  # (V,)
        self._cells = [layer.cell(1) for layer in self._layers]  # for a batch of the last step's size
        first = self._layers[0]
        self._table: Array | None = None  # (V + 1, G*H)
        if len(self._embedding) * len(first.bias) <= TABLE:
            self._table = first.inputs(self._embedding)

    @np.errstate(all="ignore")
    def step(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        B, symbols = len(ids), ids.tolist()
        assert 0 <= min(symbols) <= max(symbols) <= self.architecture.bos_id, "an id is out of range"
        if len(self._cells[0].gates) != B:
            self._cells = [layer.cell(B) for layer in self._layers]
        if max(symbols) == self.architecture.bos_id:
            going = (ids != self.architecture.bos_id)[:, None]  # (B, 1)
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
            cell.run(Product.by_row, old, new)
            outputs.append(new[0])
        logits = np.empty((B, self.architecture.vocabulary), np.float32)
        self._head.by_row(self._features(outputs), logits)
        logits += self._head_bias
        return logits, after

    @np.errstate(all="ignore")
    def score(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`. Takes memory for BLOCK floats besides what B*T needs, whatever V."""
        B, T = ids.shape
        assert 0 <= ids.min() <= ids.max() <= self.architecture.bos_id, "an id is out of range"
        nats = np.empty((B, T), np.float64)
        steps = max(1, BLOCK // (B * max(len(layer.bias) for layer in self._layers)))
        for t in range(0, T, steps):
            nats[:, t : t + steps], state = self._score(ids[:, t : t + steps], state)
        return nats, state

    def _score(self, ids: Array, state: State) -> tuple[Array, State]:
        """`score` of a piece short enough to keep all layers' outputs of all its steps."""
        symbols = np.ascontiguousarray(ids.T)  # (T, B)
        T, B = symbols.shape
        starts = symbols == self.architecture.bos_id
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
            input_projection: Array | None = None  # (T, B, G*H)
            if outputs:
                input_projection = layer.inputs(outputs[-1][1:].reshape(T * B, -1)).reshape(T, B, -1)
            for t in range(T):
                if resets[t]:
                    # h[t] was the output of step t - 1 too. Zeroing it there is seen only by what is
                    # thrown away: the cost of `<s>`, and states of the layers above that it resets.
                    h[t, starts[t]] = 0
                    for vector in rest:
                        vector[starts[t]] = 0
                if input_projection is None:
                    np.take(table, rows[t], axis=0, out=cell.gates, mode="clip")
                else:
                    np.copyto(cell.gates, input_projection[t])
                cell.run(Product.together, [h[t], *rest], [h[t + 1], *rest])
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
        if not self.architecture.sums_layers:
            return np.concatenate(outputs, axis=-1)
        total = outputs[0] + outputs[1]
        for output in outputs[2:]:
            total += output
        return total
