"""Scoring and sampling by the compiled core, in float32 on the CPU."""

import ctypes
import weakref
from collections.abc import Mapping

import numpy as np

from charrnn.architecture import Architecture
from charrnn.engines import Array, Inference, State
from charrnn.engines.core import WEIGHTS, Weights, addresses, library, number_of


class NativeEngine(Inference):
    """`Inference` by the core. Its nats, logits and states are the same to the last bit for every batch,
    number of threads and instruction set. Not for use by two threads at once.

    Args:
        architecture: the model's sizes.
        weights: arrays named and shaped as `architecture.shapes()`; copied.
        threads: of the processor.

    Raises:
        MemoryError: there is not enough. Raised by `score` and `step` too.
    """

    name = "native"

    def __init__(self, architecture: Architecture, weights: Mapping[str, Array], threads: int) -> None:
        core = library()
        assert core is not None, "there is no core"
        self.architecture, self._core = architecture, core
        arrays = {name: np.ascontiguousarray(weights[name], np.float32) for name in architecture.shapes()}
        layers = (Weights * architecture.layers)(
            *(
                Weights(*(arrays[f"layers.{layer}.{name}"].ctypes.data for name in WEIGHTS))
                for layer in range(architecture.layers)
            )
        )
        self._model = core.charrnn_model_new(
            number_of(architecture.cell, architecture.activation),
            threads,
            architecture.vocabulary,
            architecture.embedding,
            architecture.layers,
            (ctypes.c_int32 * architecture.layers)(*architecture.hidden),
            arrays["embedding"].ctypes.data,
            layers,
            arrays["head.weight"].ctypes.data,
            arrays["head.bias"].ctypes.data,
        )
        if not self._model:
            raise MemoryError
        weakref.finalize(self, core.charrnn_model_free, self._model)

    def score(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `Inference`."""
        B, T = ids.shape
        symbols, after = self._checked(ids, state)
        nats = np.empty((B, T), np.float64)
        if self._core.charrnn_score(self._model, symbols.ctypes.data, B, T, addresses(after), nats.ctypes.data):
            raise MemoryError
        return nats, after

    def step(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `Inference`."""
        (B,) = ids.shape
        symbols, after = self._checked(ids, state)
        logits = np.empty((B, self.architecture.vocabulary), np.float32)
        if self._core.charrnn_step(self._model, symbols.ctypes.data, B, addresses(after), logits.ctypes.data):
            raise MemoryError
        return logits, after

    def _checked(self, ids: Array, state: State) -> tuple[Array, State]:
        """What the core reads and what it writes over: it checks nothing itself."""
        symbols = np.ascontiguousarray(ids, np.int32)
        assert symbols.size, "no ids"
        assert 0 <= symbols.min() <= symbols.max() <= self.architecture.start, "an id is out of range"
        after = tuple(np.array(layer, np.float32, order="C") for layer in state)
        shapes = [(self.architecture.states, len(ids), H) for H in self.architecture.hidden]
        assert [layer.shape for layer in after] == shapes, "the state's shape"
        return symbols, after
