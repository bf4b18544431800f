"""The compiled core, `core.so` in this package, through its C API: see `native/charrnn.h`.

It is optional: where it could not be built or loaded, `library()` is None, `fault()` says why, and the other engines do
its work. It checks nothing that it is handed: who calls it must.
"""

import ctypes
import functools
import math
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.network.cells import cell_name

ABI_VERSION = 12

MAX_THREADS = 1024

MAX_ROWS = 1 << 30
"""Of an array: the core counts them in 32 bits."""


WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_ch")
"""Of a layer, in the order of `charrnn_weights`; a cell may lack some."""


PRECISIONS = {"float32": 0, "bfloat16": 1, "int8": 2}
"""In int8 there is inference alone."""


CELLS = (
    *("rnn", "rnn-relu", "rnn-sigmoid", "lstm", "gru"),
    *("lstm-peephole", "gru-v1", "mgu", "mingru", "minlstm"),
    *("lstm-sigmoid", "lstm-sigmoid-peephole", "lstm-relu", "lstm-cellless", "gru-crossed"),
)
"""In the order of the core's numbers."""


_Floats = ctypes.c_void_p


_int32, _int64 = ctypes.c_int32, ctypes.c_int64


class Weights(ctypes.Structure):
    """`charrnn_weights`: addresses of a layer's arrays."""

    _fields_ = [(name, _Floats) for name in WEIGHTS]


class Layer(ctypes.Structure):
    """`charrnn_layer`: a layer and the time steps that it runs."""

    _fields_ = [
        *((name, _int32) for name in ("precision", "cell", "threads", "steps", "batch", "inputs", "hidden", "rows")),
        *((name, _Floats) for name in ("x", "index", "resets")),
        ("weights", Weights),
        *((name, _Floats) for name in ("state", "saved", "work")),
    ]


class SoftmaxXent(ctypes.Structure):
    """`charrnn_softmax_xent`: the input, weights and targets of softmax cross-entropy."""

    _fields_ = [
        *((name, _int32) for name in ("precision", "threads", "rows", "features", "vocabulary", "count")),
        ("x", _Floats),
        ("x_stride", _int64),
        *((name, _Floats) for name in ("weight", "bias", "targets", "work")),
    ]


_TENSORS = ("sizes", "weights", "gradients", "exp_avg", "exp_avg_sq", "decay_factors", "step_sizes")


class AdamWStep(ctypes.Structure):
    """`charrnn_optimizer`: a step of AdamW."""

    _fields_ = [
        *((name, _int32) for name in ("threads", "tensors")),
        *((name, ctypes.c_void_p) for name in _TENSORS),
        *((name, ctypes.c_float) for name in ("scale", "beta1", "beta2", "correction", "epsilon")),
        ("work", ctypes.c_void_p),
    ]


class CopyIndexTable(ctypes.Structure):
    """`charrnn_copy_index`: what may not be copied, and the bytes of the tokens."""

    _fields_ = [
        *((name, _int64) for name in ("length", "count")),
        ("base", ctypes.c_uint64),
        ("keys", ctypes.c_void_p),
        *((name, _int32) for name in ("longest", "is_by_char")),
        *((name, ctypes.c_void_p) for name in ("bytes", "offsets", "sizes", "order", "shared")),
    ]


class Contexts(ctypes.Structure):
    """`charrnn_contexts`: the last ids before the texts of each prompt."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("ids", "ends")]


class SamplerRequest(ctypes.Structure):
    """`charrnn_sampler_request`: the texts to be generated."""

    _fields_ = [
        ("prompts", _int32),
        ("per_prompt", _int64),
        ("length", _int64),
        ("batch", _int32),
        ("top_k", _int64),
        *((name, ctypes.c_double) for name in ("temperature", "top_p", "min_p")),
        *((name, ctypes.c_uint64) for name in ("seed", "stream")),
        ("logits", _Floats),
        ("state", ctypes.POINTER(_Floats)),
        ("dfa_start", ctypes.c_void_p),
        ("dfa_states", _int32),
        *((name, ctypes.c_void_p) for name in ("dfa", "dfa_distance")),
        ("no_repeat", _int64),
        ("repeat_context", Contexts),
        ("copies", ctypes.POINTER(CopyIndexTable)),
        ("copy_context", Contexts),
    ]


def _signature(function: object, result: object, *arguments: object) -> None:
    function.argtypes, function.restype = arguments, result  # type: ignore[attr-defined]


def _has_our_structs(core: ctypes.CDLL) -> bool:
    """Return whether the structs of the core are as large as those above."""
    sizes = core.charrnn_struct_sizes()
    structs = (Weights, Layer, SoftmaxXent, AdamWStep, CopyIndexTable, Contexts, SamplerRequest)
    ours = map(ctypes.sizeof, structs)
    return all(sizes[number] == size for number, size in enumerate((*ours, 0)))


def library() -> ctypes.CDLL | None:
    """Return the core; None where there is none that this program can use."""
    return _load()[0]


def fault() -> str:
    """Return why there is no core, as what "the compiled core" does; "" where there is one."""
    return _load()[1]


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    path = Path(__file__).parents[2] / "core.so"
    if not path.exists():
        return None, "was not built when charrnn was installed here"
    try:
        if not _is_whole(path):
            return None, f"is not whole: {path}; reinstall charrnn"
        core = ctypes.CDLL(os.fspath(path))
        version = core.charrnn_abi_version()
        _signature(core.charrnn_struct_sizes, ctypes.POINTER(_int32))
    except (OSError, AttributeError) as error:
        return None, f"cannot be loaded: {error}; reinstall charrnn"
    if version != ABI_VERSION:
        return None, f"is of another version (ABI {version}, needed is {ABI_VERSION}): {path}; reinstall charrnn"
    if not _has_our_structs(core):
        return None, f"is of another version (its structs have other sizes): {path}; reinstall charrnn"
    _declare(core)
    return core, ""


def _is_whole(path: Path) -> bool:
    """Return whether a file is as long as its ELF header says; loading one that is not kills the process."""
    with open(path, "rb") as file:
        header = file.read(64)
        size = file.seek(0, os.SEEK_END)
    if header[:4] != b"\x7fELF" or len(header) < 64:
        return True  # the loader knows what to say
    begin, count_size = ("<Q", 58) if header[4] == 2 else ("<I", 46)
    (place,) = struct.unpack_from(begin, header, 40 if header[4] == 2 else 32)
    entry_size, count = struct.unpack_from("<HH", header, count_size)
    return bool(place + entry_size * count <= size)


def _declare(core: ctypes.CDLL) -> None:
    """Give the functions of the core their types."""
    layer, xent, optimizer = map(ctypes.POINTER, (Layer, SoftmaxXent, AdamWStep))
    model = sampler = ctypes.c_void_p
    _signature(core.charrnn_isa, ctypes.c_char_p)
    _signature(core.charrnn_isas, ctypes.c_char_p)
    _signature(core.charrnn_layer_saved_size, _int64, layer)
    _signature(core.charrnn_layer_work_size, _int64, layer)
    _signature(core.charrnn_layer_forward, None, layer, _Floats)
    _signature(core.charrnn_layer_backward, None, layer, _Floats, _int64, *(_Floats,) * 8)
    _signature(core.charrnn_softmax_xent_work_size, _int64, xent)
    _signature(core.charrnn_softmax_xent_loss, ctypes.c_double, xent, _Floats, _int64, _Floats, _Floats)
    _signature(core.charrnn_optimizer_work_size, _int64, optimizer)
    _signature(core.charrnn_optimizer_gradient_norm, ctypes.c_double, optimizer)
    _signature(core.charrnn_optimizer_adamw, None, optimizer)
    _signature(
        core.charrnn_model_new,
        model,
        *(_int32,) * 6,
        ctypes.POINTER(_int32),
        _Floats,
        ctypes.POINTER(Weights),
        *(_Floats,) * 2,
        ctypes.c_void_p,
    )
    _signature(core.charrnn_model_free, None, model)
    states = ctypes.POINTER(_Floats)
    _signature(core.charrnn_model_score, _int32, model, _Floats, _int32, _int32, states, ctypes.c_void_p, _Floats)
    _signature(core.charrnn_model_step, _int32, model, _Floats, _int32, states, _Floats)
    _signature(core.charrnn_sampler_new, sampler, model, ctypes.POINTER(SamplerRequest))
    _signature(core.charrnn_sampler_free, None, sampler)
    _signature(core.charrnn_sampler_advance, _int64, sampler, _int64, _int64, *(ctypes.c_void_p,) * 4)
    _signature(core.charrnn_sampler_finish, None, sampler, _int64)


def instruction_set() -> str:
    """Return what the core runs: "baseline", "avx2", "avxvnni", "avx512", "avx512vnni" or "avx512bf16"; or "neon",
    "neondot" or "neonbf16"; "" without a core."""
    core = library()
    return "" if core is None else core.charrnn_isa().decode()


def instruction_sets() -> list[str]:
    """Return all that the core has and this machine supports, the fastest last; `CHARRNN_ISA` chooses one."""
    core = library()
    return [] if core is None else core.charrnn_isas().decode().split()


def is_fast() -> bool:
    """Return whether the core is here and faster than the engines without it: with vectors that no processor of the
    last ten years lacks, or with instructions that the user has named."""
    return instruction_set() not in ("", "baseline") or (library() is not None and "CHARRNN_ISA" in os.environ)


def cell_number(cell: str, activation: str) -> int:
    """Return the core's number of a cell."""
    return CELLS.index(cell_name(cell, activation))


def weight_addresses(arrays: Mapping[str, npt.NDArray[Any]], layer: int) -> list[int | None]:
    """Return where a layer's arrays begin, in the order of `WEIGHTS`; None: the cell has no such weight."""
    named = [arrays.get(f"layers.{layer}.{name}") for name in WEIGHTS]
    return [None if array is None else array.ctypes.data for array in named]


def loaded() -> ctypes.CDLL:
    """Return the core.

    Raises:
        RuntimeError: there is none; the message says why.
    """
    core, why = _load()
    if core is None:
        raise RuntimeError(f"the compiled core {why}")
    return core


def check_threads(count: int) -> int:
    """Return a number of threads; ValueError unless the core can have so many."""
    if not 1 <= count <= MAX_THREADS:
        raise ValueError(f"{count} threads, not 1 to {MAX_THREADS}")
    return count


def as_ids(ids: npt.NDArray[Any], largest: int) -> npt.NDArray[np.int32]:
    """Return ids as the core reads them.

    Raises:
        ValueError: there are none or too many, or one is no integer from 0 to `largest`.
    """
    if not 0 < ids.size <= MAX_ROWS or ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() > largest:
        raise ValueError(f"no ids, too many, or one that is out of range 0 to {largest}")
    return np.ascontiguousarray(ids, np.int32)


def addresses(arrays: Sequence[npt.NDArray[Any]]) -> "ctypes.Array[ctypes.c_void_p]":
    """Return where arrays begin. They must live as long as this is used."""
    return (_Floats * len(arrays))(*(array.ctypes.data for array in arrays))


def aligned(shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """Return zeros, float32, at an address that is a multiple of 64, as the core wants its own memory."""
    size = math.prod(shape)
    memory = np.zeros(size + 16, np.float32)
    begin = -memory.ctypes.data % 64 // 4
    return memory[begin : begin + size].reshape(shape)
