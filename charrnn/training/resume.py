"""Resuming a run: its state besides weights, its plan, and the options that may change."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from charrnn.checkpoint.format import Checkpoint, check_can_be_saved
from charrnn.config.options import param_types, read_toml
from charrnn.config.params import Choice, Float, Int, Text, seconds, stored_value
from charrnn.config.renamed import upgrade
from charrnn.config.train import TrainConfig
from charrnn.engines.base import OptimizerParams
from charrnn.errors import CheckpointError, UsageError
from charrnn.runs.run_dir import RunDir
from charrnn.training.autoconfig import architecture_of
from charrnn.training.learner import optimizer_state
from charrnn.training.plan import UNPLANNED, Plan
from charrnn.training.schedule import ScheduleProgress

FIXED = (
    "cell",
    "hidden",
    "layers",
    "embedding",
    "tokenizer",
    "vocab_size",
    "records",
    "separator",
    "counts",
    "jsonl",
    "tsv",
    "batch",
    "seq_len",
    "optimizer",
    "val",
    "errors",
    "seed",
    "split_seed",
)
"""Options that cannot change when resuming: with another value it would be another run."""

COMPLETED = (
    "hidden", "embedding", "lr", "batch", "seq_len", "dropout", "weight_drop",
    "steps", "eval_every", "save_every", "sample_every",
)  # fmt: skip
"""Options that a plan leaves open nowhere."""

TEXT_OPTIONS = ("corpus", "val", "records", "separator", "counts", "jsonl", "tsv")
"""Options that say what the text of a run is."""


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
        )


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


def resume_plan(stored: Checkpoint, config: TrainConfig, given: frozenset[str]) -> tuple[Plan, list[str]]:
    """Return the plan that a checkpoint stores, with the changes that are asked for.

    Args:
        stored: the checkpoint to resume from. config: the options now. given: names of those that were given.

    Returns:
        The plan, and a sentence for each change.

    Raises:
        UsageError: an option that cannot change differs; the message has both values.
        ValueError: the checkpoint has no usable plan.
    """
    old = stored_config(stored)
    changes: dict[str, Any] = {}
    for name in sorted(given - UNPLANNED):
        before, after = getattr(old, name), getattr(config, name)
        if name == "val" and config.val_file is not None:
            continue  # the digest of the text has been compared
        if name == "hidden" and len(after) == 1:
            after = after * stored.architecture.num_layers
        if before == after:
            continue
        if name in FIXED:
            raise UsageError(
                f"{{{name}}} is {_shown(before, name)} in the run and {_shown(after, name)} in the command; it cannot"
                " change when resuming",
                (name,),
            )
        changes[name] = after
    if "epochs" in changes and "steps" not in given:
        changes["steps"] = math.ceil(changes["epochs"] * int(stored.info["steps_per_epoch"]))
    sentences = [
        f"{name} {_shown(getattr(old, name), name)} -> {_shown(after, name)}" for name, after in changes.items()
    ]
    if "steps" in changes and "time" not in given:
        changes["time"] = None  # the budget of the steps that there were
    unplanned = {name: getattr(config, name) for name in UNPLANNED}
    if config.val_file is not None:
        unplanned["val"] = config.val
    return Plan.from_json(stored.info["plan"], stored.architecture, replace(old, **unplanned, **changes)), sentences


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
    if architecture_of(config, stored.tokenizer.size) != stored.architecture or config.val_file is not None:
        raise ValueError("its plan is of another model")
    return config


def _shown(value: object, name: str) -> str:
    if value is None:
        return "not given"
    if name == "time" and isinstance(value, float):
        return seconds(value)
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
