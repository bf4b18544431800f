"""What may be changed of a run when it is resumed: whether that takes it further, and the plan that comes of it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from charrnn.checkpoint.format import Checkpoint
from charrnn.config.params import seconds
from charrnn.config.train import TrainConfig
from charrnn.dataset.dataset import Dataset
from charrnn.engines.select import EngineSpec
from charrnn.errors import UsageError, counted
from charrnn.training.budget import affordable_steps, measure_baselines, share_scoring
from charrnn.training.distributed import ALONE, World
from charrnn.training.plan import FINE_TUNING, UNPLANNED, Plan
from charrnn.training.resume import TrainerState, stored_config
from charrnn.training.throughput import SpeedMeter

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
    "csv",
    "batch",
    "seq_len",
    "optimizer",
    "val",
    "errors",
    "seed",
    "split_seed",
)
"""Options that cannot change when resuming: with another value it would be another run."""

AS_PLANNED = {"eval_tokens"}
"""Options that resuming leaves alone, whatever is given: evaluations are to be comparable with those before."""


def resume_plan(
    stored: Checkpoint, config: TrainConfig, given: frozenset[str], *, took: float = 0.0
) -> tuple[Plan, dict[str, Any]]:
    """Return the plan that a checkpoint stores, and what is asked to be changed of it.

    Args:
        stored: the checkpoint to resume from. config: the options now. given: names of those that were given.
        took: seconds of training until that checkpoint.

    Returns:
        The plan as it was; the options that now have another value, with it.

    Raises:
        UsageError: an option that cannot change differs, or cannot act: what is asked for is over, or the run is
            finished and nothing takes it further.
        ValueError: the checkpoint has no usable plan.
    """
    old = stored_config(stored)
    unplanned = {name: getattr(config, name) for name in (UNPLANNED | FINE_TUNING) - {"replans"}}
    if config.val_file is not None:
        unplanned["val"] = config.val
    plan = Plan.from_json(stored.info["plan"], stored.architecture, replace(old, **unplanned))
    _check_mix(plan, config)
    state = TrainerState.from_json(stored.info["progress"])
    changes: dict[str, Any] = {}
    for name in sorted(given - UNPLANNED - FINE_TUNING - AS_PLANNED):
        before, after = getattr(old, name), getattr(config, name)
        if name == "val" and config.val_file is not None:
            continue  # the digest of the text has been compared
        if name == "hidden" and len(after) == 1:
            after = after * stored.architecture.num_layers
        if before == after and (name != "steps" or after <= state.step or plan.has_step_limit):
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
    if changes.get("steps") == state.schedule.steps:
        del changes["steps"]
        changes.pop("epochs", None)
    if "steps" in changes and "time" not in given and old.time is not None:
        changes["time"] = None  # the budget of the steps that there were
    _check_that_they_act(changes, plan, state, given, took)
    return plan, changes


def _check_mix(plan: Plan, config: TrainConfig) -> None:
    """Raise UsageError if another part of the batches is to be mixed in than a run began with, or none."""
    share = None if plan.origin is None else plan.origin.mix_share
    if share == config.mix_share:
        return
    if share is None:
        raise UsageError("the run began without {mix}, which cannot change when resuming", ("mix",))
    if config.mix is None:
        raise UsageError("the run began with {mix}: a text that its config.toml no longer names", ("mix",))
    raise UsageError(
        f"{{mix_share}} is {share} in the run and {config.mix_share} in the command; it cannot change when resuming",
        ("mix_share",),
    )


def _check_that_they_act(
    changes: Mapping[str, Any], plan: Plan, state: TrainerState, given: frozenset[str], took: float
) -> None:
    """Raise UsageError for changes of what is over, and for those of a finished run that do not take it further."""
    steps, time, before = changes.get("steps"), changes.get("time"), plan.config.time
    bound = "epochs" if "steps" not in given and "epochs" in given else "steps"
    done = f"the run has taken {counted(state.step, 'step')} already"
    if steps is not None and steps < state.step:
        raise UsageError(f"{{{bound}}} {_shown(changes[bound], bound)} is over: {done}", (bound,))
    if time is not None and time <= took:
        raise UsageError(f"{{time}} {seconds(time)} is over: the run has taken {seconds(took)} already", ("time",))
    if not changes or not state.reason:
        return
    goes_on = steps is not None and steps > state.step
    if time is not None and bound not in given:
        goes_on |= before is None or time > before
    if state.reason == "patience" and "patience" in changes:
        goes_on |= changes["patience"] == 0 or changes["patience"] > state.evals_beyond_recovery
    if not goes_on:
        name = min(name for name in changes if name in given)
        raise UsageError(
            f"{{{name}}} cannot act: {done} and is finished; more {{steps}}, {{epochs}} or {{time}} take it further",
            (name, "steps", "epochs", "time"),
        )


def apply_changes(
    plan: Plan,
    changes: dict[str, Any],
    state: TrainerState,
    dataset: Dataset,
    *,
    spec: EngineSpec,
    elapsed: Callable[[], float],
    check: Callable[[], None],
    world: World = ALONE,
) -> Plan:
    """Return the plan of a resumed run with what is changed of it.

    For other steps or another time budget the scoring is planned anew, and a finished run gets as many more steps as
    the time pays for: they are added to `changes`. The baselines are measured again where they are of another text than
    the model will be scored on.

    Args:
        plan: as it was. changes: options that have another value, with it. state: of the run.
        dataset: its text. spec: what trains. elapsed: returns the seconds of the time budget that are over.
        check: called now and then; may raise.
        world: the processes that train together, which all measure what this one plans.
    """
    if {"steps", "time"} & changes.keys():
        meter, reasons = SpeedMeter(dataset, spec, check, world), list[str]()
        config, has_step_limit, speed = replace(plan.config, **changes), plan.has_step_limit or "steps" in changes, 0.0
        scoring = share_scoring(config, dataset, plan.architecture, meter, reasons)
        if config.time is not None and state.reason:
            speed = meter.training(config, plan.architecture, [spec.threads])[spec.threads]
            steps = state.step + affordable_steps(config, scoring, elapsed(), speed)
            has_step_limit = "steps" in changes
            changes["steps"] = min(steps, changes.get("steps", steps))
        plan = replace(
            plan,
            exact_tokens=scoring.exact_tokens,
            eval_seconds=scoring.eval_seconds,
            final_eval_seconds=scoring.final_eval_seconds,
            has_step_limit=has_step_limit,
            chars_per_second=speed,
            reasons=tuple(reasons),
        )
    tokens = min(plan.exact_tokens, dataset.exact_tokens)
    if plan.baselines is not None and plan.baselines.get("val_bytes") != sum(map(len, dataset.val_head(tokens))):
        plan = replace(plan, baselines=measure_baselines(plan.config.time, dataset, tokens, check))
    if plan.origin is not None:
        plan = replace(plan, origin=plan.origin.scored_on(tokens))
    return replace(plan, exact_tokens=tokens).changed(changes)


def describe(changes: Mapping[str, Any], plan: Plan, state: TrainerState) -> list[str]:
    """Return a sentence for each option that is changed, by the plan and the state as they were."""
    before = {**{name: getattr(plan.config, name) for name in changes}, "steps": state.schedule.steps}
    return [f"{name} {_shown(before[name], name)} -> {_shown(after, name)}" for name, after in changes.items()]


def _shown(value: object, name: str) -> str:
    if value is None:
        return "not given"
    if name == "time" and isinstance(value, float):
        return seconds(value)
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
