"""How good a model is on the validation text: approximately while training, exactly at the end."""

import math
from collections.abc import Callable
from typing import Any

from charrnn.corpus.formats import NamedText
from charrnn.dataset.dataset import Dataset
from charrnn.engines.base import InferenceEngine
from charrnn.model import Model
from charrnn.scoring.batching import Piece, score_ids
from charrnn.scoring.options import ScoringOptions
from charrnn.scoring.score import Score
from charrnn.training.distributed import ALONE, World, total

VAL_STREAMS = 64
"""Pieces of the validation text that `evaluate_streams` scores side by side."""

WINDOW = 256
"""Tokens after which the state is reset, for the figure that is comparable with models of a fixed context."""

Check = Callable[[int], None]
"""Called now and then with the tokens scored so far; may raise to end the scoring."""


def evaluate_streams(
    engine: InferenceEngine, dataset: Dataset, limit: int, check: Check, world: World = ALONE
) -> Score:
    """Return the score of about `limit` validation tokens, in pieces side by side that are spread evenly over the text,
    each from `<s>`; every process scores some.

    Its characters and bytes are estimated: the text's, in the proportion of the tokens.
    """
    pieces = dataset.val.segments(VAL_STREAMS, limit, engine.vocabulary)[world.rank :: world.size]

    def own_score() -> Score:
        found = score_ids(engine, dataset.tokenizer, ([Piece(piece)] for piece in pieces), check=check)
        return sum((spans.total() for spans in found), Score())

    score = total(world.gather(world.each(own_score)))
    share, counts = score.tokens / len(dataset.val), dataset.val_counts
    return score._replace(chars=round(counts.chars * share), bytes=round(counts.bytes * share))


def evaluate_exact(
    engine: InferenceEngine, dataset: Dataset, tokens: int, errors: str, check: Check, world: World = ALONE
) -> dict[str, Any]:
    """Return the metrics of a finished model, as `charrnn eval` has them, named as the fields of `DoneEvent`.

    Args:
        tokens: how many tokens at the start of the validation text are scored.
        errors: "strict" or "replace", for invalid UTF-8.
        world: each process scores some texts, and others in windows.
    """
    model = Model(engine, dataset.tokenizer, separator=dataset.separator)
    texts = dataset.val_head(tokens)

    def own_score(window: int, shift: int) -> Score:
        scorer = model.scorer(ScoringOptions(errors, window), check=check)
        own = texts[(world.rank + shift) % world.size :: world.size]
        return sum(scorer.texts(NamedText([[text]]) for text in own), Score())

    scores = world.gather(world.each(lambda: (own_score(0, 0), own_score(WINDOW, 1))))
    carried, windows = (total(each) for each in zip(*scores, strict=True))
    return {
        **metrics(carried),
        "val_tokens": len(dataset.val),
        "oov": carried.oov,
        "carried": carried.nats / carried.tokens,
        "window_256": windows.nats / windows.tokens,
    }


def bits_per_char(model: Model, dataset: Dataset, tokens: int, errors: str, check: Check) -> float | None:
    """Return the bits per character of a model on the first `tokens` of the validation text, as `charrnn eval` has
    them; characters that it does not know cost what they cost there. None: there are no characters."""
    scorer, texts = model.scorer(ScoringOptions(errors), check=check), dataset.val_head(tokens) if tokens else []
    score = sum(scorer.texts(NamedText([[text]]) for text in texts), Score())
    return score.bits_per_char if score.chars else None


def metrics(score: Score) -> dict[str, Any]:
    """Return the metrics of a score, named as the fields of `EvalEvent`: None per character of a text without any."""
    return {
        "nats": score.nats,
        "tokens": score.tokens,
        "perplexity": perplexity(score.nats / score.tokens),
        "bits_per_char": score.bits_per_char if score.chars else None,
        "bits_per_byte": score.bits_per_byte,
    }


def perplexity(loss: float) -> float | None:
    """Return exp(loss); None where it is too large for a float, which JSON could not hold."""
    return math.exp(loss) if loss < 700 else None
