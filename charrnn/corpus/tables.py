"""Texts in a column of a table: of tab-separated lines, or of CSV (RFC 4180)."""

import csv
import re
from collections.abc import Iterator

from charrnn.corpus.inputs import BOM, Chunks, TakeFault, numbered_lines, raise_fault, split_lines
from charrnn.errors import InputError, nearest

Located = tuple[int, bytes]
"""The line (from 1) on which a text begins, and the text."""

MAX_CELL = 64 << 20
"""Bytes of a cell of CSV, which may have newlines in it: more are most likely a quote that is never closed."""


class Column:
    """A column of a table.

    Args:
        column: its number from 1, or its name in the first row, which then is not a text.
    """

    def __init__(self, column: str) -> None:
        self.column = column
        self.number = int(column) if re.fullmatch("[0-9]{1,9}", column) else 0  # 0: not known yet
        self.named = self.number == 0

    def of(self, cells: list[bytes], place: object) -> bytes | None:
        """Return the text of a row; None of the row with the names.

        Raises:
            InputError: there is no such column; the message begins with `place`.
        """
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


def table(
    chunks: Chunks, column: str, name: str, fault: TakeFault = raise_fault, *, is_csv: bool = False
) -> Iterator[Located]:
    """Return the texts in a column of a table, blank lines and empty cells left out.

    Args:
        fault: takes the rows that are not valid, or have fewer columns. is_csv: whether the table is CSV.

    Raises:
        InputError: no column has that name, or the rest of the table cannot be read.
    """
    wanted = Column(column)
    for number, cells in csv_rows(chunks, name, fault) if is_csv else _tsv_rows(chunks):
        try:
            text = wanted.of(cells, f"{name}, line {number}")
        except InputError as error:
            if not wanted.number:
                raise
            fault(error)
            continue
        if text:
            yield number, text


def _tsv_rows(chunks: Chunks) -> Iterator[tuple[int, list[bytes]]]:
    return ((number, line.split(b"\t")) for number, line in numbered_lines(chunks) if line)


def csv_rows(chunks: Chunks, name: str, fault: TakeFault = raise_fault) -> Iterator[tuple[int, list[bytes]]]:
    """Return the rows of CSV that are not blank, each with the line on which it begins.

    Args:
        fault: takes the rows that are not valid.

    Raises:
        InputError: a quote is never closed.
    """
    at_start = True  # whether the next line begins a row, perhaps with a byte order mark: within a cell it is text

    def lines() -> Iterator[str]:
        nonlocal at_start
        for block in split_lines(chunks, MAX_CELL):
            for line in block:
                text = line.removeprefix(BOM) if at_start else line
                at_start = False
                yield text.decode("latin-1") + "\n"

    csv.field_size_limit(MAX_CELL)  # the only one in this process
    rows = csv.reader(lines(), strict=True)
    while True:
        at_start, number = True, rows.line_num + 1
        place = f"{name}, line {number}"
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            what = str(error).partition(" - ")[0]
            if "field larger" in what or "end of data" in what:
                raise InputError(f"{place}: not valid CSV: a quote that is never closed") from None
            fault(InputError(f"{place}: not valid CSV: {what}"))
            continue
        if cells:
            yield number, [cell.encode("latin-1") for cell in cells]
