"""Tables for a person at a terminal."""

import io
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from charrnn.console import Console
from charrnn.console.escape import escape

if TYPE_CHECKING:
    from charrnn.scoring.score import Score


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


def show_table(console: Console, headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> None:
    """A table on stdout, the first `left` columns aligned left."""
    from rich import box
    from rich.console import Console as Rich
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(escape(cell)) for cell in row))
    page = io.StringIO()
    terminal = console.reader_is_terminal
    Rich(file=page, force_terminal=terminal, no_color=not console.color, width=None if terminal else 120).print(table)
    console.write(page.getvalue().encode("utf-8"), flush=True)
