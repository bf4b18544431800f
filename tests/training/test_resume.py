"""A run that is stopped and resumed gives what it would have given without a stop; its checkpoints are always valid."""

import itertools
import json
import os
import random
import resource
import signal
import time
from ast import literal_eval
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import files
from charrnn.__main__ import main
from charrnn.checkpoint import format as checkpoint
from charrnn.config.options import param_types, read_toml
from charrnn.config.train import RESUMABLE, TrainConfig
from charrnn.corpus.reader import read_corpus
from charrnn.dataset.dataset import Dataset
from charrnn.dataset.prepare import PrepareOptions, prepare
from charrnn.engines.native import lib as core
from charrnn.errors import CheckpointError, OutputError, UsageError
from charrnn.runs.events import DoneEvent, EvalEvent, Event, SampleEvent, SaveEvent, StepEvent
from charrnn.runs.run_dir import RunDir
from charrnn.training.changes import describe, resume_plan
from charrnn.training.learner import Learner
from charrnn.training.resume import TrainerState, check_resumable, stored_config
from charrnn.training.schedule import ScheduleProgress
from charrnn.training.trainer import Trainer
from tests.trainings import (
    SMALL,
    TEXT,
    Child,
    Outcome,
    arguments,
    change,
    children,
    corpus_of,
    dataset_of,
    snapshot,
    tensors,
    train,
)

Capture = pytest.CaptureFixture[bytes]
Start = Callable[..., Child]

LAST, PREVIOUS, MODEL = "last.safetensors", "previous.safetensors", "model.safetensors"


@pytest.fixture
def start() -> Iterator[Start]:
    yield from children()


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "corpus.txt"
    path.write_bytes(TEXT)
    return path


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Outcome]]:
    """Runs that nothing interrupts, each made once."""
    made: dict[str, tuple[Path, Outcome]] = {}

    def run(**options: Any) -> tuple[Path, Outcome]:
        key = repr(sorted(options.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("straight")
            made[key] = folder, train(folder, **options)
        return made[key]

    return run


def checkpoints(run: Path) -> dict[str, bytes]:
    """A run's checkpoints, and whatever else is not for reading."""
    return {name: data for name, data in snapshot(run).items() if name not in ("metrics.jsonl", "config.toml")}


def step_of(path: Path) -> int:
    return int(checkpoint.read(path).info["step"])


EVERY: dict[str, Any] = {"eval_every": 5, "save_every": 4, "sample_every": 10, "patience": 0}

CUTS: dict[str, tuple[type[Event], int]] = {
    "mid-epoch": (StepEvent, 13),
    "epoch end": (StepEvent, 24),
    "just after eval": (EvalEvent, 20),
}


EACH_CUT = [
    (cell, tokenizer, dropout, [*CUTS][(x + y + z) % 3])
    for x, cell in enumerate(("rnn", "lstm", "gru"))
    for y, tokenizer in enumerate(("char", "byte", "sentencepiece"))
    for z, dropout in enumerate((0.0, 0.5))
]
"""Every cell with every tokenizer and dropout; and each of them with every cut."""


@pytest.mark.parametrize(("cell", "tokenizer", "dropout", "cut"), EACH_CUT)
def test_ck_01_a_resumed_run_is_exact(
    cell: str, tokenizer: str, dropout: float, cut: str, straight: Callable[..., tuple[Path, Outcome]], tmp_path: Path
) -> None:
    """CK-01: every tensor to the last bit, every loss as `repr` prints it."""
    options = {**EVERY, "cell": cell, "tokenizer": tokenizer, "dropout": dropout, "weight_drop": dropout}
    options |= {"vocab_size": 264} if tokenizer == "sentencepiece" else {}
    whole, expected = straight(**options)
    first = train(tmp_path, **options, stop_at=CUTS[cut])
    assert first.interrupted
    assert step_of(tmp_path / LAST) == CUTS[cut][1] == max(first.losses)
    second = train(tmp_path, **options, resume=True)
    assert min(second.losses) == CUTS[cut][1] + 1
    assert {**first.losses, **second.losses} == expected.losses
    assert tensors(tmp_path / LAST) == tensors(whole / LAST)
    for name in (LAST, MODEL):  # what is known of the run too
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adam"},
        {"optimizer": "sgd"},
        {"optimizer": "rmsprop"},
        {"hidden": (8, 8)},
        {"hidden": (8, 6), "cell": "lstm", "dropout": 0.3},
        {"cell": "rnn-relu", "schedule": "cosine"},
        {"cell": "gru-v1", "hidden": (8, 6), "dropout": 0.3, "weight_drop": 0.2},
        {"cell": "lstm-peephole", "records": True},
        {"val": 0.0},
        {"weight_decay": 0.1, "clip": 0.0, "seed": 9},
        {"records": True},
        {"records": True, "tokenizer": "byte", "cell": "lstm", "seed": 3},
        {"records": True, "tokenizer": "sentencepiece", "vocab_size": 264, "cell": "rnn"},
        {"separator": "fox "},
        {"engine": "torch"},
        {"engine": "torch", "precision": "bfloat16"},
        {"engine": "torch", "precision": "float16", "optimizer": "rmsprop"},
        {"engine": "torch", "cell": "lstm", "records": True, "dropout": 0.3, "weight_drop": 0.2},
    ],
    ids=str,
)
def test_ck_01_whatever_the_options(
    options: dict[str, Any], straight: Callable[..., tuple[Path, Outcome]], tmp_path: Path
) -> None:
    """CK-01 for other optimizers, layers, schedules; and with two interruptions."""
    whole, expected = straight(**EVERY, **options)
    losses = train(tmp_path, **EVERY, **options, stop_at=(StepEvent, 13)).losses
    losses |= train(tmp_path, **EVERY, **options, stop_at=(StepEvent, 30), resume=True).losses
    losses |= train(tmp_path, **EVERY, **options, resume=True).losses
    assert losses == expected.losses
    assert (tmp_path / LAST).read_bytes() == (whole / LAST).read_bytes()


needs_core = pytest.mark.skipif(core.library() is None, reason="the compiled core was not built here")


@needs_core
@pytest.mark.parametrize("engines", [("native", "torch"), ("torch", "native")], ids=str)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_run_goes_on_with_another_engine(
    cell: str, engines: tuple[str, str], straight: Callable[..., tuple[Path, Outcome]], tmp_path: Path
) -> None:
    """To rounding, as the engines agree; there is a warning."""
    first, second = engines
    _, expected = straight(**EVERY, cell=cell, engine=first)
    losses = train(tmp_path, **EVERY, cell=cell, engine=first, stop_at=(StepEvent, 13)).losses
    session = train(tmp_path, **EVERY, cell=cell, resume=True, given={"engine": second})
    assert [f"{first} engine" in warning and f"with {second}" in warning for warning in session.warnings] == [True]
    losses |= session.losses
    assert losses != expected.losses
    pairs = [(literal_eval(losses[step]), literal_eval(expected.losses[step])) for step in expected.losses]
    assert all(loss == pytest.approx(expected, rel=1e-4) for loss, expected in pairs)
    assert checkpoint.read(tmp_path / LAST).info["engine"] == second


@needs_core
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_threads_do_not_shape_a_native_run(
    cell: str, precision: str, straight: Callable[..., tuple[Path, Outcome]], tmp_path: Path
) -> None:
    """CK-01 even where a run is resumed with another number of them: every bit."""
    options: dict[str, Any] = {"cell": cell, "engine": "native", "precision": precision}
    whole, expected = straight(**EVERY, **options)
    losses = train(tmp_path, **EVERY, **options, stop_at=(StepEvent, 13)).losses
    losses |= train(tmp_path, **EVERY, cell=cell, resume=True, given={"threads": 2}).losses
    assert losses == expected.losses
    assert tensors(tmp_path / LAST) == tensors(whole / LAST)


SEVERAL = {
    "texts": dataset_of(*(bytes(TEXT[begin : begin + 50]) for begin in range(0, 300, 50))),
    "weighted records": prepare(
        corpus_of(b"anna\nemma\nolivia\nava\n", separator=b"\n", weights=[9, 5, 2, 20]), None, PrepareOptions("byte")
    ),
}


@pytest.mark.parametrize("dataset", SEVERAL.values(), ids=SEVERAL)
def test_ck_01_several_texts(dataset: Dataset, tmp_path: Path) -> None:
    """CK-01 where `<s>` stands inside batches."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, dataset=dataset, **EVERY)
    train(parts, dataset=dataset, **EVERY, stop_at=(StepEvent, 13))
    train(parts, dataset=dataset, **EVERY, resume=True)
    assert (parts / LAST).read_bytes() == (whole / LAST).read_bytes()


def _without_state(weights: dict[str, Any], training: dict[str, Any], info: dict[str, Any]) -> None:
    training["state.0"][:] = 0


def _without(moment: str) -> Callable[..., None]:
    def drop(weights: dict[str, Any], training: dict[str, Any], info: dict[str, Any]) -> None:
        names = [name for name in training if name.endswith(f".{moment}")]
        assert names
        for name in names:
            training[name] = np.zeros_like(training[name])

    return drop


def _at(step: int) -> Callable[..., None]:
    def move(weights: dict[str, Any], training: dict[str, Any], info: dict[str, Any]) -> None:
        info["step"] = step
        for name in ("step", "evaluated", "sampled", "best_step"):
            info["progress"][name] = min(step, info["progress"][name])

    return move


@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(_without_state, id="hidden state"),
        pytest.param(_without("exp_avg"), id="first moments"),
        pytest.param(_without("exp_avg_sq"), id="second moments"),
        pytest.param(_without("step"), id="the optimizer's step"),
        pytest.param(_at(0), id="step counter"),
        pytest.param(_at(12), id="data position"),
    ],
)
def test_ck_02_what_is_dropped_is_missed(
    tamper: Callable[..., None], straight: Callable[..., tuple[Path, Outcome]], tmp_path: Path
) -> None:
    """CK-02: the comparison of CK-01 can fail, for each piece of what is stored."""
    whole, _ = straight(**EVERY)
    train(tmp_path, **EVERY, stop_at=(StepEvent, 13))
    change(tmp_path / LAST, tamper)
    (tmp_path / PREVIOUS).unlink()
    train(tmp_path, **EVERY, resume=True)
    ours, theirs = tensors(tmp_path / LAST), tensors(whole / LAST)
    assert ours.keys() == theirs.keys()
    assert all(ours[name] != theirs[name] for name in ours if name.startswith(("layers.", "embedding", "head.")))


def test_ck_02_nothing_dropped_nothing_missed(straight: Callable[..., tuple[Path, Outcome]], tmp_path: Path) -> None:
    """CK-02's own control: a checkpoint that is only rewritten is as good as before."""
    whole, _ = straight(**EVERY)
    train(tmp_path, **EVERY, stop_at=(StepEvent, 13))
    change(tmp_path / LAST, lambda weights, training, info: None)
    train(tmp_path, **EVERY, resume=True)
    assert tensors(tmp_path / LAST) == tensors(whole / LAST)


def test_ck_03_evaluations_change_nothing(straight: Callable[..., tuple[Path, Outcome]], tmp_path: Path) -> None:
    """CK-03: evaluating and sampling leave no trace in what is learnt."""
    for dropout in (0.0, 0.5):
        blind, _ = straight(eval_every=0, save_every=0, sample_every=0, patience=0, dropout=dropout)
        run = tmp_path / str(dropout)
        outcome = train(run, eval_every=5, save_every=0, sample_every=5, patience=0, dropout=dropout)
        assert len(outcome.of(EvalEvent)) == 8
        assert len(outcome.of(SampleEvent)) == 7
        assert tensors(run / LAST) == tensors(blind / LAST)


def test_ck_24_the_same_command_gives_the_same_bytes(corpus: Path) -> None:
    """CK-24: in two folders, from two working directories; another seed gives others."""
    assert main(arguments(corpus, "one/run", "--dropout", "0.2")) == 0
    assert main(arguments("corpus.txt", "two", "--dropout", "0.2")) == 0
    assert main(arguments(corpus, "three", "--dropout", "0.2", "--seed", "1")) == 0
    for name in (LAST, MODEL):
        one, two, three = (Path(folder, name).read_bytes() for folder in ("one/run", "two", "three"))
        assert one == two
        assert one != three


@pytest.mark.parametrize("weight", ["embedding", "layers.0.weight_hh", "head.bias"])
def test_ck_22_a_weight_that_is_no_number_is_not_saved(
    weight: str, corpus: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Capture
) -> None:
    """CK-22: the save is refused, exit 5, the file before it is intact."""
    step, run = Learner.step, Path("run")
    before: list[dict[str, bytes]] = []

    def poison(self: Learner, batch: Any, number: int, lr: float) -> Any:
        result = step(self, batch, number, lr)
        if number + 1 == 20:
            poisoned = self.weights()
            poisoned[weight].flat[0] = np.nan
            self.model.load_weights(poisoned)
            before.append(checkpoints(run))
        return result

    monkeypatch.setattr(Learner, "step", poison)
    assert main(arguments(corpus, run, "--save-every", "10", "--eval-every", "0", "--sample-every", "0")) == 5
    out, err = capfdbinary.readouterr()
    assert out == b""
    message = err.splitlines()[-1]
    assert message.startswith(f"Error: weight {weight} is not finite; not saved; the last good".encode())
    assert checkpoints(run) == before[0]
    assert step_of(run / LAST) == 10


def test_a_resumed_run_logs_as_an_uninterrupted_one(
    straight: Callable[..., tuple[Path, Outcome]], tmp_path: Path
) -> None:
    def logged(folder: Path) -> list[dict[str, Any]]:
        timing = {"seconds", "chars_per_second"}
        events = [event for event in RunDir(folder).events() if event["event"] in ("step", "eval", "sample")]
        return [{key: value for key, value in event.items() if key not in timing} for event in events]

    options = {**EVERY, "eval_every": 10}
    whole, _ = straight(**options)
    train(tmp_path, **options, stop_at=(StepEvent, 22))  # steps after the last save are logged, and come again
    (tmp_path / LAST).unlink()
    assert step_of(tmp_path / PREVIOUS) == 20
    train(tmp_path, **options, resume=True)
    assert logged(tmp_path) == logged(whole)
    assert len(logged(whole)) > 40


# --- what may be changed, and what may not -----------------------------------------------------


def test_ck_16_another_corpus_or_architecture_is_refused(corpus: Path, capfdbinary: Capture) -> None:
    """CK-16: exit 2, both values named, nothing touched."""
    run = Path("run")
    assert main(arguments(corpus, run)) == 0
    before = snapshot(run)
    other = Path("other.txt")
    other.write_bytes(TEXT.replace(b"fox", b"cat"))
    digests = {digest_of(corpus)[:16].encode(), digest_of(other)[:16].encode()}
    capfdbinary.readouterr()
    for flags, named in [
        ([str(other)], digests),
        (["--hidden", "9"], {b"--hidden is 8", b"9"}),
        (["--cell", "gru"], {b"--cell is lstm", b"gru"}),
        (["--layers", "2"], {b"--layers is 1", b"2"}),
        (["--embedding", "9"], {b"--embedding is ", b"9"}),
        (["--batch", "8"], {b"--batch is 4", b"8"}),
        (["--tokenizer", "byte"], {b"--tokenizer is char", b"byte"}),
        (["--seed", "1"], {b"--seed is 0", b"1"}),
    ]:
        assert main(["train", "--resume", "--out", str(run), *flags]) == 2, flags
        out, err = capfdbinary.readouterr()
        assert out == b""
        assert err.startswith(b"Error: ")
        assert err.count(b"\n") == 1
        assert all(value in err for value in named), err
    assert snapshot(run) == before


def digest_of(path: Path) -> str:
    return read_corpus([str(path)]).sha256


def test_ck_16_what_may_change_is_announced(corpus: Path, capfdbinary: Capture) -> None:
    """CK-16: --lr and --steps may change; the change is printed, and has its effect."""
    run = Path("run")
    assert main(arguments(corpus, run)) == 0
    capfdbinary.readouterr()
    assert main(["train", "--resume", "--out", str(run), "--steps", "50", "--lr", "0.002", "--hidden", "8"]) == 0
    err = capfdbinary.readouterr().err
    assert b"changed: steps 40 -> 50\n" in err
    assert b"changed: lr 0.01 -> 0.002\n" in err
    assert b"hidden 8 ->" not in err
    assert step_of(run / LAST) == 50
    stored = checkpoint.read(run / LAST).info["plan"]["config"]
    assert (stored["steps"], stored["lr"]) == (50, 0.002)


def test_ck_16_epochs_are_turned_into_steps(straight: Callable[..., tuple[Path, Outcome]]) -> None:
    folder, _ = straight(**EVERY)
    stored = checkpoint.read(folder / LAST, training=True)
    plan, changes = resume_plan(stored, TrainConfig(epochs=10.0), frozenset({"epochs"}))
    assert changes == {"epochs": 10.0, "steps": 80}
    state = TrainerState.from_json(stored.info["progress"])
    assert describe(changes, plan, state) == [
        "epochs not given -> 10.0",
        "steps 40 -> 80",
    ]
    assert plan.config.hidden == (8,)
    with pytest.raises(UsageError, match="hidden is 8 in the run and 9 in the command; it cannot change when resuming"):
        resume_plan(stored, TrainConfig(hidden=(9,)), frozenset({"hidden"}))


def test_more_patience_lets_a_finished_run_go_on(tmp_path: Path) -> None:
    impatient = {**EVERY, "eval_every": 1, "patience": 1, "lr": 1.0, "steps": 60}
    assert train(tmp_path, **impatient).of(DoneEvent)[0].reason == "patience"
    stopped = step_of(tmp_path / LAST)
    assert stopped < 60
    again = train(tmp_path, **impatient, resume=True)
    assert not again.losses
    on = train(tmp_path, **impatient, resume=True, given={"patience": 0})
    assert on.of(DoneEvent)[0].reason == "steps"
    assert min(on.losses) == stopped + 1
    assert step_of(tmp_path / LAST) == 60


def test_other_steps_are_not_stopped_by_the_time_that_a_run_had(tmp_path: Path) -> None:
    train(tmp_path)
    stored = RunDir(tmp_path).newest()
    assert stored is not None
    stored.info["plan"]["config"]["time"] = 1.0
    stored.info["progress"]["reason"] = ""
    for options, budget in (({"steps": 50}, None), ({"steps": 50, "time": 9.0}, 9.0), ({"lr": 0.1}, 1.0)):
        plan, changes = resume_plan(stored, TrainConfig(**{**SMALL, **options}), frozenset(options))
        assert {"time": plan.config.time, **changes}["time"] == budget


def test_a_vocabulary_that_an_earlier_version_cut_by_counts(tmp_path: Path) -> None:
    """Its size repeats it."""
    train(tmp_path)
    stored = RunDir(tmp_path).newest()
    assert stored is not None
    stored.info["plan"]["config"]["min_count"] = 2
    plan, _ = resume_plan(stored, TrainConfig(**SMALL), frozenset())
    assert plan.config.vocab_size == stored.tokenizer.size - 1


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    [done] = train(tmp_path, **EVERY).of(DoneEvent)
    before = {name: (tmp_path / name).read_bytes() for name in (LAST, MODEL)}
    [again] = train(tmp_path, **EVERY, resume=True).of(DoneEvent)
    assert replace(again, seconds=done.seconds) == done
    assert {name: (tmp_path / name).read_bytes() for name in (LAST, MODEL)} == before


# --- whether there is anything to resume from -------------------------------------------------


def test_ck_17_resume_needs_a_run_and_auto_resume_does_not(corpus: Path, capfdbinary: Capture) -> None:
    """CK-17: exit 2; and a fresh start that says so."""
    run = Path("run")
    assert main(arguments(corpus, run, "--resume")) == 2
    assert capfdbinary.readouterr().err == b"Error: --resume: there is no run in 'run'\n"
    assert not run.exists()
    run.mkdir()
    (run / "metrics.jsonl").write_bytes(b"")
    assert main(arguments(corpus, run, "--resume")) == 2
    assert b"Error: --resume: there is no usable checkpoint in" in capfdbinary.readouterr().err
    assert main(arguments(corpus, run, "--auto-resume")) == 0
    assert b"there is no run to resume in 'run': starting one\n" in capfdbinary.readouterr().err
    assert step_of(run / LAST) == 40
    assert main([*arguments(corpus, run, "--auto-resume", steps=45)]) == 0
    err = capfdbinary.readouterr().err
    assert b"starting one" not in err
    assert b"changed: steps 40 -> 45" in err


def test_ck_17_auto_resume_never_removes_a_model(corpus: Path, capfdbinary: Capture) -> None:
    """A run whose checkpoints are lost may still have its model, which is not to be lost too."""
    run = Path("run")
    assert main(arguments(corpus, run)) == 0
    (run / LAST).unlink()
    before = snapshot(run)
    assert main(arguments(corpus, run, "--auto-resume")) == 0  # it is finished
    assert snapshot(run) == before
    *lines, done = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    assert b'"done"' in done
    (run / "metrics.jsonl").write_bytes(b"".join(lines))
    before = snapshot(run)
    assert main(arguments(corpus, run, "--auto-resume")) == 2
    assert b"--overwrite" in capfdbinary.readouterr().err
    assert snapshot(run) == before


@pytest.mark.parametrize("name", ["model.safetensors", LAST, PREVIOUS, "metrics.jsonl"])
def test_ck_18_a_run_is_not_overwritten_unasked(name: str, corpus: Path, capfdbinary: Capture) -> None:
    """CK-18: exit 2, nothing touched; whatever part of a run there is."""
    run = Path("run")
    run.mkdir()
    (run / name).write_bytes(b"of a run")
    os.utime(run / name, (1e9, 1e9))
    assert main(arguments(corpus, run)) == 2
    err = capfdbinary.readouterr().err
    assert err.startswith(b"Error: ")
    assert all(word in err for word in (b"--resume", b"--overwrite", b"--out"))
    assert [path.name for path in run.iterdir()] == [name]
    assert (run / name).stat().st_mtime == 1e9


def test_ck_18_not_even_where_the_name_is_made_up(corpus: Path, capfdbinary: Capture) -> None:
    """CK-18 without --out."""
    command = [word for word in arguments(corpus, "") if word not in ("--out", "")]
    assert main(command) == 0
    run = Path("checkpoints/corpus-lstm")
    assert capfdbinary.readouterr().out == b"checkpoints/corpus-lstm/model.safetensors\n"
    before = snapshot(run)
    assert main(command) == 2
    assert snapshot(run) == before
    assert main([*command, "--overwrite"]) == 0
    assert main(["train", "--resume", "--steps", "41"]) == 0  # the run saved last, its corpus from its own notes
    assert step_of(run / LAST) == 41


def test_ck_19_one_trainer_for_a_folder(corpus: Path, tmp_path: Path, start: Start, capfdbinary: Capture) -> None:
    """CK-19: the second exits 1 and names the first; a killed one holds nothing."""
    run = Path("run")
    first = start(arguments(corpus, run, steps=10**6), tmp_path / "first", prepare=takes_slow_steps)
    first.wait_until((run / LAST).exists)
    began = time.monotonic()
    assert main(arguments(corpus, run, "--resume")) == 1
    assert time.monotonic() - began < 2
    assert capfdbinary.readouterr().err == f"Error: '{tmp_path / run}' is in use by process {first.pid}\n".encode()
    assert first.process.exitcode is None
    first.kill()
    assert main(["train", "--resume", "--out", str(run), "--steps", "5"]) == 0


def takes_slow_steps() -> None:
    """For a child: every step takes 5 ms more."""
    step = Learner.step

    def slow(*args: Any, **more: Any) -> Any:
        time.sleep(0.005)
        return step(*args, **more)

    pytest.MonkeyPatch().setattr(Learner, "step", slow)


# --- what is resumed from ------------------------------------------------------------------------


def saved_twice(folder: Path) -> None:
    """A run stopped at step 13, saved at step 12 before that."""
    train(folder, **EVERY, stop_at=(StepEvent, 13))
    assert (step_of(folder / LAST), step_of(folder / PREVIOUS)) == (13, 12)


def test_ck_08_a_broken_newest_is_reported_and_the_one_before_used(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Capture
) -> None:
    """CK-08: stale temporary files are no checkpoints and go; a 0-byte newest file is passed over."""
    run = Path("run")
    monkeypatch.setattr(RunDir, "remove_previous", lambda self: None)
    assert main(arguments(corpus, run, "--save-every", "0")) == 0
    whole = tensors(run / LAST)
    assert step_of(run / PREVIOUS) == 0
    (run / LAST).write_bytes(b"")
    temporaries = [run / f".last.safetensors.tmp-{digit * 16}" for digit in "0f"]
    for path in temporaries:
        path.write_bytes((run / MODEL).read_bytes())
    capfdbinary.readouterr()
    assert main(["train", "--resume", "--out", str(run)]) == 0
    first = capfdbinary.readouterr().err.splitlines()[0]
    assert first.startswith(b"Warning: ")
    assert LAST.encode() in first
    assert first.endswith(b"; looking for an older one")
    assert not any(path.exists() for path in temporaries)
    assert tensors(run / LAST) == whole


@pytest.mark.parametrize("broken", [b"", b"{}", b"\0" * 4096])
def test_ck_08_the_run_goes_on_from_the_one_before(
    broken: bytes, straight: Callable[..., tuple[Path, Outcome]], tmp_path: Path
) -> None:
    """CK-08: and ends as if nothing had been."""
    whole, _ = straight(**EVERY)
    saved_twice(tmp_path)
    (tmp_path / LAST).write_bytes(broken)
    session = train(tmp_path, **EVERY, resume=True)
    assert min(session.losses) == 13
    assert [LAST in warning for warning in session.warnings] == [True]
    assert (tmp_path / LAST).read_bytes() == (whole / LAST).read_bytes()


def test_ck_08_both_broken(tmp_path: Path) -> None:
    saved_twice(tmp_path)
    warnings: list[str] = []
    for name in (LAST, PREVIOUS):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"last.*is corrupt: it is empty; .*previous.*is corrupt: it is empty"):
        RunDir(tmp_path, warnings.append).newest()
    assert warnings == []


def test_a_model_is_no_checkpoint_to_resume_from(tmp_path: Path) -> None:
    saved_twice(tmp_path)
    (tmp_path / LAST).write_bytes((tmp_path / MODEL).read_bytes())
    warnings: list[str] = []
    newest = RunDir(tmp_path, warnings.append).newest(check_resumable)
    assert newest is not None
    assert newest.info["step"] == 12
    assert "a model alone" in warnings[0]


def test_ck_21_the_step_decides_and_not_the_clock(tmp_path: Path) -> None:
    """CK-21"""
    saved_twice(tmp_path)
    os.utime(tmp_path / PREVIOUS, (4e9, 4e9))
    newest = RunDir(tmp_path).newest()
    assert newest is not None
    assert newest.info["step"] == 13
    (tmp_path / LAST).rename(tmp_path / "aside")
    (tmp_path / PREVIOUS).rename(tmp_path / LAST)
    (tmp_path / "aside").rename(tmp_path / PREVIOUS)
    newest = RunDir(tmp_path).newest()
    assert newest is not None
    assert newest.info["step"] == 13


def test_ck_20_a_failed_link_costs_nothing(
    straight: Callable[..., tuple[Path, Outcome]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CK-20: ten saves, of which one cannot link `last` as `previous`: a warning, and the best model is as it was."""
    folder, link, replace = tmp_path / "run", os.link, os.replace
    failed: list[Any] = []
    models: list[bytes] = []

    def fail_once(source: Any, target: Any, **more: Any) -> None:
        last = folder / LAST
        if f".{PREVIOUS}." in os.fspath(target) and last.exists() and step_of(last) == 20 and not failed:
            failed.append(target)
            models.append((folder / MODEL).read_bytes())
            raise OSError(5, "Input/output error")
        link(source, target, **more)

    def replace_and_see(source: Any, target: Any, **more: Any) -> None:
        replace(source, target, **more)
        if failed and len(models) == 1:
            models.append((folder / MODEL).read_bytes())
            assert step_of(folder / LAST) == 24
            assert step_of(folder / PREVIOUS) == 16  # the copy that was to be replaced is still there

    monkeypatch.setattr(os, "link", fail_once)
    monkeypatch.setattr(os, "replace", replace_and_see)
    session = train(folder, **EVERY)
    monkeypatch.undo()
    assert len(session.of(SaveEvent)) == 12  # at step 0, ten times, and at the end
    assert len(failed) == 1
    assert models[0] == models[1]
    assert len(session.warnings) == 1
    assert "as the previous checkpoint: Input/output error" in session.warnings[0]
    whole, _ = straight(**EVERY)
    for name in (LAST, MODEL):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_ck_20_previous_is_replaced_by_what_has_been_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CK-20: while the new file is unproved, both old ones are there; if it proves bad, they stay."""
    saved_twice(tmp_path)
    before = snapshot(tmp_path)
    run = RunDir(tmp_path)
    state = run.newest()
    assert state is not None
    read_bytes = Path.read_bytes

    def misread(path: Path) -> bytes:
        data = read_bytes(path)
        return data[:-1] if ".tmp-" in path.name else data

    monkeypatch.setattr(Path, "read_bytes", misread)
    with pytest.raises(OutputError, match="does not give back what was written"):
        run.save_last(state)
    monkeypatch.undo()
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("worse", ["broken", "older"])
def test_ck_20_the_better_file_is_never_replaced_by_a_worse_one(
    worse: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CK-20: where `previous` is what the run went on from, a bad `last` does not take its place."""
    saved_twice(tmp_path)
    if worse == "broken":
        (tmp_path / LAST).write_bytes(b"")
    else:
        old = (tmp_path / PREVIOUS).read_bytes()
        (tmp_path / LAST).rename(tmp_path / PREVIOUS)
        (tmp_path / LAST).write_bytes(old)
    run = RunDir(tmp_path)
    state = run.newest()
    assert state is not None
    good, replace = (tmp_path / PREVIOUS).read_bytes(), os.replace
    seen: list[bytes] = []

    def replace_and_record(source: Any, target: Any, **more: Any) -> None:
        seen.append((tmp_path / PREVIOUS).read_bytes())
        replace(source, target, **more)

    monkeypatch.setattr(os, "replace", replace_and_record)
    run.save_last(state)
    assert seen == [good]
    run.save_last(state)  # from now on `last` is sound again
    assert len(seen) == 3
    assert (tmp_path / PREVIOUS).read_bytes() == (tmp_path / LAST).read_bytes()


def test_a_dry_run_does_not_disturb_a_trainer_at_work(corpus: Path) -> None:
    """A temporary file may be one that another program is writing: only who holds the lock removes it."""
    run = Path("run")
    assert main(arguments(corpus, run)) == 0
    writing = run / f".last.safetensors.tmp-{'a' * 16}"
    writing.write_bytes(b"half a checkpoint")
    before = snapshot(run)
    assert main(["train", "--resume", "--out", str(run), "--steps", "99", "--dry-run"]) == 0
    assert snapshot(run) == before
    assert main(["train", "--resume", "--out", str(run), "--steps", "41"]) == 0
    assert not writing.exists()


# --- killed at any moment -----------------------------------------------------------------------


def notes_steps_and_saves_slowly() -> None:
    """For a child: writes down the number of each step, and is slow at every stage of a save."""
    step, fsync, replace = Learner.step, os.fsync, os.replace
    journal = os.open("steps", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def noted(self: Learner, batch: Any, number: int, lr: float) -> Any:
        result = step(self, batch, number, lr)
        os.write(journal, f"{number + 1}\n".encode())
        return result

    def slow_fsync(descriptor: int) -> None:
        time.sleep(0.01)
        fsync(descriptor)
        time.sleep(0.01)

    def slow_replace(source: Any, target: Any, **more: Any) -> None:
        time.sleep(0.01)
        replace(source, target, **more)
        time.sleep(0.01)

    patch = pytest.MonkeyPatch()
    patch.setattr(Learner, "step", noted)
    patch.setattr(os, "fsync", slow_fsync)
    patch.setattr(os, "replace", slow_replace)


def kill_at_random(times: int, corpus: Path, start: Start) -> None:
    """Kill a trainer again and again; what it leaves is valid and recent, and resumes to the same end."""
    moments, run, journal = random.Random(times), Path("run"), Path("steps")  # noqa: S311 (nothing secret)
    save_every, steps = 5, 60 * times
    more = ["--save-every", str(save_every), "--eval-every", "0", "--sample-every", "0"]
    saved = in_a_save = 0
    for number in range(times):
        journal.write_bytes(b"")
        command = arguments(corpus, run, *more, *(["--resume"] if number else []), steps=steps)
        child = start(command, Path(f"child-{number}"), prepare=notes_steps_and_saves_slowly)
        child.wait_until(lambda: journal.stat().st_size > 0)
        time.sleep(moments.uniform(0, 0.6))
        child.kill()
        assert child.wait() == -9
        in_a_save += any(files.TEMPORARY.fullmatch(path.name) for path in run.iterdir())
        warnings: list[str] = []
        newest = RunDir(run, warnings.append).newest()
        assert newest is not None
        assert warnings == []
        reached = int(journal.read_bytes().split()[-1])
        saved, begun = newest.info["step"], saved
        assert max(begun, reached - save_every) <= saved <= reached
    assert in_a_save > 0  # else this would have been an easy life
    assert main(["train", "--resume", "--out", str(run)]) == 0
    assert main(arguments(corpus, "whole", *more[2:], "--save-every", "0", steps=steps)) == 0
    assert tensors(run / LAST) == tensors(Path("whole") / LAST)


def test_ck_04_killed_at_random(corpus: Path, start: Start) -> None:
    """CK-04, six times."""
    kill_at_random(6, corpus, start)


@pytest.mark.slow
def test_ck_04_killed_at_random_often(corpus: Path, start: Start) -> None:
    """CK-04, thirty times."""
    kill_at_random(30, corpus, start)


def test_ck_04_the_first_file_is_written_at_step_0(tmp_path: Path) -> None:
    """CK-04: a run that is killed before the first periodic save can be resumed."""
    session = train(tmp_path, **{**EVERY, "save_every": 0}, stop_at=(StepEvent, 7))
    assert [event.step for event in session.of(SaveEvent)] == [0, 7]
    assert step_of(tmp_path / PREVIOUS) == 0


# --- a full disk ---------------------------------------------------------------------------------


def test_rs_01_a_periodic_save_may_fail(
    straight: Callable[..., tuple[Path, Outcome]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RS-01: a warning, the old file intact, another try at the next save; checkpoints and best models alike."""
    full, fsync, writes = [False], os.fsync, itertools.count()

    def no_space(descriptor: int) -> None:
        if full[0]:
            next(writes)
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", no_space)
    step = Trainer._step

    def fill(self: Trainer) -> None:
        step(self)
        full[0] = 10 <= self.state.step < 20

    monkeypatch.setattr(Trainer, "_step", fill)
    session = train(tmp_path, **EVERY)
    assert next(writes) == len(session.warnings) == 4  # models of steps 10, 15; checkpoints of 12, 16
    assert all("No space left on device; will try again" in warning for warning in session.warnings)
    whole, expected = straight(**EVERY)
    assert session.losses == expected.losses
    assert tensors(tmp_path / LAST) == tensors(whole / LAST)
    assert (tmp_path / MODEL).read_bytes() == (whole / MODEL).read_bytes()


def test_rs_01_the_last_save_may_not(corpus: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Capture) -> None:
    """RS-01: exit 1, one line, the old files intact."""
    step, fsync = Trainer._step, os.fsync
    full = [False]

    def no_space(descriptor: int) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    def fill(self: Trainer) -> None:
        step(self)
        full[0] = self.state.step == 40

    monkeypatch.setattr(Trainer, "_step", fill)
    monkeypatch.setattr(os, "fsync", no_space)
    more = ["--eval-every", "10", "--save-every", "10"]
    assert main(arguments(corpus, "run", *more)) == 1
    out, err = capfdbinary.readouterr()
    assert out == b""
    assert err.splitlines()[-1].startswith(b"Error: cannot write ")
    assert err.endswith(b"No space left on device\n")
    assert step_of(Path("run") / LAST) == step_of(Path("run") / MODEL) == 30


def test_rs_01_a_better_model_that_cannot_be_kept_at_the_end_is_a_failure(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Capture
) -> None:
    """RS-01: an older and worse one is not passed off as the result."""
    save = RunDir.save_model

    def fail_at_the_end(self: RunDir, model: checkpoint.Checkpoint) -> None:
        if model.info["step"] == 40:
            raise OutputError("cannot write 'model'")
        save(self, model)

    monkeypatch.setattr(RunDir, "save_model", fail_at_the_end)
    assert main(arguments(corpus, "run", "--eval-every", "10")) == 1
    assert capfdbinary.readouterr().err.endswith(b"Error: cannot write 'model'\n")


# --- the notes a run keeps -------------------------------------------------------------------------


def test_a_runs_config_repeats_it(corpus: Path, capfdbinary: Capture) -> None:
    first, again = Path("first"), Path("again")
    more = ["--dropout", "0.1234567", "--weight-decay", "1e-9", "--cell", "lstm", "--val", "0.3"]
    assert main(arguments(corpus, first, *more)) == 0
    assert main(["train", "--config", str(first / "config.toml"), "--out", str(again)]) == 0
    for name in (LAST, MODEL, "config.toml"):
        assert (again / name).read_bytes() == (first / name).read_bytes()


def test_a_runs_config_has_the_steps_that_a_time_came_to(tmp_path: Path) -> None:
    """Otherwise `--config` would plan anew, and another run would come of it."""
    run = RunDir(tmp_path)
    run.save_config(TrainConfig(time=60.0, epochs=2.5, steps=77, corpus=("a",), out="b", resume=True))
    read = read_toml(run.config, param_types(TrainConfig))
    assert read["steps"] == 77
    assert not {"time", "epochs", "out", "resume"} & read.keys()


@pytest.mark.parametrize("name", ["tür 🎵 'b\"c\\d.txt", "new\nline\x7f\t[red]*.txt"])
def test_a_corpus_of_any_name_is_found_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(TEXT)
    assert main(arguments(name, "run")) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["train", "--resume", "--out", "../run", "--steps", "41"]) == 0


def test_a_name_that_is_no_utf_8_must_be_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"\xff.txt")
    try:
        Path(name).write_bytes(TEXT)
    except OSError:
        pytest.skip("this file system takes no such name")
    assert main(arguments(name, "run")) == 0
    assert b"not UTF-8" in capfdbinary.readouterr().err
    assert main(["train", name, "--resume", "--out", "run", "--steps", "41"]) == 0


def test_metrics_are_cut_to_whole_lines(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    for step in range(5):
        run.log({"event": "step", "step": step, "seconds": step / 2})
    run.log({"event": "done", "step": 3, "seconds": 9.0})
    with run.metrics.open("ab") as stream:
        stream.write(b'{"event": "st')
    assert len(run.events()) == 6
    assert run.seconds(3) == 1.5
    run.truncate_metrics(3)
    assert [event["step"] for event in run.events()] == [0, 1, 2, 3]
    assert run.metrics.read_bytes().count(b"\n") == 4


def test_metrics_that_are_none_are_refused(tmp_path: Path) -> None:
    """With the number of the line."""
    run = RunDir(tmp_path)
    for line in (
        b"[]", b"1", b"", b"\xff", b'{"step": "x"}', b'{"step": -1}', b'{"step": true}', b'{"seconds": null}',
        b'{"seconds": NaN}', b'{"loss": 1e999}', b'{"event": 5}', b'{"tokens": ' + b"9" * 400 + b".5}",
        b"[" * 100_000,
    ):  # fmt: skip
        data = b'{"event": "step", "step": 1, "seconds": 0.5, "more": null}\n' + line + b'\n{"event": "eval"}\n'
        run.metrics.write_bytes(data)
        for read in (run.events, lambda: run.truncate_metrics(9)):
            with pytest.raises(CheckpointError, match=r"metrics\.jsonl': line 2 is not an event of a training"):
                read()
        assert run.metrics.read_bytes() == data
    run.metrics.unlink()
    run.metrics.mkdir()
    with pytest.raises(CheckpointError, match=r"cannot read '.*metrics\.jsonl': Is a directory"):
        run.events()
    with pytest.raises(OutputError, match=r"cannot remove '.*metrics\.jsonl'"):
        run.clear()


def test_an_event_is_logged_whole_or_not_at_all(tmp_path: Path) -> None:
    """A full disk leaves no half line between two others."""
    warnings: list[str] = []
    run = RunDir(tmp_path, warnings.append)
    run.log({"event": "step", "step": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (run.metrics.stat().st_size + 5, before[1]))
        run.log({"event": "step", "step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    run.log({"event": "step", "step": 3})
    assert [event["step"] for event in run.events()] == [1, 3]
    assert [f"cannot write {str(run.metrics)!r}" in warning for warning in warnings] == [True]


def test_what_grows_under_way_has_a_limit() -> None:
    """However often a run is re-planned or changed, there is room for it in its checkpoints."""
    state = TrainerState(ScheduleProgress(10**9), 10**9)
    options = {name: getattr(TrainConfig(), name) for name in RESUMABLE}
    sizes = []
    for number in range(1000):
        state.step = 10**8 + number
        state.schedule = state.schedule.revise(state.step, 10**9 - number)
        state.record({"step": state.step, "steps": 10**9 - number, "resumed": True, "evaluated": True, **options})
        sizes.append(len(json.dumps(json.dumps(state.to_json()))))
    assert max(sizes) < checkpoint.MAX_LATER_INFO - 10_000
    assert state.replans is None
    assert TrainerState.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_a_plan_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    saved_twice(tmp_path)
    stored = checkpoint.read(tmp_path / LAST, training=True)
    assert stored_config(stored).hidden == SMALL["hidden"]
    plan = stored.info["plan"]["config"]
    for wrong, message in (
        ({"hidden": "many"}, "hidden must be whole numbers"),
        ({"unheard": 1}, "unknown option 'unheard'"),
        ({"corpus": ["/etc/passwd"]}, "unknown option 'corpus'"),
        ({"lr": -1}, "lr must be"),
        ({"lr": None}, "has no lr"),
        ({"hidden": [9]}, "of another model"),
        ({"val": "/etc/passwd"}, "of another model"),
    ):
        stored.info["plan"]["config"] = {**plan, **wrong}
        with pytest.raises(ValueError, match=message):
            stored_config(stored)
