"""The finished model: its temperature, its exact score, its file."""

from collections.abc import Callable, Mapping
from typing import Any

from charrnn.engines.base import Array, InferenceEngine
from charrnn.training.evaluation import Check, evaluate_exact
from charrnn.training.saving import CheckpointWriter
from charrnn.training.temperature import FIT_TOKENS, fit_temperature, scale_head


def finish_model(
    writer: CheckpointWriter,
    step: int,
    weights: Callable[[], Mapping[str, Array]],
    make_engine: Callable[[Mapping[str, Array]], InferenceEngine],
    check: Check,
) -> dict[str, Any]:
    """Fit the best model's temperature, score it as `charrnn eval` does, and save it with its metrics.

    Args:
        writer: of the run. step: the last one. weights: returns the weights after it, which are the best where there is
            no validation text.
        make_engine: returns an engine of weights. check: called now and then; may raise.

    Returns:
        The metrics, named as the fields of `DoneEvent`; none without a validation text.

    Raises:
        OutputError: the model cannot be written. CheckpointError: the best model's file cannot be read.
    """
    dataset, config = writer.dataset, writer.plan.config
    if not len(dataset.val):
        writer.save_model(weights(), step, {})
        return {}
    best = writer.read_model()
    found, temperature = best.weights, best.info.get("temperature")
    if temperature is None:  # else this run had been finished before
        temperature = fit_temperature(make_engine, found, dataset, min(config.eval_tokens, FIT_TOKENS), check)
        found = scale_head(found, temperature)
    values = evaluate_exact(make_engine(found), dataset, writer.plan.exact_tokens, config.errors, check)
    writer.save_model(found, int(best.info["step"]), values, temperature=temperature)
    return {**values, "temperature": temperature}
