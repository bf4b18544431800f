"""A finished run: resumed alone it stays as it is, with more it goes on, and what cannot act is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.program.clock import counting_clock
from tests.program.program import charrnn


def state(folder: Path) -> dict[str, tuple[bytes | None, int]]:
    """Return the bytes of all that is in a folder and in itself, and when each was written."""
    paths = [folder, *sorted(folder.rglob("*"))]
    return {str(path): (path.read_bytes() if path.is_file() else None, path.stat().st_mtime_ns) for path in paths}


@pytest.fixture
def run(stream_run: Path, tmp_path: Path) -> Path:
    """A finished run of 30 steps."""
    return Path(shutil.copytree(stream_run, tmp_path / "run"))


@pytest.mark.parametrize("options", [("--resume",), ("--auto-resume", "--steps", "30", "--lr", "0.01")], ids=str)
def test_resumed_as_it_is_it_stays_as_it_is(options: tuple[str, ...], run: Path, stream_run: Path) -> None:
    """Alone, or with its own options, as a script has them: its path is printed."""
    text = [stream_run.parent / "text.txt"] if "--steps" in options else []
    before = state(run)
    ran = charrnn("train", *text, *options, "--out", "run", cwd=run.parent)
    assert (ran.code, ran.out) == (0, b"run/model.safetensors\n")
    assert state(run) == before


def test_what_cannot_act_is_refused(run: Path) -> None:
    """More of it in tests/training/test_changes.py."""
    before = state(run)
    ran = charrnn("train", "--resume", "--lr", "0.3", "--dropout", "0.5", "--out", "run", cwd=run.parent)
    assert (ran.code, ran.out, ran.err.count(b"\n")) == (2, b"", 1)
    assert b"--dropout cannot act: the run has taken 30 steps already" in ran.err
    assert state(run) == before


def test_a_pruned_run(run: Path, stream_run: Path) -> None:
    """Without what it could be resumed from it stays as it is, and what would begin it anew is refused."""
    pruned = charrnn("runs", "prune", "run", cwd=run.parent)
    assert (pruned.code, pruned.out) == (0, b"run/last.safetensors\n")
    text = stream_run.parent / "text.txt"
    before = {path: path.read_bytes() for path in run.iterdir() if path.name != ".lock"}
    own: list[tuple[str | Path, ...]] = [("--resume",), ("--auto-resume",)]
    for options in (*own, (text, "--auto-resume", "--steps", "30", "--hidden", "12")):
        ran = charrnn("train", *options, "--out", "run", cwd=run.parent)
        assert (ran.code, ran.out) == (0, b"run/model.safetensors\n")
        assert b"is finished; what could take it further was deleted" in ran.err
        assert b"go on " not in ran.err
    other: list[tuple[str | Path, ...]] = [("--resume", "--steps", "60"), (text, "--auto-resume", "--hidden", "13")]
    for options in other:
        ran = charrnn("train", *options, "--out", "run", cwd=run.parent)
        assert (ran.code, ran.out, ran.err.count(b"\n")) == (2, b"", 1)
        assert b"what could take it further was deleted; --overwrite begins it anew" in ran.err
    assert {path: path.read_bytes() for path in before} == before


def test_more_time_takes_it_further(run: Path, tmp_path: Path) -> None:
    took = max(event["seconds"] for event in events(run))
    options = ("--time", f"{took + 3:.0f}s", "--lr", "0.02")
    clock = counting_clock(tmp_path / "clock", second=0.01)
    ran = charrnn("train", "--resume", *options, "--out", "run", cwd=tmp_path, env=clock)
    assert ran.code == 0
    assert events(run)[-1]["step"] > 30
    assert f"changed: steps 30 -> {events(run)[0]['steps']}\n" in ran.err.decode()


def events(run: Path) -> list[dict[str, Any]]:
    """Return what a run has logged, its last plan first."""
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_bytes().splitlines()]
    return [*[event for event in found if "command" in event and event["event"] == "plan"][-1:], *found]


def test_it_keeps_what_it_can_go_on_from_and_no_more(run: Path, tmp_path: Path) -> None:
    assert {path.name for path in run.iterdir()} - {".lock"} == {
        "config.toml", "last.safetensors", "metrics.jsonl", "model.safetensors",
    }  # fmt: skip
    ran = charrnn("train", "--resume", "--steps", "31", "--out", "run", cwd=tmp_path)
    size = (run / "last.safetensors").stat().st_size
    assert f"from last.safetensors, {size / 1000:.3g}kB\n" in ran.err.decode()
    assert not (run / "previous.safetensors").exists()
