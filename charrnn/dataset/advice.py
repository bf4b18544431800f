"""How to train on a text: as records or as one stream, with which tokens. Guesses, each with its reason."""

import re
import shlex
from collections.abc import Sequence

import numpy as np

from charrnn.corpus.corpus import Corpus
from charrnn.corpus.json_lines import json_object
from charrnn.corpus.tables import read_csv, read_tsv
from charrnn.dataset.findings import Finding
from charrnn.dataset.text_scan import TextScan
from charrnn.errors import InputError

LARGE_VOCABULARY = 5000
"""A vocabulary size that is worth a warning: the byte tokenizer needs 256."""

SHORT_LINE = 40
"""Bytes that the lines of a list of names, words or passwords have at most, on average."""

_MIN_LINES = 20  # by which a list is recognised

_HEAD_BYTES, _ROWS = 1 << 20, 50  # of a table or JSON Lines that are looked at

_RAGGED = 0.3  # standard deviation over mean: the lines of wrapped prose differ less, those of a list more


def guess_fields(corpus: Corpus, names: Sequence[str]) -> Finding | None:
    """Return that a text is a table or JSON Lines, by its beginning, and the command that checks the texts in it.

    Args:
        names: of its sources, as they were given.

    Returns:
        None: it is neither, or is read as what it is, or no field of it can be named on a command line.
    """
    document = next(iter(corpus.documents), None)
    if corpus.text_format.is_structured or document is None:
        return None
    head = b"".join(document.chunks(0, min(_HEAD_BYTES, document.size)))
    found = _json_field(head) or _column(document.name, head)
    if found is None:
        return None
    what, option, chosen = found
    message = f"{what}: as it is, a model learns its marks and names too"
    return Finding("info", "format", message, shlex.join(["charrnn", "check", *names, option, chosen]), document.name)


def _json_field(head: bytes) -> tuple[str, str, str] | None:
    """Return what a text is whose lines are JSON objects, and the option that takes their field with the most text."""
    lines = head[: head.rfind(b"\n") + 1].splitlines()[:_ROWS]
    try:
        objects = [json_object(line, "")[0] for line in lines if line.strip()]
    except InputError:
        return None
    names = list(dict.fromkeys(name for each in objects for name in each))
    sizes = {name: sum(len(each[name]) for each in objects if isinstance(each.get(name), str)) for name in names}
    chosen = max(filter(str.isprintable, names), key=lambda name: sizes[name], default="")
    return (f"JSON Lines of {_shown(names)}", "--jsonl", chosen) if chosen and sizes[chosen] else None


def _column(name: str, head: bytes) -> tuple[str, str, str] | None:
    """Return likewise of a text whose name says that it is a table: its column with the most text, by its number where
    the first row seems to have no names."""
    named = re.search(r"\.(csv|tsv)(\.\w+)?$", name, re.IGNORECASE)
    if named is None:
        return None
    kind = named[1].lower()
    rows = []
    try:
        for found in read_csv([head], name) if kind == "csv" else read_tsv([head]):
            rows += [cells for _, _, cells in found if cells]
    except InputError:
        pass  # its beginning ends within a row
    cells = [row for row in rows[:_ROWS] if not isinstance(row, InputError)]
    if len(cells) < 3 or len({len(row) for row in cells}) > 1 or len(cells[0]) < 2:
        return None
    first = [cell.decode("utf-8", "replace") for cell in cells[0]]
    sizes = [sum(len(row[column]) for row in cells[1:]) for column in range(len(first))]
    column = sizes.index(max(sizes))
    title, mean = first[column], sizes[column] / (len(cells) - 1)
    is_unlike_a_text = title.isprintable() and not title.isdecimal() and 0 < len(title) <= 2 * mean
    is_name = is_unlike_a_text and len({*first}) == len(first)
    return f"a table ({kind.upper()}) of {_shown(first)}", f"--{kind}", title if is_name else str(column + 1)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(name if name.isprintable() else ascii(name)[1:-1] for name in names)[:100]


def guess_records(corpus: Corpus, scan: TextScan) -> tuple[bool, Finding]:
    """Return whether a text is rather a list of records, one a line, than one stream; and why."""
    if corpus.text_format.separator:
        records = int(corpus.stats.records.sum())
        return True, Finding("info", "records", f"records, as asked for: {records:,} of them")
    sizes = scan.lines.sizes
    if corpus.text_format.is_structured or len(sizes) < _MIN_LINES:
        return False, Finding("info", "records", "a stream: texts of any length, or too few lines to be a list")
    blank, mean = int(np.count_nonzero(sizes == 0)), float(sizes.mean())
    lines = f"{len(sizes):,} lines of {mean:.0f} bytes on average"
    if blank > 0.01 * len(sizes):
        message = f"a stream: {blank:,} of {lines} are blank; if these end texts that do not belong together, as poems"
        return False, Finding("info", "records", message, r"--separator '\n\n'")
    if scan.lines.indented > 0.01 * len(sizes):
        return False, Finding(
            "info", "records", f"a stream: {scan.lines.indented:,} of {lines} are indented, as code is"
        )
    if mean <= SHORT_LINE:
        return True, Finding("info", "records", f"records: {lines}, none of them blank, make a list", "--records")
    if float(sizes.std()) > _RAGGED * mean:
        message = f"records: {lines} that differ much in length, as wrapped prose does not"
        return True, Finding("info", "records", message, "--records")
    message = f"a stream: {lines} of about the same length, as wrapped prose has; if each is a text of its own"
    return False, Finding("info", "records", message, "--records")


def suggest_tokenizer(scan: TextScan) -> tuple[str, Finding]:
    """Return the tokenizer that suits a text, and why."""
    size = int(np.count_nonzero(scan.counts))
    if size > LARGE_VOCABULARY:
        message = f"byte: {size:,} different characters make large tables and slow steps; bytes are 256"
        return "byte", Finding("info", "tokenizer", message, "--tokenizer byte", count=256)
    return "char", Finding("info", "tokenizer", f"char: {size:,} different characters", count=size)
