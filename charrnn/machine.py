"""What this machine lends the program."""

import math
import os
from pathlib import Path


def processors() -> int:
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
