"""What of a source is text: all of it, its lines, a field of JSON Lines, a column, FASTA sequences, counted lines.

Each reader takes the bytes of a file, cut anywhere, and names the line of every fault.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from charrnn.corpus.inputs import (
    BOM,
    PACKED,
    Chunks,
    TakeFault,
    display_name,
    numbered_lines,
    raise_fault,
    split_at,
    split_lines,
)
from charrnn.corpus.json_lines import MAX_JSON_LINE, Field, json_object
from charrnn.corpus.tables import Column, Located, TableRow, read_csv, read_tsv
from charrnn.errors import InputError
from charrnn.tokenizers.utf8 import Errors, without_line

FASTA = (".fa", ".fasta", ".fna", ".ffn", ".faa", ".frn")
"""How the names of FASTA files end."""


def is_fasta(path: str) -> bool:
    """Return whether a file is FASTA, by its name, packed or not."""
    stem, ending = os.path.splitext(path)
    if ending.lower() in PACKED:
        ending = os.path.splitext(stem)[1]
    return ending.lower() in FASTA


def fasta(chunks: Chunks, name: str, fault: TakeFault = raise_fault) -> Iterator[Located]:
    """Return the sequences of a FASTA file: headers dropped, lines joined; `fault` takes lines before the first."""
    begun, sequence = 0, bytearray()
    for number, line in numbered_lines(chunks):
        line = line.strip()
        if line.startswith(b">"):
            if sequence:
                yield begun, bytes(sequence)
            begun, sequence = number, bytearray()
        elif line and not line.startswith(b";"):  # a comment in old files
            if begun:
                sequence += line
            else:
                place = f"{name}, line {number}"
                fault(InputError(f"{place}: not valid FASTA: a sequence begins with a line that begins with >"))
    if sequence:
        yield begun, bytes(sequence)


def counted_lines(chunks: Chunks, name: str, fault: TakeFault = raise_fault) -> Iterator[tuple[int, bytes, int]]:
    """Return lines of `count<TAB>text`, or of `uniq -c` with its space, as (line, text, count); blank ones are left
    out. `fault` takes those without a count of 1 or more, or without text."""
    for number, line in numbered_lines(chunks):
        if not line.strip():
            continue
        found = re.match(rb" *([0-9]{1,15})[\t ](.+)", line, re.DOTALL)
        if not found or not int(found[1]):
            fault(InputError(f"{name}, line {number}: a count of 1 or more, a tab and a text are expected"))
            continue
        yield number, found[2], int(found[1])


@dataclass(frozen=True)
class TextFormat:
    """What of the sources is text, and what ends a record.

    Attributes:
        separator: ends each record; empty: the texts are not records.
        jsonl: the field of each JSON object that is text. tsv, csv: the column of a table that is.
        weights: whether each line is a count and a record.
    """

    separator: bytes = b""
    jsonl: str | None = None
    tsv: str | None = None
    csv: str | None = None
    weights: bool = False

    @property
    def is_structured(self) -> bool:
        """Whether texts are parts of lines, or of rows."""
        return self.weights or any(each is not None for each in (self.jsonl, self.tsv, self.csv))


PLAIN_TEXT = TextFormat()
"""All of a source is one text."""


class NamedText(NamedTuple):
    """A text to be scored.

    Attributes:
        parts: its bytes, in parts that are each read from `<s>`: a FASTA file has as many as sequences.
        name: what it is called in messages, by its `str`.
    """

    parts: Iterable[Chunks]
    name: object = ""


def whole_text(file: str, chunks: Chunks) -> NamedText:
    """Return a whole file as one text.

    Args:
        file: a path, or "-" for stdin. chunks: its bytes.
    """
    name = display_name(file)
    if is_fasta(file):
        return NamedText(([sequence] for _, sequence in fasta(chunks, name)), name)
    return NamedText([chunks], name)


class Place(NamedTuple):
    """Where a row stands: a source as the command line has it, and the line, from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{display_name(self.file)}, line {self.line}"


def located(error: InputError, name: object) -> InputError:
    """Return what is wrong with a text, with the text's name in front; a `Place` has the number of its line."""
    if isinstance(name, Place):
        error = InputError(without_line(error.text), error.fields)
    return error.prefixed(str(name)) if str(name) else error


class Row(NamedTuple):
    """A line of a source, and the text in it.

    Attributes:
        text: what is scored, without its end; None: nothing.
        raw: the line as it came, without its newline.
        place: where it stands.
        value: the JSON object that the line is; None of other formats.
        replaced: places of the object with invalid UTF-8 that became U+FFFD.
        heading: whether the line has the names of a table's columns.
        fault: why the line cannot be used; None: it can.
        prompt: what its text continues; None: what all texts do.
    """

    text: bytes | None
    raw: bytes
    place: Place
    value: dict[str, Any] | None = None
    replaced: int = 0
    heading: bool = False
    fault: InputError | None = None
    prompt: bytes | None = None

    @property
    def is_blank(self) -> bool:
        """Whether it is a blank line among JSON objects or in a table."""
        return self.text is None and self.value is None and not self.heading and self.fault is None


def read_rows(
    chunks: Chunks,
    file: str,
    *,
    field: Field | None = None,
    column: str | None = None,
    is_csv: bool = False,
    separator: bytes | None = None,
    prompt: Field | None = None,
    errors: Errors = "strict",
) -> Iterator[list[Row]]:
    """Return the rows of a source: those that a chunk completes together, so that none waits for a line to come.

    Args:
        chunks: of the source. file: its name, as in `Place`.
        field: the text of a row is this field of a JSON object.
        column: it is this column of a table, of CSV where `is_csv`.
        separator: it is a record, which this ends; of a FASTA file it is a sequence. With none of these it is the line.
        prompt: a further field of the object, or column of the table: what the text continues. A row without has no
            text.
        errors: as for `json_object`.

    Raises:
        InputError: the source cannot be read any further, or has no such column. Other faults are those of their rows.
    """
    if field is not None:
        return _objects(chunks, file, field, prompt, errors)
    if column is not None:
        tables = read_csv(chunks, display_name(file)) if is_csv else read_tsv(chunks)
        return _table_rows(tables, file, Column(column), Column(prompt.name) if prompt else None)
    if separator is not None and is_fasta(file):
        return _sequences(chunks, file)
    return _lines(chunks, file) if separator in (None, b"\n") else _records(chunks, file, separator)


def _lines(chunks: Chunks, file: str) -> Iterator[list[Row]]:
    number = 1
    for lines in split_lines(chunks):
        yield [Row(line, line, Place(file, n)) for n, line in enumerate(lines, number)]
        number += len(lines)


def _records(chunks: Chunks, file: str, separator: bytes) -> Iterator[list[Row]]:
    number = 1
    newlines = separator.count(b"\n")
    for records in split_at(chunks, separator):
        rows = []
        for record in records:
            rows.append(Row(record, record, Place(file, number)))
            number += record.count(b"\n") + newlines
        yield rows


def _objects(chunks: Chunks, file: str, field: Field, prompt: Field | None, errors: Errors) -> Iterator[list[Row]]:
    number = 0
    for lines in split_lines(chunks, MAX_JSON_LINE):
        rows = []
        for line in lines:
            number += 1
            place = Place(file, number)
            content = line.removeprefix(BOM).removesuffix(b"\r")  # files with marks may have been joined
            if not content.strip():
                rows.append(Row(None, line, place))
                continue
            try:
                value, replaced = json_object(content, place, errors)
            except InputError as error:
                rows.append(Row(None, line, place, fault=error))
            else:
                before = prompt.of(value) if prompt is not None else None
                text = field.of(value) if prompt is None or before is not None else None
                rows.append(Row(text, line, place, value, replaced, prompt=before))
        yield rows


def _table_rows(
    tables: Iterable[list[TableRow]], file: str, column: Column, prompt: Column | None
) -> Iterator[list[Row]]:
    for found in tables:
        rows = []
        for number, raw, cells in found:
            place = Place(file, number)
            text, before, fault = None, None, None
            if isinstance(cells, InputError):
                fault = cells
            elif cells:
                is_first = not column.number or (prompt is not None and not prompt.number)
                try:
                    before = prompt.of(cells, place) if prompt is not None else None
                    text = column.of(cells, place)
                except InputError as error:
                    if is_first:
                        raise
                    fault = error
                if is_first:  # it has names; a column that goes by its number has the other one's name there
                    text = before = None
            is_heading = bool(cells) and text is None and fault is None
            rows.append(Row(text, raw, place, heading=is_heading, fault=fault, prompt=before))
        yield rows


def _sequences(chunks: Chunks, file: str) -> Iterator[list[Row]]:
    """Return the sequences of a FASTA file, each with its header as it came; what is before the first header is a row
    of its own."""
    number = begin = 1
    raw = bytearray()  # of the sequence that has not ended
    for lines in split_lines(chunks):
        rows = []
        for line in lines:
            if _is_header(line) and raw:
                rows.append(_sequence(bytes(raw[:-1]), Place(file, begin)))
                raw, begin = bytearray(), number
            raw += line + b"\n"
            number += 1
        yield rows
    if raw:
        yield [_sequence(bytes(raw[:-1]), Place(file, begin))]


def _sequence(raw: bytes, place: Place) -> Row:
    """Return the row of a FASTA sequence; it has no text where nothing follows the header."""
    try:
        found = [sequence for _, sequence in fasta([raw], display_name(place.file))]
    except InputError as error:  # it is before the first header, where lines have the numbers of the file
        return Row(None, raw, place, fault=error)
    return Row(found[0] if found else None, raw, place)


def _is_header(line: bytes) -> bool:
    return line.removeprefix(BOM).lstrip().startswith(b">")
