"""TODO charrnn.cli.eval_writers."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from charrnn.console.streams import Console

if TYPE_CHECKING:
    from charrnn.scoring.score import Score
from charrnn.console.tables import show_table


def show_scores(console: Console, rows: Sequence[tuple[str, Sequence["Score"]]]) -> None:
    """What texts cost, a row a text; of two scores the second is that of weights that learn meanwhile."""
    headings = ["text", "perplexity", "bits/char", "bits/byte", "symbols", "unknown"]
    if any(len(scores) > 1 for _, scores in rows):
        headings[4:4] = ["dynamic", "bits/char", "bits/byte"]
    show_table(
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
