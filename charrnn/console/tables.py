"""Tables for people."""

import io
from collections.abc import Iterable, Sequence

from charrnn.console.streams import Console
from charrnn.console.terminal_text import escape


def print_table(console: Console, headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> None:
    """Print a table to stdout, its first `left` columns aligned left, the others right."""
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
    terminal = console.stdout_is_tty
    Rich(file=page, force_terminal=terminal, no_color=not console.color, width=None if terminal else 120).print(table)
    console.write(page.getvalue().encode("utf-8"), flush=True)
