"""What is wrong with a text before a model is trained on it, and what mends it.

`check_corpus` reads all of a text; `quick_findings`, which every training asks, its first part.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from charrnn.corpus.corpus import Corpus
from charrnn.corpus.documents import ProgressFactory, no_progress
from charrnn.corpus.formats import is_fasta
from charrnn.dataset import remedies
from charrnn.dataset.findings import SEVERITIES, Finding, in_sources
from charrnn.dataset.lines import COUNTED_LINE
from charrnn.dataset.prepare import PrepareOptions, training_splits
from charrnn.dataset.repeats import LENGTH, Stretches, sampling
from charrnn.dataset.text_blocks import blocks
from charrnn.dataset.text_scan import TextScan
from charrnn.errors import InputError, counted
from charrnn.tokenizers.char import describe
from charrnn.tokenizers.utf8 import HEAD_BYTES, STEP, Utf8Decoder, Utf8Splitter, decode_utf8

QUICK_BYTES, QUICK_RECORDS = 1 << 20, 1 << 22
"""Bytes that `quick_findings` reads, and records that it compares."""

DUPLICATE_SHARE, REPEAT_SHARE, LEAK_SHARE = 0.3, 0.3, 0.2
"""Of the lines, and of the characters to train and to validate on: more is a fault. Code that repeats its idioms has
less (Python's standard library: 0.24, 0.26, 0.07)."""

MIN_LINES = 100
"""Lines, or records, of which a share means something."""

RARE, RARE_FROM = 5, 50_000
"""A character that occurs less often is rare, in a text of so many characters or more."""


def check_corpus(
    corpus: Corpus, val: Corpus | None, options: PrepareOptions, progress: ProgressFactory = no_progress
) -> tuple[list[Finding], TextScan | None]:
    """Return all that is found in a text, faults first, and what was counted on the way; None: it cannot be read.

    Args:
        corpus, val, options: as for `prepare`; read with invalid UTF-8 replaced.
    """
    found, wide = [], [*_wide(corpus), *([] if val is None else _wide(val))]
    if wide:
        return wide, None
    scan = _scan(corpus, None, progress)
    found += in_sources(corpus, scan)
    if val is not None:
        found += in_sources(val, _scan(val, None, progress))
    duplicates = [*_duplicates(corpus, scan)]
    found += [*duplicates, *_repeats(corpus, val, options, bool(duplicates), progress), *_rare(scan)]
    for fault in corpus.row_faults:
        is_error = fault.startswith("left out: ")
        found.append(
            Finding("error" if is_error else "warning", "format", fault, "--errors skip" if is_error else None)
        )
    return sorted(found, key=lambda each: SEVERITIES.index(each.severity)), scan


def quick_findings(corpus: Corpus) -> list[Finding]:
    """Return the faults that are found in the first part of a text, and among its records; not those that reading it
    has found already, and that decoding it will."""
    if "replace" in corpus.stats.faults:
        return []
    scan = _scan(corpus, QUICK_BYTES, no_progress)
    found = in_sources(corpus, scan)
    if len(corpus.stats.record_hashes) <= QUICK_RECORDS:
        found += _duplicates(corpus, scan)
    where = f" in the first {QUICK_BYTES >> 20} MB" if corpus.size > QUICK_BYTES else ""
    return [
        dataclasses.replace(each, message=each.message + where)
        for each in found
        if each.severity == "warning" and each.kind not in ("line-ends", "bom", "encoding")
    ]


def _scan(corpus: Corpus, limit: int | None, progress: ProgressFactory) -> TextScan:
    scan = TextScan()
    with progress("checking", corpus.size) as advance:
        for block in blocks(corpus, limit):
            scan.add(block)
            advance(len(block.data))
    return scan


def _wide(corpus: Corpus) -> Iterator[Finding]:
    """Yield the sources that are UTF-16 or UTF-32."""
    if "replace" not in corpus.stats.faults:
        return
    for document in corpus.documents:
        try:
            Utf8Decoder("replace").decode(b"".join(document.chunks(0, min(HEAD_BYTES, document.size))), final=True)
        except InputError as error:
            mend = str(error).partition("convert it with ")[2]
            command = remedies.filter_command([mend], [document.name])
            message = str(error).partition("; convert")[0]
            yield Finding("error", "encoding", message, command, document.name, 1, 0, filter=mend)


def _duplicates(corpus: Corpus, scan: TextScan) -> Iterator[Finding]:
    """Yield how many lines, or records, are equal to earlier ones, if there are any."""
    separator, name, line = corpus.text_format.separator, "", None
    if separator:
        if corpus.weights is not None:
            return
        hashes = corpus.stats.record_hashes
        total, again, noun = len(hashes), len(hashes) - len(np.unique(hashes)), "record"
        mend = remedies.drop_repeated_records(separator)
    else:
        total, again, name, line = scan.lines.repeated(COUNTED_LINE)
        noun, mend = f"line of {COUNTED_LINE} bytes or more", remedies.drop_repeated_lines(COUNTED_LINE)
    if not again:
        return
    share = again / total
    message = f"{share:.1%} of {noun.replace(' ', 's ', 1) if ' ' in noun else noun + 's'} are equal to earlier ones"
    severity = "warning" if share > DUPLICATE_SHARE and total >= MIN_LINES else "info"
    command = None if severity == "info" else _corpus_command(mend, corpus, scan)
    yield Finding(severity, "duplicates", message, command, name or None, line, None, again, mend if command else "")


def _corpus_command(mend: str, corpus: Corpus, scan: TextScan) -> str | None:
    """Return the command that mends all of a text; None: its sources are not plain text."""
    names = [*scan.sources]
    plain = not corpus.text_format.is_structured and not any(map(is_fasta, names))
    return remedies.filter_command([mend], names) if plain else None


def _repeats(
    corpus: Corpus, val: Corpus | None, options: PrepareOptions, by_lines: bool, progress: ProgressFactory
) -> Iterator[Finding]:
    """Yield how the text is split, what of it repeats, and what of the text to validate on is trained on.

    Args:
        by_lines: whether there are lines that come again; without, leaving out lines mends nothing.
    """
    try:
        splits = training_splits(corpus, val, dataclasses.replace(options, errors="replace"))
    except InputError as error:
        yield Finding("error", "split", str(error), "--val 0")
        return
    chars = int(corpus.stats.chars.sum()) + (0 if val is None else int(val.stats.chars.sum()))
    separator = decode_utf8(corpus.text_format.separator, "replace")
    train, held_out = sides = [_Side(Stretches(sampling(chars), separator)) for _ in range(2)]
    with progress("finding repeats", sum(each.size for each, _ in splits)) as advance:
        for each, split in splits:
            for number, document in enumerate(each.documents):
                cut = split.cut(number)
                for chunk in document.chunks():
                    for side, part in zip(sides, cut(chunk), strict=True):
                        side.add(part)
                    advance(len(chunk))
    for side in sides:
        side.add(b"", final=True)
    text, val_text = train.stretches, held_out.stretches
    split_by = "by a hash of each record" if len(separator) else "the end of the text"
    if val is not None:
        split_by = "a text of its own"
    shown = f"{counted(val_text.chars, 'character')}: {split_by}" if val_text.chars else "none"
    yield Finding("info", "split", f"{counted(text.chars, 'character')} to train on; to validate on {shown}")
    known = "" if text.one_in == 1 else f" (at least: one of {text.one_in} stretches was compared)"
    for kind, covered, total, bound, where in (
        ("repeats", text.repeated(), text.chars, REPEAT_SHARE, "occur earlier in the text to train on"),
        ("leakage", val_text.found_in(text), val_text.chars, LEAK_SHARE, "the text to train on has too"),
    ):
        if not total:
            continue
        share = covered / total
        which = "to train on" if kind == "repeats" else "to validate on"
        message = f"{share:.1%} of the characters {which} are in stretches of {LENGTH} that {where}{known}"
        severity = "warning" if share > bound else "info"
        names = [*dict.fromkeys(_names(corpus))]
        mend = remedies.drop_repeated_lines(COUNTED_LINE) if by_lines else None
        if kind == "leakage" and val is not None:
            mend = remedies.drop_lines_of_input(_names(val), COUNTED_LINE)
        plain = not corpus.text_format.is_structured and not any(map(is_fasta, names)) and not len(separator)
        command = remedies.filter_command([mend], names) if severity == "warning" and plain and mend else None
        if severity == "warning" and command is None and kind == "leakage":
            command = "--val FILE"
        joined = mend if mend and command and val is None else ""
        yield Finding(severity, kind, message, command, count=covered, filter=joined)


def _names(corpus: Corpus) -> Sequence[str]:
    return [part.name for part in corpus.parts]


class _Side:
    """The text of one side of a split, which arrives in pieces of any size."""

    def __init__(self, stretches: Stretches) -> None:
        self.stretches = stretches
        self._splitter, self._held, self._size = Utf8Splitter(), list[bytes](), 0

    def add(self, data: bytes, final: bool = False) -> None:
        """Take the next bytes; `final` says that they are the last."""
        self._held.append(data)
        self._size += len(data)
        if self._size < STEP and not final:
            return
        data = self._splitter.feed(b"".join(self._held)) + (self._splitter.flush() if final else b"")
        self._held, self._size = [], 0
        if data.isascii():
            self.stretches.add(np.frombuffer(data, np.uint8).astype(np.uint32))
        else:
            text = data.decode("utf-8", "replace")
            self.stretches.add(np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.uint32, copy=False))


def _rare(scan: TextScan) -> Iterator[Finding]:
    """Yield which characters are rare."""
    known = np.flatnonzero(scan.counts)
    rare = known[scan.counts[known] < RARE]
    if scan.chars < RARE_FROM or not len(rare):
        return
    commonest = rare[np.argsort(-scan.counts[rare], kind="stable")][:3].tolist()
    named = ", ".join(f"{describe(chr(point))} ({scan.counts[point]})" for point in commonest)
    message = f"{len(rare):,} of {len(known):,} characters occur less than {RARE} times: {named}"
    yield Finding("info", "rare", message, f"--vocab-size {max(1, len(known) - len(rare))}", count=len(rare))
