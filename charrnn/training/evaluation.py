"""How well a model does on the validation text: at a glance while training, exactly at the end."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from charrnn.corpus.formats import NamedText
from charrnn.dataset.dataset import Dataset
from charrnn.engines.base import InferenceEngine
from charrnn.model import Model
from charrnn.scoring.batching import score_ids
from charrnn.scoring.score import Score
from charrnn.scoring.scorer import ScoringOptions

VAL_STREAMS = 64
"""Pieces that an evaluation during training scores side by side."""


WINDOW = 256
"""Of the figure that is comparable with models of fixed context."""


Check = Callable[[int], None]


def evaluate_streams(engine: InferenceEngine, split: Dataset, limit: int, check: Check) -> Score:
    """The first `limit` symbols, in pieces scored side by side."""
    pieces = split.val.segments(VAL_STREAMS, limit, engine.vocabulary)
    score = sum(score_ids(engine, split.tokenizer, ([piece] for piece in pieces), check=check), Score())
    share = score.tokens / len(split.val)  # of the text's characters and bytes, near enough
    counts = split.val_counts
    return replace(score, chars=round(counts.chars * share), bytes=round(counts.bytes * share))


def evaluate_exact(engine: InferenceEngine, split: Dataset, symbols: int, errors: str, check: Check) -> dict[str, Any]:
    """The figures of a finished model, as `charrnn eval` finds them.

    Args:
        symbols: of the validation text's beginning that are scored.
    """
    model = Model(engine, split.tokenizer, separator=split.separator)
    texts = split.val_head(symbols)

    def score(window: int) -> Score:
        scorer = model.scorer(ScoringOptions(errors, window), check=check)
        return sum(scorer.texts(NamedText([[text]]) for text in texts), Score())

    carried, cut = score(0), score(WINDOW)
    return {
        **metrics(carried),
        "oov": carried.oov,
        "carried": carried.nats / carried.tokens,
        "window_256": cut.nats / cut.tokens,
    }


def metrics(score: Score) -> dict[str, Any]:
    """What an `eval` event tells of a score."""
    return {
        "nats": score.nats,
        "tokens": score.tokens,
        "perplexity": perplexity(score.nats / score.tokens),
        "bits_per_char": score.bits_per_char,
        "bits_per_byte": score.bits_per_byte,
    }


def perplexity(loss: float) -> float | None:
    """exp(loss), or None where JSON has no number for it."""
    return math.exp(loss) if loss < 700 else None
