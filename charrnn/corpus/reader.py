"""A corpus from its sources: texts that can be read again and again, whatever they came from."""

import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.corpus import formats, tables
from charrnn.corpus.corpus import Corpus
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
    arguments: Sequence[str] | Sources,
    form: TextFormat = PLAIN_TEXT,
    *,
    folder: Path | None = None,
    progress: ProgressFactory = no_progress,
    limit: int = MAX_IN_MEMORY,
) -> Corpus:
    """Read a corpus: into memory if it is not large.

    Args:
        arguments: words of the command line, or what `resolve_sources` made of them.
        form: what of it is text.
        folder: where a large text that can be read only once is kept meanwhile.
        bar: shows progress of what takes long.
        limit: bytes held in memory.

    Raises:
        InputError: a source cannot be read or is not of that form, or there is no text in any.
    """
    sources = arguments if isinstance(arguments, Sources) else resolve_sources(arguments)
    reader = _Reader(form, limit, folder, progress, sources.skipped.copy())
    for source in sources.sources:
        reader.read(source)
    told = [
        f"skipped {count} {kind} file{'s' if count > 1 else ''}"
        for kind, count in sorted(reader.skipped.items())
        if count
    ]
    if not reader.parts:
        raise InputError("; ".join([f"no text in {', '.join(map(quote, sources.given))}", *told]))
    told += [
        f"{source.name} is a list of records: --records learns each from its start to its end"
        for source in sources.sources
        if source.recipe is not None and source.recipe.records and not form.separator
    ]
    weights = np.array(reader.weights, np.int64) if form.weights else None
    return Corpus(sources.name, reader.parts, [*sources.notes, *told], form, weights, reader.fingerprints)


class _Reader:
    """Takes in one source after another."""

    def __init__(
        self, form: TextFormat, limit: int, folder: Path | None, progress: ProgressFactory, skipped: Counter[str]
    ) -> None:
        self.form, self.limit, self.progress, self.skipped = form, limit, progress, skipped
        self.spool = Spool(limit, folder)
        self.parts: list[Document | DocumentList] = []
        self.weights = array("q")
        self.fingerprints: dict[str, Any] = {}

    def read(self, source: Source) -> None:
        if source.recipe is not None:
            for text in source.recipe.texts(self.progress):
                self._take(text.name, [text.data])
        elif source.name == "-":
            with self.progress("reading stdin", None) as advance:
                self._take("stdin", _last_result(read_chunks(open_source("-"), CHUNK_BYTES), advance))
        else:
            self._file(source.name, source.found)

    def _file(self, path: str, found: bool) -> None:
        plain = os.path.isfile(path) and os.path.splitext(path)[1].lower() not in PACKED
        if os.path.isfile(path):
            self.fingerprints[path] = fingerprint(path)
        with open_source(path) as stream:
            chunks = read_chunks(stream, CHUNK_BYTES, path)
            start = next(chunks, b"")
            if found and b"\0" in start:
                self.skipped["binary"] += 1
            elif plain and not self._structured(path) and self.spool.size + os.path.getsize(path) > self.limit:
                self.parts.append(FileDocument(path))
            else:
                with self.progress("reading", os.path.getsize(path) if plain else None) as advance:
                    self._take(path, _last_result(chain([start], chunks), advance))

    def _structured(self, path: str) -> bool:
        form = self.form
        return form.weights or form.jsonl is not None or form.tsv is not None or formats.is_fasta(path)

    def _take(self, name: str, chunks: Iterable[bytes]) -> None:
        """Keep a plain text, or the texts that a structured one holds."""
        before = self.spool.size
        if not self._structured(name):
            self._keep(name, chunks)
        elif self.form.separator:
            self._keep(name, self._records(name, chunks))
        else:
            documents = DocumentList(name, self.spool)
            for line, data in self._found(name, chunks):
                documents.add(line, data)
            if self.spool.size > before:
                self.parts.append(documents)
        self.skipped["empty"] += self.spool.size == before

    def _keep(self, name: str, chunks: Iterable[bytes]) -> None:
        begin = self.spool.size
        for chunk in chunks:
            self.spool.write(chunk)
        if self.spool.size > begin:
            self.parts.append(SpooledDocument(name, self.spool, begin, self.spool.size - begin))

    def _found(self, name: str, chunks: Iterable[bytes]) -> Iterator[tables.Located]:
        form, called = self.form, name if name == "stdin" else quote(name)
        if form.jsonl is not None:
            yield from formats.read_json_lines(chunks, form.jsonl, called)
        elif form.tsv is not None:
            yield from tables.table(chunks, form.tsv, called)
        elif form.weights:
            for line, count, data in formats.counted_lines(chunks, called):
                self.weights.append(count)
                yield line, data
        else:
            yield from formats.fasta(chunks, called)

    def _records(self, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The texts that a source holds as records, many at a time."""
        separator, held, size = self.form.separator, list[bytes](), 0
        for line, data in self._found(name, chunks):
            if separator in data:
                raise InputError(
                    f"{name if name == 'stdin' else quote(name)}, line {line}: the text holds the separator"
                    f" {separator!r}, which would end the record; choose another --separator"
                )
            held += (data, separator)
            size += len(data)
            if size > CHUNK_BYTES:
                yield b"".join(held)
                held, size = [], 0
        yield b"".join(held)


def _last_result(chunks: Iterable[bytes], advance: Callable[[int], None]) -> Iterator[bytes]:
    for chunk in chunks:
        advance(len(chunk))
        yield chunk
