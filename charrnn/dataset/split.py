"""Which side of a corpus is trained on and which is validated on.

A `Split` is asked once for each document, and gives a function that takes its chunks one after another and cuts each:
`encode` reads a document once and fills both sides.
"""

import itertools
import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from charrnn.corpus.corpus import Corpus, Counts
from charrnn.corpus.records import SeparatorScanner, keyed
from charrnn.errors import InputError
from charrnn.rng import RngStream, generator
from charrnn.tokenizers.utf8 import char_starts

ChunkCut = Callable[[bytes], tuple[bytes, bytes]]
"""Takes a document's chunks in order and returns of each the bytes to train on and those to validate on."""


class Split(Protocol):
    """Cuts the documents of a corpus.

    Attributes:
        train_bytes: about how many bytes are trained on.
        train_weights: how often each record to train on counts; None: once.
    """

    train_bytes: int
    train_weights: Counts | None

    def cut(self, number: int) -> ChunkCut:
        """Return what cuts the chunks of the document of this number."""


def _train_on(chunk: bytes) -> tuple[bytes, bytes]:
    return chunk, b""


def _validate_on(chunk: bytes) -> tuple[bytes, bytes]:
    return b"", chunk


class WholeSplit:
    """All of a corpus on one side. See `Split`."""

    def __init__(self, corpus: Corpus, *, train: bool) -> None:
        self.train_bytes = corpus.size if train else 0
        self.train_weights = corpus.weights if train else None
        self._cut = _train_on if train else _validate_on

    def cut(self, number: int) -> ChunkCut:
        """See `Split.cut`."""
        return self._cut


class PositionSplit:
    """The beginning of a corpus to train on, the rest to validate on. See `Split`.

    Args:
        middle: the number of the document that is cut. position: in it, in bytes.
    """

    def __init__(self, corpus: Corpus, middle: int, position: int) -> None:
        self.train_bytes = int(corpus.stats.sizes[:middle].sum()) + position
        self.train_weights: Counts | None = None
        self._middle, self._position = middle, position

    def cut(self, number: int) -> ChunkCut:
        """See `Split.cut`."""
        if number != self._middle:
            return _train_on if number < self._middle else _validate_on
        left = self._position

        def cut(chunk: bytes) -> tuple[bytes, bytes]:
            nonlocal left
            train, val = chunk[:left], chunk[left:]
            left -= len(train)
            return train, val

        return cut


class RecordSplit:
    """Chosen records to validate on, all others to train on. See `Split`.

    Args:
        train: whether a record is trained on, in the order of the corpus, (R,).
    """

    def __init__(self, corpus: Corpus, train: npt.NDArray[np.bool_]) -> None:
        held_out = int(np.count_nonzero(~train))
        self.train_bytes = corpus.size - int(corpus.size * held_out / len(train))
        self.train_weights = None if corpus.weights is None else corpus.weights[train]
        self._train = train
        self._separator = np.frombuffer(corpus.text_format.separator, np.uint8)
        self._firsts = np.cumsum(corpus.stats.records) - corpus.stats.records

    def cut(self, number: int) -> ChunkCut:
        """See `Split.cut`."""
        first, scanner = int(self._firsts[number]), SeparatorScanner(self._separator)

        def cut(chunk: bytes) -> tuple[bytes, bytes]:
            nonlocal first
            data = np.frombuffer(chunk, np.uint8)
            ends = scanner.feed(data)
            lengths = np.diff(ends, prepend=0, append=len(data))
            sides = self._train[first : first + len(lengths)]
            # after the last separator of all there is no further record
            sides = np.append(sides, np.zeros(len(lengths) - len(sides), bool))
            first += len(ends)
            train = np.repeat(sides, lengths)
            return data[train].tobytes(), data[~train].tobytes()

        return cut


def split_corpus(
    corpus: Corpus, fraction: float, *, by_char: bool, split_seed: int, random_split: int | None = None
) -> Split:
    """Return a split with the `fraction` to validate on: the end of the text, or chosen records.

    Of N characters or bytes the first int(N * (1 - fraction)) are trained on, as nanoGPT cuts a text. Of records those
    with the smallest hashes are held out: which these are depends on what they are and on the key alone, and
    equal ones are on one side.

    Args:
        by_char: whether characters of UTF-8 are counted; else bytes.
        split_seed: the key of the records' hashes.
        random_split: the seed of a choice of records at random, as earlier versions made it; None: by their hashes.

    Raises:
        InputError: the text is too short, or all its records are equal.
    """
    if fraction == 0:
        return WholeSplit(corpus, train=True)
    records = bool(corpus.text_format.separator)
    counts = corpus.stats.records if records else corpus.stats.chars if by_char else corpus.stats.sizes
    count = int(counts.sum())
    held_out = max(1, min(round(count * fraction), count - 1)) if records else count - int(count * (1 - fraction))
    if not 0 < held_out < count:
        needed = 2 if records else next(n for n in itertools.count(2) if int(n * (1 - fraction)))
        unit = ("record" if records else "character" if by_char else "byte") + "s" * (count != 1)
        raise InputError(
            f"the text has {count:,} {unit}, and {{val}} {fraction:g} needs {needed:,}, so that some are"
            " left to train on; lower it",
            ("val",),
        )
    if records:
        if random_split is None:
            return RecordSplit(corpus, _train_by_hash(corpus, held_out, fraction, split_seed))
        train = np.ones(count, bool)
        train[generator(random_split, RngStream.SPLIT).permutation(count)[:held_out]] = False
        return RecordSplit(corpus, train)
    ends = np.cumsum(counts)
    middle = int(np.searchsorted(ends, count - held_out, "left"))  # the document that is cut, perhaps at its end
    left = count - held_out - int(ends[middle] - counts[middle])
    return PositionSplit(corpus, middle, _position(corpus, middle, left) if by_char else left)


def _train_by_hash(corpus: Corpus, held_out: int, fraction: float, split_seed: int) -> npt.NDArray[np.bool_]:
    """Return which records to train on, (R,): all but the `held_out` with the smallest hashes, or as near to that as
    equal records allow. Those that are too many to be held out together are trained on, with half of all others."""
    key = generator(split_seed, RngStream.SPLIT).integers(1 << 32, size=2).tolist()
    hashes = keyed(corpus.stats.record_hashes, key)
    ordered = np.sort(hashes)
    common = np.unique(ordered[held_out:][ordered[held_out:] == ordered[:-held_out]])  # of more than `held_out` records
    rare = ordered[~np.isin(ordered, common)] if len(common) else ordered
    if not len(rare):
        common, rare = rare, ordered
    bound = rare[min(held_out, math.ceil(len(rare) * max(fraction, 0.5))) - 1]
    stay = np.isin(hashes, common)
    choices = [train for train in (stay | (hashes >= bound), stay | (hashes > bound)) if 0 < train.sum() < len(train)]
    if not choices:
        raise InputError(
            f"all {len(hashes):,} records are equal, so that none can be held out; {{val}} 0 trains on all of them",
            ("val",),
        )
    return min(choices, key=lambda train: abs(len(train) - int(train.sum()) - held_out))


def _position(corpus: Corpus, number: int, chars: int) -> int:
    """Return where in a document, in bytes, its first `chars` characters end: one block of it is read."""
    sizes, counts = corpus.stats.blocks(number)
    ends = np.cumsum(counts)
    block = int(np.searchsorted(ends, chars, "right"))  # the first with a character more
    if block == len(ends):
        return int(sizes.sum())
    begin = int(sizes[:block].sum())
    document = next(itertools.islice(corpus.documents, number, None))
    data = b"".join(document.chunks(begin, begin + int(sizes[block])))
    return begin + int(char_starts(data)[chars - int(ends[block] - counts[block])])
