"""Resuming a run: what a checkpoint keeps besides weights, its own plan, and what the command may change of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from charrnn.checkpoint.format import Checkpoint
from charrnn.config.options import flag
from charrnn.config.train import TrainConfig
from charrnn.errors import CheckpointError, UsageError
from charrnn.training.plan import NOT_IN_A_PLAN, Plan
from charrnn.training.schedule import ScheduleProgress

FIXED = (
    "cell",
    "activation",
    "hidden",
    "layers",
    "embedding",
    "tokenizer",
    "vocab_size",
    "min_count",
    "records",
    "separator",
    "weights",
    "jsonl",
    "tsv",
    "batch",
    "seq_len",
    "optimizer",
    "val_fraction",
    "errors",
    "seed",
)
"""What a run keeps from its first step to its last: another value would make it another run."""


@dataclass
class TrainerState:
    """All of a run that is not weights. Stored in every resumable checkpoint.

    Attributes:
        step: steps taken.
        course: of the learning rate.
        end: the step at which the rows come to the text's end: the last one, or near it.
        evaluated: the step that was evaluated last; -1 before any.
        sampled: the step at which a sample was last shown.
        best: nats per symbol of the best evaluation, at best_step.
        stale: evaluations since the best one that a lower rate will not make up for.
        reason: why training ended: "steps", "patience"; "" while it has not.
    """

    course: ScheduleProgress
    end: int
    step: int = 0
    evaluated: int = -1
    sampled: int = -1
    best: float | None = None
    best_step: int = 0
    evals_beyond_recovery: int = 0
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads; these words are the file format's, whatever fields are called."""
        return {
            "course": {"steps": self.course.steps, "bends": [list(bend) for bend in self.course.breakpoints]},
            "end": self.end,
            "step": self.step,
            "evaluated": self.evaluated,
            "sampled": self.sampled,
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
            course=ScheduleProgress(int(course["steps"]), breakpoints),
            end=int(values["end"]),
            step=int(values["step"]),
            evaluated=int(values["evaluated"]),
            sampled=int(values["sampled"]),
            best=None if values["best"] is None else float(values["best"]),
            best_step=int(values["best_step"]),
            evals_beyond_recovery=int(values["stale"]),
            reason=str(values["reason"]),
        )


def resume_plan(stored: Checkpoint, config: TrainConfig, given: frozenset[str]) -> tuple[Plan, list[str]]:
    """The stored plan with what the user asks to change.

    Args:
        stored: the checkpoint to go on from. config: the command's. given: which options it names.

    Returns:
        The plan, and a sentence for each change.

    Raises:
        UsageError: a fixed option differs; both values are named.
    """
    old = stored_config(stored)
    changes: dict[str, Any] = {}
    for name in sorted(given - NOT_IN_A_PLAN):
        before, after = getattr(old, name), getattr(config, name)
        if name == "hidden" and len(after) == 1:
            after = after * stored.architecture.num_layers
        if before == after:
            continue
        if name in FIXED:
            raise UsageError(
                f"{flag(name)} is {_shown(before)} in the run and {_shown(after)} in the command; it is fixed"
            )
        changes[name] = after
    if "epochs" in changes and "steps" not in given:
        changes["steps"] = math.ceil(changes["epochs"] * int(stored.info["steps_per_epoch"]))
    told = [f"{flag(name)} {_shown(getattr(old, name))} -> {_shown(after)}" for name, after in changes.items()]
    here = {name: getattr(config, name) for name in NOT_IN_A_PLAN}
    return Plan.from_json(stored.info["plan"], stored.architecture, replace(old, **here, **changes)), told


def stored_config(stored: Checkpoint) -> TrainConfig:
    """The configuration a checkpoint was trained with.

    Raises:
        CheckpointError: it holds none that this program understands.
    """
    try:
        values: Mapping[str, Any] = stored.info["plan"]["config"]
        return TrainConfig(**values)
    except (KeyError, TypeError, UsageError) as error:
        raise CheckpointError(f"the checkpoint holds no plan to go on with: {error}") from None


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
