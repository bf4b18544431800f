"""Which engine runs a model here, on which device, in which precision."""

import ctypes
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.engines.base import Array, InferenceEngine, TrainingEngine
from charrnn.engines.drawing import DrawingEngine
from charrnn.engines.ensemble import Ensemble
from charrnn.engines.native import lib
from charrnn.errors import UsageError
from charrnn.machine import available_cpus
from charrnn.network.architecture import Architecture

if TYPE_CHECKING:
    from charrnn.engines.native.speed import CoreSpeed


@dataclass(frozen=True)
class EngineSpec:
    """What runs a model.

    Attributes:
        engine: "native", "numpy" or "torch".
        device: "cpu" or "cuda:N".
        precision: of matrix products: "float32", "tf32", "bfloat16", "float16" or "int8".
        threads: of the processor.
        reason: why this device.
        most_threads: that a training may use where so many are faster just then; 0: no more than `threads`.
    """

    engine: str
    device: str
    precision: str
    threads: int
    reason: str
    most_threads: int = 0

    def for_scoring(self) -> "EngineSpec":
        """Return what scores a model while it trains: on the same device the fastest engine there is, in float32."""
        return replace(self, engine=choose_engine("auto", self.device), precision="float32")


def resolve(
    *,
    engine: str = "auto",
    device: str = "cpu",
    precision: str = "auto",
    threads: int | None = None,
    training: bool = False,
) -> EngineSpec:
    """Return what runs a model here.

    Args:
        engine: as `choose_engine` takes it. device: as `choose_device` takes it.
        precision: as `choose_precision` takes it.
        threads: of the processor; None: as many as there are.
        training: whether it is to train.

    Raises:
        UsageError: the engine, the device or the precision asked for is not here, or they do not go together.
    """
    place, reason = choose_device(device)
    name = choose_engine(engine, place, training=training)
    exactness = choose_precision(precision, name, place, training=training)
    return EngineSpec(name, place, exactness, threads or available_cpus(), reason)


def inference_engine(spec: EngineSpec, architecture: Architecture, weights: Mapping[str, Array]) -> InferenceEngine:
    """Return the engine that scores and samples; weights are float32, named and shaped as `architecture.shapes()`."""
    match spec.engine:
        case "native":
            from charrnn.engines.native.inference import NativeInference

            return NativeInference(architecture, weights, spec.threads, spec.precision)
        case "torch":
            from charrnn.engines.torch.inference import TorchInference

            return TorchInference(architecture, weights, spec.device, spec.precision)
        case _:
            from charrnn.engines.numpy.inference import NumpyInference

            return NumpyInference(architecture, weights, spec.precision)


def training_engine(spec: EngineSpec, architecture: Architecture) -> TrainingEngine:
    """Return the engine that trains; its weights are still to be loaded."""
    if spec.engine == "native":
        from charrnn.engines.native.training import NativeTraining

        engine: TrainingEngine = NativeTraining(architecture, spec.precision)
    else:
        from charrnn.engines.torch.model import LanguageModel

        engine = LanguageModel(architecture, spec.precision).to(spec.device)
    engine.set_num_threads(spec.threads)
    return engine


def ensemble_engine(
    models: Sequence[tuple[Architecture, Mapping[str, Array]]],
    *,
    engine: str = "auto",
    device: str = "cpu",
    precision: str = "auto",
) -> InferenceEngine:
    """Return the engine of a model, or of several whose probabilities are averaged.

    Where the precision is "auto" the compiled core scores in float32, and draws the texts of a single model in int8.

    Args:
        models: sizes and weights, as for `inference_engine`.
        engine, device, precision: as for `resolve`.

    Raises:
        UsageError: as `resolve`.
    """
    spec = resolve(engine=engine, device=device, precision=precision)
    engines = [inference_engine(spec, architecture, weights) for architecture, weights in models]
    if len(engines) > 1:
        return Ensemble(engines)
    if precision != "auto" or spec.engine != "native":
        return engines[0]
    return DrawingEngine(engines[0], lambda: inference_engine(replace(spec, precision="int8"), *models[0]))


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


def core_fault() -> str:
    """Return why there is no compiled core, as what "the compiled core" does; "" where there is one."""
    return lib.fault()


def core_instructions() -> tuple[str, list[str]]:
    """Return the instruction set that the compiled core uses, and all that it has and this machine supports, the
    fastest last; nothing without a core."""
    return lib.instruction_set(), lib.instruction_sets()


def core_speed(counts: Sequence[int]) -> "list[CoreSpeed]":
    """Return the compiled core's speed with each number of threads; takes about a second. Raises RuntimeError: there is
    no core."""
    from charrnn.engines.native.speed import measure

    return measure(counts)


def torch_version() -> tuple[str, str]:
    """Return the version of PyTorch, and why it cannot be used; one of them is empty. It takes a second to import."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return "", str(error).partition("\n")[0]
    return torch.__version__, ""


def choose_device(asked: str) -> tuple[str, str]:
    """Return the device that `--device` means.

    Args:
        asked: "auto", "cpu", "cuda" or "cuda:N".

    Returns:
        "cpu" or "cuda:N", and why. PyTorch, which takes a second to import, is asked only where there may be a GPU.

    Raises:
        UsageError: there is no such device; the message names those there are.
    """
    if asked == "cpu":
        return "cpu", "asked for"
    if asked == "auto" and not has_driver():
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
        raise UsageError(f"{{device}} {asked}: no such device here; there is {there}", ("device",))
    return f"cuda:{number}", torch.cuda.get_device_name(number)


def has_driver() -> bool:
    """Return whether the system has what any CUDA or ROCm program needs."""
    if sys.platform == "darwin":
        return False
    if Path("/dev/kfd").exists():  # AMD's
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def choose_engine(name: str, device: str, *, training: bool = False) -> str:
    """Return the engine that runs a model: "native", "numpy" or "torch".

    Args:
        name: what was asked for; "auto" takes the fastest that is here.
        device: "cpu", "cuda" or "cuda:N".
        training: whether it is to train.

    Raises:
        UsageError: the engine asked for is not here, or does not run on the device.
    """
    if name == "auto":
        if device == "cpu" and lib.is_fast():
            return "native"
        return "torch" if training or device != "cpu" else "numpy"
    if name == "native" and lib.library() is None:
        raise UsageError(f"{{engine}} native: the compiled core {lib.fault()}", ("engine",))
    if name != "torch" and device != "cpu":
        raise UsageError(f"{{engine}} {name} runs on the CPU, and {{device}} is {device}", ("engine", "device"))
    return name


def choose_precision(name: str, engine: str, device: str = "cpu", *, training: bool = False) -> str:
    """Return what matrix products are computed in: "float32", "tf32", "bfloat16", "float16" or, never to train, "int8".

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
    if engine != "torch" and not training:
        known += ("int8",)
    if device != "cpu":
        known = ("float32", "tf32", "float16")  # in bfloat16 autocast would run cuDNN's layers in float16, unscaled
    if name not in known:
        has = " and ".join(", ".join(known).rsplit(", ", 1))
        why = "; bfloat16 is not proven there yet" if name == "bfloat16" and device != "cpu" else ""
        text = f"{{precision}} {name}: the engine is {engine} on {device}, which has {has}{why}"
        raise UsageError(text, ("precision",))
    return name
