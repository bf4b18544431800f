"""Where a model can run on this machine."""

import ctypes
import sys
from pathlib import Path

from charrnn.errors import UsageError


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
