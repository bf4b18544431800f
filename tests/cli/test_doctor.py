"""`charrnn doctor`: what is here, and what to do about what is not."""

import json
import os
import sys
from pathlib import Path

import pytest

from charrnn.cli import doctor
from charrnn.engines.native import lib
from charrnn.engines.native.speed import CoreSpeed
from tests import tiny

needs_core = pytest.mark.skipif(not lib.is_fast(), reason="no compiled core here")


@pytest.fixture
def run(run: tiny.Program, monkeypatch: pytest.MonkeyPatch) -> tiny.Program:
    """The program; the core's speed is not measured."""
    monkeypatch.setattr(doctor, "core_speed", lambda counts: [CoreSpeed(count, 6e10, 1e11) for count in counts])
    return run


@needs_core
def test_rows(run: tiny.Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-19: four columns in a pipe, four keys of JSON; nothing is written anywhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "ca\tche"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    ran = run("doctor")
    assert (ran.code, ran.err) == (0, b"")
    rows = [line.split("\t") for line in ran.out.decode().splitlines()]
    assert {len(row) for row in rows} == {4}
    objects = [json.loads(line) for line in run("doctor", "--json").out.splitlines()]
    assert [list(each) for each in objects] == [["status", "check", "value", "advice"]] * len(rows)
    assert [each["check"] for each in objects] == [row[1] for row in rows]
    names = ["charrnn", "core", "instructions", "threads", "terminal", "cache", "pytorch", "gpu", "speed, 1 thread"]
    assert [row[1] for row in rows][: len(names)] == names
    assert [row for row in rows if row[1] == "core"] == [["ok", "core", "built", ""]]
    assert ["ok", "speed, 1 thread", "120 GFLOP/s, 60 % of the 200 of multiply-adds alone", ""] in rows
    assert not (tmp_path / "ca\tche").exists()


def test_without_a_core(run: tiny.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch trains then; where it is missing too nothing does, which is exit 1."""
    monkeypatch.setattr(lib, "_load", lambda: (None, "was not built when charrnn was installed here"))
    ran = run("doctor")
    assert ran.code == 0
    assert b"warn\tcore\tthe compiled core was not built when charrnn was installed here\ttraining is" in ran.out
    assert b"speed" not in ran.out
    monkeypatch.setitem(sys.modules, "torch", None)
    ran = run("doctor", "--json")
    assert ran.code == 1
    [fault] = [each for line in ran.out.splitlines() if (each := json.loads(line))["status"] == "fail"]
    assert fault["check"] == "pytorch"
    assert fault["advice"].startswith("nothing here can train without it: pip install ")


@needs_core
def test_without_pytorch(run: tiny.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    ran = run("doctor")
    assert ran.code == 0
    assert b"warn\tpytorch\t" in ran.out
    monkeypatch.setattr(doctor, "has_driver", lambda: True)
    assert b"warn\tgpu\tthere is a driver, but no PyTorch\tsee pytorch\n" in run("doctor").out


@needs_core
def test_slower_instructions(run: tiny.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "core_instructions", lambda: ("baseline", ["baseline", "avx2"]))
    assert b"warn\tinstructions\tbaseline of baseline, avx2\tunset CHARRNN_ISA, which keeps avx2" in run("doctor").out
    monkeypatch.setattr(doctor, "core_instructions", lambda: ("baseline", ["baseline"]))
    assert b"warn\tinstructions\tbaseline of baseline\ta processor with AVX2" in run("doctor").out


@pytest.mark.parametrize(
    ("load", "share", "status", "cause"),
    [
        (9.0, 0.39, "warn", "other programs are running: a load of 9.0 on 2 processors"),
        (0.5, 0.39, "warn", "its threads wait for one another"),
        (9.0, 0.41, "ok", ""),
    ],
)
def test_a_slow_core_has_a_cause(
    load: float, share: float, status: str, cause: str, run: tiny.Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "core_fault", lambda: "")
    monkeypatch.setattr(doctor, "core_instructions", lambda: ("avx2", ["avx2"]))
    monkeypatch.setattr(doctor, "available_cpus", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, load, load))
    monkeypatch.setattr(doctor, "core_speed", lambda counts: [CoreSpeed(count, 1e11 * share, 1e11) for count in counts])
    row = run("doctor").out.decode().splitlines()[-1].split("\t")
    assert row[:2] == [status, "speed, 2 threads"]
    assert row[3].startswith(cause)
    monkeypatch.setattr(doctor, "available_cpus", lambda: 1)
    alone = run("doctor").out.decode().splitlines()[-1].split("\t")
    assert alone[:2] == [status, "speed, 1 thread"]
    assert bool(alone[3]) == (status == "warn")


def test_threads_that_are_not_used(run: tiny.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(doctor, "available_cpus", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert b"warn\tthreads\t2 of 8 processors\tOMP_NUM_THREADS=2 may be why: unset it\n" in run("doctor").out
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert b"ok\tthreads\t2 of 8 processors\tthe others are not this process's" in run("doctor").out


def test_the_cache(run: tiny.Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size, without what links lead to; how it is emptied, and that it cannot be written."""
    folder = tmp_path / "my cache" / "charrnn"
    folder.mkdir(parents=True)
    (folder / "ids").write_bytes(bytes(2000))
    (tmp_path / "big").write_bytes(bytes(500_000))
    (folder / "link").symlink_to(tmp_path / "big")
    (folder / "folder").symlink_to(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent))
    [row] = [line for line in run("doctor").out.decode().splitlines() if "\tcache\t" in line]
    status, _, value, advice = row.split("\t")
    assert (status, advice) == ("ok", f"rm -r '{folder}' empties it")
    assert value.startswith(f"{folder}, 2.")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "big"))
    assert "big cannot be written: $XDG_CACHE_HOME names another place" in run("doctor").out.decode()


def test_a_terminal() -> None:
    ran = tiny.on_terminal("doctor")
    assert (ran.code, ran.err) == (0, b"")
    assert b"\t" not in ran.out
    assert b"terminal           xterm, 100 columns, 16 colours" in ran.out


@needs_core
def test_the_speed_of_the_core() -> None:
    """A share is below 1 by what a peak is, but for other programs, which may have come only with the peak's turns."""
    from charrnn.engines.native import speed

    one, two = speed.measure([1, 2])
    assert (one.threads, two.threads) == (1, 2)
    assert one.reached > 0
    if one.peak:
        assert 0.02 < one.share < 3
        assert speed.peak(1) > 1e8
