"""The machine: how many CPUs this process may use, and how the threads of libraries wait."""

import math
import os
from pathlib import Path


def available_cpus() -> int:
    """Return how many threads may run at once: the least of the process's CPU affinity, the container's CPU quota
    and `OMP_NUM_THREADS`."""
    limits = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_bytes().split()
        if quota != b"max":
            limits.append(math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # not in a container with a quota
    omp_num_threads = os.environ.get("OMP_NUM_THREADS", "")
    if omp_num_threads.isdecimal():
        limits.append(int(omp_num_threads))
    return max(1, min(limits))


def configure_threading() -> None:
    """Set environment variables that make the threads of NumPy and torch yield when other programs need the CPUs.

    Both spin at barriers, thousands of times a second, and whenever the system has suspended one of the threads the
    others lose a time slice: beside one busy neighbour on two cores, training ran at a fiftieth of its speed and
    scoring at a tenth. A shorter spin, and one thread for the small matrix products of scoring, cost little on an idle
    machine. This has an effect only before NumPy and torch are imported; variables that the user has set stay.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
