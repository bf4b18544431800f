"""Scoring and sampling by the compiled core, on the CPU."""

import ctypes
import weakref
from collections.abc import Mapping

import numpy as np

from charrnn.engines.base import END, FORBIDDEN, Array, GenerationRequest, InferenceEngine, SampledTokens, State
from charrnn.engines.native.lib import PRECISIONS, WEIGHTS, SamplerRequest, Weights, addresses, library, number_of
from charrnn.errors import NonFiniteError
from charrnn.network.architecture import Architecture
from charrnn.rng import RngStream


class NativeInference(InferenceEngine):
    """`InferenceEngine` by the core. Its nats, logits and states are the same to the last bit for every batch,
    number of threads and, in float32, instruction set. Not for use by two threads at once.

    Args:
        architecture: the model's sizes.
        weights: arrays named and shaped as `architecture.shapes()`; copied.
        threads: of the processor.
        precision: "float32", or "bfloat16" for the operands of products.

    Raises:
        MemoryError: there is not enough. Raised by `score` and `step` too.
    """

    name = "native"

    def __init__(
        self, architecture: Architecture, weights: Mapping[str, Array], threads: int, precision: str = "float32"
    ) -> None:
        core = library()
        assert core is not None, "there is no core"
        self.architecture, self._core = architecture, core
        arrays = {name: np.ascontiguousarray(weights[name], np.float32) for name in architecture.shapes()}
        layers = (Weights * architecture.num_layers)(
            *(
                Weights(*(arrays[f"layers.{layer}.{name}"].ctypes.data for name in WEIGHTS))
                for layer in range(architecture.num_layers)
            )
        )
        self._model = core.charrnn_model_new(
            PRECISIONS[precision],
            number_of(architecture.cell, architecture.activation),
            threads,
            architecture.vocabulary,
            architecture.embedding,
            architecture.num_layers,
            (ctypes.c_int32 * architecture.num_layers)(*architecture.hidden),
            arrays["embedding"].ctypes.data,
            layers,
            arrays["head.weight"].ctypes.data,
            arrays["head.bias"].ctypes.data,
        )
        if not self._model:
            raise MemoryError
        weakref.finalize(self, core.charrnn_model_free, self._model)

    def score(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        B, T = ids.shape
        symbols, after = self._checked(ids, state)
        nats = np.empty((B, T), np.float64)
        if self._core.charrnn_model_score(
            self._model, symbols.ctypes.data, B, T, addresses(after), nats.ctypes.data, None
        ):
            raise MemoryError
        return nats, after

    def step(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        (B,) = ids.shape
        symbols, after = self._checked(ids, state)
        logits = np.empty((B, self.architecture.vocabulary), np.float32)
        if self._core.charrnn_model_step(self._model, symbols.ctypes.data, B, addresses(after), logits.ctypes.data):
            raise MemoryError
        return logits, after

    def sampler(self, request: GenerationRequest) -> "NativeSampler":
        """See `InferenceEngine`."""
        return NativeSampler(self, request)

    def _checked(self, ids: Array, state: State) -> tuple[Array, State]:
        """What the core reads and what it writes over: it checks nothing itself."""
        symbols = np.ascontiguousarray(ids, np.int32)
        assert symbols.size, "no ids"
        assert 0 <= symbols.min() <= symbols.max() <= self.architecture.bos_id, "an id is out of range"
        after = tuple(np.array(layer, np.float32, order="C") for layer in state)
        shapes = [(self.architecture.num_states, len(ids), H) for H in self.architecture.hidden]
        assert [layer.shape for layer in after] == shapes, "the state's shape"
        return symbols, after


class NativeSampler:
    """`Sampler` by the core.

    Raises:
        MemoryError: there is not enough.
    """

    def __init__(self, engine: NativeInference, request: GenerationRequest) -> None:
        self._engine, self._core = engine, engine._core  # the core's writer needs the model
        config, V = request.config, engine.architecture.vocabulary
        first = np.ascontiguousarray(request.logits, np.float32)
        begin = [np.ascontiguousarray(layer, np.float32) for layer in request.state]
        table = np.ascontiguousarray(request.automaton, np.int32)
        assert config.length > 0, "no symbols"
        assert first.shape == (1, V), "the logits' shape"
        assert table.shape == (len(table), V), "the automaton's shape"
        assert min(END, FORBIDDEN) <= table.min() <= table.max() < len(table), "the automaton leads out of itself"
        assert not (table == FORBIDDEN).all(axis=1).any(), "the automaton has a state where nothing is drawn"
        dfa_start = np.zeros(1, np.int32)
        call = SamplerRequest(
            1, config.num, config.length, request.batch, min(config.top_k, V), config.temp, config.top_p, config.min_p,
            request.seed, RngStream.SAMPLE, first.ctypes.data, addresses(begin), dfa_start.ctypes.data, len(table),
            table.ctypes.data, None,
        )  # fmt: skip
        self._writer = self._core.charrnn_sampler_new(engine._model, call)
        if not self._writer:
            raise MemoryError
        weakref.finalize(self, self._core.charrnn_sampler_free, self._writer)
        room = max(1 << 14, 16 * min(request.batch, config.num))
        self._written = SampledTokens(np.empty(room, np.int64), np.empty(room, np.int32), np.empty(room, np.bool_))

    def write(self, seconds: float) -> SampledTokens:
        """See `Sampler`."""
        texts, ids, last = self._written
        to = (texts.ctypes.data, ids.ctypes.data, None, last.ctypes.data)
        count = self._core.charrnn_sampler_advance(self._writer, int(seconds * 1e9), len(self._written.ids), *to)
        if count < 0:
            raise NonFiniteError
        texts, ids, last = (array[:count].copy() for array in self._written)
        return SampledTokens(texts, ids, last)

    def finish(self, text: int) -> None:
        """See `Sampler`."""
        self._core.charrnn_sampler_finish(self._writer, text)
