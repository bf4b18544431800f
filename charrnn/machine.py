"""The machine: how many CPUs and how much memory this process may use, and how the threads of libraries wait."""

import contextlib
import math
import os
import threading
from pathlib import Path

PROC = Path("/proc")


def available_cpus(proc: Path = PROC, *, heed_openmp: bool = True) -> int:
    """Return how many threads may run at once: the least of the process's CPU affinity, `OMP_NUM_THREADS`, and the CPU
    quotas of its cgroup and of those above it, where a part of a CPU counts as one.

    Args:
        heed_openmp: False: whatever `OMP_NUM_THREADS` says.
    """
    limits = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    for folder in _cgroups("cpu", proc):
        v1 = [*_numbers(folder / "cpu.cfs_quota_us"), *_numbers(folder / "cpu.cfs_period_us")]
        match _numbers(folder / "cpu.max") or v1:
            case [quota, period] if quota > 0 and period > 0:
                limits.append(math.ceil(quota / period))
    omp_num_threads = os.environ.get("OMP_NUM_THREADS", "")
    if heed_openmp and omp_num_threads.isdecimal():
        limits.append(int(omp_num_threads))
    return max(1, min(limits))


def startable_threads(count: int) -> int:
    """Return how many of so many threads the process can start now, at once: memory and limits may allow fewer."""
    done, threads = threading.Event(), []
    try:
        for _ in range(count):
            thread = threading.Thread(target=done.wait, daemon=True)
            thread.start()
            threads.append(thread)
    except RuntimeError:
        pass  # no more
    finally:
        done.set()
        for thread in threads:
            thread.join()
    return len(threads)


def memory_limit(proc: Path = PROC) -> int | None:
    """Return how many bytes of memory, swap space included, a process can have here at most, whatever others use: the
    least of what the machine has, the limits of the cgroup and of those above it, and `ulimit -v`. None: unknown."""
    lines = (line.split() for line in _read(proc / "meminfo").split(b"\n"))
    sizes = {line[0]: 1024 * int(line[1]) for line in lines if len(line) == 3}
    limits = [sizes.get(b"MemTotal:", 0)]
    for folder in _cgroups("memory", proc):
        limits += _numbers(folder / "memory.max") or _numbers(folder / "memory.limit_in_bytes")
    limits = [limit + sizes.get(b"SwapTotal:", 0) for limit in limits if limit > 0]
    with contextlib.suppress(ImportError):  # not on Windows
        import resource

        if (space := resource.getrlimit(resource.RLIMIT_AS)[0]) != resource.RLIM_INFINITY:
            limits.append(space)
    return min(limits, default=None)


def _cgroups(controller: str, proc: Path) -> list[Path]:
    """Return the folders of this process's cgroup and of those above it, as far as they are seen here, where a
    controller ("cpu" or "memory") has its files: in a hierarchy of its own (v1), in that of all (v2), or in both."""
    paths: dict[str, str] = {}  # of the cgroup, by controller; "": in v2's hierarchy
    for line in os.fsdecode(_read(proc / "self" / "cgroup")).split("\n"):
        _, _, cgroup = line.partition(":")
        controllers, _, path = cgroup.partition(":")
        paths |= dict.fromkeys(controllers.split(","), path) if path else {}
    folders = []
    for line in os.fsdecode(_read(proc / "self" / "mountinfo")).split("\n"):
        mount, _, system = line.partition(" - ")
        kind, _, options = system.partition(" ")
        if kind not in ("cgroup", "cgroup2"):
            continue
        name = controller if kind == "cgroup" else ""
        if name not in paths or (name and name not in options.split(" ")[-1].split(",")):
            continue
        root, place = mount.split(" ")[3:5]
        below = os.path.relpath(paths[name], root)
        folder = Path(place) if below.startswith("..") else Path(place, below)
        folders += [folder, *(above for above in folder.parents if above.is_relative_to(place))]
    return folders


def _numbers(file: Path) -> list[int]:
    """Return the numbers in a file, "max" as -1; none where there is no such file."""
    try:
        return [-1 if word == b"max" else int(word) for word in _read(file).split()]
    except ValueError:
        return []


def _read(file: Path) -> bytes:
    """Return what is in a file of the system; nothing where there is none."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


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
