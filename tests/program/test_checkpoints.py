"""Files of models and runs: what cannot be saved is refused before it is trained, what cannot be read in a sentence."""

import json
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.checkpoint.format import read
from tests.program.conftest import TEXT, TINY
from tests.program.program import charrnn, command, environment
from tests.surgery import operate

Change = Callable[[dict[str, Any], dict[str, Any]], None]


def test_what_could_not_be_saved_is_not_trained(tmp_path: Path) -> None:
    """Too long a separator, too many layers, a field's name longer than a header: exit 2, and no run."""
    lines = TEXT.split(b"\n")[:60]
    name = "n" * 900_000
    (tmp_path / "long.txt").write_bytes((b"=" * 300).join(lines))
    (tmp_path / "text.txt").write_bytes(TEXT)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({name: line.decode()}) + "\n" for line in lines[:9]))
    (tmp_path / "rows.toml").write_text(f"jsonl = {json.dumps(name)}\n")
    for words, message in (
        (["long.txt", "--separator", "=" * 300], "the separator is not a list of at most 256 tokens"),
        (["text.txt", "--layers", "60"], "1038 tensors; at most 1000"),
        (["rows.jsonl", "--config", "rows.toml"], "bytes for the options and the names of tensors; at most 800,000"),
    ):
        ran = charrnn("train", *words, "--out", "run", *TINY[:-1], "3", cwd=tmp_path)
        assert ran.code == 2, ran.err
        assert message in ran.error
        assert not (tmp_path / "run").exists()


def test_a_separator_that_looks_like_the_place_of_a_digest(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes((b"0" * 64).join(TEXT.split(b"\n")[:60]))
    words = ("text.txt", "--separator", "0" * 64, "--out", "run", *TINY)
    assert charrnn("train", *words, cwd=tmp_path).code == 0
    assert charrnn("sample", "-m", "run", "--length", "5", cwd=tmp_path).code == 0


def info(*path: str, value: Any) -> Change:
    def change(document: dict[str, Any], tensors: dict[str, Any]) -> None:
        place = document["info"]
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return change


def tensor(ending: str, change: Callable[[Any], Any]) -> Change:
    """Replace the tensors whose names end so; by None: remove them."""

    def operation(document: dict[str, Any], tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if name.startswith("train.optimizer.") and name.endswith(ending)]:
            if (new := change(tensors[name])) is None:
                del tensors[name]
            else:
                tensors[name] = new

    return operation


WRONG: dict[str, Change] = {
    "it has no optimizer's state": tensor("", lambda tensor: None),
    "the optimizer's embedding.exp_avg is float32 of shape (1,), not": tensor(
        ".exp_avg", lambda tensor: np.ones(1, np.float32)
    ),
    "the optimizer's embedding.step holds numbers that it cannot": tensor(
        ".step", lambda tensor: np.full((), np.nan, np.float32)
    ),
    "'step' must be a whole number": info("progress", "step", value=True),
}


@pytest.fixture
def run(stream_run: Path, tmp_path: Path) -> Path:
    """A run that can go on."""
    shutil.copytree(stream_run, tmp_path / "run")
    return tmp_path / "run"


def resume(run: Path) -> Any:
    return charrnn("train", "--resume", "--out", "run", "--steps", "33", cwd=run.parent)


def test_resume_data_that_no_writer_writes(run: Path) -> None:
    """Its digest holds: exit 3, in one line that names the fault."""
    sound = (run / "last.safetensors").read_bytes()
    (run / "previous.safetensors").unlink(missing_ok=True)
    for message, change in WRONG.items():
        (run / "last.safetensors").write_bytes(sound)
        operate(run / "last.safetensors", change)
        ran = resume(run)
        assert ran.code == 3, (message, ran.err)
        assert "'run/last.safetensors' cannot be resumed from: " in ran.error
        assert message in ran.error


def test_the_checkpoint_before_a_wrong_one_is_used(run: Path) -> None:
    shutil.copy(run / "last.safetensors", run / "previous.safetensors")
    operate(run / "last.safetensors", WRONG["it has no optimizer's state"])
    ran = resume(run)
    assert ran.code == 0, ran.err
    assert b"cannot be resumed from: it has no optimizer's state; looking for an older one" in ran.err.splitlines()[0]


def test_what_lies_beside_a_checkpoint_and_is_wrong(run: Path) -> None:
    """The log of a run and its options: exit 3; `show` leaves out the curve."""
    for name, data, message in (
        ("metrics.jsonl", b'{"event": "eval", "step": "x"}\n', "line 1 is not an event of a training"),
        ("metrics.jsonl", None, "cannot read 'run/metrics.jsonl': Is a directory"),
        ("config.toml", b"seed = 1\n\xff", "'run/config.toml' is not valid TOML"),
    ):
        path = run / name
        sound = path.read_bytes()
        path.unlink()
        if data is None:
            path.mkdir()
        else:
            path.write_bytes(data)
        ran = resume(run)
        assert ran.code == 3, (name, data, ran.err)
        assert message in ran.err.decode().splitlines()[-1]
        if data and name == "metrics.jsonl":
            shown = charrnn("show", "run", cwd=run.parent)
            assert shown.code == 0
            assert shown.err.startswith(b"Warning: ")
            assert message in shown.err.decode()
        path.rmdir() if data is None else path.unlink()
        path.write_bytes(sound)


@pytest.mark.serial
def test_last_is_never_absent(tmp_path: Path) -> None:
    """CK-23: who reads beside a training that saves each step finds it every time."""
    (tmp_path / "text.txt").write_bytes(TEXT)
    words = ("text.txt", "--out", "run", *TINY[:-1], "120", "--save-every", "1", "--eval-every", "0")
    last = tmp_path / "run" / "last.safetensors"
    found, absent = 0, 0
    with subprocess.Popen(
        command("train", *words), cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            if not last.exists():
                absent += found > 0
                continue
            read(last)
            found += 1
    assert process.returncode == 0
    assert found > 50
    assert absent == 0


def test_ck_15_a_model_needs_nothing_but_its_file(stream_run: Path, tmp_path: Path) -> None:
    """CK-15: from another folder, where there is no run, no text and no setting."""
    data = (stream_run / "model.safetensors").read_bytes()
    assert not re.findall(rb"[\w.-]*/[\w./-]+", data[: 8 + int.from_bytes(data[:8], "little")])
    (tmp_path / "m").write_bytes(data)
    sampled, scored = (
        charrnn(*words, cwd=tmp_path, stdin=b"the\n", env={"HOME": str(tmp_path)})
        for words in (("sample", "-m", "m", "--seed", "1", "--length", "9"), ("eval", "-m", "m", "-f", "tokens"))
    )
    assert sampled.code == 0
    assert len(sampled.out) >= 9
    assert (scored.code, scored.out) == (0, b"4\n")


def test_a_file_that_is_longer_than_it_says_is_not_read(stream_run: Path, tmp_path: Path) -> None:
    """A sparse gigabyte: exit 3 in a moment, in little memory."""
    path = tmp_path / "model.safetensors"
    shutil.copy(stream_run / "model.safetensors", path)
    os.truncate(path, 1 << 30)
    limited = ["bash", "-c", 'ulimit -v 1000000; exec "$@"', "bash", *command("sample", "-m", path)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(limited, env=environment(), capture_output=True, check=False, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 3, done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    assert done.stderr.count(b"\n") == 1
    assert b"is corrupt: it has 1,073,741,824 bytes, not the " in done.stderr
