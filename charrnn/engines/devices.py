"""Where a model can run on this machine."""

from charrnn.errors import UsageError


def choose_device(asked: str) -> tuple[str, str]:
    """The device that `--device` means.

    Args:
        asked: "auto", "cpu", "cuda" or "cuda:N".

    Returns:
        "cpu" or "cuda:N", and why. Asking for the processor never imports torch.

    Raises:
        UsageError: there is no such device; the message names those there are.
    """
    if asked == "cpu":
        return "cpu", "asked for"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto":
        return ("cuda:0", torch.cuda.get_device_name(0)) if count else ("cpu", "no CUDA device found")
    number = int(asked.partition(":")[2] or 0)
    if number >= count:
        there = ", ".join(["cpu", *(f"cuda:{n}" for n in range(count))])
        raise UsageError(f"--device {asked}: no such device here; there is {there}")
    return f"cuda:{number}", torch.cuda.get_device_name(number)
