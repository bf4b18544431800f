"""A run's `config.toml` repeats it to the last bit, whatever was changed under way."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.program.clock import counting_clock
from tests.program.conftest import TEXT
from tests.program.program import charrnn, command, environment

SIZES = ("--hidden", "8", "--batch", "2", "--seq-len", "8", "--threads", "1", "--patience", "0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a text."""
    (tmp_path / "text.txt").write_bytes(TEXT)
    return tmp_path


def tensors(run: Path) -> dict[str, bytes]:
    """Return all that a run has learnt: the finished model, and what it would go on from."""
    files = {name: load_file(run / f"{name}.safetensors") for name in ("model", "last")}
    return {f"{name} {key}": array.tobytes() for name, found in files.items() for key, array in found.items()}


def assert_repeated(folder: Path) -> None:
    """The run in `folder` is repeated by its own file, and the file that is written is the same."""
    assert charrnn("train", "--config", "run/config.toml", "--out", "again", cwd=folder).code == 0
    assert tensors(folder / "again") == tensors(folder / "run")
    assert (folder / "again/config.toml").read_bytes() == (folder / "run/config.toml").read_bytes()


def steps(run: Path) -> int:
    """Return how many steps a finished run has taken; its figures are of one text, however slow the machine became."""
    done = json.loads((run / "metrics.jsonl").read_bytes().splitlines()[-1])
    assert done["event"] == "done"
    assert done["tokens"] == done["baselines"]["val_bytes"]
    return int(done["step"])


def test_a_run_that_became_slow(folder: Path) -> None:
    """It took fewer steps than planned, and its rows were realigned; the panel has the command that repeats it."""
    clock = counting_clock(folder / "clock", second=0.005, slower_after=500, slower=3)
    ran = charrnn("train", "text.txt", *SIZES, "--time", "10s", "--out", "run", cwd=folder, env=clock)
    lines = ran.err.decode()
    planned = int(lines.partition(" --steps ")[2].split()[0])
    assert "plan: now " in lines
    assert 0 < steps(folder / "run") < planned
    assert_repeated(folder)
    assert lines.splitlines()[-1].split(maxsplit=3)[-1] == "charrnn train --config run/config.toml --out NEW"
    assert "the same again: " not in lines
    text = (folder / "run/config.toml").read_text()
    assert f"\nsteps = {planned}\n" in text
    assert "realign = true" in text
    plan = charrnn("train", "--config", "run/config.toml", "--dry-run", cwd=folder).out.decode()
    assert plan.splitlines()[-1] == "charrnn train --config run/config.toml"


@pytest.mark.slow
def test_a_run_that_became_slow_was_killed_and_was_taken_further_with_other_options(folder: Path) -> None:
    """`replans` has all of it: what a killed process did after its last save is not there, as it was not done."""
    clock = counting_clock(folder / "clock", second=0.005, slower_after=500, slower=2)
    words = command("train", "text.txt", *SIZES, "--time", "20s", "--save-every", "20", "--out", "run")
    with subprocess.Popen(words, cwd=folder, env=environment(clock), stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(b"plan: now "):
                break
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert charrnn("train", "--resume", "--out", "run", cwd=folder, env=clock).code == 0
    before = steps(folder / "run")
    more = ("--steps", str(before + 100), "--lr", "0.003", "--dropout", "0.2", "--eval-every", "15")
    assert charrnn("train", "--resume", "--out", "run", *more, cwd=folder).code == 0
    assert steps(folder / "run") == before + 100
    assert_repeated(folder)


def test_what_no_file_repeats_is_not_claimed_to_be(folder: Path) -> None:
    ran = charrnn("train", "-", *SIZES, "--steps", "2", "--out", "run", cwd=folder, stdin=TEXT)
    assert ran.code == 0
    assert b"the same again  " not in ran.err
