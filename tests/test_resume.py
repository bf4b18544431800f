"""A run that was stopped and resumed is the run that was not."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import checkpoint
from charrnn.__main__ import main
from charrnn.checkpoint import Checkpoint
from charrnn.training import loop
from charrnn.training.learner import Learner, Step
from charrnn.training.loop import Trainer
from charrnn.training.run import Run

TEXT = b"the quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs\n" * 12
SMALL = "--hidden 8 --embedding 4 --batch 4 --seq-len 8 --eval-every 10 --save-every 10 --sample-every 20".split()


@pytest.fixture(autouse=True)
def _corpus(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_bytes(TEXT)


def train(out: str, *options: str, steps: int = 40) -> int:
    return main(["train", "corpus.txt", "--out", out, "--steps", str(steps), "-q", *SMALL, *options])


def interrupt_after(monkeypatch: pytest.MonkeyPatch, step: int, number: int = signal.SIGINT) -> None:
    """A signal arrives while the step is taken."""
    take = Learner.step

    def stepped(self: Learner, chunk: Any, taken: int, rate: float) -> Step:
        found = take(self, chunk, taken, rate)
        if taken + 1 == step:
            os.kill(os.getpid(), number)
        return found

    monkeypatch.setattr(Learner, "step", stepped)


def files(out: str) -> tuple[Checkpoint, Checkpoint]:
    return checkpoint.read(Path(out, "last.safetensors"), training=True), checkpoint.read(Path(out, "model.safetensors"))


def assert_same(out: str, other: str) -> None:
    for mine, theirs in zip(files(out), files(other), strict=True):
        assert mine.info == theirs.info
        for tensors, others in ((mine.weights, theirs.weights), (mine.training, theirs.training)):
            assert tensors.keys() == others.keys()
            for name, tensor in tensors.items():
                assert tensor.tobytes() == others[name].tobytes(), name


def losses(out: str) -> list[tuple[int, str]]:
    events = map(json.loads, Path(out, "metrics.jsonl").read_bytes().splitlines())
    return [(event["step"], repr(event["loss"])) for event in events if event["event"] == "step"]


CASES = [
    (cell, tokenizer, dropout, cut)
    for cell in ("rnn", "lstm", "gru")
    for tokenizer, dropout, cut in (
        ("char", "0", 17),
        ("byte", "0.5", 28),
        ("char", "0.5", 20),
        ("byte", "0", 21),
    )
]


@pytest.mark.parametrize(("cell", "tokenizer", "dropout", "cut"), CASES)
def test_ck01_resumed_equals_straight(
    cell: str, tokenizer: str, dropout: str, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CK-01: bit-identical tensors and losses, cut in mid-epoch (17), at an epoch's end (28 of 28 chunks),
    just after an evaluation (20) and just after that step (21)."""
    options = ("--cell", cell, "--tokenizer", tokenizer, "--dropout", dropout)
    assert train("straight", *options) == 0
    with monkeypatch.context() as patched:
        interrupt_after(patched, cut)
        assert train("cut", *options) == 130
    assert files_step("cut") == cut
    assert main(["train", "--resume", "--out", "cut", "-q"]) == 0
    assert_same("cut", "straight")
    assert losses("cut") == losses("straight")


def files_step(out: str) -> int:
    return int(checkpoint.read(Path(out, "last.safetensors")).info["step"])


def drop_state(stored: Checkpoint) -> None:
    for name in stored.training:
        if name.startswith("state."):
            stored.training[name][:] = 0


def drop_moments(stored: Checkpoint) -> None:
    for name in stored.training:
        if name.endswith("exp_avg"):
            stored.training[name][:] = 0


def drop_counter(stored: Checkpoint) -> None:
    stored.info["progress"]["step"] += 1


@pytest.mark.parametrize("drop", [drop_state, drop_moments, drop_counter])
def test_ck02_dropping_any_state_is_noticed(
    drop: Callable[[Checkpoint], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CK-02: the proof that CK-01 can fail."""
    assert train("straight") == 0
    with monkeypatch.context() as patched:
        interrupt_after(patched, 17)
        assert train("cut") == 130
    stored = checkpoint.read("cut/last.safetensors", training=True)
    drop(stored)
    checkpoint.write("cut/last.safetensors", stored)
    assert main(["train", "--resume", "--out", "cut", "-q"]) == 0
    with pytest.raises(AssertionError):
        assert_same("cut", "straight")


def test_ck03_looking_changes_nothing() -> None:
    """CK-03: evaluating and sampling draw from their own random numbers."""
    options = ("--dropout", "0.3", "--save-every", "0")
    assert train("seen", *options, "--eval-every", "5", "--sample-every", "5") == 0
    assert train("unseen", *options, "--eval-every", "0", "--sample-every", "0") == 0
    seen, unseen = (checkpoint.read(f"{out}/last.safetensors", training=True) for out in ("seen", "unseen"))
    for name, weight in seen.weights.items():
        assert weight.tobytes() == unseen.weights[name].tobytes()
    for name, tensor in seen.training.items():
        assert tensor.tobytes() == unseen.training[name].tobytes()


def test_ck24_same_command_same_bytes() -> None:
    """CK-24: no time, path or random order gets into a checkpoint."""
    assert train("a", "--dropout", "0.2") == 0
    assert train("b", "--dropout", "0.2") == 0
    for name in ("model.safetensors", "last.safetensors"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes()


def test_ck08_broken_newest_gives_way_to_the_one_before(capfd: pytest.CaptureFixture[str]) -> None:
    """CK-08: a torn file is told and passed over; what killed writers left is cleared away."""
    assert train("run") == 0
    Path("run/last.safetensors").write_bytes(b"")
    stale = Path("run/.last.safetensors.tmp-0123456789abcdef")
    stale.write_bytes(b"half")
    capfd.readouterr()
    assert main(["train", "--resume", "--out", "run"]) == 0
    assert "last.safetensors" in capfd.readouterr().err
    assert not stale.exists()
    assert files_step("run") == 40


def test_ck21_the_step_decides_not_the_clock() -> None:
    """CK-21: the newest by step is taken, whatever the files' times say."""
    assert train("run") == 0
    os.utime("run/previous.safetensors", (2**31, 2**31))
    newest = Run(Path("run")).newest()
    assert newest is not None
    assert newest.info["step"] == 40


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (["--cell", "lstm"], ("gru", "lstm")),
        (["--hidden", "9"], ("8", "9")),
        (["--batch", "5"], ("4", "5")),
        (["--seed", "5"], ("0", "5")),
        (["--tokenizer", "byte"], ("char", "byte")),
    ],
)
def test_ck16_another_model_is_refused(
    options: list[str], values: tuple[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    """CK-16: both values are named, and nothing changes."""
    assert train("run") == 0
    before = Path("run/last.safetensors").read_bytes()
    capfd.readouterr()
    assert main(["train", "--resume", "--out", "run", *options]) == 2
    message = capfd.readouterr().err
    assert message.startswith("Error: ")
    assert all(value in message for value in values)
    assert Path("run/last.safetensors").read_bytes() == before


def test_ck16_another_corpus_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    """CK-16: by its digest, not its name."""
    assert train("run") == 0
    Path("corpus.txt").write_bytes(TEXT + b"!")
    capfd.readouterr()
    assert main(["train", "--resume", "--out", "run"]) == 2
    assert "SHA-256" in capfd.readouterr().err


def test_ck16_rates_and_steps_may_change(capfd: pytest.CaptureFixture[str]) -> None:
    """CK-16: what does not make another run may change, and is told."""
    assert train("run") == 0
    assert main(["train", "--resume", "--out", "run", "--steps", "50", "--lr", "0.001"]) == 0
    told = capfd.readouterr().err
    assert "--steps 40 -> 50" in told
    assert "--lr" in told
    assert files_step("run") == 50


def test_ck17_resume_needs_a_run_auto_resume_does_not(capfd: pytest.CaptureFixture[str]) -> None:
    """CK-17."""
    assert train("none", "--resume") == 2
    assert not Path("none").exists()
    assert main(["train", "corpus.txt", "--out", "none", "--steps", "5", "--auto-resume", *SMALL]) == 0
    assert "starting one" in capfd.readouterr().err


def test_ck18_a_run_is_not_overwritten_unasked() -> None:
    """CK-18: nothing is touched."""
    assert train("run") == 0
    before = {file.name: file.read_bytes() for file in Path("run").iterdir()}
    assert train("run") == 2
    assert {file.name: file.read_bytes() for file in Path("run").iterdir()} == before
    assert train("run", "--overwrite", steps=12) == 0
    assert files_step("run") == 12


def test_ck20_previous_waits_for_a_verified_successor(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """CK-20: if `last` cannot be kept as `previous` that is a warning; the new `last` is whole, the model untouched."""
    assert train("run") == 0
    run = Run(Path("run"), warn=lambda message: told.append(message))
    told: list[str] = []
    model = run.model.read_bytes()
    state = checkpoint.read(run.last, training=True)
    replace = os.replace

    def failing(source: Any, target: Any) -> None:
        if str(target).endswith("previous.safetensors"):
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    run.save_last(state)
    assert "previous" in told[0]
    assert checkpoint.read(run.last, training=True).info == state.info
    assert run.model.read_bytes() == model


def test_ck22_a_weight_that_is_no_number_is_not_saved(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """CK-22: exit 5, and the file before it stays."""
    take = Learner.step

    def poisoned(self: Learner, chunk: Any, taken: int, rate: float) -> Step:
        found = take(self, chunk, taken, rate)
        if taken + 1 == 20:
            self.model.head.bias.data[0] = np.nan
        return found

    monkeypatch.setattr(Learner, "step", poisoned)
    monkeypatch.setattr(Trainer, "_evaluate", lambda self: setattr(self.progress, "evaluated", self.progress.step))
    assert train("run") == 5
    assert "not finite" in capfd.readouterr().err
    assert files_step("run") == 10


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_cl10_signals_save_and_tell_how_to_go_on(
    number: int, code: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """CL-08, CL-10: in the training step."""
    interrupt_after(monkeypatch, 13, number)
    assert main(["train", "corpus.txt", "--out", "run", "--steps", "40", *SMALL]) == code
    told = capfd.readouterr()
    assert "stopping, saving" in told.err
    assert "charrnn train --resume --out run" in told.err
    assert told.out == ""
    assert files_step("run") == 13


def kill_self(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("phase", ["score_ids", "write_ids", "score_texts", "save"])
def test_cl08_interrupted_in_any_phase(phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-08: in evaluation, sampling, the final scoring and a save; resumed, it equals the uninterrupted run."""
    assert train("straight") == 0
    with monkeypatch.context() as patched:
        if phase == "save":
            save = Run.save_last
            saves = iter(range(100))

            def saved(self: Run, state: Checkpoint) -> None:
                if next(saves) == 2:
                    kill_self()
                save(self, state)

            patched.setattr(Run, "save_last", saved)
        else:
            original = getattr(loop, phase)
            calls = iter(range(100))

            def called(*arguments: Any, **options: Any) -> Any:
                if next(calls) == 0:
                    kill_self()
                return original(*arguments, **options)

            patched.setattr(loop, phase, called)
        assert train("cut") == 130
    assert main(["train", "--resume", "--out", "cut", "-q"]) == 0
    assert_same("cut", "straight")
    assert losses("cut") == losses("straight")


def test_cl08_interrupted_at_the_start(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """CL-08: before there is anything to save."""
    monkeypatch.setattr("charrnn.cli.train.prepare", kill_self)
    assert train("run") == 130
    assert "nothing to save" in capfd.readouterr().err
