"""The vocabulary of a corpus, and its ids."""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

import numpy as np

from charrnn.corpus.corpus import Corpus, Counts
from charrnn.corpus.documents import Document, ProgressFactory
from charrnn.corpus.records import SeparatorScanner
from charrnn.dataset.array_files import ArrayWriter
from charrnn.dataset.dataset import Ids, TextCounts
from charrnn.dataset.split import Split
from charrnn.errors import InputError
from charrnn.files import quote
from charrnn.tokenizers.byte import ByteTokenizer
from charrnn.tokenizers.char import CODE_POINTS, CharTokenizer
from charrnn.tokenizers.sentencepiece import SAMPLE, SentencePieceTokenizer
from charrnn.tokenizers.tokenizer import Encoder, Tokenizer
from charrnn.tokenizers.utf8 import STEP, CodePoints, Errors, Utf8Decoder, decode_utf8


def make_tokenizer(
    name: str,
    corpus: Corpus,
    split: Split,
    errors: Errors,
    *,
    vocab_size: int | None,
    progress: ProgressFactory,
) -> Tokenizer:
    """Return a tokenizer for a corpus.

    That of characters knows all that occur in the corpus, on whichever side: `trim_vocabulary` leaves those of the part
    to train on, once `encode` has counted them.

    Args:
        name: as `--tokenizer` has it.

    Raises:
        InputError: there are no characters to know. UsageError: there can be no vocabulary of that size.
    """
    if name == "byte":
        return ByteTokenizer()
    if name == "char":
        points = np.append(_code_points(corpus, errors), decode_utf8(corpus.text_format.separator))
        return CharTokenizer.from_text(points)
    with progress("training the tokenizer", split.train_bytes) as advance:
        kind = "bpe" if name == "sentencepiece-bpe" else "unigram"
        return SentencePieceTokenizer.train(_sample(corpus, split, errors, advance), vocab_size, kind)


def _code_points(corpus: Corpus, errors: Errors) -> CodePoints:
    """Return the code points of a corpus, which is read for that if what is invalid in it becomes U+FFFD."""
    if errors == "strict" or not corpus.stats.faults:
        return corpus.stats.code_points
    occurs = np.zeros(CODE_POINTS, np.bool_)
    for document in corpus.documents:
        decoder = Utf8Decoder(errors)
        for chunk in itertools.chain(document.chunks(), [b""]):
            occurs[decoder.decode(chunk, final=not chunk)] = True
    return np.flatnonzero(occurs).astype(np.uint32)


def _sample(corpus: Corpus, split: Split, errors: Errors, advance: Callable[[int], None]) -> Iterator[str]:
    """Yield about `SAMPLE` characters of what is trained on, taken evenly: a share of every chunk."""
    share = min(1.0, SAMPLE / max(1, split.train_bytes))
    for points in _trained_on(corpus, split, errors, advance):
        sampled = points[: math.ceil(len(points) * share)]
        yield sampled.astype("<u4", copy=False).tobytes().decode("utf-32-le")


def _trained_on(corpus: Corpus, split: Split, errors: Errors, advance: Callable[[int], None]) -> Iterator[CodePoints]:
    """Yield the code points of what is trained on, chunk by chunk."""
    for number, document in enumerate(corpus.documents):
        cut, decoder = split.cut(number), Utf8Decoder(errors)
        for chunk in itertools.chain(document.chunks(), [b""]):
            data, _ = cut(chunk)
            with _named(document):
                points = decoder.decode(data, final=not chunk)
            yield points
            advance(len(data))


def grow_vocabulary(
    tokenizer: CharTokenizer, corpus: Corpus, split: Split, errors: Errors, progress: ProgressFactory
) -> CharTokenizer:
    """Return a tokenizer that knows the characters of another, and those that are trained on besides.

    The corpus is read for that only where it has characters that are new.

    Raises:
        InputError: a document cannot be decoded or read.
    """
    known = np.zeros(CODE_POINTS, np.bool_)
    known[tokenizer.table] = True
    if known[_code_points(corpus, errors)].all():
        return tokenizer
    with progress("reading the vocabulary", split.train_bytes) as advance:
        for points in _trained_on(corpus, split, errors, advance):
            known[points] = True
    return CharTokenizer(np.flatnonzero(known).astype(np.uint32))


class StreamWriter:
    """One side of a corpus while it is encoded: ids, where texts or records begin, and how much there is.

    Args:
        ids: takes the ids. starts: takes where texts, or records, begin.
        separator: what ends each record; empty: the texts are not records.
        excerpt: is given each chunk too, with the number of its document.
        count_ids: whether to count how often each id occurs.

    Attributes:
        id_counts: how often each id occurs, int64, (V,); zeros where ids are not counted.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        errors: Errors,
        ids: ArrayWriter,
        starts: ArrayWriter,
        *,
        separator: bytes,
        excerpt: Callable[[int, bytes], None],
        count_ids: bool,
    ) -> None:
        self.ids, self.starts = ids, starts
        self.id_counts: Counts = np.zeros(tokenizer.size, np.int64)
        self._tokenizer, self._errors, self._count_ids = tokenizer, errors, count_ids
        self._separator = tokenizer.encode(separator) if separator else None
        self._excerpt = excerpt
        self._totals = asdict(TextCounts())
        self._encoder: Encoder | None = None  # of the document at hand, once there is something of it
        self._scanner: SeparatorScanner | None = None
        self._start = 0  # of the text or record at hand
        ids.add(tokenizer.encode(b""))  # their types, should nothing follow
        starts.add(np.zeros(0, np.int64))

    def add(self, number: int, chunk: bytes) -> None:
        """Encode the next bytes, which belong to the document of this number.

        Raises:
            InputError: they cannot be decoded. OSError: the ids cannot be written.
        """
        if not chunk:
            return
        if self._encoder is None:
            self._encoder = self._tokenizer.encoder(self._errors)
            self._scanner = SeparatorScanner(self._separator) if self._separator is not None else None
            self._start = self.ids.size
        for begin in range(0, len(chunk), STEP):
            self._write(self._encoder.feed(chunk[begin : begin + STEP]))
        self._excerpt(number, chunk)

    def end_document(self) -> None:
        """Encode what is held back of the document at hand, if there is any. Raises as `add`."""
        if self._encoder is None:
            return
        self._write(self._encoder.feed(b"", True))
        assert self._scanner is None or self._start == self.ids.size, "a record has not ended"
        for name in self._totals:
            self._totals[name] += getattr(self._encoder, name)
        self._encoder = None

    @property
    def counts(self) -> TextCounts:
        """How much has been encoded, of documents that have ended."""
        return TextCounts(**self._totals)

    def _write(self, ids: Ids) -> None:
        if not len(ids):
            return
        if self._scanner is not None:
            bounds = np.append(self._start, self._scanner.feed(ids) + self.ids.size)
            self.starts.add(bounds[:-1])
            self._start = int(bounds[-1])
        elif self.ids.size == self._start:
            self.starts.add(np.array([self._start], np.int64))
        if self._count_ids:
            found = np.bincount(ids)
            self.id_counts[: found.size] += found
        self.ids.add(ids)

    def remap(self, new_ids: Ids, unknown: int) -> None:
        """Give every id the new one that `new_ids` has for it. Raises OSError."""
        self.ids.remap(new_ids)
        self._totals["unknowns"] = int(self.id_counts[new_ids == unknown].sum())


def encode(
    corpus: Corpus, split: Split, train: StreamWriter, val: StreamWriter, advance: Callable[[int], None]
) -> None:
    """Encode a corpus, each document read once: every part of it by the writer of its side.

    Raises:
        InputError: a document cannot be decoded or read. OSError: ids cannot be written.
    """
    for number, document in enumerate(corpus.documents):
        cut = split.cut(number)
        for chunk in document.chunks():
            with _named(document):
                for writer, part in zip((train, val), cut(chunk), strict=True):
                    writer.add(number, part)
            advance(len(chunk))
        with _named(document):
            train.end_document()
            val.end_document()


@contextmanager
def _named(document: Document) -> Iterator[None]:
    """Put a document's name in front of what cannot be decoded in it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{quote(document.name)}: {error}") from None


def trim_vocabulary(
    tokenizer: CharTokenizer, train: StreamWriter, val: StreamWriter, separator: bytes, vocab_size: int | None
) -> CharTokenizer:
    """Return the tokenizer of the characters that are trained on, or the commonest of them; both sides get its ids.

    The separator is known, however few records there are.

    Raises:
        InputError: there are none. OSError: ids cannot be written.
    """
    counts = np.zeros(CODE_POINTS, np.int64)
    counts[tokenizer.table] = train.id_counts[: len(tokenizer.table)]
    points = decode_utf8(separator)
    counts[points] = counts.max() + 1
    trimmed = CharTokenizer.from_counts(counts, vocab_size)
    if trimmed.size < tokenizer.size:
        unknown = np.uint32(CODE_POINTS)  # no vocabulary has it
        new_ids = trimmed.ids_of(np.append(tokenizer.table, unknown))
        for writer in (train, val):
            writer.remap(new_ids, len(trimmed.table))
    return trimmed
