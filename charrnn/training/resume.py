"""Resuming a run: its state besides weights, its plan, and the options that may change."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from charrnn.checkpoint.format import Checkpoint
from charrnn.config.options import param_types, read_toml
from charrnn.config.params import seconds
from charrnn.config.renamed import upgrade
from charrnn.config.train import TrainConfig
from charrnn.errors import CheckpointError, UsageError
from charrnn.runs.run_dir import RunDir
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
)
"""Options that cannot change when resuming: with another value it would be another run."""

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
        """Read what `to_json` made. Raises KeyError, TypeError or ValueError where it did not."""
        course = values["course"]
        breakpoints = tuple((int(step), float(progress)) for step, progress in course["bends"])
        return cls(
            schedule=ScheduleProgress(int(course["steps"]), breakpoints),
            end=int(values["end"]),
            step=int(values["step"]),
            last_eval=int(values["evaluated"]),
            last_sample=int(values["sampled"]),
            best=None if values["best"] is None else float(values["best"]),
            best_step=int(values["best_step"]),
            evals_beyond_recovery=int(values["stale"]),
            reason=str(values["reason"]),
        )


def recall_text_options(run: RunDir, config: TrainConfig, given: frozenset[str]) -> TrainConfig:
    """Return a configuration with what the folder of a run stores of its text, unless options say otherwise.

    Args:
        given: names of the options that were given.

    Raises:
        UsageError: the folder's `config.toml` cannot be read.
    """
    if not run.config.exists():
        return config
    stored = read_toml(run.config, param_types(TrainConfig), stored=True)
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
        CheckpointError: the checkpoint has no usable plan.
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


def stored_config(stored: Checkpoint) -> TrainConfig:
    """Return the configuration that a checkpoint was trained with. Raise CheckpointError if it has no usable one."""
    try:
        old = stored.info["plan"]["config"]
        values = upgrade(old)
        if old.get("min_count", 1) != 1:  # as an earlier version had it
            values["vocab_size"] = stored.tokenizer.size - 1
        return TrainConfig(**{name: value for name, value in values.items() if value is not None})
    except (KeyError, TypeError, UsageError) as error:
        raise CheckpointError(f"the checkpoint has no plan to resume: {error}") from None


def _shown(value: object, name: str) -> str:
    if value is None:
        return "not given"
    if name == "time" and isinstance(value, float):
        return seconds(value)
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
