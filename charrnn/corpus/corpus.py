"""A corpus: documents in order, and what was counted while they were first read."""

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.corpus.documents import Document, DocumentList, MemoryDocument
from charrnn.corpus.faults import ADVICE_FIELDS, BYTE_ADVICE, LATIN1_ADVICE
from charrnn.corpus.formats import PLAIN_TEXT, TextFormat
from charrnn.corpus.records import HASH_BYTES, Hashes, RecordHasher, SeparatorScanner, missing_separator
from charrnn.errors import InputError
from charrnn.files import quote
from charrnn.tokenizers.utf8 import BOM, STEP, CodePoints, Errors, Utf8Decoder, count_chars

Counts = npt.NDArray[np.int64]


class CorpusStats:
    """What is counted while the documents of a corpus are read for the first time: `add` takes their chunks.

    Args:
        separator: what ends each record; empty: the texts are not records.
        is_utf8: whether they are to be decoded; else nothing is known of faults, marks and code points.

    Attributes:
        faults: the first document that cannot be decoded, and where it cannot, as a message: under "strict" because of
            invalid UTF-8, under "strict" and "replace" because it is UTF-16 or UTF-32. No entry where all can be.
        marks: how many documents begin with a byte order mark.
        inner_mark: the first document with one that is not at its start; empty: there is none.
    """

    def __init__(self, separator: bytes = b"", *, is_utf8: bool = True) -> None:
        self._is_utf8 = is_utf8
        self.faults: dict[Errors, str] = {}
        self.marks = 0
        self.inner_mark = ""
        self._occurs = np.zeros(0x110000, np.bool_)
        self._ascii = b""  # the characters of ASCII that occur
        self._separator = np.frombuffer(separator, np.uint8)
        self._digest = hashlib.sha256()
        self._sizes, self._chars, self._records = array("q"), array("q"), array("q")
        self._block_sizes, self._block_chars = array("q"), array("q")
        self._hashes = array("I")  # of records; four bytes each
        self._first_blocks = array("q", [0])
        self._begin_document()

    def _begin_document(self) -> None:
        self._size = self._char_count = self._record_count = 0
        self._scanner = SeparatorScanner(self._separator) if len(self._separator) else None
        self._hasher = RecordHasher()
        # None: the document cannot be decoded, or need not be
        self._decoder: Utf8Decoder | None = Utf8Decoder() if self._is_utf8 else None
        self._fault = ""
        self._refused: tuple[Errors, ...] = ()  # where the fault counts

    def add(self, chunk: bytes) -> None:
        """Count the next bytes of the document at hand."""
        self._digest.update(chunk)
        chars = count_chars(chunk)
        self._block_sizes.append(len(chunk))
        self._block_chars.append(chars)
        self._size += len(chunk)
        self._char_count += chars
        if self._scanner is not None:
            for begin in range(0, len(chunk), HASH_BYTES):
                data = np.frombuffer(chunk[begin : begin + HASH_BYTES], np.uint8)
                hashes = self._hasher.feed(data, self._scanner.feed(data))
                self._hashes.frombytes(hashes.tobytes())
                self._record_count += len(hashes)
        self._decode(chunk)

    def _decode(self, chunk: bytes, final: bool = False) -> None:
        for begin in range(0, max(len(chunk), 1), STEP):
            if self._decoder is None:
                return
            try:
                block = chunk[begin : begin + STEP]
                is_ascii = self._decoder.skip(block)
                points = np.frombuffer(block, np.uint8) if is_ascii else self._decoder.decode(block, final)
            except InputError as error:
                self._fault = str(error)
                self._refused = ("strict",) if self._decoder.fault else ("strict", "replace")
                self._decoder = None
            else:
                self._note(block, points)

    def _note(self, block: bytes, points: npt.NDArray[Any]) -> None:
        """Note the code points of a block: mostly none is new, and that is found out faster than they are counted."""
        if block.isascii() and not block.translate(None, self._ascii):
            return
        if not self._occurs.take(points, mode="clip").all():
            self._occurs[points] = True
            self._ascii = np.flatnonzero(self._occurs[:128]).astype(np.uint8).tobytes()

    def missing_separator(self) -> bytes:
        """Return what the last record of the document at hand lacks of its separator, to be added next."""
        return missing_separator(self._scanner) if self._scanner is not None else b""

    def end_document(self, name: str) -> None:
        """Say that the document at hand has been read whole; `name` is what messages call it."""
        self._decode(b"", final=True)
        for errors in self._refused:
            self.faults.setdefault(errors, f"{name}: {self._fault}")
        self.marks += self._decoder is not None and self._decoder.bom
        if not self.inner_mark and self._occurs[BOM]:
            self.inner_mark = name
        self._digest.update(self._size.to_bytes(8, "little"))
        self._sizes.append(self._size)
        self._chars.append(self._char_count)
        self._records.append(self._record_count)
        self._first_blocks.append(len(self._block_sizes))
        self._begin_document()

    def add_weights(self, weights: Counts) -> None:
        """Count how often each record counts, after the last document."""
        self._digest.update(weights.astype("<i8").tobytes())

    def check(self, errors: Errors) -> None:
        """Check that all documents can be decoded.

        Raises:
            InputError: one cannot.
        """
        if (fault := self.faults.get(errors)) is not None:
            known = errors == "replace" or "this looks like" in fault
            raise InputError(fault if known else fault + LATIN1_ADVICE + BYTE_ADVICE, ADVICE_FIELDS)

    @property
    def sha256(self) -> str:
        """A digest, in hex, of the documents and of where each ends; not of their names."""
        return self._digest.hexdigest()

    @property
    def sizes(self) -> Counts:
        """Bytes of each document, (D,)."""
        return np.array(self._sizes, np.int64)

    @property
    def chars(self) -> Counts:
        """Characters of each document, (D,): bytes that begin one in UTF-8."""
        return np.array(self._chars, np.int64)

    @property
    def records(self) -> Counts:
        """Records of each document, (D,)."""
        return np.array(self._records, np.int64)

    @property
    def record_hashes(self) -> Hashes:
        """A hash of each record, its separator included, (R,)."""
        return np.frombuffer(self._hashes, np.uint32)

    @property
    def code_points(self) -> CodePoints:
        """Code points that occur, ascending, byte order marks left out; of a document with a fault, some may lack."""
        return np.flatnonzero(self._occurs).astype(np.uint32)

    def blocks(self, number: int) -> tuple[Counts, Counts]:
        """Return bytes and characters of each block in which a document was read, (B,) each; `number` is its own."""
        first, end = self._first_blocks[number : number + 2]
        return np.array(self._block_sizes[first:end], np.int64), np.array(self._block_chars[first:end], np.int64)


@dataclass(frozen=True)
class Corpus:
    """Documents in the order they were named, none of them empty, all records ended.

    Attributes:
        name: as `Sources.name`.
        parts: documents, or sequences of them, to be read any number of times.
        stats: what was counted while they were first read.
        notes: sentences for the user, such as what was skipped. warnings: those that matter more. row_faults: those of
            the warnings that are about lines, rows and records.
        text_format: how they were read.
        weights: int64, how often each record counts; None: once.
        fingerprints: of the files read, by which a change is noticed later.
    """

    name: str
    parts: Sequence[Document | DocumentList]
    stats: CorpusStats
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    row_faults: Sequence[str] = ()
    text_format: TextFormat = PLAIN_TEXT
    weights: Counts | None = None
    fingerprints: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_texts(
        cls, texts: Iterable[tuple[str, bytes]], text_format: TextFormat = PLAIN_TEXT, weights: Counts | None = None
    ) -> "Corpus":
        """Return a corpus of named texts in memory."""
        stats, documents = CorpusStats(text_format.separator), list[MemoryDocument]()
        for name, data in texts:
            for chunk in MemoryDocument(name, data).chunks():
                stats.add(chunk)
            if end := stats.missing_separator():
                stats.add(end)
            if data:
                stats.end_document(quote(name))
                documents.append(MemoryDocument(name, data + end))
        if weights is not None:
            stats.add_weights(weights)
        return cls("texts", documents, stats, text_format=text_format, weights=weights)

    @property
    def documents(self) -> Iterator[Document]:
        """Its documents, in order."""
        for part in self.parts:
            if isinstance(part, DocumentList):
                yield from part
            else:
                yield part

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(part.size for part in self.parts)

    @property
    def sha256(self) -> str:
        """As `CorpusStats.sha256`."""
        return self.stats.sha256
