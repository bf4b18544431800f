"""The list of runs, and what is deleted of them: of folders in every state, and of what is no run."""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charrnn.errors import CheckpointError
from charrnn.files import Lock, is_locked
from charrnn.runs import manage
from charrnn.runs.events import StepEvent
from charrnn.runs.run_dir import RunDir
from tests import tiny, trainings

FILES = ("model.safetensors", "last.safetensors", "previous.safetensors", "metrics.jsonl", "config.toml")


def contents(folder: Path) -> dict[str, bytes | str]:
    """All that lies under a folder: the bytes of files, and where links lead to; but for locks."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path)] = os.readlink(path)
        elif path.is_file() and path.name != ".lock":
            found[str(path)] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run `finished`, and one that was stopped, `stopped`. Not to be written to."""
    folder = tmp_path_factory.mktemp("runs")
    trainings.train(folder / "finished", steps=12, eval_every=6)
    trainings.train(folder / "stopped", steps=12, eval_every=6, stop_at=(StepEvent, 8))
    return folder


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    """A copy of `trained`, beside all that a folder may hold."""
    root = tmp_path / "checkpoints"
    shutil.copytree(trained, root)
    model = (root / "finished" / "model.safetensors").read_bytes()
    last = (root / "stopped" / "last.safetensors").read_bytes()
    log = (root / "finished" / "metrics.jsonl").read_bytes()

    def put(name: str, **files: bytes) -> None:
        (root / name).mkdir()
        for file, data in files.items():
            (root / name / {"last": "last.safetensors", "model": "model.safetensors", "log": "metrics.jsonl"}[file]
             ).write_bytes(data)  # fmt: skip

    put("broken-model", model=model[:-9], last=last, log=log)
    put("flipped-model", model=model[:-9] + b"\x00\xff" * 4 + b"!", last=last, log=log)
    put("broken-log", model=model, last=last, log=log[:200] + b"\n" + log)
    put("half-written", last=last[:3000], log=log[:100])
    put("foreign-files", last=b"theirs", model=b'\x10\0\0\0\0\0\0\0{"a":0}         ', log=b"theirs too\n")
    put("empty")
    put("copied", model=model)
    (root / "notes.txt").write_text("mine")
    (root / "odd").mkdir()
    for file in FILES:
        os.mkfifo(root / "odd" / file)
    (root / "folders").mkdir()
    for file in FILES:
        (root / "folders" / file).mkdir()
    stray = root / "killed"
    stray.mkdir()
    (stray / ".last.safetensors.tmp-0123456789abcdef").write_bytes(b"half")
    for name in (".last.safetensors.tmp-0123", ".mine.tmp-0123456789abcdef", "last.safetensors.tmp-0123456789abcdef"):
        (stray / name).write_bytes(b"theirs")
    (stray / ".model.safetensors.tmp-0123456789abcdef").symlink_to(root / "notes.txt")
    return root


STATES = {
    "finished": "finished", "stopped": "stopped", "broken-model": "stopped", "flipped-model": "finished",
    "broken-log": "damaged", "half-written": "damaged", "copied": "finished", "killed": "damaged",
}  # fmt: skip


def summaries(root: Path) -> dict[str, manage.RunSummary]:
    return {path.name: manage.summarize(path) for path in manage.find_runs([str(root)])}


def test_states(root: Path) -> None:
    """What is no run of charrnn's is not listed, whatever its files are called."""
    before = contents(root)
    found = summaries(root)
    assert {name: each.state for name, each in found.items()} == STATES
    assert contents(root) == before
    run = found["finished"]
    assert (run.cell, run.hidden, run.baseline) == ("lstm", (8,), min((run.baselines or {}).values()))
    done = json.loads((root / "finished/metrics.jsonl").read_bytes().splitlines()[-1])
    assert (run.bits_per_char, run.seconds) == (done["bits_per_char"], done["seconds"])
    assert run.bytes == sum(path.stat().st_size for path in (root / "finished").iterdir() if path.name in FILES)
    assert run.date is not None
    assert run.date.startswith(time.strftime("%Y-", time.gmtime()))
    assert found["killed"].cell is None


def test_runs_that_are_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    assert manage.find_runs(["stopped", "checkpoints/stopped"]) == [Path("checkpoints/stopped")]
    assert manage.find_runs(["checkpoints"]) == manage.find_runs([])
    assert manage.find_runs(["checkpoints/empty"]) == []
    (root / "link").symlink_to(root / "finished")
    assert root.name / Path("link") in manage.find_runs([])
    assert root.name / Path("link") not in manage.find_runs([], links=False)
    assert manage.find_runs(["link"], links=False) == [Path("checkpoints/link")]
    with pytest.raises(CheckpointError, match=r"^no run 'stoped': .*; did you mean 'stopped'\?$"):
        manage.find_runs(["stoped"])
    for name in ("", "\0", "a\nb"):
        with pytest.raises(CheckpointError, match=r"^no run "):
            manage.find_runs([name])


def test_only_what_is_not_needed_is_deleted(root: Path) -> None:
    """CK-08: of a finished run what it could be resumed from, once its model is known to be whole; parts of files."""
    before = contents(root)
    expected = {root / "finished/last.safetensors", root / "killed/.last.safetensors.tmp-0123456789abcdef"}
    warnings: list[str] = []
    folders = manage.find_runs([str(root)], links=False)
    planned = [file for folder in folders for file in manage.prunable(folder, warnings.append)]
    assert contents(root) == before
    assert {path for path, _ in planned} == expected
    assert all(path.stat().st_size == size for path, size in planned)
    assert [each.partition(": ")[0][-40:] for each in warnings] == [
        "/broken-model/model.safetensors' is corrupt"[-40:], "/flipped-model/model.safetensors' is corrupt"[-40:]
    ]  # fmt: skip
    assert [file for folder in folders for file in manage.prune(folder, warnings.append)] == planned
    assert contents(root) == {name: data for name, data in before.items() if Path(name) not in expected}
    assert [file for folder in folders for file in manage.prune(folder, warnings.append)] == []
    assert manage.summarize(root / "finished").state == "finished"


def test_links_are_not_followed(trained: Path, tmp_path: Path) -> None:
    """SE-09: nothing outside of a run's folder goes, nor a link in it."""
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    shutil.copytree(trained / "finished", run)
    shutil.copytree(trained / "finished", elsewhere)
    for name in ("last.safetensors", "previous.safetensors", ".lock"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(elsewhere / "last.safetensors")
    before = contents(tmp_path)
    warnings: list[str] = []
    assert manage.prune(run, warnings.append) == []
    (run / "last.safetensors").unlink()
    (run / "last.safetensors").write_bytes((elsewhere / "last.safetensors").read_bytes())
    assert manage.prune(run, warnings.append) == []
    assert any(".lock' is not the lock of a run; nothing is deleted there" in each for each in warnings)
    del before[str(run / "last.safetensors")]
    assert contents(tmp_path).items() >= before.items()


def test_the_lock_of_another_program(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "finished", tmp_path / "run")
    (tmp_path / "run/.lock").write_text("their words")
    warnings: list[str] = []
    assert manage.prune(tmp_path / "run", warnings.append) == []
    assert (tmp_path / "run/.lock").read_text() == "their words"
    assert len(warnings) == 1


@pytest.fixture
def start() -> Iterator[Any]:
    yield from trainings.children()


def test_a_run_at_work_is_left_alone(root: Path, start: Any) -> None:
    """Its lock says that it is at work; killed, it is stopped, and its lock means nothing."""
    text = root.parent / "text.txt"
    text.write_bytes(trainings.TEXT * 5)
    folder = root / "running"
    child = start(
        ["train", str(text), "--out", str(folder), "--hidden", "8", "--batch", "4", "--seq-len", "8", "--lr", "0.01",
         "--threads", "1", "--steps", "100000000", "--save-every", "5", "--eval-every", "0", "--sample-every", "0"],
        root.parent / "child",
    )  # fmt: skip
    child.wait_until(lambda: (folder / "last.safetensors").exists())
    stray = folder / ".last.safetensors.tmp-0123456789abcdef"
    stray.write_bytes(b"")
    assert manage.summarize(folder).state == "running"
    assert manage.prunable(folder, pytest.fail) == manage.prune(folder, pytest.fail) == []
    assert stray.exists()
    child.kill()
    assert manage.summarize(folder).state == "stopped"
    assert (stray, 0) in manage.prune(folder, pytest.fail)
    assert RunDir(folder).newest() is not None


def test_a_run_that_begins_meanwhile(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is deleted is decided again under the lock; who has it for a moment is waited for."""
    folder, lock = root / "finished", root / "finished/.lock"
    decide = manage._prunable

    def begun(*arguments: Any) -> Any:
        found = decide(*arguments)
        monkeypatch.setattr(manage, "_prunable", decide)
        (folder / "metrics.jsonl").write_bytes(b"")  # it is taken further
        return found

    monkeypatch.setattr(manage, "_prunable", begun)
    assert manage.prune(folder, pytest.fail) == []
    assert (folder / "last.safetensors").exists()
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with Lock(lock):
            entered.set()
            leave.wait(0.1)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    assert is_locked(lock)
    with RunDir(folder).lock():
        assert lock.read_text() == f"{os.getpid()}\n"
    thread.join()
    assert not is_locked(lock)


def test_what_a_file_says_of_itself_may_be_anything(tmp_path: Path) -> None:
    """CK-12."""
    infos: list[dict[str, Any]] = [{"metrics": []}, {"metrics": {"bits_per_char": "x"}, "plan": 3}, {}]
    for number, info in enumerate([*infos, {"plan": {"baselines": {"xz": 10**400}}}]):
        model = tiny.drawn(tiny.char("ab"))
        model.info.clear()
        model.info.update(info)
        folder = tmp_path / str(number)
        folder.mkdir()
        tiny.saved(folder / "model.safetensors", model)
        found = manage.summarize(folder)
        assert (found.state, found.bits_per_char, found.baselines) == ("finished", None, None)
    os.utime(tmp_path / "0/model.safetensors", (1e14, 1e14) if os.name == "posix" else None)
    manage.summarize(tmp_path / "0")
