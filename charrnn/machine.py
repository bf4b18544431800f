"""What this machine lends the program."""

import math
import os
from pathlib import Path


def available_cpus() -> int:
    """How many threads may run at once: the least of what the scheduler allows this process, the
    container's quota and `OMP_NUM_THREADS`."""
    allowed = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_bytes().split()
        if quota != b"max":
            allowed.append(math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # no such container
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal():
        allowed.append(int(asked))
    return max(1, min(allowed))


def configure_threading() -> None:
    """Let the threads of NumPy and torch give way when another program wants the processors they wait on.

    Both spin at barriers, thousands of times a second, and each time that the system has set one of
    the threads aside the others lose a time slice: beside one busy neighbour on two cores, training
    ran at a fiftieth of its speed and scoring at a tenth. A shorter spin, and one thread for the
    small products of scoring, cost little where nobody else is at work. Has an effect only before
    NumPy and torch are imported; what the user has set stays.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
