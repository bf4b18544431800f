"""The finished model: its temperature, its exact score, its file."""

from collections.abc import Callable, Mapping
from typing import Any

from charrnn.engines.base import Array, InferenceEngine
from charrnn.model import Model
from charrnn.training.distributed import World
from charrnn.training.evaluation import Check, bits_per_char, evaluate_exact
from charrnn.training.resume import TrainerState
from charrnn.training.saving import CheckpointWriter
from charrnn.training.temperature import FIT_TOKENS, fit_temperature, scale_head


def finish_model(
    writer: CheckpointWriter,
    state: TrainerState,
    weights: Callable[[], Mapping[str, Array]],
    make_engine: Callable[[Mapping[str, Array]], InferenceEngine],
    check: Check,
    world: World,
) -> dict[str, Any]:
    """Fit the best model's temperature, score it as `charrnn eval` does, and save it with its metrics.

    Args:
        writer: of the run. state: of its end.
        weights: returns those after the last step, which are the best where there is no validation text.
        make_engine: returns an engine of weights. check: called now and then; may raise.
        world: the processes that train together.

    Returns:
        The fields of the `DoneEvent`.

    Raises:
        OutputError: the model cannot be written. CheckpointError: the best model's file cannot be read.
    """
    values: dict[str, Any] = {}
    if len(writer.dataset.val):
        values = _finish_best(writer, make_engine, check, world)
    else:
        writer.save_model(weights(), state.step, {})
    run_dir = writer.run_dir
    run_dir.remove_previous()
    return {
        **values,
        "baselines": writer.plan.baselines,
        "best_step": state.best_step,
        "model": str(run_dir.model),
        "reason": state.reason,
        "command": writer.repeat_command(state),
        "resume_bytes": run_dir.resume_bytes,
        "origin": None if writer.plan.origin is None else writer.plan.origin.to_json(),
    }


def _finish_best(
    writer: CheckpointWriter,
    make_engine: Callable[[Mapping[str, Array]], InferenceEngine],
    check: Check,
    world: World,
) -> dict[str, Any]:
    """Finish the model that is best on the validation text; return its metrics."""
    dataset, config = writer.dataset, writer.plan.config
    best = writer.read_model()
    found, temperature = best.weights, best.info.get("temperature")
    if temperature is None:  # else this run had been finished before
        limit = min(config.eval_tokens, FIT_TOKENS)
        temperature = fit_temperature(make_engine(found), best.architecture, dataset, limit, check, world)
        found = scale_head(found, temperature)
    engine, plan = make_engine(found), writer.plan
    values = evaluate_exact(engine, dataset, plan.exact_tokens, config.errors, check, world)
    if plan.origin is not None and dataset.mix is not None:
        model, mix = Model(engine, dataset.tokenizer, separator=dataset.separator), dataset.mix.dataset
        tokens = plan.origin.mix_tokens
        mixed = world.first(lambda: bits_per_char(model, mix, tokens, config.errors, check))
        values |= {"mix_bits_per_char": mixed}
    writer.save_model(found, int(best.info["step"]), values, temperature=temperature)
    return {**values, "temperature": temperature}
