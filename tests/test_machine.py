"""What the machine lends the program."""

import os
from pathlib import Path

import pytest

from charrnn.machine import available_cpus, configure_threading


@pytest.mark.parametrize(
    ("scheduler", "quota", "variable", "expected"),
    [
        (8, None, None, 8),
        (8, "max 100000", None, 8),
        (8, "200000 100000", None, 2),
        (8, "150000 100000", None, 2),
        (8, "50000 100000", None, 1),
        (2, "800000 100000", None, 2),
        (8, "", None, 8),
        (8, "x y", None, 8),
        (8, "400000 100000", "3", 3),
        (8, None, "16", 8),
        (8, None, "0", 1),
        (8, None, "", 8),
        (8, None, "4,2", 8),
        (8, None, "-1", 8),
    ],
)
def test_processors(
    scheduler: int, quota: str | None, variable: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The least of what scheduler, container and OMP_NUM_THREADS allow."""

    def read(path: Path) -> bytes:
        assert str(path) == "/sys/fs/cgroup/cpu.max"
        if quota is None:
            raise FileNotFoundError
        return quota.encode()

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(scheduler)), raising=False)
    monkeypatch.setattr(Path, "read_bytes", read)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert available_cpus() == expected


def test_processors_without_a_scheduler_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"max 100000")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for counted_lines, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda counted_lines=counted_lines: counted_lines)
        assert available_cpus() == expected


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
