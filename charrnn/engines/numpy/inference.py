"""Inference in NumPy: what runs where there is neither a GPU nor a compiled core.

Three things make it fast. The first layer's input projection is a row of a table made once. A sigmoid is
1 / (1 + exp(-x)), with its sign folded into the weights and its quotient taken where the gate is used:
three cheap passes (NumPy's float32 `exp` costs half a `tanh`). Many time steps are run layer by layer: one
product for all inputs, then one small product a step.
"""

from collections.abc import Iterator, Mapping
from threading import Lock

import numpy as np

from charrnn.engines.arrays import layer_features, zero_state
from charrnn.engines.base import Array, Ids, InferenceEngine, State, tokens_of
from charrnn.engines.numpy.cells import PRODUCTS, ZERO, Layer, by_row, together
from charrnn.network.architecture import Architecture
from charrnn.network.head import HeadLayout

TABLE = 1 << 24  # largest input table, in floats (64 MB); beyond it rows are made for the ids at hand


BLOCK = 1 << 24  # largest array of gates or logits that `score` makes at a time, in floats


class NumpyInference(InferenceEngine):
    """`InferenceEngine` on the CPU.

    Overflow raises nothing: where weights are huge or not finite, so are nats and logits.

    Args:
        architecture: the model's sizes.
        weights: arrays named and shaped as `architecture.shapes()`; copied, never changed.
        precision: "float32", or "int8" for the products that the core has in it.
    """

    name = "numpy"

    @np.errstate(all="ignore")
    def __init__(self, architecture: Architecture, weights: Mapping[str, Array], precision: str = "float32") -> None:
        self.architecture, self.vocabulary, self._lock = architecture, architecture.vocabulary, Lock()
        self._embedding = np.array(weights["embedding"], np.float32)  # (V + 1, E)
        self._layers = [Layer(architecture, weights, layer, precision) for layer in range(architecture.num_layers)]
        self._head = PRODUCTS[precision](weights["head.weight"])  # (F,) -> (R,)
        self._head_bias = np.array(weights["head.bias"], np.float32)  # (R,)
        self._layout = HeadLayout.of(architecture)
        self._cells = [layer.cell(1) for layer in self._layers]  # for a batch of the last step's size
        first = self._layers[0]
        self._table: Array | None = None  # (V + 1, G*H)
        if len(self._embedding) * len(first.bias) <= TABLE:
            self._table = first.inputs(self._embedding)

    def zero_state(self, batch: int) -> State:
        """See `InferenceEngine`."""
        return zero_state(self.architecture, batch)

    @np.errstate(all="ignore")
    def step(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        read = ids.tolist()
        if not read or min(read) < 0 or max(read) > self.vocabulary:
            raise ValueError(f"no ids, or one that is out of range 0 to {self.vocabulary}")
        if max(read) == self.vocabulary:
            goes_on = (ids != self.vocabulary)[:, None]  # (B, 1)
            state = tuple(np.where(goes_on, layer, ZERO) for layer in state)
        with self._lock:
            return self._step(ids, state, len(ids))

    def _step(self, ids: Ids, state: State, B: int) -> tuple[Array, State]:
        if len(self._cells[0].gates) != B:
            self._cells = [layer.cell(B) for layer in self._layers]
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
            cell.run(by_row, old, new)
            outputs.append(new[0])
        logits = np.empty((B, len(self._head_bias)), np.float32)
        self._head.by_row(layer_features(self.architecture, outputs), logits)
        logits += self._head_bias
        if self.architecture.clusters:
            logits = self._layout.ln_p(logits).astype(np.float32)
        return logits, after

    @np.errstate(all="ignore")
    def score(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`. Takes memory for BLOCK floats besides what B*T needs, whatever V."""
        nats = np.empty(ids.shape, np.float64)
        after = state
        for t, end, features, bos, after in self._blocks(ids, state):  # noqa: B007
            targets = np.where(bos, 0, tokens_of(ids[:, t:end], self.vocabulary).T)  # (T, B)
            nll = self._negative_log_likelihood(features, targets.ravel())
            nats[:, t:end] = np.where(bos, 0.0, nll.reshape(bos.shape)).T
        return nats, after

    @np.errstate(all="ignore")
    def predict(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        ln_p = np.empty((*ids.shape, self.vocabulary), np.float32)
        after = state
        for t, end, features, bos, after in self._blocks(ids, state):  # noqa: B007
            logits = (self._head.of(features) + self._head_bias).astype(np.float64)  # (T*B, R)
            found = self._layout.ln_p(logits)
            found[bos.ravel()] = 0
            ln_p[:, t:end] = found.reshape(*bos.shape, -1).swapaxes(0, 1)
        return ln_p, after

    def _blocks(self, ids: Ids, state: State) -> Iterator[tuple[int, int, Array, Array, State]]:
        """Read ids (B, T), as many time steps at a time as BLOCK floats of gates allow.

        Yields:
            The first time step and the one after the last; what the head reads before each of them, (T*B, F); whether
            the id is BOS, (T, B); and the state after them.
        """
        B, T = ids.shape
        if not ids.size or ids.min() < 0 or ids.max() > 2 * self.vocabulary:
            raise ValueError(f"no ids, or one that is out of range 0 to {2 * self.vocabulary}")
        shapes = [(self.architecture.num_states, B, H) for H in self.architecture.hidden]
        if [layer.shape for layer in state] != shapes:
            raise ValueError(f"a state of shapes {[layer.shape for layer in state]}, not {shapes}")
        steps = max(1, BLOCK // (B * max(len(layer.bias) for layer in self._layers)))
        for t in range(0, T, steps):
            end = min(t + steps, T)
            with self._lock:
                features, bos, state = self._read(ids[:, t:end], state)
            yield t, end, features, bos, state

    def _read(self, ids: Ids, state: State) -> tuple[Array, Array, State]:
        """Read few enough time steps to keep all layers' outputs of all of them."""
        read = np.ascontiguousarray(np.minimum(ids, self.vocabulary).T)  # (T, B)
        T, B = read.shape
        is_reset = read == self.vocabulary
        resets = is_reset.any(axis=1)  # (T,)
        table, rows = self._table, read
        if table is None:
            known, rows = np.unique(read, return_inverse=True)
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
                before = h[t]
                if resets[t]:
                    before = np.where(is_reset[t, :, None], ZERO, before)
                    for vector in rest:
                        vector[is_reset[t]] = 0
                if input_projection is None:
                    np.take(table, rows[t], axis=0, out=cell.gates, mode="clip")
                else:
                    np.copyto(cell.gates, input_projection[t])
                cell.run(together, [before, *rest], [h[t + 1], *rest])
            after.append(np.stack([h[T], *rest]))
            outputs.append(h)
        features = layer_features(self.architecture, [h[:T] for h in outputs]).reshape(T * B, -1)
        return features, np.equal(ids.T, self.vocabulary), tuple(after)

    def _negative_log_likelihood(self, features: Array, targets: Ids) -> Array:
        """Return -ln p of each target (N,), float64, given what the head reads, (N, F)."""
        nats = np.zeros(len(targets), np.float64)
        for level, (begin, end) in enumerate(self._layout.levels):
            bias = self._head_bias[begin:end]
            among, places = self._layout.targets_of(level, targets)
            read, found = features[among], np.empty(len(places))
            rows = max(1, BLOCK // len(bias))
            for n in range(0, len(places), rows):
                logits = self._head.of(read[n : n + rows], begin, end)  # (rows, of the level)
                logits += bias
                logits -= logits.max(axis=1, keepdims=True)
                target_logits = logits[np.arange(len(logits)), places[n : n + rows]].astype(np.float64)
                total = np.exp(logits, out=logits).sum(axis=1)
                found[n : n + rows] = np.log(total.astype(np.float64)) - target_logits
            nats[among] += found
        return nats
