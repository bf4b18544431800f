"""Resuming a run: its state besides weights, and whether what is stored of it can be used."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from charrnn.checkpoint.format import Checkpoint, check_can_be_saved
from charrnn.config.lists import MAX_REPLANS, ReplanList
from charrnn.config.options import param_types, read_toml
from charrnn.config.params import Choice, Float, Int, Text, stored_value
from charrnn.config.renamed import upgrade
from charrnn.config.train import RESUMABLE, TrainConfig
from charrnn.engines.base import OptimizerParams
from charrnn.errors import CheckpointError, UsageError
from charrnn.files import quote
from charrnn.runs.events import DoneEvent
from charrnn.runs.run_dir import RunDir
from charrnn.training.autoconfig import architecture_of
from charrnn.training.learner import optimizer_state
from charrnn.training.plan import FINE_TUNING, UNPLANNED, Plan
from charrnn.training.schedule import ScheduleProgress

COMPLETED = (
    "hidden", "embedding", "lr", "batch", "seq_len", "dropout", "weight_drop",
    "steps", "eval_every", "save_every", "sample_every",
)  # fmt: skip
"""Options that a plan leaves open nowhere."""

TEXT_OPTIONS = ("corpus", "val", "records", "separator", "counts", "jsonl", "tsv", "csv", *sorted(FINE_TUNING))
"""Options that say what the text of a run is, and what it began with."""


@dataclass
class TrainerState:
    """The state of a run besides its tensors. Every checkpoint to resume from has it.

    Attributes:
        schedule: how far the run is at each step, for the learning rate.
        end: the step at which the rows of a stream reach the end of the text: the last step, or one near it.
        step: steps taken.
        last_eval: the step of the last evaluation; -1: none yet. last_sample: likewise.
        best: loss of the best evaluation, in nats per token, and best_step its step; None: none yet.
        evals_beyond_recovery: evaluations since the best one that the rest of the schedule could not win back.
        reason: what ended the training: "steps", "patience"; "" while it goes on.
        replans: what was changed under way, as `TrainConfig.replans`, and in a run that repeats another what is still
            to come; None: it is not known, as an earlier version did not store it, or it was too much.
        num_replanned: how many of them have been made.
    """

    schedule: ScheduleProgress
    end: int
    step: int = 0
    last_eval: int = -1
    last_sample: int = -1
    best: float | None = None
    best_step: int = 0
    evals_beyond_recovery: int = 0
    reason: str = ""
    replans: list[dict[str, Any]] | None = field(default_factory=list)
    num_replanned: int = 0

    def record(self, entry: dict[str, Any]) -> None:
        """Add what has just been changed to `replans`. Of what is still to come another last step leaves nothing."""
        if self.replans is not None:
            later = [] if "steps" in entry else self.replans[self.num_replanned :]
            self.replans = [*self.replans[: self.num_replanned], entry, *later]
            self.num_replanned += 1
            if len(self.replans) > MAX_REPLANS:
                self.replans, self.num_replanned = None, 0

    def next_replan(self, *, is_evaluated: bool) -> dict[str, Any] | None:
        """Return the next of `replans` that is due, and count it as made; None: none is.

        Args:
            is_evaluated: whether the evaluation at this step is over.
        """
        entry = next(iter((self.replans or [])[self.num_replanned :]), None)
        if entry is None or entry["step"] != self.step or ("evaluated" in entry and not is_evaluated):
            return None
        self.num_replanned += 1
        return entry

    def follow(self, entry: Mapping[str, Any]) -> bool:
        """Change the schedule as one of `replans` says; return whether the rows of a stream are to be realigned."""
        if "resumed" not in entry:
            if "steps" in entry:
                self.schedule = self.schedule.revise(self.step, entry["steps"])
            return "realign" in entry
        if "steps" in entry:
            self.schedule, self.evals_beyond_recovery = ScheduleProgress(entry["steps"]), 0
        if "steps" in entry or "patience" in entry:
            self.reason = ""
        return "steps" in entry

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads; these words are the file format's, whatever fields are called."""
        return {
            "course": {"steps": self.schedule.steps, "bends": [list(each) for each in self.schedule.breakpoints]},
            "end": self.end,
            "step": self.step,
            "evaluated": self.last_eval,
            "sampled": self.last_sample,
            "best": self.best,
            "best_step": self.best_step,
            "stale": self.evals_beyond_recovery,
            "reason": self.reason,
            "replans": self.replans,
            "replanned": self.num_replanned,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrainerState":
        """Read what `to_json` made, every value checked. Raises ValueError where it did not make it."""
        step = stored_value(values, "step", Int())
        course = values.get("course")
        steps = stored_value(course, "steps", Int(1))
        bends = course.get("bends") if isinstance(course, Mapping) else None
        if not isinstance(bends, list) or not all(isinstance(each, list) and len(each) == 2 for each in bends):
            raise ValueError("'bends' must be a list of pairs")
        pairs = [dict(enumerate(each)) for each in bends]
        breakpoints = [(stored_value(each, 0, Int(0, step)), stored_value(each, 1, Float(0, 1))) for each in pairs]
        if breakpoints != sorted(breakpoints):
            raise ValueError("'bends' are not in order")
        stored = {"replans": None, "replanned": 0, **values}  # an earlier version had neither
        replans = stored_value(stored, "replans", ReplanList(RESUMABLE), optional=True)
        return cls(
            schedule=ScheduleProgress(steps, tuple(breakpoints)),
            end=stored_value(values, "end", Int(1)),
            step=step,
            last_eval=stored_value(values, "evaluated", Int(-1, step)),
            last_sample=stored_value(values, "sampled", Int(-1, step)),
            best=stored_value(values, "best", Float(-1), optional=True),
            best_step=stored_value(values, "best_step", Int(0, step)),
            evals_beyond_recovery=stored_value(values, "stale", Int()),
            reason=stored_value(values, "reason", Choice(("", "steps", "patience"))),
            replans=None if replans is None else list(replans),
            num_replanned=stored_value(stored, "replanned", Int(0, len(replans or ()))),
        )


def options_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options among what is changed of a run: those that shape it."""
    return {name: entry[name] for name in RESUMABLE if name in entry}


def recall_text_options(run: RunDir, config: TrainConfig, given: frozenset[str]) -> TrainConfig:
    """Return a configuration with what the folder of a run stores of its text, unless options say otherwise.

    Args:
        given: names of the options that were given.

    Raises:
        CheckpointError: the folder's `config.toml` cannot be read.
    """
    if not run.config.exists():
        return config
    try:
        stored = read_toml(run.config, param_types(TrainConfig), stored=True)
        TrainConfig(**stored)
    except UsageError as error:
        raise CheckpointError(f"the run cannot be resumed: {error}") from None
    known = {name: stored[name] for name in TEXT_OPTIONS if name in stored and name not in given}
    if config.corpus:
        known.pop("corpus", None)
    return replace(config, **known)


def checkpoint_to_resume(run: RunDir, config: TrainConfig, note: Callable[[str], None]) -> Checkpoint | None:
    """Return the checkpoint to resume from, if that is what `config` asks for and there is one.

    Raises:
        UsageError: there is none, and a run cannot be begun. CheckpointError: there is none that can be used.
    """
    if not (config.resume or config.auto_resume):
        return None
    resumed = run.newest(check_resumable)
    if resumed is not None:
        return resumed
    if run.done() is not None:
        raise UsageError(
            f"the run in {quote(run.folder)} is finished, and what could take it further was deleted; {{overwrite}}"
            " begins it anew",
            ("overwrite",),
        )
    if config.resume:
        raise UsageError(f"{{resume}}: there is no usable checkpoint in {quote(run.folder)}", ("resume",))
    if run.model.exists():
        raise UsageError(
            f"{{auto_resume}}: there is no usable checkpoint in {quote(run.folder)} beside its model, which"
            " starting afresh would remove; {overwrite} does",
            ("auto_resume", "overwrite"),
        )
    note(f"there is no run to resume in {quote(run.folder)}: starting one")
    return None


def has_options(stored: Checkpoint, config: TrainConfig, given: frozenset[str]) -> bool:
    """Return whether the options that are given have the values that a model was trained with."""
    try:
        old = stored_config(stored)
    except ValueError:
        return False
    hidden = config.hidden
    if hidden is not None and len(hidden) == 1:
        hidden *= stored.architecture.num_layers
    now = replace(config, hidden=hidden)
    return all(getattr(old, name) == getattr(now, name) for name in given - UNPLANNED - FINE_TUNING)


def finished_note(run: RunDir, done: DoneEvent, *, can_go_on: bool) -> str:
    """Return a sentence about a finished run, and how to take it further."""
    if not can_go_on:
        return f"the run in {quote(run.folder)} is finished; what could take it further was deleted"
    return (
        f"the run in {quote(run.folder)} is finished; more steps, epochs or time take it further, as in"
        f" charrnn train --resume --steps {2 * done.step} --out {shlex.quote(str(run.folder))}"
    )


def check_text(stored: Checkpoint, digest: str) -> None:
    """Raise UsageError if a run began with other texts than those of this digest, which `Corpora` makes."""
    before, now = _digests(stored.info["corpus_sha256"]), _digests(digest)
    for what in {**before, **now}:
        old, new = (each.get(what, "none") for each in (before, now))
        if old != new:
            raise UsageError(
                f"the {what} is not the one this run began with: its SHA-256 is {new[:16]}..., the run's {old[:16]}...;"
                " {init_from} starts a new run from this one's model, on any text",
                ("init_from",),
            )


def _digests(digest: str) -> dict[str, str]:
    """Return the SHA-256 of each text of a run, in hex, by what the text is for."""
    own, *more = digest.split("+")
    return {"corpus": own, **{f"text to {'mix in' if part[:4] == 'mix:' else 'validate on'}": part for part in more}}


def check_resumable(stored: Checkpoint) -> None:
    """Check everything that resuming takes from a checkpoint, which its digest proves only to be as it was written.

    Raises:
        ValueError: it holds a model alone, or something in it is missing, of the wrong type or out of range.
    """
    info, architecture = stored.info, stored.architecture
    if "progress" not in info:
        raise ValueError("it holds a model alone")
    config = stored_config(stored)
    Plan.from_json(info["plan"], architecture, config)
    if not isinstance(info["progress"], dict):
        raise ValueError("its progress is not an object")
    state = TrainerState.from_json(info["progress"])
    stored_value(info, "step", Int(state.step, state.step))
    stored_value(info, "steps_per_epoch", Int(1))
    for name in ("corpus_sha256", "engine"):
        stored_value(info, name, Text())
    for name, weight in stored.weights.items():
        if not np.isfinite(weight).all():
            raise ValueError(f"the weight {name} is not finite")
    for layer, size in enumerate(architecture.hidden):
        shape, found = (architecture.num_states, config.batch, size), stored.training.get(f"state.{layer}")
        if found is None or found.shape != shape or found.dtype != np.float32 or not np.isfinite(found).all():
            raise ValueError(f"state.{layer} is not finite numbers of shape {shape}")
    plan = {"plan": info["plan"]}
    check_can_be_saved(architecture, stored.tokenizer, stored.separator, plan, training_tensors=len(stored.training))
    optimizer = optimizer_state(stored.training)
    if state.step and not optimizer:
        raise ValueError("it has no optimizer's state")
    try:
        replace(config, time=None, epochs=None, replans=tuple(state.replans or ()))
    except UsageError as error:
        raise ValueError(f"its progress cannot be used: {error}") from None
    OptimizerParams(config.optimizer, config.weight_decay).check_state(optimizer, architecture.shapes())


def stored_config(stored: Checkpoint) -> TrainConfig:
    """Return the configuration that a checkpoint was trained with. Raise ValueError if it has no usable one."""
    plan = stored.info.get("plan")
    old = plan.get("config") if isinstance(plan, dict) else None
    if not isinstance(old, dict):
        raise ValueError("it has no plan")
    values = upgrade(old)
    if old.get("min_count", 1) != 1:  # as an earlier version had it
        values["vocab_size"] = stored.tokenizer.size - 1
    if unknown := sorted(values.keys() - (param_types(TrainConfig).keys() - UNPLANNED)):
        raise ValueError(f"its plan has an unknown option {unknown[0][:80]!r}")
    try:
        config = TrainConfig(**{name: value for name, value in values.items() if value is not None})
    except UsageError as error:
        raise ValueError(f"its plan cannot be used: {error}") from None
    for name in COMPLETED:
        if getattr(config, name) is None:
            raise ValueError(f"its plan has no {name}")
    planned = architecture_of(config, stored.tokenizer.size, stored.architecture.clusters)
    if planned != stored.architecture or config.val_file is not None:
        raise ValueError("its plan is of another model")
    return config
