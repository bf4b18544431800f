"""Texts in a column of tab-separated lines."""

import re
from collections.abc import Iterator

from charrnn.corpus.inputs import Chunks, TakeFault, numbered_lines, raise_fault
from charrnn.errors import InputError, nearest

Located = tuple[int, bytes]
"""A text, and the line (from 1) on which it begins."""


class Column:
    """A column of tab-separated lines.

    Args:
        column: its number from 1, or its name in the first line, which then is not a text.
    """

    def __init__(self, column: str) -> None:
        self.column = column
        self.number = int(column) if re.fullmatch("[0-9]{1,9}", column) else 0  # 0: not known yet
        self.named = self.number == 0

    def of(self, line: bytes, place: object) -> bytes | None:
        """Return the text of a line; None of the line with the names.

        Raises:
            InputError: there is no such column; the message begins with `place`.
        """
        cells = line.split(b"\t")
        if self.number == 0:
            names = [cell.decode("utf-8", "replace") for cell in cells]
            if self.column not in names:
                near = nearest(self.column, names)
                hint = f"did you mean {near!r}? " if near else ""
                there = f"there are {', '.join(names)[:200]}"
                raise InputError(f"{place}: no column is called {self.column!r}; {hint}{there}")
            self.number = names.index(self.column) + 1
            return None
        if len(cells) < self.number:
            raise InputError(f"{place}: there is no column {self.number}, only {len(cells)}")
        return cells[self.number - 1]


def table(chunks: Chunks, column: str, name: str, fault: TakeFault = raise_fault) -> Iterator[Located]:
    """Return the texts in a column of tab-separated lines, blank lines and empty cells left out.

    Args:
        fault: takes the lines that have fewer columns.

    Raises:
        InputError: no column has that name.
    """
    wanted = Column(column)
    for number, line in numbered_lines(chunks):
        if not line:
            continue
        try:
            text = wanted.of(line, f"{name}, line {number}")
        except InputError as error:
            if not wanted.number:
                raise
            fault(error)
            continue
        if text:
            yield number, text
