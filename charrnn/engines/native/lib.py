"""The compiled core, `core.so` in this package, through its C API: see `native/charrnn.h`.

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

ABI_VERSION = 7


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
        *((name, _int32) for name in ("precision", "threads", "rows", "features", "vocabulary")),
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
    ]


def _signature(function: object, result: object, *arguments: object) -> None:
    function.argtypes, function.restype = arguments, result  # type: ignore[attr-defined]


def _has_our_structs(core: ctypes.CDLL) -> bool:
    """Return whether the structs of the core are as large as those above."""
    sizes = core.charrnn_struct_sizes()
    ours = map(ctypes.sizeof, (Weights, Layer, SoftmaxXent, AdamWStep, SamplerRequest))
    return all(sizes[number] == size for number, size in enumerate((*ours, 0)))


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the core; None where it is missing, cannot be loaded or is of another version."""
    path = Path(__file__).parents[2] / "core.so"
    try:
        core = ctypes.CDLL(os.fspath(path))
        _signature(core.charrnn_struct_sizes, ctypes.POINTER(_int32))
        if core.charrnn_abi_version() != ABI_VERSION or not _has_our_structs(core):
            return None
    except (OSError, AttributeError):
        return None
    layer, xent, optimizer = map(ctypes.POINTER, (Layer, SoftmaxXent, AdamWStep))
    model = sampler = ctypes.c_void_p
    _signature(core.charrnn_isa, ctypes.c_char_p)
    _signature(core.charrnn_isas, ctypes.c_char_p)
    _signature(core.charrnn_layer_saved_size, _int64, layer)
    _signature(core.charrnn_layer_work_size, _int64, layer)
    _signature(core.charrnn_layer_forward, None, layer, _Floats)
    _signature(core.charrnn_layer_backward, None, layer, _Floats, _int64, *(_Floats,) * 7)
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
    )
    _signature(core.charrnn_model_free, None, model)
    states = ctypes.POINTER(_Floats)
    _signature(core.charrnn_model_score, _int32, model, _Floats, _int32, _int32, states, ctypes.c_void_p, _Floats)
    _signature(core.charrnn_model_step, _int32, model, _Floats, _int32, states, _Floats)
    _signature(core.charrnn_sampler_new, sampler, model, ctypes.POINTER(SamplerRequest))
    _signature(core.charrnn_sampler_free, None, sampler)
    _signature(core.charrnn_sampler_advance, _int64, sampler, _int64, _int64, *(ctypes.c_void_p,) * 4)
    _signature(core.charrnn_sampler_finish, None, sampler, _int64)
    return core


def instruction_set() -> str:
    """Return what the core runs: "avx512bf16", "avx512", "avx2", "neonbf16", "neon" or "baseline"; "" without a
    core."""
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


def supports(cell: str) -> bool:
    """Return whether the core has a kernel for the cell."""
    return cell == "rnn" or cell in CELLS


def cell_number(cell: str, activation: str) -> int:
    """Return the core's number of a cell."""
    return CELLS[activation if cell == "rnn" else cell]


def addresses(arrays: Sequence[npt.NDArray[Any]]) -> "ctypes.Array[ctypes.c_void_p]":
    """Return where arrays begin. They must live as long as this is used."""
    return (_Floats * len(arrays))(*(array.ctypes.data for array in arrays))


def aligned(shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """Return zeros, float32, at an address that is a multiple of 64, as the core wants its own memory."""
    size = math.prod(shape)
    memory = np.zeros(size + 16, np.float32)
    begin = -memory.ctypes.data % 64 // 4
    return memory[begin : begin + size].reshape(shape)
