"""A corpus: texts in order, and what reading them once has told."""

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.corpus.documents import Document, DocumentList, ProgressFactory, no_progress
from charrnn.corpus.formats import PLAIN_TEXT, TextFormat
from charrnn.corpus.records import SeparatorScanner, with_final_separator
from charrnn.tokenizers.utf8 import count_chars


@dataclass(frozen=True)
class Corpus:
    """Texts in the order they were named, none of them empty.

    Attributes:
        name: as `Sources.name`.
        parts: texts, or sequences of them, to be read any number of times. All records are ended.
        form: how they were read.
        weights: int64, how often each record counts; None: once.
        notes: sentences for the user, such as what was skipped.
        fingerprints: of the files read, to tell later whether they have changed.
    """

    name: str
    parts: Sequence[Document | DocumentList]
    notes: list[str] = field(default_factory=list)
    form: TextFormat = PLAIN_TEXT
    weights: npt.NDArray[np.int64] | None = None
    fingerprints: dict[str, Any] = field(default_factory=dict)

    @property
    def texts(self) -> Iterator[Document]:
        """Its texts."""
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
        """A digest, in hex, of the texts and of where each ends; not of their names."""
        return self.stats.sha256

    @cached_property
    def stats(self) -> "CorpusStats":
        """What reading it once has told."""
        return self.scan(no_progress)

    def scan(self, progress: ProgressFactory) -> "CorpusStats":
        """Read it all, and keep the result for `stats`."""
        if "stats" in self.__dict__:
            return self.stats
        digest = hashlib.sha256()
        chars, sizes, records = array("q"), array("q"), array("q")
        with progress("reading", self.size) as advance:
            for text in self.texts:
                ends = SeparatorScanner(np.frombuffer(self.form.separator, np.uint8)) if self.form.separator else None
                size = count = found = 0
                for chunk in self.chunks(text):
                    symbols = np.frombuffer(chunk, np.uint8)
                    digest.update(chunk)
                    size += len(chunk)
                    count += count_chars(chunk)
                    found += len(ends.feed(symbols)) if ends else 0
                    advance(len(chunk))
                digest.update(size.to_bytes(8, "little"))
                sizes.append(size)
                chars.append(count)
                records.append(found)
        if self.weights is not None:
            digest.update(self.weights.astype("<i8").tobytes())
        made = CorpusStats(digest.hexdigest(), *(np.array(each, np.int64) for each in (sizes, chars, records)))
        self.__dict__["stats"] = made
        return made

    def chunks(self, text: Document) -> Iterator[bytes]:
        """A text's bytes; of records the last one's end too."""
        return with_final_separator(text.chunks(), self.form.separator) if self.form.separator else text.chunks()


@dataclass(frozen=True)
class CorpusStats:
    """What reading a corpus once tells.

    Attributes:
        sha256: as `Corpus.sha256`.
        sizes, chars, records: int64, of each text: bytes, characters of UTF-8 (bytes that begin one), records.
    """

    sha256: str
    sizes: npt.NDArray[np.int64]
    chars: npt.NDArray[np.int64]
    records: npt.NDArray[np.int64]
