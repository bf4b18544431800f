"""Rows of `charrnn eval`: a table for a person, tab-separated columns, JSON objects, or the rows as they came."""

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from charrnn.config.eval import ADAPTED, EvalConfig
from charrnn.console.streams import Console
from charrnn.console.tables import print_table
from charrnn.corpus.formats import Row, is_fasta
from charrnn.corpus.inputs import BOM, display_name
from charrnn.errors import InputError
from charrnn.scoring.score import Score


class Result(NamedTuple):
    """What is known of a text.

    Attributes:
        score: the model's. file: as the command line has it, or "total".
        row: where the text is a row of the file.
        adapted: the score of a model that learns from what it has scored.
        is_total: of all files together.
        more: further fields.
    """

    score: Score
    file: str
    row: Row | None = None
    adapted: Score | None = None
    is_total: bool = False
    more: Mapping[str, Any] = {}

    @property
    def place(self) -> str:
        """Where it stands, in messages."""
        if self.row is not None:
            return str(self.row.place)
        return "the total" if self.is_total else display_name(self.file)

    def value(self, field: str) -> Any:
        """Return a field of `charrnn help fields`: a number, a text (str or bytes), or None where it is missing."""
        if field in _PLACES:
            return _PLACES[field](self)
        if self.row is not None and self.row.text is None:
            return None
        if field in self.more:
            return self.more[field]
        if field in ADAPTED:
            return self.adapted and getattr(self.adapted, ADAPTED[field])
        return getattr(self.score, field)


_PLACES: dict[str, Callable[[Result], Any]] = {
    "file": lambda result: result.file,
    "line": lambda result: result.row and result.row.place.line,
    "text": lambda result: result.row and result.row.text,
    "total": lambda result: result.is_total,
}
"""What fields are that say where a text stands."""


Fields = Sequence[tuple[str, str]]
"""Fields in order, and what each is called: the name of a column, or the key of an object."""


def named(fields: Iterable[str]) -> Fields:
    """Return fields that are called as they are."""
    return [(field, field) for field in fields]


def has_header(console: Console, config: EvalConfig) -> bool:
    """Return whether the names of columns come first."""
    return console.stdout_is_tty if config.header is None else config.header


class Writer(Protocol):
    """Puts results on stdout. `finish` is called once after the last, also when an error ends them."""

    def row(self, result: Result) -> None:
        """Write a result, or keep it until `finish`."""
        ...

    def finish(self) -> None:
        """Write what was kept."""
        ...


class TableWriter:
    """A table of files, for a person at a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._results: list[Result] = []

    def row(self, result: Result) -> None:
        """See `Writer`."""
        self._results.append(result)

    def finish(self) -> None:
        """See `Writer`."""
        if not self._results:
            return
        headings = ["text", "perplexity", "bits/char", "bits/byte", "tokens", "unknown"]
        if any(result.adapted for result in self._results):
            headings[4:4] = ["adapted", "bits/char", "bits/byte"]
        print_table(self._console, headings, [self._cells(result) for result in self._results])

    def _cells(self, result: Result) -> list[str]:
        cells = [result.file]
        for score in (result.score, result.adapted):
            if score is not None:
                bits = (score.bits_per_char, score.bits_per_byte)
                cells += [f"{score.perplexity:,.4f}", *("-" if math.isnan(each) else f"{each:.4f}" for each in bits)]
        return [*cells, f"{result.score.tokens:,}", f"{result.score.oov:,}"]


class Values(Protocol):
    """What a row has: a `Result`, a word or token, a pair of models."""

    @property
    def place(self) -> str:
        """Where it stands, in messages."""
        ...

    def value(self, field: str) -> Any:
        """Return a field of `charrnn help fields`: a number, a text (str or bytes), or None where it is missing."""
        ...


class TsvWriter:
    """A line of tab-separated columns for each result.

    Args:
        fields: the columns, in order. header: whether their names come first.
        verbatim: whether the text stands there as it came, which is a line; it is escaped otherwise.
    """

    def __init__(self, console: Console, fields: Fields, *, header: bool = False, verbatim: bool = True) -> None:
        self._console, self._fields, self._verbatim = console, fields, verbatim
        self._terminal = console.terminal_text()
        if header:
            self._write(self._names())

    def row(self, result: Values) -> None:
        """See `Writer`."""
        self._write(self._cells(result))

    def finish(self) -> None:
        """See `Writer`."""

    def _names(self) -> list[bytes]:
        return [os.fsencode(name) for _, name in self._fields]

    def _cells(self, result: Values) -> list[bytes]:
        cells = []
        for field, _ in self._fields:
            value = result.value(field)
            cell = _to_cell(value)
            is_text = isinstance(value, str | bytes) and not (self._verbatim and field == "text")
            cells.append(escape_cell(cell) if is_text else cell)
        return cells

    def _write(self, cells: Sequence[bytes], between: bytes = b"\t") -> None:
        line = between.join(cells) + b"\n"
        self._console.write(self._terminal.feed(line, final=True) if self._terminal else line)


class RowWriter(TsvWriter):
    """The rows as they came, with the fields: as further keys of a JSON object, else as columns before the line.

    Args:
        is_csv: whether they are CSV. Others as for `TsvWriter`.
    """

    def __init__(self, console: Console, fields: Fields, *, header: bool = False, is_csv: bool = False) -> None:
        super().__init__(console, fields)
        self._header, self._is_csv, self._between = header, is_csv, b"," if is_csv else b"\t"

    def row(self, result: Result) -> None:  # type: ignore[override]  # of rows alone
        """See `Writer`."""
        row = result.row
        assert row is not None
        if row.is_blank:
            self._write([row.raw])
        elif row.value is None:
            if self._header and not row.heading:
                self._write([*self._names(), b"text"], self._between)
            self._header = False
            cells = self._names() if row.heading else self._cells(result)
            raw = row.raw.removeprefix(BOM)  # which stood at the beginning of a file
            self._write([*(map(_csv_cell, cells) if self._is_csv else cells), raw], self._between)
        else:
            for field, name in self._fields:
                if name in row.value:
                    raise InputError(
                        f"{row.place}: the object has a key {name!r} already; {{fields}} {field}=NAME calls the new one"
                        " otherwise",
                        ("fields",),
                    )
            self._console.write_json(row.value | to_object(result, self._fields))


class JsonWriter:
    """A JSON object for each result. Arguments as `TsvWriter`; the fields are the keys."""

    def __init__(self, console: Console, fields: Fields) -> None:
        self._console, self._fields = console, fields

    def row(self, result: Values) -> None:
        """See `Writer`."""
        row = result.row if isinstance(result, Result) else None
        if row is None or not (row.heading or row.is_blank):
            self._console.write_json(to_object(result, self._fields))

    def finish(self) -> None:
        """See `Writer`."""


class RawWriter:
    """The texts as they came: rows of a file, or the names of files."""

    def __init__(self, console: Console, separator: bytes | None = None) -> None:
        self._console, self._separator = console, separator or b"\n"
        self._terminal = console.terminal_text()

    def row(self, result: Result) -> None:
        """See `Writer`."""
        if result.row is None:
            data = os.fsencode(result.file) + b"\n"
        else:
            data = result.row.raw + (b"\n" if is_fasta(result.file) else self._separator)
        self._console.write(self._terminal.feed(data, final=True) if self._terminal else data)

    def finish(self) -> None:
        """See `Writer`."""


def to_object(result: Values, fields: Fields) -> dict[str, Any]:
    """Return the fields as the keys of an object; that of a total says so in the place of a file."""
    if isinstance(result, Result) and result.is_total:
        fields = [("total", "total") if field == "file" else (field, name) for field, name in fields]
    return {name: _to_json(result.value(field)) for field, name in fields}


def _to_cell(value: Any) -> bytes:
    """Return a column: 6 decimals of a float, the bytes of a text as it came."""
    match value:
        case None:
            return b""
        case float():
            return (f"{value:.6f}" if abs(value) < 1e15 else f"{value:.6e}").encode()
        case bytes():
            return value
        case int():
            return str(value).encode()
        case _:
            return os.fsencode(value)


def escape_cell(text: bytes) -> bytes:
    """Return a text for a column: newlines, tabs, carriage returns and backslashes as escapes, and what is not UTF-8 as
    `\\xNN`."""
    if text.isalnum():
        return text
    shown = re.sub(rb"[\\\n\t\r]", lambda match: _ESCAPES[match[0]], text)
    return shown.decode("utf-8", "backslashreplace").encode()


_ESCAPES = {b"\\": b"\\\\", b"\n": b"\\n", b"\t": b"\\t", b"\r": b"\\r"}


def _csv_cell(cell: bytes) -> bytes:
    """Return a cell of CSV, in quotes where it needs them."""
    return b'"' + cell.replace(b'"', b'""') + b'"' if re.search(rb'[",\r\n]', cell) else cell


def _to_json(value: Any) -> Any:
    """Return what JSON has: no infinity, no NaN, no bytes."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case bytes():
            return value.decode("utf-8", "replace")
        case _:
            return value
