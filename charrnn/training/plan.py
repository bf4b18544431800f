"""The plan: everything that a run needs, decided once, before its first step.

What options leave open is completed from text, time and this machine's speed; `repeat_command` repeats a plan.
"""

import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from charrnn.checkpoint.format import check_can_be_saved
from charrnn.config.options import flag, variable
from charrnn.config.params import Escaped, Flag, Float, Int, stored_value
from charrnn.config.train import RESUMABLE, TrainConfig
from charrnn.dataset.batches import batch_loader
from charrnn.dataset.dataset import Dataset
from charrnn.engines.base import OptimizerParams
from charrnn.engines.select import EngineSpec, core_fault
from charrnn.errors import InputError, UsageError
from charrnn.network.architecture import Architecture
from charrnn.training.autoconfig import (
    MAX_EPOCHS,
    Facts,
    architecture_of,
    choose_threads,
    complete_batch,
    complete_dropout,
    complete_fine_tuning,
    complete_hidden,
    complete_intervals,
    complete_model,
    complete_time,
    thread_counts,
)
from charrnn.training.budget import affordable_steps, measure_baselines, share_scoring
from charrnn.training.clusters import choose_clusters
from charrnn.training.distributed import ALONE, World
from charrnn.training.finetune import Origin, Parent
from charrnn.training.memory import check_memory, training_memory
from charrnn.training.throughput import SpeedMeter

UNPLANNED = frozenset(("corpus", "out", "resume", "auto_resume", "overwrite", "dry_run", "json", "device", "replans"))
"""Options that say where and how to train, not what; they are no part of a plan. Nor is what is changed of it later."""

FINE_TUNING = frozenset(("init_from", "mix", "mix_share"))
"""Options of which a plan stores the `Origin` that comes of them."""


@dataclass(frozen=True)
class Plan:
    """A complete configuration, and what is expected of it.

    Attributes:
        config: nothing in it is left open.
        architecture: the model's sizes.
        exact_tokens: validation tokens that the finished model and the baselines are scored on.
        eval_seconds, final_eval_seconds: of all evaluations while training, and of all after it; of a time budget.
        has_step_limit: whether the number of steps is bounded too, so that time to spare is not used.
        chars_per_second: training speed in tokens a second, as measured; 0.0: it was not.
        reasons: a sentence for each choice that the options left open.
        baselines: bits per character of simpler models, as `Baselines` has them; None: no validation text.
        initial: what options were when the run began, of those that were changed when it was resumed.
        origin: the model that is fine-tuned; None: there is none.
    """

    config: TrainConfig
    architecture: Architecture
    exact_tokens: int
    eval_seconds: float = 0.0
    final_eval_seconds: float = 0.0
    has_step_limit: bool = True
    chars_per_second: float = 0.0
    reasons: tuple[str, ...] = ()
    baselines: dict[str, float] | None = None
    initial: dict[str, Any] = field(default_factory=dict)
    origin: Origin | None = None

    def changed(self, options: Mapping[str, Any]) -> "Plan":
        """Return the plan with other values of options that may change when resuming."""
        before = {name: getattr(self.config, name) for name in RESUMABLE if name in options}
        return replace(self, config=replace(self.config, **options), initial={**before, **self.initial})

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads. Its words are the file format's; no path is in it, and nothing that differs
        between equal runs."""
        names = (each.name for each in fields(self.config) if each.name not in UNPLANNED | FINE_TUNING)
        config = {name: getattr(self.config, name) for name in names}
        if self.config.val_file is not None:
            config["val"] = None
        return {
            **({} if self.origin is None else {"origin": self.origin.to_json()}),
            "config": config,
            "exact_tokens": self.exact_tokens,
            "looks": self.eval_seconds,
            "end": self.final_eval_seconds,
            "bounded": self.has_step_limit,
            "baselines": self.baselines,
            "initial": self.initial,
        }

    @classmethod
    def from_json(cls, values: Any, architecture: Architecture, config: TrainConfig) -> "Plan":
        """Return the plan of a run that is resumed.

        Args:
            values: what `to_json` returned. architecture: the checkpoint's.
            config: the plan's configuration.

        Raises:
            ValueError: a value is missing, of the wrong type or out of range.
        """
        baselines = values.get("baselines")
        if not isinstance(baselines, dict | None):
            raise ValueError("'baselines' is not an object")
        for name in () if baselines is None else {"uniform", "unigram", "ngram", "xz", *baselines}:
            stored_value(baselines, name, Float(-1e9), optional=True)
        initial = values.get("initial", {})
        if not isinstance(initial, dict) or not initial.keys() <= {*RESUMABLE} or None in initial.values():
            raise ValueError("'initial' is not an object of options")
        try:
            replace(config, **initial)
        except UsageError as error:
            raise ValueError(f"'initial' cannot be used: {error}") from None
        return cls(
            config,
            architecture,
            stored_value(values, "exact_tokens", Int()),
            stored_value(values, "looks", Float()),
            stored_value(values, "end", Float()),
            stored_value(values, "bounded", Flag()),
            baselines=baselines,
            initial=initial,
            origin=Origin.from_json(values["origin"]) if "origin" in values else None,
        )


def repeat_command(config: TrainConfig) -> str:
    """Return the command that repeats a plan: with every option that shapes the result."""
    variables, words = [], ["charrnn", "train", *config.corpus]
    silent = UNPLANNED | {"time", "epochs"}
    for each in fields(config):
        value = getattr(config, each.name)
        if each.name in silent or value is None or (value == each.default and each.name != "cell"):
            continue
        kind = each.metadata["kind"]
        text = kind.write(value) if isinstance(kind, Escaped) else _text(value)
        if not each.metadata["has_flag"]:
            variables.append(f"{variable(each.name)}={text}")
        else:
            words += [flag(each.name)] if value is True else [flag(each.name), text]
    return shlex.join([*variables, *words])


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, float) and float(short := f"{value:g}") == value:
        return short
    return str(value)


def plan_fields(plan: Plan, dataset: Dataset, spec: EngineSpec) -> dict[str, Any]:
    """Return the fields of the `PlanEvent`."""
    config = plan.config
    assert config.steps is not None
    loader = batch_loader(dataset, batch=config.batch, seq_len=config.seq_len, seed=config.seed)
    return {
        "command": "" if config.replans else repeat_command(config),
        "cell": config.cell,
        "hidden": plan.architecture.hidden,
        "vocabulary": plan.architecture.vocabulary,
        "parameters": plan.architecture.num_parameters,
        "memory": training_memory(plan.architecture, config),
        "batch": config.batch,
        "seq_len": config.seq_len,
        "learning_rate": config.lr,
        "steps": config.steps,
        "epochs": round(config.steps / loader.steps_per_epoch, 3),
        "time": config.time,
        "chars_per_second": plan.chars_per_second,
        "train_tokens": len(dataset.train),
        "val_tokens": len(dataset.val),
        "eval_tokens": min(len(dataset.val), config.eval_tokens),
        "exact_tokens": plan.exact_tokens,
        "eval_every": config.eval_every,
        "engine": spec.engine,
        "precision": spec.precision,
        "device": spec.device,
        "baselines": plan.baselines,
        "reasons": plan.reasons,
        "origin": None if plan.origin is None else plan.origin.to_json(),
    }


def make_plan(
    config: TrainConfig,
    dataset: Dataset,
    *,
    spec: EngineSpec,
    elapsed: Callable[[], float],
    check: Callable[[], None] = lambda: None,
    world: World = ALONE,
    parent: Parent | None = None,
    with_baselines: bool = True,
) -> Plan:
    """Complete what the options leave open. At most two models are measured, and thrown away.

    Args:
        config: the options. dataset: what to train on. spec: what trains.
        elapsed: returns the seconds of the time budget that are over.
        check: called now and then; may raise to end the planning. parent: the model to start from; None: there is none.
        world: the processes that train together, which all measure what this one plans. with_baselines: or none.

    Raises:
        InputError: the text is too short for a batch. UsageError: such a model could not be saved.
        CharRNNError: there is not enough memory.
    """
    asked, reasons = config, list[str]()
    clusters = choose_clusters(dataset, reasons) if parent is None else parent.clusters(dataset)
    facts, meter = _facts(dataset, spec, world.size, clusters), SpeedMeter(dataset, spec, check, world)
    config = complete_time(config, elapsed(), reasons)
    config = complete_batch(config, facts, reasons)
    config = complete_hidden(config, facts, meter.training, elapsed, reasons)
    config = complete_model(config, facts, reasons)
    architecture = architecture_of(config, facts.vocabulary, facts.clusters)
    _check_can_be_saved(Plan(config, architecture, dataset.exact_tokens), dataset)
    check_memory(architecture, config, spec)
    loader = batch_loader(dataset, batch=config.batch, seq_len=config.seq_len, seed=config.seed)
    steps = config.steps or (math.ceil(config.epochs * loader.steps_per_epoch) if config.epochs else None)
    has_step_limit, chars_per_second = steps is not None, 0.0
    scoring = share_scoring(config, dataset, architecture, meter, reasons, has_before=parent is not None)
    origin = None if parent is None else parent.describe(dataset, scoring, spec, config.errors, check)
    baselines = measure_baselines(config.time, dataset, scoring.exact_tokens, check) if with_baselines else None
    if origin is not None:
        config = complete_fine_tuning(config, asked, origin.bits_per_char, baselines, reasons)
    if config.time is None:
        assert steps is not None
        config = replace(config, threads=spec.threads)
    else:
        max_steps = steps or MAX_EPOCHS * loader.steps_per_epoch

        def affordable() -> int:
            return min(max_steps, affordable_steps(config, scoring, elapsed(), chars_per_second))

        speeds = meter.training(config, architecture, thread_counts(config, facts))
        threads = choose_threads(speeds, spec.engine, reasons)
        config, chars_per_second = replace(config, threads=threads), speeds[threads]
        steps = affordable()
        masked = complete_dropout(config, steps / loader.steps_per_epoch, architecture, [])
        if (masked.dropout, masked.weight_drop) != (config.dropout or 0, config.weight_drop or 0):
            chars_per_second = meter.training(masked, architecture, [threads])[threads]  # drawing masks takes time
            steps = affordable()
        if steps == max_steps and not has_step_limit:
            reasons.append(f"steps {max_steps}: more than {MAX_EPOCHS} epochs do not make a better model")
            has_step_limit = True
        if scoring.eval_tokens < min(len(dataset.val), config.eval_tokens):
            config = replace(config, eval_tokens=scoring.eval_tokens)
    config = complete_dropout(config, steps / loader.steps_per_epoch, architecture, reasons)
    config = complete_intervals(config, steps, scoring.evaluations)
    if spec.device == "cpu" and (fault := core_fault()):
        reasons.append(f"engine {spec.engine}: the compiled core, several times faster, {fault}")
    return Plan(
        config,
        architecture,
        scoring.exact_tokens,
        scoring.eval_seconds,
        scoring.final_eval_seconds,
        has_step_limit,
        chars_per_second,
        tuple(reasons),
        baselines,
        origin=origin,
    )


def _facts(dataset: Dataset, spec: EngineSpec, processes: int, clusters: bytes) -> Facts:
    return Facts(
        len(dataset.train),
        dataset.train.epoch_tokens,
        dataset.tokenizer.size,
        int(np.unique(dataset.train.ids[: 1 << 20]).size),
        spec.engine,
        spec.device,
        spec.threads,
        processes,
        clusters,
    )


def _check_can_be_saved(plan: Plan, dataset: Dataset) -> None:
    """Raise UsageError if a checkpoint of this model would exceed a limit of the format."""
    architecture, info = plan.architecture, {"plan": plan.to_json()}
    count = architecture.num_layers + OptimizerParams(plan.config.optimizer).max_tensors(len(architecture.shapes()))
    try:
        check_can_be_saved(architecture, dataset.tokenizer, dataset.separator, info, training_tensors=count)
    except (ValueError, InputError) as error:
        raise UsageError(f"a model with these options could not be saved: {error}") from None
