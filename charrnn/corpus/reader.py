"""A corpus from its sources: documents that can be read again and again, whatever they came from.

Every source is read here once, from its beginning to its end. What cannot be read twice, or is small, goes into a
spool meanwhile; a large file stays where it is. All that later work asks about the bytes is counted on the way.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.corpus.corpus import Corpus, CorpusStats
from charrnn.corpus.documents import (
    CHUNK_BYTES,
    Document,
    DocumentList,
    FileDocument,
    ProgressFactory,
    Spool,
    SpooledDocument,
    fingerprint,
    no_progress,
)
from charrnn.corpus.faults import LeftOut, LineEnds, line_end_warning, shown_name
from charrnn.corpus.formats import PLAIN_TEXT, TextFormat
from charrnn.corpus.inputs import PACKED, archive_error, is_archive, open_chunks, open_source, read_chunks
from charrnn.corpus.rows import TextRows
from charrnn.corpus.sources import Source, Sources, resolve_sources
from charrnn.errors import InputError
from charrnn.files import quote
from charrnn.tokenizers.utf8 import HEAD_BYTES, Errors, Utf8Decoder

MAX_IN_MEMORY = 64 << 20
"""Bytes of text above which a corpus is no longer held in memory."""


def read_corpus(
    sources: Sequence[str] | Sources,
    text_format: TextFormat = PLAIN_TEXT,
    *,
    errors: Errors = "strict",
    is_utf8: bool = True,
    folder: Path | None = None,
    progress: ProgressFactory = no_progress,
    limit: int | None = None,
) -> Corpus:
    """Read a corpus for the first time: into memory if it is not large.

    Args:
        sources: what `resolve_sources` found, or the arguments that it takes.
        text_format: what of them is text.
        errors: "strict"; "replace", for invalid UTF-8; or "skip": files, lines and records that cannot be used are left
            out. Invalid UTF-8 in a text that is all of a source is found here with "skip" alone, otherwise when the
            text is decoded.
        is_utf8: whether the texts have to be UTF-8: bytes as tokens may be any.
        folder: where a large text that can be read only once is kept meanwhile.
        progress: shows progress of what takes long.
        limit: bytes held in memory; None: `MAX_IN_MEMORY`.

    Raises:
        InputError: a source cannot be read or is not of that format, or there is no text in any.
    """
    if not isinstance(sources, Sources):
        sources = resolve_sources(sources)
    limit = MAX_IN_MEMORY if limit is None else limit
    reader = _Reader(
        text_format, limit, folder, progress, sources.skipped.copy(), errors, is_utf8, len(sources.sources) > 1
    )
    for source in sources.sources:
        reader.read(source)
    notes = [
        f"skipped {count} {kind} file{'s' if count > 1 else ''}"
        for kind, count in sorted(reader.skipped.items())
        if count
    ]
    if is_utf8 and reader.stats.marks:
        notes.append(f"dropped {reader.stats.marks:,} byte order mark{'s' if reader.stats.marks > 1 else ''}")
    row_faults = reader.row_faults()
    warnings = [*row_faults, *reader.text_faults()]
    if not reader.parts:
        reader.rows.field.check()
        raise InputError("; ".join([f"no text in {', '.join(map(quote, sources.given))}", *notes, *warnings]))
    notes += [
        f"{source.name} is a list of records: the option records learns each from its start to its end"
        for source in sources.sources
        if source.recipe is not None and source.recipe.records and not text_format.separator
    ]
    weights = np.array(reader.rows.weights, np.int64) if text_format.weights else None
    if weights is not None:
        reader.stats.add_weights(weights)
    return Corpus(
        sources.name,
        reader.parts,
        reader.stats,
        [*sources.notes, *notes],
        warnings,
        row_faults,
        text_format,
        weights,
        reader.fingerprints,
    )


class _Reader:
    """Takes in one source after another."""

    def __init__(
        self,
        text_format: TextFormat,
        limit: int,
        folder: Path | None,
        progress: ProgressFactory,
        skipped: Counter[str],
        errors: Errors,
        is_utf8: bool,
        several: bool,
    ) -> None:
        self.text_format, self.limit, self.progress, self.skipped = text_format, limit, progress, skipped
        self.is_utf8, self.left_out, self.advice = is_utf8, LeftOut(errors), None if several else ""
        self.rows = TextRows(text_format, errors, is_utf8, self.left_out)
        self.spool = Spool(limit, folder)
        self.stats = CorpusStats(text_format.separator, is_utf8=is_utf8)
        self.parts: list[Document | DocumentList] = []
        self.fingerprints: dict[str, Any] = {}
        self.line_ends: dict[str, list[str]] = {"CRLF": [], "CR": []}  # names of sources

    def read(self, source: Source) -> None:
        if source.recipe is not None:
            for document in source.recipe.documents(self.progress):
                self._spool_source(document.name, document.chunks())
        elif source.name == "-":
            with self.progress("reading stdin", None) as advance:
                chunks = read_chunks(open_source("-"), CHUNK_BYTES)
                start = next(chunks, b"")
                self._check("stdin", start)
                self._read_chunks("stdin", chain([start], chunks), advance)
        else:
            self._read_file(source.name, source.found)

    def row_faults(self) -> list[str]:
        """Return what a user should know of the lines, rows and records that were read, as sentences."""
        found, field = [self.left_out.warning], self.rows.field
        if field.replaced:
            found.append(f"{field.replaced:,} invalid pieces of UTF-8 in JSON are read as U+FFFD")
        if field.missing:
            found.append(
                f"{field.missing:,} of {field.objects:,} objects have no text in the field {field.name!r}, or no"
                " string: they are left out"
            )
        return [*filter(None, found)]

    def text_faults(self) -> list[str]:
        """Return what a user should know of the text itself, likewise."""
        found = [line_end_warning(kind, names) for kind, names in self.line_ends.items() if names]
        if self.is_utf8 and self.stats.inner_mark:
            found.append(
                f"{self.stats.inner_mark} has byte order marks, U+FEFF, inside, which are learnt:"
                r" perl -pe 's/\xEF\xBB\xBF//g' FILE > NEW leaves them out"
            )
        return found

    def _read_file(self, path: str, found: bool) -> None:
        if found and is_archive(path):
            self.skipped["archive"] += 1
            return
        try:
            stream = open_source(path)
        except InputError as error:
            self.left_out.add("file", error, self.advice)
            return
        regular = os.path.isfile(path)
        plain = regular and os.path.splitext(path)[1].lower() not in PACKED
        size = os.path.getsize(path) if plain else None
        large = size and not self.rows.are_in(path) and self.spool.size + size > self.limit
        document = FileDocument(path) if large else None
        with stream:
            chunks = read_chunks(stream, CHUNK_BYTES, path) if document is None else document.chunks()
            try:
                start = next(chunks, b"")
                if found and b"\0" in start:
                    self.skipped["binary"] += 1
                    return
                self._check(path, start, regular=regular)
            except InputError as error:
                self.left_out.add("file", error, self.advice)
                return
            if regular:
                self.fingerprints[path] = fingerprint(path)
            with self.progress("reading", size) as advance:
                self._read_chunks(path, chain([start], chunks), advance, document)

    def _check(self, name: str, start: bytes, *, regular: bool = False) -> None:
        """Raise InputError if a source can be no text, as far as that is known from its first bytes; where files can be
        left out, from all of a file that is one text."""
        if not self.is_utf8:
            return
        if start[257:262] == b"ustar":
            raise archive_error(name)
        structured = self.rows.are_in(name)
        if not structured and not (self.left_out.skips and regular):
            return
        decoder = Utf8Decoder("replace" if structured else "strict")
        for chunk in [start[:HEAD_BYTES]] if structured else chain(open_chunks(name), [b""]):
            try:
                decoder.decode(chunk, final=not chunk)
            except InputError as error:
                raise error.prefixed(shown_name(name)) from None

    def _read_chunks(
        self, name: str, chunks: Iterable[bytes], advance: Callable[[int], None], document: FileDocument | None = None
    ) -> None:
        """Read a source, into the spool where it has no document."""
        ends = LineEnds()

        def watched() -> Iterator[bytes]:
            for chunk in chunks:
                advance(len(chunk))
                ends.add(chunk)
                yield chunk

        try:
            if document is None:
                self._spool_source(name, watched())
            else:
                for chunk in watched():
                    self.stats.add(chunk)
                document.append(self._end_document(shown_name(name)))
                self.parts.append(document)
        except InputError as error:
            if ends.kind != "CR":
                raise
            raise InputError(f"{error.text}; {line_end_warning('CR', [shown_name(name)])}", error.fields) from None
        if ends.kind == "CR" or (ends.kind and not self.rows.are_in(name)):
            self.line_ends[ends.kind].append(shown_name(name))

    def _spool_source(self, name: str, chunks: Iterable[bytes]) -> None:
        """Keep a source that is one text, or the texts that a structured one holds."""
        begin = self.spool.size
        if not self.rows.are_in(name):
            self._spool_document(name, chunks)
        elif self.text_format.separator:
            self._spool_document(name, self._records(name, chunks))
        else:
            documents = DocumentList(name, self.spool)
            for line, data in self.rows.read(name, chunks):
                self.stats.add(data)
                self._end_document(f"{shown_name(name)}, line {line}")
                documents.add(line, data)
            if self.spool.size > begin:
                self.parts.append(documents)
        self.skipped["empty"] += self.spool.size == begin

    def _spool_document(self, name: str, chunks: Iterable[bytes]) -> None:
        begin = self.spool.size
        for chunk in chunks:
            self.stats.add(chunk)
            self.spool.write(chunk)
        if self.spool.size > begin:
            self.spool.write(self._end_document(shown_name(name)))
            self.parts.append(SpooledDocument(name, self.spool, begin, self.spool.size - begin))

    def _end_document(self, name: str) -> bytes:
        """Return what the document's last record lacks of its separator, counted like the rest.

        Args:
            name: as messages have it.
        """
        end = self.stats.missing_separator()
        if end:
            self.stats.add(end)
        self.stats.end_document(name)
        return end

    def _records(self, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the texts that a structured source holds as records, many at a time."""
        separator, held, size = self.text_format.separator, list[bytes](), 0
        for _, data in self.rows.read(name, chunks):
            held += (data, separator)
            size += len(data)
            if size > CHUNK_BYTES:
                yield b"".join(held)
                held, size = [], 0
        yield b"".join(held)
