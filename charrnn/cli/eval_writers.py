"""Rows of `charrnn eval`: a table for a person, tab-separated columns, JSON objects, or the rows as they came."""

import math
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from charrnn.config.eval import ADAPTED
from charrnn.console.streams import Console
from charrnn.console.tables import print_table
from charrnn.corpus.formats import Row
from charrnn.errors import InputError
from charrnn.scoring.score import Score


class Result(NamedTuple):
    """What is known of a text.

    Attributes:
        score: the model's. file: as the command line has it, or "total".
        row: where the text is a row of the file.
        adapted: the score of a model that learns from what it has scored.
        is_total: of all files together.
    """

    score: Score
    file: str
    row: Row | None = None
    adapted: Score | None = None
    is_total: bool = False

    def value(self, field: str) -> Any:
        """Return a field of `charrnn help fields`: a number, a text (str or bytes), or None where it is missing."""
        match field:
            case "file":
                return self.file
            case "line":
                return self.row and self.row.place.line
            case "text":
                return self.row and self.row.text
            case "total":
                return self.is_total
        if self.row is not None and self.row.text is None:
            return None
        if field in ADAPTED:
            return self.adapted and getattr(self.adapted, ADAPTED[field])
        return getattr(self.score, field)


Fields = Sequence[tuple[str, str]]
"""Fields in order, and what each is called: the name of a column, or the key of an object."""


def named(fields: Iterable[str]) -> Fields:
    """Return fields that are called as they are."""
    return [(field, field) for field in fields]


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


class TsvWriter:
    """A line of tab-separated columns for each result; texts stand in them as they came.

    Args:
        fields: the columns, in order.
    """

    def __init__(self, console: Console, fields: Fields) -> None:
        self._console, self._fields = console, fields
        self._terminal = console.terminal_text()

    def row(self, result: Result) -> None:
        """See `Writer`."""
        self._write(self._cells(result))

    def finish(self) -> None:
        """See `Writer`."""

    def _cells(self, result: Result) -> list[bytes]:
        """Return the columns; of a heading, their names."""
        if result.row is not None and result.row.heading:
            return [os.fsencode(name) for _, name in self._fields]
        return [_to_cell(result.value(field)) for field, _ in self._fields]

    def _write(self, cells: Sequence[bytes]) -> None:
        line = b"\t".join(cells) + b"\n"
        self._console.write(self._terminal.feed(line, final=True) if self._terminal else line)


class RowWriter(TsvWriter):
    """The rows as they came, with the fields: as further keys of a JSON object, else as columns before the line."""

    def row(self, result: Result) -> None:
        """See `Writer`."""
        row = result.row
        assert row is not None
        if row.is_blank:
            self._write([row.raw])
        elif row.value is None:
            self._write([*self._cells(result), row.raw])
        else:
            for field, name in self._fields:
                if name in row.value:
                    raise InputError(
                        f"{row.place}: the object has a key {name!r} already; {{fields}} {field}=NAME calls the new one"
                        " otherwise",
                        ("fields",),
                    )
            self._console.write_json(row.value | _to_object(result, self._fields))


class JsonWriter:
    """A JSON object for each result. Arguments as `TsvWriter`; the fields are the keys."""

    def __init__(self, console: Console, fields: Fields) -> None:
        self._console, self._fields = console, fields

    def row(self, result: Result) -> None:
        """See `Writer`."""
        if result.row is None or not (result.row.heading or result.row.is_blank):
            self._console.write_json(_to_object(result, self._fields))

    def finish(self) -> None:
        """See `Writer`."""


def _to_object(result: Result, fields: Fields) -> dict[str, Any]:
    """Return the fields as the keys of an object; that of a total says so in the place of a file."""
    if result.is_total:
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


def _to_json(value: Any) -> Any:
    """Return what JSON has: no infinity, no NaN, no bytes."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case bytes():
            return value.decode("utf-8", "replace")
        case _:
            return value
