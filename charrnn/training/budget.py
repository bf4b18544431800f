"""How a time budget is shared between training, evaluations and the end of a run."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from charrnn.config.params import seconds
from charrnn.config.train import TrainConfig
from charrnn.dataset.dataset import Dataset
from charrnn.errors import counted
from charrnn.network.architecture import Architecture
from charrnn.scoring.baselines import MAX_TRAIN, measure
from charrnn.tokenizers.utf8 import tail_bytes
from charrnn.training.autoconfig import tokens_per_step
from charrnn.training.temperature import FIT_COST, FIT_TOKENS
from charrnn.training.throughput import ScoringSpeed, SpeedMeter

EVALUATIONS = 20
"""Evaluations while training, unless the options say otherwise."""

MIN_EVALUATIONS = 4

EVAL_SHARE = 0.03
"""Of the time, for all evaluations while training."""

WHOLE_SHARE, PART_SHARE = 0.25, 0.10
"""Of the time, for the exact evaluation of the finished model: the whole validation text is scored where that takes no
more than the first; else as much of its beginning as the second pays for."""

ENOUGH_EVAL_TOKENS = 20_000
"""Tokens that suffice to compare two models: fewer evaluations are better than smaller ones."""

BASELINE_BYTES_PER_SECOND = 40_000
"""Bytes that baselines learn from for each second of the time budget: 2 to 3 % of it."""

UNTIMED_BASELINE_BYTES = 2_000_000

SAVING_SECONDS = 0.3
"""To save the finished model."""


def usable_seconds(budget: float, final_eval_seconds: float) -> float:
    """Return the seconds of a time budget that are planned for: less is known of the end than of the steps."""
    return budget - min(0.02 * budget, 0.5 + 0.3 * final_eval_seconds)


@dataclass(frozen=True)
class ScoringPlan:
    """How the validation text is scored.

    Attributes:
        evaluations: how many while training. eval_tokens: tokens that each scores.
        exact_tokens: tokens that the finished model is scored on. mix_tokens: those of a text that is mixed in.
        eval_seconds: of all evaluations while training. final_eval_seconds: of all that comes after the last step.
        whole_seconds: what scoring as many tokens as there are at most would take.
    """

    evaluations: int
    eval_tokens: int
    exact_tokens: int
    eval_seconds: float = 0.0
    final_eval_seconds: float = SAVING_SECONDS
    whole_seconds: float = 0.0
    mix_tokens: int = 0


def plan_scoring(
    budget: float | None,
    eval_tokens: int,
    exact_tokens: int,
    speed: ScoringSpeed | None,
    *,
    mix_tokens: int = 0,
    has_before: bool = False,
) -> ScoringPlan:
    """Return as much scoring as its share of the time allows.

    Args:
        budget: the time budget in seconds; None: there is none.
        eval_tokens: tokens that an evaluation scores, at most. exact_tokens: those of the finished model, at most.
        speed: how fast a model scores; None: there is nothing to score.
        mix_tokens: of a text that is mixed in, which is scored before the run and after it, at most.
        has_before: whether a model is scored before the run too, on the same text.
    """
    if budget is None or speed is None:
        return ScoringPlan(EVALUATIONS, eval_tokens, exact_tokens, mix_tokens=mix_tokens)
    affordable = int(EVAL_SHARE * budget * speed.streams)
    evaluations = max(MIN_EVALUATIONS, min(EVALUATIONS, affordable // min(eval_tokens, ENOUGH_EVAL_TOKENS)))
    eval_tokens = max(1, min(eval_tokens, affordable // evaluations))
    token_seconds = 1 / speed.alone + 1 / speed.streams  # with the state carried, and in windows
    with_before = token_seconds + (1 / speed.alone if has_before else 0)
    whole_seconds = exact_tokens * with_before
    if whole_seconds > WHOLE_SHARE * budget:
        exact_tokens = max(1, int(PART_SHARE * budget / with_before))
    mix_tokens = min(mix_tokens, int(PART_SHARE * budget * speed.alone / 2))
    fit_seconds = FIT_COST * min(eval_tokens, FIT_TOKENS) / speed.streams
    return ScoringPlan(
        evaluations,
        eval_tokens,
        exact_tokens,
        evaluations * eval_tokens / speed.streams,
        fit_seconds + exact_tokens * token_seconds + mix_tokens / speed.alone + SAVING_SECONDS,
        whole_seconds,
        mix_tokens,
    )


def affordable_steps(config: TrainConfig, scoring: ScoringPlan, elapsed: float, tokens_per_second: float) -> int:
    """Return the steps that the rest of the time budget pays for; one at least.

    Args:
        elapsed: seconds that are over.
    """
    assert config.time is not None
    reserved = scoring.eval_seconds + scoring.final_eval_seconds
    left = usable_seconds(config.time, scoring.final_eval_seconds) - elapsed - reserved
    return max(1, int(left * tokens_per_second / tokens_per_step(config)))


def share_scoring(
    config: TrainConfig,
    dataset: Dataset,
    architecture: Architecture,
    meter: SpeedMeter,
    reasons: list[str],
    *,
    has_before: bool = False,
) -> ScoringPlan:
    """Return how the validation text is scored; why not all of it in the end is added to `reasons`."""
    eval_tokens = min(len(dataset.val), config.eval_tokens)
    speed = meter.scoring(architecture) if config.time is not None and eval_tokens else None
    if speed is not None and dataset.val.records:
        speed = replace(speed, alone=speed.streams)  # many are scored side by side
    mix_tokens = dataset.mix.dataset.exact_tokens if dataset.mix and eval_tokens else 0
    scoring = plan_scoring(
        config.time, eval_tokens, dataset.exact_tokens, speed, mix_tokens=mix_tokens, has_before=has_before
    )
    if scoring.exact_tokens < len(dataset.val):
        why = f"more than {dataset.exact_tokens:,} take too long"
        if config.time is not None and scoring.exact_tokens < dataset.exact_tokens:
            why = f"{dataset.exact_tokens:,} would take {seconds(scoring.whole_seconds)} of {seconds(config.time)}"
        head = counted(scoring.exact_tokens, "validation token")
        reasons.append(f"exact score, and baselines, on the first {head}: {why}")
    return scoring


def measure_baselines(
    time: float | None, dataset: Dataset, exact_tokens: int, check: Callable[[], None]
) -> dict[str, float] | None:
    """Measure the baselines on the validation text that the finished model is scored on.

    They learn from the end of the text to train on: from as much as a small share of the time allows.
    """
    limit = min(MAX_TRAIN, int(BASELINE_BYTES_PER_SECOND * time) if time else UNTIMED_BASELINE_BYTES)
    val = b"".join(dataset.val_head(exact_tokens))
    baselines = measure(tail_bytes(dataset.train_end, limit), val, check)
    return None if baselines is None else asdict(baselines)
