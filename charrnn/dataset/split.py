"""Which side of a corpus is trained on and which is validated on, before either is encoded."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.corpus.corpus import Corpus
from charrnn.corpus.documents import Document
from charrnn.corpus.records import select_records
from charrnn.errors import InputError
from charrnn.rng import RngStream, generator
from charrnn.tokenizers.utf8 import char_starts, count_chars

Texts = Iterator[tuple[Document, Iterator[bytes]]]
"""Texts, and of each the bytes that belong to the part."""


@dataclass(frozen=True)
class CorpusPart:
    """Some of a corpus's text, to be read any number of times.

    Attributes:
        corpus: what it is a part of.
        texts: reads it. size: its bytes, roughly.
        weights: as `Corpus.weights`, of this part's records.
    """

    corpus: Corpus
    texts: Callable[[], Texts]
    size: int
    weights: npt.NDArray[np.int64] | None = None


def whole(corpus: Corpus) -> CorpusPart:
    """All of it."""
    return CorpusPart(
        corpus, lambda: ((text, corpus.chunks(text)) for text in corpus.texts), corpus.size, corpus.weights
    )


def split_corpus(corpus: Corpus, fraction: float, *, by_char: bool, seed: int) -> tuple[CorpusPart, CorpusPart]:
    """What to train on, and the `fraction` to validate on: records chosen at random, else the end of the text.

    Of N symbols the first int(N * (1 - fraction)) are trained on, as nanoGPT cuts a text.

    Args:
        by_char: whether symbols are characters of UTF-8; else bytes.
        seed: of the choice of records.

    Raises:
        InputError: the text is too short.
    """
    stats = corpus.stats
    records = bool(corpus.form.separator)
    sizes = stats.chars if by_char else stats.sizes
    count = int(stats.records.sum() if records else sizes.sum())
    if fraction == 0:
        return whole(corpus), CorpusPart(corpus, lambda: iter(()), 0)
    held_out = max(1, round(count * fraction)) if records else count - int(count * (1 - fraction))
    if not 0 < held_out < count:
        needed = 2 if records else next(n for n in itertools.count(2) if int(n * (1 - fraction)))
        what = "records" if records else "symbols"
        raise InputError(
            f"the text has {count:,} {what}, and --val-fraction {fraction:g} needs {needed:,}, so that some are"
            " left to train on; lower it"
        )
    if records:
        return _choose(corpus, count, held_out, seed)
    return _cut(corpus, sizes, count - held_out, by_char)


def _choose(corpus: Corpus, count: int, held_out: int, seed: int) -> tuple[CorpusPart, CorpusPart]:
    kept = np.ones(count, bool)
    kept[generator(seed, RngStream.SPLIT).permutation(count)[:held_out]] = False
    firsts = np.cumsum(corpus.stats.records) - corpus.stats.records

    def texts(chosen: npt.NDArray[np.bool_]) -> Texts:
        for text, first in zip(corpus.texts, firsts.tolist(), strict=True):
            yield text, select_records(corpus.chunks(text), corpus.form.separator, chosen, first)

    size = int(corpus.size * held_out / count)
    weights = None if corpus.weights is None else corpus.weights[kept]
    return (
        CorpusPart(corpus, lambda: texts(kept), corpus.size - size, weights),
        CorpusPart(corpus, lambda: texts(~kept), size),
    )


def _cut(corpus: Corpus, sizes: npt.NDArray[np.int64], keep: int, by_char: bool) -> tuple[CorpusPart, CorpusPart]:
    ends = np.cumsum(sizes)
    middle = int(np.searchsorted(ends, keep, "left"))  # the text that is cut, perhaps at its end
    text = next(itertools.islice(corpus.texts, middle, None))
    place = _place(text, keep - int(ends[middle] - sizes[middle]), by_char)

    def texts(first: bool) -> Texts:
        for number, each in enumerate(corpus.texts):
            if number == middle:
                begin, end = (0, place) if first else (place, each.size)
            elif (number < middle) != first:
                continue
            else:
                begin, end = 0, each.size
            if begin < end:
                yield each, each.chunks(begin, end)

    size = int(corpus.stats.sizes[:middle].sum()) + place
    return CorpusPart(corpus, lambda: texts(True), size), CorpusPart(corpus, lambda: texts(False), corpus.size - size)


def _place(text: Document, symbols: int, by_char: bool) -> int:
    """Where in a text, in bytes, its first `symbols` symbols end."""
    if not by_char:
        return symbols
    begin = 0
    for chunk in text.chunks():
        count = count_chars(chunk)
        if symbols < count:
            return begin + int(char_starts(chunk)[symbols])
        symbols -= count
        begin += len(chunk)
    return begin
