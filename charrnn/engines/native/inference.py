"""Inference and sampling by the compiled core, on the CPU."""

import ctypes
import itertools
import sys
import weakref
from collections.abc import Mapping, Sequence
from threading import Lock

import numpy as np

from charrnn.engines.arrays import check_weights, zero_state
from charrnn.engines.base import Array, CopyIndex, GenerationRequest, Ids, InferenceEngine, SampledTokens, State
from charrnn.engines.native.lib import (
    PRECISIONS,
    Contexts,
    CopyIndexTable,
    SamplerRequest,
    Weights,
    addresses,
    as_ids,
    cell_number,
    check_threads,
    loaded,
    weight_addresses,
)
from charrnn.errors import NonFiniteError
from charrnn.network.architecture import Architecture
from charrnn.rng import RngStream

_NO_MEMORY = -2
"""What the core's sampler returns then."""


class NativeInference(InferenceEngine):
    """`InferenceEngine` by the core. Its nats, log-probabilities, logits and states are the same to the last bit for
    every batch, number of threads and, in float32 and int8, instruction set.

    Args:
        architecture: the model's sizes.
        weights: arrays named and shaped as `architecture.shapes()`; copied.
        threads: of the processor.
        precision: "float32"; or for the operands of products "bfloat16" or, but for the first layer's input, "int8".

    Raises:
        MemoryError: there is not enough. So do `score`, `predict`, `step` and `sampler`.
        ValueError: the weights are not those of the architecture, or there cannot be so many threads.
    """

    name = "native"

    def __init__(
        self, architecture: Architecture, weights: Mapping[str, Array], threads: int, precision: str = "float32"
    ) -> None:
        core = loaded()
        self.architecture, self.vocabulary, self._core, self._lock = architecture, architecture.vocabulary, core, Lock()
        check_weights(weights, architecture)
        arrays = {name: np.ascontiguousarray(weights[name], np.float32) for name in architecture.shapes()}
        layers = (Weights * architecture.num_layers)(
            *(Weights(*weight_addresses(arrays, layer)) for layer in range(architecture.num_layers))
        )
        self._model = core.charrnn_model_new(
            PRECISIONS[precision],
            cell_number(architecture.cell, architecture.activation),
            check_threads(threads),
            architecture.vocabulary,
            architecture.embedding,
            architecture.num_layers,
            (ctypes.c_int32 * architecture.num_layers)(*architecture.hidden),
            arrays["embedding"].ctypes.data,
            layers,
            arrays["head.weight"].ctypes.data,
            arrays["head.bias"].ctypes.data,
            architecture.clusters or None,
        )
        if not self._model:
            raise MemoryError
        weakref.finalize(self, core.charrnn_model_free, self._model)

    def zero_state(self, batch: int) -> State:
        """See `InferenceEngine`."""
        return zero_state(self.architecture, batch)

    def score(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        nats = np.empty(ids.shape, np.float64)
        return nats, self._score(ids, state, nats.ctypes.data, None)

    def predict(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        ln_p = np.empty((*ids.shape, self.vocabulary), np.float32)
        return ln_p, self._score(ids, state, None, ln_p.ctypes.data)

    def _score(self, ids: Ids, state: State, nats: int | None, ln_p: int | None) -> State:
        """Write nats or ln p, or both, to these addresses; return the state after the ids (B, T)."""
        B, T = ids.shape
        read, after = self._checked(ids, state, 2 * self.vocabulary)
        with self._lock:
            failed = self._core.charrnn_model_score(
                self._model, read.ctypes.data, B, T, addresses(after), nats, ln_p
            )  # fmt: skip
        if failed:
            raise MemoryError
        return after

    def step(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        (B,) = ids.shape
        read, after = self._checked(ids, state, self.vocabulary)
        logits = np.empty((B, self.vocabulary), np.float32)
        with self._lock:
            failed = self._core.charrnn_model_step(
                self._model, read.ctypes.data, B, addresses(after), logits.ctypes.data
            )  # fmt: skip
        if failed:
            raise MemoryError
        return logits, after

    def sampler(self, request: GenerationRequest) -> "NativeSampler":
        """See `InferenceEngine`."""
        return NativeSampler(self, request)

    def _checked(self, ids: Ids, state: State, largest: int) -> tuple[Ids, State]:
        """Return the ids as the core reads them, and a copy of the state for it to overwrite."""
        return as_ids(ids, largest), self._copy_state(state, len(ids))

    def _copy_state(self, state: State, rows: int) -> State:
        copy = tuple(np.array(layer, np.float32, order="C") for layer in state)
        shapes = [(self.architecture.num_states, rows, H) for H in self.architecture.hidden]
        if [layer.shape for layer in copy] != shapes:
            raise ValueError(f"a state of shapes {[layer.shape for layer in copy]}, not {shapes}")
        return copy


class NativeSampler:
    """`Sampler` by the core.

    Raises:
        MemoryError: there is not enough.
        ValueError: the request does not fit the model.
    """

    def __init__(self, engine: NativeInference, request: GenerationRequest) -> None:
        self._engine, self._core, self._lock = engine, engine._core, Lock()  # the core's sampler needs the model
        params, dfa, P, V = request.params, request.dfa, len(request.logits), engine.vocabulary
        logits = np.ascontiguousarray(request.logits, np.float32)
        if logits.shape != (P, V):
            raise ValueError(f"logits of shape {logits.shape} of a model of {V} tokens")
        state = engine._copy_state(request.state, P)
        dfa_start = np.ascontiguousarray(request.dfa_start, np.int32)
        top_p = max(params.top_p, sys.float_info.min)  # the core takes smaller ones for 0, which keeps nothing
        call = SamplerRequest(
            P, request.per_prompt or 0, request.length, request.batch_size, min(params.top_k, V),
            params.temp, top_p, params.min_p, request.seed, RngStream.SAMPLE,
            logits.ctypes.data, addresses(state), dfa_start.ctypes.data, len(dfa.next), dfa.next.ctypes.data,
            None if dfa.distance is None else dfa.distance.ctypes.data, params.no_repeat,
        )  # fmt: skip
        self._alive: list[object] = [request]  # what the core does not copy
        if params.no_repeat:
            call.repeat_context = self._contexts(request.repeat_context)
        if request.copies is not None:
            call.copies = ctypes.pointer(self._copy_table(request.copies))
            call.copy_context = self._contexts(request.copy_context)
        self._sampler = self._core.charrnn_sampler_new(engine._model, call)
        if not self._sampler:
            raise MemoryError
        weakref.finalize(self, self._core.charrnn_sampler_free, self._sampler)
        texts = request.num_texts
        capacity = max(1 << 14, 16 * (request.batch_size if texts is None else min(request.batch_size, texts)))
        self._texts, self._ids = np.empty(capacity, np.int64), np.empty(capacity, np.int32)
        self._nats = np.empty(capacity, np.float64) if request.with_nats else None
        self._last = np.empty(capacity, np.bool_)

    def _contexts(self, contexts: Sequence[Ids]) -> Contexts:
        if not contexts:
            return Contexts()
        ids = np.concatenate(contexts).astype(np.int32)
        ends = np.cumsum([len(each) for each in contexts], dtype=np.int64)
        self._alive += [ids, ends]
        return Contexts(ids.ctypes.data, ends.ctypes.data)

    def _copy_table(self, copies: CopyIndex) -> CopyIndexTable:
        tokens = copies.token_bytes
        order = sorted(range(len(tokens)), key=tokens.__getitem__)
        ordered = [b"", *(tokens[token] for token in order)]
        shared = [_num_shared(*pair) for pair in itertools.pairwise(ordered)]
        sizes = np.array([len(token) for token in tokens], np.int32)
        keys = np.ascontiguousarray(copies.keys, np.uint64)
        data = np.frombuffer(b"".join(tokens), np.uint8)
        offsets = np.cumsum(sizes, dtype=np.int32) - sizes
        arrays = (data, offsets, sizes, np.array(order, np.int32), np.array(shared, np.int32))
        self._alive += [keys, *arrays]
        return CopyIndexTable(
            copies.length, len(keys), copies.base, keys.ctypes.data, sizes.max(), all(map(_is_char, tokens)),
            *(array.ctypes.data for array in arrays),
        )  # fmt: skip

    def advance(self, seconds: float) -> SampledTokens:
        """See `Sampler`."""
        with self._lock:
            count = self._core.charrnn_sampler_advance(
                self._sampler, int(seconds * 1e9), len(self._ids), self._texts.ctypes.data, self._ids.ctypes.data,
                None if self._nats is None else self._nats.ctypes.data, self._last.ctypes.data,
            )  # fmt: skip
            if count < 0:
                raise MemoryError if count == _NO_MEMORY else NonFiniteError
            nats = np.broadcast_to(np.nan, count) if self._nats is None else self._nats[:count].copy()
            return SampledTokens(self._texts[:count].copy(), self._ids[:count].copy(), nats, self._last[:count].copy())

    def finish(self, text: int) -> None:
        """See `Sampler`."""
        with self._lock:
            self._core.charrnn_sampler_finish(self._sampler, text)


def _num_shared(token: bytes, other: bytes) -> int:
    """Return how many first bytes two tokens have in common."""
    return next((n for n, (x, y) in enumerate(zip(token, other, strict=False)) if x != y), min(len(token), len(other)))


def _is_char(token: bytes) -> bool:
    """Return whether a token is not more than a character, or a byte."""
    return len(token.decode("utf-8", "surrogateescape")) < 2
