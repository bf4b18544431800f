"""The plan: everything a run needs to know, decided once, before its first step.

What the user left open is filled in here from the text, the time there is and the speed of this
machine, measured by a short calibration. The plan is stored in the run; `command` writes it as the
command that repeats it.
"""

import math
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from charrnn.checkpoint.format import check_can_be_saved
from charrnn.config.options import flag, variable
from charrnn.config.params import Escaped, seconds
from charrnn.config.train import TrainConfig
from charrnn.dataset.batches import batch_loader
from charrnn.dataset.dataset import Dataset
from charrnn.engines.select import EngineSpec, has_core
from charrnn.errors import UsageError
from charrnn.network.architecture import Architecture
from charrnn.scoring.baselines import MAX_TRAIN, MAX_VAL, measure
from charrnn.tokenizers.utf8 import head_bytes, tail_bytes
from charrnn.training.autoconfig import (
    MAX_EPOCHS,
    apply_default_time,
    architecture_of,
    complete_batch,
    complete_dropout,
    complete_hidden,
    complete_model,
    tokens_per_step,
)
from charrnn.training.throughput import measure_throughput, plan_scoring, usable_seconds

BASELINE_SPEED = 40_000  # bytes of text that baselines learn from, for each second there is: 2 to 3 % of it
UNTIMED_BASELINES = 2_000_000

_ONE_THREAD = {"native": 1.0, "torch": 1.15}  # how much faster more threads must be to be taken


MAX_OPTIMIZER_TENSORS = {"adamw": 3, "adam": 3, "rmsprop": 2, "sgd": 1}
"""How many tensors of state an optimizer has for each weight, at most."""


NOT_IN_A_PLAN = frozenset(("corpus", "out", "resume", "auto_resume", "overwrite", "dry_run", "json", "device"))
"""Options that say where and how, not what."""


@dataclass(frozen=True)
class Plan:
    """A complete configuration, and what is expected of it.

    Attributes:
        config: with nothing left open.
        architecture: of the model.
        exact_tokens: how many validation symbols the finished model is scored on.
        eval_seconds: seconds for all evaluations while training, where there is a time budget.
        final_eval_seconds: seconds for the exact figures and for saving, likewise.
        has_step_limit: whether the user bounded the steps too, so that time to spare is not used.
        chars_per_second: of training, as calibrated; 0.0 where the plan needed no calibration.
        reasons: a sentence for each choice that was not the user's.
        baselines: what simpler models make of the validation text, as `Baselines` has it; None: there is none.
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

    def to_json(self) -> dict[str, Any]:
        """What `from_json` needs, and nothing that names a path or differs between equal runs."""
        config = {
            each.name: getattr(self.config, each.name) for each in fields(self.config) if each.name not in NOT_IN_A_PLAN
        }
        if self.config.val_file is not None:
            config["val"] = None
        return {
            "config": config,
            "exact_tokens": self.exact_tokens,
            "looks": self.eval_seconds,
            "end": self.final_eval_seconds,
            "bounded": self.has_step_limit,
            "baselines": self.baselines,
        }

    @classmethod
    def from_json(cls, values: Any, architecture: Architecture, config: TrainConfig) -> "Plan":
        """The plan of a run that goes on.

        Args:
            values: what `to_json` gave. architecture: of the checkpoint.
            config: the run's part of the command: paths, flags, and what may change on resuming.
        """
        return cls(
            config,
            architecture,
            int(values["exact_tokens"]),
            float(values["looks"]),
            float(values["end"]),
            bool(values["bounded"]),
            baselines=values["baselines"],
        )

    @property
    def memory(self) -> int:
        """Bytes that training needs, roughly: weights, gradients and moments, and a chunk's activations."""
        architecture = self.architecture
        units = sum(architecture.hidden) * (3 * architecture.num_gates + 2) + 3 * architecture.embedding
        return 4 * (
            4 * architecture.num_parameters + tokens_per_step(self.config) * (units + 3 * architecture.vocabulary)
        )


def command(config: TrainConfig) -> str:
    """The command that repeats a plan: every option that shapes the result, spelled out."""
    variables, words = [], ["charrnn", "train", *config.corpus]
    silent = NOT_IN_A_PLAN | {"time", "epochs"}
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


def plan_fields(plan: Plan, dataset: Dataset, spec: EngineSpec) -> dict[str, Any]:
    """Return the fields of the `PlanEvent`."""
    config = plan.config
    assert config.steps is not None
    return {
        "command": command(config),
        "cell": config.cell,
        "hidden": plan.architecture.hidden,
        "vocabulary": plan.architecture.vocabulary,
        "parameters": plan.architecture.num_parameters,
        "memory": plan.memory,
        "batch": config.batch,
        "seq_len": config.seq_len,
        "learning_rate": config.lr,
        "steps": config.steps,
        "epochs": round(
            config.steps
            / batch_loader(dataset, batch=config.batch, seq_len=config.seq_len, seed=config.seed).steps_per_epoch,
            3,
        ),
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
    }


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, float) and float(short := f"{value:g}") == value:
        return short
    return str(value)


def make_plan(
    config: TrainConfig,
    split: Dataset,
    *,
    spec: EngineSpec,
    elapsed: Callable[[], float],
    check: Callable[[], None] = lambda: None,
) -> Plan:
    """Fill in what `config` leaves open.

    Args:
        config: what the user asked for.
        split: the corpus. spec: what trains.
        elapsed: seconds since the command began.
        check: called now and then; may raise to end the calibration.

    Raises:
        InputError: the text is too short for the batch asked for.
    """
    reasons: list[str] = []
    baselines = _baselines(config, split, check)
    config = apply_default_time(config, reasons)
    if config.time is not None and elapsed() > 0.3 * config.time:
        reasons.append(f"{seconds(elapsed())} of {seconds(config.time)} went into reading the text")
    config = complete_batch(config, split.train.epoch_tokens, spec.device, reasons)
    if config.hidden is None:
        config = complete_hidden(config, split, spec, elapsed, reasons, check)
    config = complete_model(config, spec.device, reasons)
    architecture = architecture_of(config, split)
    _check_can_be_saved(architecture, config, split)
    epoch = batch_loader(split, batch=config.batch, seq_len=config.seq_len, seed=config.seed).steps_per_epoch
    steps = config.steps or (math.ceil(config.epochs * epoch) if config.epochs else None)
    scoring, speed = plan_scoring(architecture, config, split, spec), 0.0
    has_step_limit = steps is not None
    if (budget := config.time) is None:
        assert steps is not None
        config = complete_dropout(config, steps / epoch, architecture, reasons)
    else:
        most = steps or MAX_EPOCHS * epoch

        def affordable() -> int:
            left = usable_seconds(budget, scoring.end) - elapsed() - scoring.eval_seconds - scoring.end
            return max(1, int(left * speed / tokens_per_step(config)))

        config, speed = _threads(architecture, config, split, spec, check)
        before = (config.dropout or 0, config.weight_drop or 0)
        config = complete_dropout(config, min(affordable(), most) / epoch, architecture, reasons)
        if (config.dropout, config.weight_drop) != before:  # which takes time
            assert config.threads is not None
            speed = measure_throughput(architecture, config, split, spec, [config.threads], check)[config.threads]
        steps = affordable()
        if steps > most and not has_step_limit:
            reasons.append(f"steps {most}: a text so short is not worth more than {MAX_EPOCHS} epochs")
            has_step_limit = True
        steps = min(steps, most)
        if scoring.eval_tokens < min(len(split.val), config.eval_tokens):
            config = replace(config, eval_tokens=scoring.eval_tokens)
    config = replace(config, threads=config.threads or spec.threads)
    every = max(1, steps // scoring.evaluations)
    config = replace(
        config,
        steps=steps,
        eval_every=every if config.eval_every is None else config.eval_every,
        save_every=every if config.save_every is None else config.save_every,
        sample_every=max(1, steps // 4) if config.sample_every is None else config.sample_every,
    )
    if spec.device == "cpu" and not has_core():
        reasons.append("engine torch: the compiled core, several times faster, was not built at installation")
    return Plan(
        config,
        architecture,
        scoring.exact_tokens,
        scoring.eval_seconds,
        scoring.end,
        has_step_limit,
        speed,
        tuple(reasons),
        baselines,
    )


def _check_can_be_saved(architecture: Architecture, config: TrainConfig, split: Dataset) -> None:
    """Raise UsageError if a checkpoint of this model would exceed a limit of the format."""
    moments = len(architecture.shapes()) * MAX_OPTIMIZER_TENSORS[config.optimizer]
    count = architecture.num_layers + moments
    try:
        check_can_be_saved(architecture, split.tokenizer, split.separator, training_tensors=count)
    except ValueError as error:
        raise UsageError(f"a model with these options could not be saved: {error}") from None


def _baselines(config: TrainConfig, split: Dataset, check: Callable[[], None]) -> dict[str, float] | None:
    """On as much text as a small share of the time allows."""
    limit = min(MAX_TRAIN, int(BASELINE_SPEED * config.time) if config.time else UNTIMED_BASELINES)
    val = b"".join(split.val_texts)
    found = measure(tail_bytes(split.train_end, limit), head_bytes(val, min(limit, MAX_VAL)), check)
    return None if found is None else asdict(found)


def _threads(
    architecture: Architecture, config: TrainConfig, split: Dataset, spec: EngineSpec, check: Callable[[], None]
) -> tuple[TrainConfig, float]:
    """As many threads as pay, and the speed with them.

    The steps of a small layer are so short that a second thread gains little, and one of torch's loses much
    when another program wants the processor; the core's own threads give way.
    """
    counts = [spec.threads] if config.threads or spec.device != "cpu" else sorted({1, spec.threads})
    speeds = measure_throughput(architecture, config, split, spec, counts, check)
    one = _ONE_THREAD[spec.engine]
    best = max(speeds, key=lambda count: speeds[count] * (one if count == 1 else 1.0))
    return replace(config, threads=best), speeds[best]
