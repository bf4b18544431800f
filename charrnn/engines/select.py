"""Which engine runs a model here, on which device, in which precision."""

import ctypes
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from charrnn.engines.base import Array, InferenceEngine, TrainingEngine
from charrnn.engines.ensemble import Ensemble
from charrnn.engines.native import lib as core
from charrnn.errors import UsageError
from charrnn.machine import available_cpus
from charrnn.network.architecture import Architecture


def choose_device(asked: str) -> tuple[str, str]:
    """The device that `--device` means.

    Args:
        asked: "auto", "cpu", "cuda" or "cuda:N".

    Returns:
        "cpu" or "cuda:N", and why. PyTorch, which takes a second to import, is asked only where there may be a GPU.

    Raises:
        UsageError: there is no such device; the message names those there are.
    """
    if asked == "cpu":
        return "cpu", "asked for"
    if asked == "auto" and not _has_driver():
        return "cpu", "this machine has no driver for a GPU"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto" and not count:
        built = torch.version.cuda or torch.version.hip
        return "cpu", "PyTorch finds no GPU" if built else "this PyTorch was built without CUDA"
    if asked == "auto":
        return "cuda:0", torch.cuda.get_device_name(0)
    number = int(asked.partition(":")[2] or 0)
    if number >= count:
        there = ", ".join(["cpu", *(f"cuda:{n}" for n in range(count))])
        raise UsageError(f"--device {asked}: no such device here; there is {there}")
    return f"cuda:{number}", torch.cuda.get_device_name(number)


def _has_driver() -> bool:
    """Whether the system has what any CUDA or ROCm program needs."""
    if sys.platform == "darwin":
        return False
    if Path("/dev/kfd").exists():  # AMD's
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def has_core() -> bool:
    """Return whether the compiled core was built at installation."""
    return core.library() is not None


def choose_engine(name: str, device: str, *, cell: str = "lstm", training: bool = False) -> str:
    """The engine that runs a model: "native", "numpy" or "torch".

    Args:
        name: what was asked for; "auto" takes the fastest that is here.
        device: "cpu", "cuda" or "cuda:N".
        cell: of the model.
        training: whether it is to train.

    Raises:
        UsageError: the engine asked for is not here, or does not run on the device or with the cell.
    """
    if name == "auto":
        if device == "cpu" and core.is_fast() and core.supports(cell):
            return "native"
        return "torch" if training or device != "cpu" else "numpy"
    if name == "native" and core.library() is None:
        raise UsageError("--engine native: the compiled core was not built when charrnn was installed here")
    if name == "native" and not core.supports(cell):
        raise UsageError(f"--engine native has no kernel for --cell {cell}")
    if name != "torch" and device != "cpu":
        raise UsageError(f"--engine {name} runs on the CPU, and --device is {device}")
    return name


def choose_precision(name: str, engine: str, device: str = "cpu", *, training: bool = False) -> str:
    """What products are computed in: "float32", "tf32", "bfloat16" or "float16".

    Args:
        name: what was asked for; "auto" takes float32, but TF32 to train on CUDA.
        engine: as `choose_engine` gave it.
        device: "cpu", "cuda" or "cuda:N".
        training: whether it is to train.

    Raises:
        UsageError: the engine does not have it there.
    """
    if name == "auto":
        return "tf32" if training and device != "cpu" else "float32"
    known = {"native": ("float32", "bfloat16"), "torch": ("float32", "bfloat16", "float16")}.get(engine, ("float32",))
    if device != "cpu":
        known = (*known, "tf32")
    if name not in known:
        has = " and ".join(", ".join(known).rsplit(", ", 1))
        raise UsageError(f"--precision {name}: the engine is {engine} on {device}, which has {has}")
    return name


def inference_engine(
    architecture: Architecture,
    weights: Mapping[str, Array],
    *,
    name: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
    precision: str = "auto",
) -> InferenceEngine:
    """The engine that scores and samples.

    Args:
        architecture: the model's sizes.
        weights: float32 arrays named and shaped as `architecture.shapes()`.
        name, device: as for `choose_engine`.
        threads: of the processor, where the engine has its own; None: as many as there are.
        precision: as for `choose_precision`.

    Raises:
        UsageError: as `choose_engine` and `choose_precision` do.
    """
    name = choose_engine(name, device, cell=architecture.cell)
    precision = choose_precision(precision, name, device)
    match name:
        case "native":
            from charrnn.engines.native.inference import NativeInference

            return NativeInference(architecture, weights, threads or available_cpus(), precision)
        case "torch":
            from charrnn.engines.torch.inference import TorchInference

            return TorchInference(architecture, weights, device, precision)
        case _:
            from charrnn.engines.numpy.inference import NumpyInference

            return NumpyInference(architecture, weights)


def training_engine(architecture: Architecture, *, name: str, device: str, precision: str) -> TrainingEngine:
    """The engine that trains; its weights are yet to be written.

    Args:
        architecture: the model's sizes.
        name, device: as for `choose_engine`.
        precision: as for `choose_precision`.

    Raises:
        UsageError: as `choose_engine` and `choose_precision` do.
    """
    name = choose_engine(name, device, cell=architecture.cell, training=True)
    precision = choose_precision(precision, name, device, training=True)
    if name == "native":
        from charrnn.engines.native.training import NativeTraining

        return NativeTraining(architecture, precision)
    from charrnn.engines.torch.model import LanguageModel

    return LanguageModel(architecture, precision).to(device)


def ensemble_engine(models: Sequence[tuple[Architecture, Mapping[str, Array]]], **how: Any) -> InferenceEngine:
    """What runs the models, each a shape and its weights; `how` is as for `inference_engine`."""
    engines = [inference_engine(architecture, weights, **how) for architecture, weights in models]
    return engines[0] if len(engines) == 1 else Ensemble(engines)


def dynamic_engine(
    architecture: Architecture, weights: Mapping[str, Array], *, rate: float | None = None
) -> InferenceEngine:
    """Return the adaptive engine of dynamic evaluation, on the CPU.

    Args:
        architecture, weights: as for `inference_engine`.
        rate: learning rate; None: by the size of the largest layer.
    """
    from charrnn.engines.dynamic import DynamicEngine

    return DynamicEngine(architecture, weights, rate=rate)
