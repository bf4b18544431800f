"""What the machine lends the program."""

import os
import resource
from pathlib import Path

import pytest

from charrnn.machine import available_cpus, configure_threading, memory_limit


def cgroup(folder: Path, v1: dict[str, dict[str, str]], v2: dict[str, dict[str, str]], inside: str = "") -> Path:
    """A /proc like that of a process in the cgroup /docker/one/job.

    Args:
        v1, v2: files of the cgroups in a hierarchy of either version, by the cgroup's path; none: no such hierarchy.
        inside: what the process sees as the root of its hierarchies, as in a container.
    """
    proc = folder / "proc"
    (proc / "self").mkdir(parents=True)
    membership, mounts = ["9:pids:/", "4:memory,cpu,cpuacct:/docker/one/job"], ["22 1 0:5 / /proc rw - proc proc rw"]
    for kind, groups in (("cgroup", v1), ("cgroup2", v2)):
        place = folder / kind
        mounts += [
            f"31 25 0:28 {inside or '/'} {place} rw,relatime shared:9 - {kind} {kind} rw,memory,cpu,cpuacct"
        ] * bool(groups)
        for path, files in groups.items():
            here = place / os.path.relpath(path, inside or "/")
            here.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                (here / name).write_text(text)
    if v2:
        membership.append("0::/docker/one/job")
    (proc / "self" / "cgroup").write_text("\n".join(membership) + "\n")
    (proc / "self" / "mountinfo").write_text("\n".join(mounts) + "\n")
    return proc


def v1(quota: int) -> dict[str, str]:
    return {"cpu.cfs_quota_us": f"{quota}\n", "cpu.cfs_period_us": "100000\n"}


def v2(text: str) -> dict[str, str]:
    return {"cpu.max": f"{text}\n"}


JOB, CONTAINER = "/docker/one/job", "/docker/one"


@pytest.mark.parametrize(
    ("groups", "inside", "expected"),
    [
        (({}, {}), "", 8),
        (({}, {"/": v2("max 100000")}), "", 8),
        (({}, {"/": v2("200000 100000")}), "", 2),
        (({}, {"/": v2("150000 100000")}), "", 2),
        (({}, {"/": v2("50000 100000")}), "", 1),
        (({}, {"/": v2("900000 100000")}), "", 8),
        (({}, {"/": v2("")}), "", 8),
        (({}, {"/": v2("x y")}), "", 8),
        (({}, {"/": v2("100000 0")}), "", 8),
        (({}, {JOB: v2("300000 100000")}), "", 3),
        (({}, {JOB: v2("max 100000"), CONTAINER: v2("200000 100000")}), "", 2),
        (({}, {JOB: v2("300000 100000"), "/docker": v2("200000 100000")}), "", 2),
        (({}, {"/docker/two": v2("100000 100000")}), "", 8),
        (({}, {CONTAINER: v2("200000 100000")}), CONTAINER, 2),
        (({}, {CONTAINER: v2("200000 100000")}), "/another", 8),
        (({JOB: v1(300000)}, {}), "", 3),
        (({JOB: v1(-1), CONTAINER: v1(250000)}, {}), "", 3),
        (({JOB: v1(-1), "/": v1(-1)}, {}), "", 8),
        (({CONTAINER: v1(200000)}, {}), CONTAINER, 2),
        (({JOB: v1(300000)}, {CONTAINER: v2("200000 100000")}), "", 2),
    ],
)
def test_quotas(
    groups: tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]],
    inside: str,
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the process's cgroup and of all above it, in hierarchies of both versions."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert available_cpus(cgroup(tmp_path, *groups, inside)) == expected


@pytest.mark.parametrize(
    ("scheduler", "variable", "expected"),
    [(8, None, 4), (2, None, 2), (8, "3", 3), (8, "16", 4), (8, "0", 1), (8, "", 4), (8, "4,2", 4), (8, "-1", 4)],
)
def test_processors(
    scheduler: int, variable: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The least of what scheduler, quotas and OMP_NUM_THREADS allow."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(scheduler)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert available_cpus(cgroup(tmp_path, {}, {"/": v2("400000 100000")})) == expected


def test_processors_without_a_scheduler_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for counted_lines, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda counted_lines=counted_lines: counted_lines)
        assert available_cpus(tmp_path) == expected


def test_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's, less where a cgroup or `ulimit -v` has less; swap space counts."""
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert memory_limit(tmp_path) is None
    groups = {"/": {"memory.max": "max\n"}, CONTAINER: {"memory.max": "3072\n"}}
    old = {JOB: {"memory.limit_in_bytes": "2048\n"}, "/": {"memory.limit_in_bytes": "9223372036854771712\n"}}
    for number, (v1, v2, expected) in enumerate(
        [({}, {}, 4096), ({}, groups, 3072), (old, {}, 2048), (old, groups, 2048)]
    ):
        proc = cgroup(tmp_path / str(number), v1, v2)
        (proc / "meminfo").write_text("MemTotal:  4 kB\nMemFree:  1 kB\nHugePages_Total:  0\nSwapTotal:  1 kB\n")
        assert memory_limit(proc) == expected + 1024
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1000, 1000))
    assert memory_limit(proc) == 1000
    assert memory_limit(tmp_path) == 1000


@pytest.mark.parametrize(
    ("before", "added"),
    [
        ({}, {"OPENBLAS_NUM_THREADS", "GOMP_SPINCOUNT"}),
        ({"OPENBLAS_NUM_THREADS": "4", "GOMP_SPINCOUNT": "0"}, set()),
        ({"OMP_WAIT_POLICY": "active"}, {"OPENBLAS_NUM_THREADS"}),
    ],
)
def test_sharing_leaves_what_the_user_has_set(
    before: dict[str, str], added: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    after = dict(before)
    monkeypatch.setattr(os, "environ", after)
    configure_threading()
    assert after.items() >= before.items()
    assert after.keys() - before.keys() == added
