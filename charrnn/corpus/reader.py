"""A corpus from its sources: documents that can be read again and again, whatever they came from.

Every source is read here once, from its beginning to its end. What cannot be read twice, or is small, goes into a
spool meanwhile; a large file stays where it is. All that later work asks about the bytes is counted on the way.
"""

import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.corpus import formats, tables
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
from charrnn.corpus.formats import PLAIN_TEXT, TextFormat
from charrnn.corpus.inputs import PACKED, open_source, read_chunks
from charrnn.corpus.sources import Source, Sources, resolve_sources
from charrnn.errors import InputError
from charrnn.files import quote

MAX_IN_MEMORY = 64 << 20
"""Bytes of text above which a corpus is no longer held in memory."""


def read_corpus(
    sources: Sequence[str] | Sources,
    text_format: TextFormat = PLAIN_TEXT,
    *,
    folder: Path | None = None,
    progress: ProgressFactory = no_progress,
    limit: int | None = None,
) -> Corpus:
    """Read a corpus for the first time: into memory if it is not large.

    Args:
        sources: what `resolve_sources` found, or the arguments that it takes.
        text_format: what of them is text.
        folder: where a large text that can be read only once is kept meanwhile.
        progress: shows progress of what takes long.
        limit: bytes held in memory; None: `MAX_IN_MEMORY`.

    Raises:
        InputError: a source cannot be read or is not of that format, or there is no text in any.
    """
    if not isinstance(sources, Sources):
        sources = resolve_sources(sources)
    limit = MAX_IN_MEMORY if limit is None else limit
    reader = _Reader(text_format, limit, folder, progress, sources.skipped.copy())
    for source in sources.sources:
        reader.read(source)
    notes = [
        f"skipped {count} {kind} file{'s' if count > 1 else ''}"
        for kind, count in sorted(reader.skipped.items())
        if count
    ]
    if not reader.parts:
        raise InputError("; ".join([f"no text in {', '.join(map(quote, sources.given))}", *notes]))
    notes += [
        f"{source.name} is a list of records: the option records learns each from its start to its end"
        for source in sources.sources
        if source.recipe is not None and source.recipe.records and not text_format.separator
    ]
    weights = np.array(reader.weights, np.int64) if text_format.weights else None
    if weights is not None:
        reader.stats.add_weights(weights)
    return Corpus(
        sources.name,
        reader.parts,
        reader.stats,
        [*sources.notes, *notes],
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
    ) -> None:
        self.text_format, self.limit, self.progress, self.skipped = text_format, limit, progress, skipped
        self.spool = Spool(limit, folder)
        self.stats = CorpusStats(text_format.separator)
        self.parts: list[Document | DocumentList] = []
        self.weights = array("q")
        self.fingerprints: dict[str, Any] = {}

    def read(self, source: Source) -> None:
        if source.recipe is not None:
            for document in source.recipe.documents(self.progress):
                self._spool_source(document.name, document.chunks())
        elif source.name == "-":
            with self.progress("reading stdin", None) as advance:
                self._spool_source("stdin", _watched(read_chunks(open_source("-"), CHUNK_BYTES), advance))
        else:
            self._read_file(source.name, source.found)

    def _read_file(self, path: str, found: bool) -> None:
        regular = os.path.isfile(path)
        plain = regular and os.path.splitext(path)[1].lower() not in PACKED
        size = os.path.getsize(path) if plain else None
        if regular:
            self.fingerprints[path] = fingerprint(path)
        large = size and not self._is_structured(path) and self.spool.size + size > self.limit
        document = FileDocument(path) if large else None
        with open_source(path) as stream:
            chunks = read_chunks(stream, CHUNK_BYTES, path) if document is None else document.chunks()
            start = next(chunks, b"")
            if found and b"\0" in start:
                self.skipped["binary"] += 1
                return
            with self.progress("reading", size) as advance:
                chunks = _watched(chain([start], chunks), advance)
                if document is None:
                    self._spool_source(path, chunks)
                else:
                    for chunk in chunks:
                        self.stats.add(chunk)
                    document.append(self._end_document(path))
                    self.parts.append(document)

    def _is_structured(self, path: str) -> bool:
        text_format = self.text_format
        return (
            text_format.weights
            or text_format.jsonl is not None
            or text_format.tsv is not None
            or formats.is_fasta(path)
        )

    def _spool_source(self, name: str, chunks: Iterable[bytes]) -> None:
        """Keep a source that is one text, or the texts that a structured one holds."""
        begin = self.spool.size
        if not self._is_structured(name):
            self._spool_document(name, chunks)
        elif self.text_format.separator:
            self._spool_document(name, self._records(name, chunks))
        else:
            documents = DocumentList(name, self.spool)
            for line, data in self._rows(name, chunks):
                self.stats.add(data)
                self._end_document(f"{name}, line {line}")
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
            self.spool.write(self._end_document(name))
            self.parts.append(SpooledDocument(name, self.spool, begin, self.spool.size - begin))

    def _end_document(self, name: str) -> bytes:
        """Return what the document's last record lacks of its separator, counted like the rest."""
        end = self.stats.missing_separator()
        if end:
            self.stats.add(end)
        self.stats.end_document(name)
        return end

    def _rows(self, name: str, chunks: Iterable[bytes]) -> Iterator[tables.Located]:
        """Yield the texts that a structured source holds."""
        text_format, quoted = self.text_format, name if name == "stdin" else quote(name)
        if text_format.jsonl is not None:
            yield from formats.read_json_lines(chunks, text_format.jsonl, quoted)
        elif text_format.tsv is not None:
            yield from tables.table(chunks, text_format.tsv, quoted)
        elif text_format.weights:
            for line, count, data in formats.counted_lines(chunks, quoted):
                self.weights.append(count)
                yield line, data
        else:
            yield from formats.fasta(chunks, quoted)

    def _records(self, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the texts that a structured source holds as records, many at a time."""
        separator, held, size = self.text_format.separator, list[bytes](), 0
        for line, data in self._rows(name, chunks):
            if separator in data:
                raise InputError(
                    f"{name if name == 'stdin' else quote(name)}, line {line}: the text holds the separator"
                    f" {separator!r}, which would end the record; choose another {{separator}}",
                    ("separator",),
                )
            held += (data, separator)
            size += len(data)
            if size > CHUNK_BYTES:
                yield b"".join(held)
                held, size = [], 0
        yield b"".join(held)


def _watched(chunks: Iterable[bytes], advance: Callable[[int], None]) -> Iterator[bytes]:
    """Yield chunks again; `advance` gets the size of each."""
    for chunk in chunks:
        advance(len(chunk))
        yield chunk
