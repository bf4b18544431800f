"""What of a source is text: all of it, its lines, a field of JSON Lines, a column, FASTA sequences, counted lines.

Each reader takes the bytes of a file, cut anywhere, and names the line of every fault.
"""

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from charrnn.corpus.inputs import PACKED, Chunks, display_name, numbered_lines, open_chunks, split_lines
from charrnn.corpus.tables import Column, Located
from charrnn.errors import InputError

FASTA = (".fa", ".fasta", ".fna", ".ffn", ".faa", ".frn")
"""How the names of FASTA files end."""


def is_fasta(path: str) -> bool:
    """Return whether a file is FASTA, by its name, packed or not."""
    stem, ending = os.path.splitext(path)
    if ending.lower() in PACKED:
        ending = os.path.splitext(stem)[1]
    return ending.lower() in FASTA


def read_json_lines(chunks: Chunks, field: str, name: str) -> Iterator[Located]:
    """Return the field of each object that has text there.

    Raises:
        InputError: a line is not a JSON object.
    """
    for number, line in numbered_lines(chunks):
        if line.strip() and (text := field_of(json_object(line, f"{name}, line {number}"), field)):
            yield number, text


def json_object(line: bytes, place: object) -> dict[str, Any]:
    """Return the object that a line of JSON Lines is.

    Raises:
        InputError: the line is not a JSON object; the message begins with `place`.
    """

    def finite(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"{text} is out of range")
        return value

    try:
        value = json.loads(line, parse_float=finite, parse_constant=finite)
    except ValueError as error:
        raise InputError(f"{place}: not valid JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{place}: JSON nested too deeply to be read") from None
    if not isinstance(value, dict):
        raise InputError(f"{place}: not a JSON object")
    return value


def field_of(value: dict[str, Any], name: str) -> bytes:
    """Return the text of a field; empty where there is none."""
    text = value.get(name)
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else b""


def fasta(chunks: Chunks, name: str) -> Iterator[Located]:
    """Return the sequences of a FASTA file: headers dropped, lines joined.

    Raises:
        InputError: letters before the first header.
    """
    begun, sequence = 0, bytearray()
    for number, line in numbered_lines(chunks):
        line = line.strip()
        if line.startswith(b">"):
            if sequence:
                yield begun, bytes(sequence)
            begun, sequence = number, bytearray()
        elif line and not line.startswith(b";"):  # a comment in old files
            if not begun:
                raise InputError(
                    f"{name}, line {number}: not valid FASTA: a sequence begins with a line that begins with >"
                )
            sequence += line
    if sequence:
        yield begun, bytes(sequence)


def counted_lines(chunks: Chunks, name: str) -> Iterator[tuple[int, int, bytes]]:
    """Return lines of `count<TAB>text`, or of `uniq -c` with its space, as (line, count, text).

    Raises:
        InputError: a line has no count of 1 or more, or no text.
    """
    for number, line in numbered_lines(chunks):
        if not line:
            continue
        found = re.match(rb" *([0-9]{1,15})[\t ](.+)", line, re.DOTALL)
        if not found or not int(found[1]):
            raise InputError(f"{name}, line {number}: a count of 1 or more, a tab and a text are expected")
        yield number, int(found[1]), found[2]


@dataclass(frozen=True)
class TextFormat:
    """What of the sources is text, and what ends a record.

    Attributes:
        separator: ends each record; empty: the texts are not records.
        jsonl: the field of each JSON object that is text. tsv: the column of a table that is.
        weights: whether each line is a count and a record.
    """

    separator: bytes = b""
    jsonl: str | None = None
    tsv: str | None = None
    weights: bool = False


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


def read_text(file: str, advance: Callable[[int], None] = lambda count: None) -> NamedText:
    """Return a whole file as one text; it is opened when its bytes are first asked for.

    Args:
        file: a path, or "-" for stdin. advance: called with the size of each chunk that was read.
    """
    name, chunks = display_name(file), open_chunks(file, advance)
    if is_fasta(file):
        return NamedText(([sequence] for _, sequence in fasta(chunks, name)), name)
    return NamedText([chunks], name)


class Place(NamedTuple):
    """Where a row stands: a source as the command line has it, and the line, from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{display_name(self.file)}, line {self.line}"


class Row(NamedTuple):
    """A line of a source, and the text in it.

    Attributes:
        text: what is scored, without its end; None: nothing.
        raw: the line as it came, without its newline.
        place: where it stands.
        value: the JSON object that the line is; None of other formats.
        heading: whether the line has the names of a table's columns.
    """

    text: bytes | None
    raw: bytes
    place: Place
    value: dict[str, Any] | None = None
    heading: bool = False


def read_rows(chunks: Chunks, text_format: TextFormat, file: str) -> Iterator[list[Row]]:
    """Return the rows of a source: those that a chunk completes together, so that none waits for a line to come.

    Args:
        chunks: of the source. file: its name, as in `Place`.
        text_format: with `jsonl` or `tsv` a row's text is that field or column, otherwise it is the line.

    Raises:
        InputError: a line is not of that form; raised after the rows before it have been returned.
    """
    column = Column(text_format.tsv) if text_format.tsv is not None else None
    number = 0
    for lines in split_lines(chunks):
        rows = []
        try:
            for line in lines:
                number += 1
                rows.append(_row(line, Place(file, number), text_format, column))
        except InputError:
            yield rows
            raise
        yield rows


def _row(line: bytes, place: Place, text_format: TextFormat, column: Column | None) -> Row:
    if text_format.jsonl is not None:
        value = json_object(line, place)
        return Row(field_of(value, text_format.jsonl) or None, line, place, value)
    if column is None:
        return Row(line, line, place)
    cell = column.of(line.removesuffix(b"\r"), place)
    return Row(cell, line, place, heading=cell is None)
