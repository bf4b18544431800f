"""The compiled core, `core.so` beside this package, through its C interface: see `native/charrnn.h`.

It is optional: where it could not be built, `library()` is None and the other engines do its work.
"""

import ctypes
import functools
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

INTERFACE = 5


WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
"""Of a layer, in the order of `charrnn_weights`."""


PRECISIONS = {"float32": 0, "bfloat16": 1}


CELLS = {"tanh": 0, "relu": 1, "sigmoid": 2, "lstm": 3, "gru": 4}


_Floats = ctypes.c_void_p


_int32, _int64 = ctypes.c_int32, ctypes.c_int64


class Weights(ctypes.Structure):
    """`charrnn_weights`: addresses of a layer's arrays."""

    _fields_ = [(name, _Floats) for name in WEIGHTS]


class Layer(ctypes.Structure):
    """`charrnn_layer`: a layer and some steps of it."""

    _fields_ = [
        *((name, _int32) for name in ("precision", "cell", "threads", "steps", "batch", "inputs", "hidden", "rows")),
        *((name, _Floats) for name in ("x", "index", "resets")),
        ("weights", Weights),
        *((name, _Floats) for name in ("state", "kept", "work")),
    ]


class Head(ctypes.Structure):
    """`charrnn_head`: the softmax over symbols."""

    _fields_ = [
        *((name, _int32) for name in ("precision", "threads", "rows", "features", "vocabulary")),
        ("x", _Floats),
        ("distance", _int64),
        *((name, _Floats) for name in ("weight", "bias", "targets", "work")),
    ]


class Update(ctypes.Structure):
    """`charrnn_update`: a step of AdamW."""

    _fields_ = [
        *((name, _int32) for name in ("threads", "tensors")),
        *((name, ctypes.c_void_p) for name in ("sizes", "weights", "gradients", "means", "squares", "kept", "rates")),
        *((name, ctypes.c_float) for name in ("scale", "beta1", "beta2", "correction", "epsilon")),
        ("work", ctypes.c_void_p),
    ]


class Writing(ctypes.Structure):
    """`charrnn_writing`: texts to be written."""

    _fields_ = [
        *((name, _int64) for name in ("texts", "length")),
        ("rows", _int32),
        ("top_k", _int64),
        *((name, ctypes.c_double) for name in ("temperature", "top_p", "min_p")),
        *((name, ctypes.c_uint64) for name in ("seed", "purpose")),
        ("logits", _Floats),
        ("state", ctypes.POINTER(_Floats)),
        ("states", _int32),
        ("automaton", ctypes.c_void_p),
    ]


def _signature(function: object, result: object, *arguments: object) -> None:
    function.argtypes, function.restype = arguments, result  # type: ignore[attr-defined]


@functools.cache
def library() -> ctypes.CDLL | None:
    """The core, or None where it is missing, cannot be loaded or is another version's."""
    path = Path(__file__).parents[2] / "core.so"
    try:
        core = ctypes.CDLL(os.fspath(path))
        if core.charrnn_interface() != INTERFACE:
            return None
    except (OSError, AttributeError):
        return None
    layer, head, update, model = *map(ctypes.POINTER, (Layer, Head, Update)), ctypes.c_void_p
    _signature(core.charrnn_isa, ctypes.c_char_p)
    _signature(core.charrnn_isas, ctypes.c_char_p)
    _signature(core.charrnn_has_bfloat16, _int32)
    _signature(core.charrnn_layer_kept, _int64, layer)
    _signature(core.charrnn_layer_work, _int64, layer)
    _signature(core.charrnn_layer_forward, None, layer, _Floats)
    _signature(core.charrnn_layer_backward, None, layer, _Floats, _int64, *(_Floats,) * 7)
    _signature(core.charrnn_head_work, _int64, head)
    _signature(core.charrnn_head_loss, ctypes.c_double, head, _Floats, _int64, _Floats, _Floats)
    _signature(core.charrnn_update_work, _int64, update)
    _signature(core.charrnn_gradient_norm, ctypes.c_double, update)
    _signature(core.charrnn_adamw, None, update)
    _signature(
        core.charrnn_model_new,
        model,
        *(_int32,) * 6,
        ctypes.POINTER(_int32),
        _Floats,
        ctypes.POINTER(Weights),
        *(_Floats,) * 2,
    )
    _signature(core.charrnn_model_free, None, model)
    states = ctypes.POINTER(_Floats)
    _signature(core.charrnn_score, _int32, model, _Floats, _int32, _int32, states, _Floats)
    _signature(core.charrnn_step, _int32, model, _Floats, _int32, states, _Floats)
    _signature(core.charrnn_writer_new, model, model, ctypes.POINTER(Writing))
    _signature(core.charrnn_writer_free, None, model)
    _signature(core.charrnn_write, _int64, model, _int64, _int64, *(ctypes.c_void_p,) * 3)
    _signature(core.charrnn_writer_finish, None, model, _int64)
    return core


def instruction_set() -> str:
    """What the core runs: "avx512bf16", "avx512", "avx2", "neonbf16", "neon" or "baseline"; "" if there is none."""
    core = library()
    return "" if core is None else core.charrnn_isa().decode()


def instruction_sets() -> list[str]:
    """All that the core has and this machine runs, the best last; `CHARRNN_ISA` in the environment takes one."""
    core = library()
    return [] if core is None else core.charrnn_isas().decode().split()


def pays() -> bool:
    """Whether the core is here and faster than the engines without it: vectors that no processor of
    the last ten years lacks, or instructions that the user has named."""
    return instruction_set() not in ("", "baseline") or (library() is not None and "CHARRNN_ISA" in os.environ)


def has_bfloat16() -> bool:
    """Whether the core is here and the processor multiplies in bfloat16; the core itself does so on any."""
    core = library()
    return core is not None and bool(core.charrnn_has_bfloat16())


def runs(cell: str) -> bool:
    """Whether the core knows a cell."""
    return cell == "rnn" or cell in CELLS


def number_of(cell: str, activation: str) -> int:
    """The core's number of a cell."""
    return CELLS[activation if cell == "rnn" else cell]


def addresses(arrays: Sequence[npt.NDArray[Any]]) -> "ctypes.Array[ctypes.c_void_p]":
    """Where arrays begin. They must live as long as this is used."""
    return (_Floats * len(arrays))(*(array.ctypes.data for array in arrays))


def aligned(shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """Zeros of float32, from a multiple of 64 bytes on, as the core wants its own memory."""
    size = math.prod(shape)
    memory = np.zeros(size + 16, np.float32)
    begin = -memory.ctypes.data % 64 // 4
    return memory[begin : begin + size].reshape(shape)
