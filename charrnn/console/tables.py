"""Tables for people."""

import io
from collections.abc import Iterable, Sequence

from charrnn.console.streams import Console
from charrnn.console.terminal_text import escape

_FOLDED = 10
"""Columns of a terminal that a text is folded to at most."""


def print_table(console: Console, headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> None:
    """Print a table to stdout, its first `left` columns aligned left, the others right; on a terminal that has no room
    for it, a line for each cell."""
    from rich import box
    from rich.console import Console as Rich
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for number, heading in enumerate(headings):
        is_text = number < left
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
    cells = list(rows)
    for row in cells:
        table.add_row(*(Text(escape(cell)) for cell in row))
    page = io.StringIO()
    terminal = console.stdout_is_tty
    width = console.size.columns if terminal else 120
    widths = [max(map(len, column)) for column in list(zip(headings, *cells, strict=True))[left:]]
    if sum(widths) + _FOLDED * left + 3 * len(headings) <= width:
        Rich(file=page, force_terminal=terminal, no_color=not console.color, width=width).print(table)
    else:
        lines = (f"{heading} {escape(cell)}\n" for row in cells for heading, cell in zip(headings, row, strict=True))
        page.write("".join(lines))
    console.write(page.getvalue().encode("utf-8"), flush=True)
