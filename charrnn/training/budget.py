"""How a time budget is shared between training, evaluations and the end of a run."""

from dataclasses import dataclass

from charrnn.training.temperature import FIT_TOKENS, MAX_FITS
from charrnn.training.throughput import ScoringSpeed

EVALUATIONS = 20
"""Evaluations while training, unless the options say otherwise."""

MIN_EVALUATIONS = 4

EVAL_SHARE, EXACT_SHARE = 0.03, 0.10
"""Of the time: for all evaluations while training, and for the exact evaluation of the finished model."""

ENOUGH_EVAL_TOKENS = 20_000
"""Tokens that suffice to compare two models: fewer evaluations are better than smaller ones."""

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
        exact_tokens: tokens that the finished model is scored on.
        eval_seconds: of all evaluations while training. final_eval_seconds: of all that comes after the last step.
    """

    evaluations: int
    eval_tokens: int
    exact_tokens: int
    eval_seconds: float = 0.0
    final_eval_seconds: float = SAVING_SECONDS


def plan_scoring(budget: float | None, eval_tokens: int, exact_tokens: int, speed: ScoringSpeed | None) -> ScoringPlan:
    """Return as much scoring as its share of the time allows.

    Args:
        budget: the time budget in seconds; None: there is none.
        eval_tokens: tokens that an evaluation scores, at most. exact_tokens: those of the finished model, at most.
        speed: how fast a model scores; None: there is nothing to score.
    """
    if budget is None or speed is None:
        return ScoringPlan(EVALUATIONS, eval_tokens, exact_tokens)
    affordable = int(EVAL_SHARE * budget * speed.streams)
    evaluations = max(MIN_EVALUATIONS, min(EVALUATIONS, affordable // min(eval_tokens, ENOUGH_EVAL_TOKENS)))
    eval_tokens = max(1, min(eval_tokens, affordable // evaluations))
    token_seconds = 1 / speed.alone + 1 / speed.streams  # with the state carried, and in windows
    exact_tokens = max(1, min(exact_tokens, int(EXACT_SHARE * budget / token_seconds)))
    fit_seconds = MAX_FITS * min(eval_tokens, FIT_TOKENS) / speed.streams
    return ScoringPlan(
        evaluations,
        eval_tokens,
        exact_tokens,
        evaluations * eval_tokens / speed.streams,
        fit_seconds + exact_tokens * token_seconds + SAVING_SECONDS,
    )
