"""Rows of scores: tables for people, tab-separated columns and JSON for programs."""

import math
from collections.abc import Sequence
from typing import Any

from charrnn.console.streams import Console
from charrnn.console.tables import print_table
from charrnn.scoring.score import Score


def show_scores(console: Console, rows: Sequence[tuple[str, Sequence["Score"]]]) -> None:
    """What texts cost, a row a text; of two scores the second is that of weights that learn meanwhile."""
    headings = ["text", "perplexity", "bits/char", "bits/byte", "symbols", "unknown"]
    if any(len(scores) > 1 for _, scores in rows):
        headings[4:4] = ["dynamic", "bits/char", "bits/byte"]
    print_table(
        console,
        headings,
        [
            (
                file,
                *(figure for score in scores for figure in _costs(score)),
                f"{scores[0].tokens:,}",
                f"{scores[0].oov:,}",
            )
            for file, scores in rows
        ],
    )


def _costs(score: "Score") -> tuple[str, str, str]:
    return f"{score.perplexity:,.4f}", _bits(score.bits_per_char), _bits(score.bits_per_byte)


def _bits(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


METRICS = (
    "nats",
    "tokens",
    "oov",
    "chars",
    "bytes",
    "words",
    "perplexity",
    "perplexity_without_oov",
    "bits_per_char",
    "bits_per_byte",
    "byte_perplexity",
    "word_perplexity",
)


def metrics_of(score: Score) -> dict[str, Any]:
    return {name: finite(getattr(score, name)) for name in METRICS}


def finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def format_number(value: float) -> bytes:
    if isinstance(value, int):
        return str(value).encode()
    return (f"{value:.6f}" if abs(value) < 1e15 else f"{value:.6e}").encode()
