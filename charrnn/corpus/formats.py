"""What of a source is text: a field of JSON Lines, FASTA sequences, counted lines, a column of a table.

Each reader takes the bytes of a file, cut anywhere, and names the line of every fault.
"""

import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from charrnn.corpus.inputs import PACKED
from charrnn.errors import InputError

FASTA = (".fa", ".fasta", ".fna", ".ffn", ".faa", ".frn")
"""How the names of FASTA files end."""


BOM = b"\xef\xbb\xbf"


Located = tuple[int, bytes]
"""A text, and the line (from 1) on which it begins."""


def is_fasta(path: str) -> bool:
    """Whether a file is FASTA, by its name, packed or not."""
    stem, ending = os.path.splitext(path)
    if ending.lower() in PACKED:
        ending = os.path.splitext(stem)[1]
    return ending.lower() in FASTA


def lines(chunks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The lines that each piece completes, without their newlines; at the end one that has none."""
    held: list[bytes] = []
    for chunk in chunks:
        first, newline, rest = chunk.partition(b"\n")
        held.append(first)
        if newline:
            found = [b"".join(held), *rest.split(b"\n")]
            held = [found.pop()]
            yield found
    if last := b"".join(held):
        yield [last]


def numbered(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1, without newlines, carriage returns before them, or a byte order mark."""
    number = 0
    for block in lines(chunks):
        for line in block:
            number += 1
            yield number, (line.removeprefix(BOM) if number == 1 else line).removesuffix(b"\r")


def read_json_lines(chunks: Iterable[bytes], field: str, name: str) -> Iterator[Located]:
    """The field of each object that has text there.

    Raises:
        InputError: a line is no JSON object.
    """
    for number, line in numbered(chunks):
        if line.strip() and (text := field_of(json_object(line, f"{name}, line {number}"), field)):
            yield number, text


def json_object(line: bytes, name: str) -> dict[str, Any]:
    """A line of JSON Lines.

    Raises:
        InputError: it is no JSON object; the message begins with `name`.
    """

    def finite(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"{text} is out of range")
        return value

    try:
        value = json.loads(line, parse_float=finite, parse_constant=finite)
    except ValueError as error:
        raise InputError(f"{name}: no JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{name}: no JSON that can be read: it is nested too deeply") from None
    if not isinstance(value, dict):
        raise InputError(f"{name}: no JSON object")
    return value


def field_of(value: dict[str, Any], name: str) -> bytes:
    """The text of a field; empty where there is none."""
    text = value.get(name)
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else b""


def fasta(chunks: Iterable[bytes], name: str) -> Iterator[Located]:
    """The sequences of a FASTA file: headers dropped, lines joined.

    Raises:
        InputError: letters before the first header.
    """
    begun, sequence = 0, bytearray()
    for number, line in numbered(chunks):
        line = line.strip()
        if line.startswith(b">"):
            if sequence:
                yield begun, bytes(sequence)
            begun, sequence = number, bytearray()
        elif line and not line.startswith(b";"):  # a comment in old files
            if not begun:
                raise InputError(f"{name}, line {number}: no FASTA: a sequence begins with a line that begins with >")
            sequence += line
    if sequence:
        yield begun, bytes(sequence)


def counted_lines(chunks: Iterable[bytes], name: str) -> Iterator[tuple[int, int, bytes]]:
    """Lines of `count<TAB>text` as (line, count, text); what `uniq -c` writes, with a space, will do.

    Raises:
        InputError: a line has no count of 1 or more, or no text.
    """
    for number, line in numbered(chunks):
        if not line:
            continue
        found = re.match(rb" *([0-9]{1,15})[\t ](.+)", line, re.DOTALL)
        if not found or not int(found[1]):
            raise InputError(f"{name}, line {number}: a count of 1 or more, a tab and a text are expected")
        yield number, int(found[1]), found[2]


@dataclass(frozen=True)
class TextFormat:
    """What of the sources is text, and where it ends.

    Attributes:
        separator: ends each record; empty: the texts are no records.
        jsonl: the field of each JSON object that is text. tsv: the column of a table that is.
        weights: whether each line is a count and a record.
    """

    separator: bytes = b""
    jsonl: str | None = None
    tsv: str | None = None
    weights: bool = False


PLAIN_TEXT = TextFormat()
"""All of a source is one text."""
