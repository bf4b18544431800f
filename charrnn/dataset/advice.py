"""How to train on a text: as records or as one stream, with which tokens. Guesses, each with its reason."""

import numpy as np

from charrnn.corpus.corpus import Corpus
from charrnn.dataset.findings import Finding
from charrnn.dataset.text_scan import TextScan

LARGE_VOCABULARY = 5000
"""A vocabulary size that is worth a warning: the byte tokenizer needs 256."""

SHORT_LINE = 40
"""Bytes that the lines of a list of names, words or passwords have at most, on average."""

_MIN_LINES = 20  # by which a list is recognised

_RAGGED = 0.3  # standard deviation over mean: the lines of wrapped prose differ less, those of a list more


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
