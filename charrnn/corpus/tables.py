"""Texts in a column of tab-separated lines."""

import re
from collections.abc import Iterable, Iterator

from charrnn.corpus.formats import Located, numbered
from charrnn.errors import InputError


class Column:
    """A column of tab-separated lines.

    Args:
        column: its number from 1, or its name in the first line, which then is no text.
    """

    def __init__(self, column: str) -> None:
        self.column = column
        self.number = int(column) if re.fullmatch("[0-9]{1,9}", column) else 0  # 0: not known yet
        self.named = self.number == 0

    def of(self, line: bytes, name: str) -> bytes | None:
        """The text of a line; None of the line with the names.

        Raises:
            InputError: there is no such column; the message begins with `name`.
        """
        cells = line.split(b"\t")
        if self.number == 0:
            names = [cell.decode("utf-8", "replace") for cell in cells]
            if self.column not in names:
                raise InputError(f"{name}: no column is called {self.column!r}; there are {', '.join(names)[:200]}")
            self.number = names.index(self.column) + 1
            return None
        if len(cells) < self.number:
            raise InputError(f"{name}: there is no column {self.number}, only {len(cells)}")
        return cells[self.number - 1]


def table(chunks: Iterable[bytes], column: str, name: str) -> Iterator[Located]:
    """What stands in a column of tab-separated lines, empty lines and cells left out.

    Raises:
        InputError: a line has no such column.
    """
    wanted = Column(column)
    for number, line in numbered(chunks):
        if line and (text := wanted.of(line, f"{name}, line {number}")):
            yield number, text
