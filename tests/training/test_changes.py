"""What may be changed of a run when it is resumed, and that its `config.toml` repeats it with all that was changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from charrnn.checkpoint import format as checkpoint
from charrnn.checkpoint.format import Checkpoint
from charrnn.config.options import param_types, read_toml
from charrnn.config.train import TrainConfig
from charrnn.engines.native import lib as core
from charrnn.errors import UsageError
from charrnn.runs.events import DoneEvent, EvalEvent, Event, PlanEvent, StepEvent
from charrnn.runs.run_dir import RunDir
from charrnn.training.changes import describe, resume_plan
from charrnn.training.resume import TrainerState, check_resumable
from tests.trainings import SMALL, TEXT, Outcome, dataset_of, tensors, train

EVERY: dict[str, Any] = {"eval_every": 5, "save_every": 4, "sample_every": 10, "patience": 0}

Stop = tuple[type[Event], int]

ROUNDS: dict[str, tuple[dict[str, Any], list[tuple[Stop | None, dict[str, Any]]]]] = {
    "in the middle": ({}, [((StepEvent, 13), {}), (None, {"lr": 0.002, "dropout": 0.3, "weight_drop": 0.1})]),
    "before an evaluation": ({}, [((StepEvent, 15), {}), (None, {"eval_every": 7})]),
    "after an evaluation": ({}, [((EvalEvent, 15), {}), (None, {"eval_every": 7, "clip": 0.5})]),
    "twice at a step": ({}, [((StepEvent, 13), {}), ((PlanEvent, 13), {"lr": 0.5}), (None, {"lr": 0.003})]),
    "back and forth": ({}, [((StepEvent, 9), {}), ((StepEvent, 18), {"lr": 0.5}), (None, {"lr": 0.01})]),
    "taken further": ({}, [(None, {}), (None, {"steps": 61, "schedule": "cosine"})]),
    "further, stopped, further": ({}, [(None, {}), ((StepEvent, 52), {"steps": 61}), (None, {"steps": 70})]),
    "ended sooner": ({}, [((EvalEvent, 20), {}), (None, {"steps": 31, "weight_decay": 0.1})]),
    "ended at once": ({}, [((StepEvent, 17), {}), (None, {"steps": 17})]),
    "without validation": ({"val": 0.0}, [(None, {}), (None, {"steps": 53, "lr": 0.02})]),
    "records": ({"records": True}, [((StepEvent, 13), {}), (None, {"steps": 50}), (None, {"epochs": 9.0})]),
    "early stopping": (
        {"lr": 1.0, "eval_every": 1, "patience": 1, "steps": 60},
        [(None, {}), (None, {"patience": 9, "save_every": 7}), (None, {"steps": 80, "patience": 0})],
    ),
    "less patience": ({"lr": 1.0, "eval_every": 3}, [((StepEvent, 15), {}), (None, {"patience": 1})]),
}


def repeated(run: Path, out: Path, *, stop_at: Stop | None = None) -> Outcome:
    """Train again what a run's `config.toml` says."""
    stored = read_toml(run / "config.toml", param_types(TrainConfig))
    text, config = TEXT, TrainConfig(**stored)
    dataset = dataset_of(text, fraction=config.val_fraction, separator=config.record_separator)
    outcome = train(out, dataset=dataset, stop_at=stop_at, **{**stored, "val": config.val})
    if stop_at is not None:
        assert outcome.interrupted
        outcome = train(out, dataset=dataset, resume=True, **{**stored, "val": config.val})
    return outcome


@pytest.mark.parametrize("name", ROUNDS)
def test_a_runs_file_repeats_what_was_changed(name: str, tmp_path: Path) -> None:
    """The finished model, all to go on from, and the file itself; also where the repetition is interrupted."""
    options, rounds = ROUNDS[name]
    run = tmp_path / "run"
    for number, (stop_at, given) in enumerate(rounds):
        outcome = train(run, stop_at=stop_at, resume=number > 0, given=given, **{**EVERY, **options})
        assert outcome.interrupted == (stop_at is not None)
    again = tmp_path / "again"
    repeated(run, again, stop_at=(StepEvent, 15) if len(name) % 2 else None)
    assert tensors(again / "last.safetensors") == tensors(run / "last.safetensors")
    ours, theirs = (checkpoint.read(each / "model.safetensors") for each in (again, run))
    assert ours.info["step"] == theirs.info["step"]
    assert all((ours.weights[weight] == theirs.weights[weight]).all() for weight in theirs.weights)
    assert (again / "config.toml").read_bytes() == (run / "config.toml").read_bytes()


@pytest.mark.skipif(core.library() is None, reason="the compiled core was not built here")
def test_another_engine_is_listed(tmp_path: Path) -> None:
    """Even where it was not asked for: what was done is repeated, not what was said."""
    run = tmp_path / "run"
    train(run, **EVERY, stop_at=(StepEvent, 13))
    train(run, **EVERY, resume=True, given={"engine": "torch"})
    repeated(run, tmp_path / "again")
    assert tensors(tmp_path / "again/last.safetensors") == tensors(run / "last.safetensors")


def test_what_an_earlier_version_did_not_list_is_not_claimed(tmp_path: Path) -> None:
    train(tmp_path, **EVERY, stop_at=(StepEvent, 13))
    stored = checkpoint.read(tmp_path / "last.safetensors", training=True)
    for name in ("replans", "replanned"):
        del stored.info["progress"][name]
    del stored.info["plan"]["initial"]
    checkpoint.write(tmp_path / "last.safetensors", stored)
    [done] = train(tmp_path, **EVERY, resume=True, given={"lr": 0.02}).of(DoneEvent)
    assert done.command is None
    assert "replans" not in (tmp_path / "config.toml").read_text()


def test_baselines_of_another_text_are_measured_again(tmp_path: Path) -> None:
    """An earlier version's could be of more text than the model was scored on."""
    train(tmp_path, **EVERY, stop_at=(StepEvent, 13))
    stored = checkpoint.read(tmp_path / "last.safetensors", training=True)
    stored.info["plan"] |= {"exact_tokens": 10, "baselines": {**stored.info["plan"]["baselines"], "ngram": 0.5}}
    checkpoint.write(tmp_path / "last.safetensors", stored)
    [done] = train(tmp_path, **EVERY, resume=True).of(DoneEvent)
    assert done.baselines is not None
    assert done.tokens == done.baselines["val_bytes"] == 10
    assert done.val_tokens == 30
    assert done.baselines["ngram"] != 0.5


# --- whether a change acts -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The checkpoint of a run of 40 steps, 5 epochs."""
    folder = tmp_path_factory.mktemp("finished")
    train(folder, **EVERY)
    stored = RunDir(folder).newest(check_resumable)
    assert stored is not None
    return stored


def changes_of(
    stored: Checkpoint, options: Mapping[str, Any], *, progress: Mapping[str, Any], plan: Mapping[str, Any], took: float
) -> list[str]:
    """Return a sentence for each change, of a checkpoint whose progress and plan are changed so."""
    config = {**stored.info["plan"]["config"], **{name: plan[name] for name in ("time", "patience") if name in plan}}
    new = {**stored.info["plan"], "config": config, "bounded": plan.get("bounded", True)}
    info = {**stored.info, "plan": new, "progress": {**stored.info["progress"], **progress}}
    info["step"] = info["progress"]["step"]
    changed = Checkpoint(stored.architecture, stored.tokenizer, stored.weights, info, stored.training)
    given = TrainConfig(**{**SMALL, **options})
    old, changes = resume_plan(changed, given, frozenset(options), took=took)
    return describe(changes, old, TrainerState.from_json(info["progress"]))


HALF: dict[str, Any] = {"step": 20, "reason": "", "evaluated": 20, "sampled": 20, "best_step": 20}
IMPATIENT: dict[str, Any] = {**HALF, "reason": "patience", "best_step": 5, "stale": 3}
TIMED: dict[str, Any] = {"time": 60.0, "bounded": False}
SLOWER: dict[str, Any] = {"step": 30, "evaluated": 30, "sampled": 20, "best_step": 30}
SLOWER |= {"course": {"steps": 30, "bends": [[10, 0.25]]}}


@pytest.mark.parametrize(
    ("options", "progress", "plan", "changes"),
    [
        ({}, {}, {}, []),
        ({"steps": 40, "lr": 0.01, "hidden": (8,)}, {}, {}, []),
        ({"epochs": 5.0}, {}, {}, []),
        ({"steps": 41}, {}, {}, ["steps 40 -> 41"]),
        ({"steps": 41, "lr": 0.02}, {}, {}, ["lr 0.01 -> 0.02", "steps 40 -> 41"]),
        ({"epochs": 6.0}, {}, {}, ["epochs not given -> 6.0", "steps 40 -> 48"]),
        ({"time": 90.0}, {}, {}, ["time not given -> 1m30s"]),
        ({"lr": 0.02}, HALF, {}, ["lr 0.01 -> 0.02"]),
        ({"steps": 20}, HALF, {}, ["steps 40 -> 20"]),
        ({"time": 60.0}, {}, TIMED, []),
        ({"time": 70.0}, {}, TIMED, ["time 1m -> 1m10s"]),
        ({"steps": 50}, {}, TIMED, ["steps 40 -> 50", "time 1m -> not given"]),
        ({"time": 40.0}, HALF, TIMED, ["time 1m -> 40s"]),
        ({"patience": 4}, IMPATIENT, {}, ["patience 0 -> 4"]),
        ({"patience": 0}, IMPATIENT, {"patience": 3}, ["patience 3 -> 0"]),
        ({"steps": 30}, IMPATIENT, {}, ["steps 40 -> 30"]),
        ({"steps": 30}, SLOWER, TIMED, []),
        ({"steps": 40}, SLOWER, TIMED, ["steps 30 -> 40", "time 1m -> not given"]),
        ({"steps": 40, "time": 60.0}, SLOWER, {**TIMED, "bounded": True}, []),
        ({"eval_tokens": 7}, {}, {}, []),
    ],
    ids=str,
)
def test_changes(
    options: dict[str, Any], progress: dict[str, Any], plan: dict[str, Any], changes: list[str], finished: Checkpoint
) -> None:
    """What has its own value, however it is put, is none. The run took 30 seconds."""
    assert changes_of(finished, options, progress=progress, plan=plan, took=30.0) == changes


@pytest.mark.parametrize(
    ("options", "progress", "plan", "message"),
    [
        ({"steps": 10}, {}, {}, r"steps 10 is over: the run has taken 40 steps already"),
        ({"steps": 1}, HALF, {}, r"steps 1 is over: the run has taken 20 steps already"),
        ({"epochs": 1.0}, HALF, {}, r"epochs 1.0 is over: the run has taken 20 steps already"),
        ({"time": 20.0}, HALF, TIMED, r"time 20s is over: the run has taken 30s already"),
        ({"time": 30.0}, {}, {}, r"time 30s is over"),
        ({"lr": 0.02}, {}, {}, r"lr cannot act: .* 40 steps already and is finished; more steps, epochs or time take"),
        ({"dropout": 0.3, "threads": 2}, {}, {}, r"dropout cannot act"),
        ({"patience": 5}, {}, {}, r"patience cannot act"),
        ({"time": 50.0}, {}, TIMED, r"time cannot act"),
        ({"time": 90.0, "steps": 40}, {}, {"time": 60.0}, r"time cannot act"),
        ({"lr": 0.02, "time": 60.0}, {}, TIMED, r"lr cannot act"),
        ({"patience": 3}, IMPATIENT, {}, r"patience cannot act"),
        ({"lr": 0.5}, IMPATIENT, {}, r"lr cannot act"),
        ({"steps": 20}, IMPATIENT, {}, r"steps cannot act"),
    ],
    ids=str,
)
def test_changes_that_cannot_act(
    options: dict[str, Any], progress: dict[str, Any], plan: dict[str, Any], message: str, finished: Checkpoint
) -> None:
    with pytest.raises(UsageError, match=message):
        changes_of(finished, options, progress=progress, plan=plan, took=30.0)


def test_another_last_step_leaves_nothing_of_what_was_to_come() -> None:
    """And nothing that cannot be known is added."""
    stored = {"course": {"steps": 40, "bends": []}, "end": 40, "step": 10, "evaluated": 10, "sampled": 0, "best": None}
    stored |= {"best_step": 0, "stale": 0, "reason": "", "replanned": 1}
    entries = [{"step": 5, "steps": 30}, {"step": 10, "steps": 20}, {"step": 15, "realign": True}]
    for entry, after in (
        ({"step": 10, "resumed": True, "lr": 0.1}, entries[1:]),
        ({"step": 10, "resumed": True, "steps": 50}, []),
    ):
        state = TrainerState.from_json({**stored, "replans": entries})
        state.record(entry)
        assert state.replans == [entries[0], entry, *after]
        assert state.num_replanned == 2
        due = state.next_replan(is_evaluated=True)
        assert due == (after[0] if after else None)
    unknown = TrainerState.from_json(stored | {"replanned": 0})
    unknown.record({"step": 10, "steps": 20})
    assert unknown.replans is None
