"""Texts in a column of a table: of tab-separated lines, or of CSV (RFC 4180)."""

import csv
import re
from collections.abc import Iterator

from charrnn.corpus.inputs import BOM, Chunks, TakeFault, raise_fault, split_lines
from charrnn.errors import InputError, nearest

Located = tuple[int, bytes]
"""The line (from 1) on which a text begins, and the text."""

TableRow = tuple[int, bytes, list[bytes] | InputError]
"""The line on which a row of a table begins, the row as it came without the newline that ends it, and its cells, none
of a blank row; or why it is not valid."""

MAX_ROW = 64 << 20
"""Bytes of a row of CSV, whose cells may have newlines in them: more are most likely a quote that is never closed."""


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
    for rows in read_csv(chunks, name) if is_csv else read_tsv(chunks):
        for number, _, cells in rows:
            if isinstance(cells, InputError):
                fault(cells)
                continue
            if not cells:
                continue
            try:
                text = wanted.of(cells, f"{name}, line {number}")
            except InputError as error:
                if not wanted.number:
                    raise
                fault(error)
                continue
            if text:
                yield number, text


def read_tsv(chunks: Chunks) -> Iterator[list[TableRow]]:
    """Return the rows of tab-separated lines, those that a chunk completes together."""
    number = 1
    for lines in split_lines(chunks):
        rows: list[TableRow] = []
        for number, line in enumerate(lines, number):  # noqa: B020
            content = line.removeprefix(BOM).removesuffix(b"\r")  # files with marks may have been joined
            rows.append((number, line, content.split(b"\t") if content else []))
        number += 1
        yield rows


def read_csv(chunks: Chunks, name: str) -> Iterator[list[TableRow]]:
    """Return the rows of CSV, those that a chunk completes together. A byte order mark may begin any row.

    Raises:
        InputError: a quote is never closed, or not within `MAX_ROW`, or a line is longer; it begins with `name`.
    """
    return _CsvReader(name).rows(chunks)


class _CsvReader:
    """Reads CSV a block of lines at a time, each by `csv.reader`.

    A row that a block does not complete ends within quotes: what there is of it is kept as cells, and the next block is
    read as if it began with a quote.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._next = 1  # the line after those that have been read
        self._at_start = True  # whether the next line begins a row, perhaps with a mark: within a cell that is text
        self._begin = self._quote = 0  # lines on which the row that has not ended begins, and where it is within quotes
        self._raw: list[bytes] = []  # that row, by block; nothing between rows
        self._size = 0  # its bytes
        self._cells: list[str] = []  # its cells that have ended
        self._cell: list[str] = []  # the one that has not, by block

    def rows(self, chunks: Chunks) -> Iterator[list[TableRow]]:
        """See `read_csv`."""
        csv.field_size_limit((1 << 31) - 1)  # the only one in this process: what is too long is found here
        for lines in split_lines(self._checked(chunks)):
            yield self._read(lines)
        if self._raw:
            raise self._fault(self._quote, "a quote that is never closed")

    def _checked(self, chunks: Chunks) -> Iterator[bytes]:
        """Return the chunks for as long as the row that has not ended is within `MAX_ROW`."""
        size = 0  # of the line that has not ended
        for chunk in chunks:
            yield chunk
            newline = chunk.rfind(b"\n")
            size = size + len(chunk) if newline < 0 else len(chunk) - newline - 1
            if size + self._size > MAX_ROW:
                if self._raw:
                    raise self._fault(self._quote, f"a quote that is not closed within {MAX_ROW >> 20} MB")
                raise self._fault(self._next, f"a line longer than {MAX_ROW >> 20} MB")

    def _fault(self, line: int, what: str) -> InputError:
        return InputError(f"{self._name}, line {line}: not valid CSV: {what}")

    def _read(self, lines: list[bytes]) -> list[TableRow]:
        """Return the rows that the next lines complete."""
        rows: list[TableRow] = []
        reader, end = csv.reader(self._texts(lines), strict=True), 0
        while True:
            begin = end
            try:
                cells, fault = next(reader), ""
            except StopIteration:
                break
            except csv.Error as error:
                cells, fault = [], str(error).partition(" - ")[0]
                if fault == "unexpected end of data":  # within quotes
                    self._keep(lines[begin:], self._next + begin)
                    break
            end, self._at_start = reader.line_num, True
            number, raw = self._next + begin, b"\n".join(lines[begin:end])
            if self._raw:
                number, raw = self._begin, b"\n".join((*self._raw, raw))
                if cells:
                    self._add(cells)
                    cells = [*self._cells, "".join(self._cell)]
                self._raw, self._size, self._cells, self._cell = [], 0, [], []
            if fault:
                rows.append((number, raw, self._fault(number, fault)))
            else:
                rows.append((number, raw, [cell.encode("latin-1") for cell in cells]))
        self._next += len(lines)
        return rows

    def _texts(self, lines: list[bytes]) -> Iterator[str]:
        quote = '"' if self._raw else ""
        for line in lines:
            text = line.removeprefix(BOM) if self._at_start else line
            self._at_start = False
            yield f"{quote}{text.decode('latin-1')}\n"
            quote = ""

    def _keep(self, lines: list[bytes], number: int) -> None:
        """Keep the last lines of a block, from `number` on, which do not complete their row."""
        if not self._raw:
            self._begin, self._at_start = number, True
        cells = next(csv.reader([*self._texts(lines), '"'], strict=True))
        if len(cells) > 1 or not self._raw:
            self._quote = number + len(lines) - cells[-1].count("\n")
        self._add(cells)
        self._raw.append(b"\n".join(lines))
        self._size += len(self._raw[-1])

    def _add(self, cells: list[str]) -> None:
        """Add the cells that a block has of the row: the first continues the one that has not ended."""
        first, *others = cells
        self._cell.append(first)
        if others:
            self._cells += ["".join(self._cell), *others[:-1]]
            self._cell = [others[-1]]
