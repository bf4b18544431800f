"""Going on with a run: its own plan, and what the command may change of it."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from charrnn.checkpoint.format import Checkpoint
from charrnn.config.options import flag
from charrnn.config.train import TrainConfig
from charrnn.errors import CheckpointError, UsageError
from charrnn.training.plan import NOT_IN_A_PLAN, Plan

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
            after = after * stored.architecture.layers
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
