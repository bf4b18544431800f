"""A corpus as ids: what to train on and what to validate on."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.corpus.records import insert_bos
from charrnn.tokenizers.tokenizer import Tokenizer
from charrnn.tokenizers.utf8 import char_starts

Ids = npt.NDArray[Any]


MIN_PIECE_TOKENS = 256
"""A piece of a text has as many symbols or more: its first ones are harder to predict than they were in their place."""


EXACT = 4_000_000
"""Symbols of validation text at most that a finished model is scored on exactly."""


@dataclass(frozen=True)
class TextCounts:
    """How long a text is. `replaced` counts the invalid pieces of UTF-8 read as U+FFFD."""

    bytes: int = 0
    chars: int = 0
    words: int = 0
    unknowns: int = 0
    replaced: int = 0


@dataclass(frozen=True, eq=False)
class TokenStream:
    """Ids of one or more texts, one after another.

    Attributes:
        ids: uint8, uint16 or uint32 of shape (N,), each below V. They may lie in a file, mapped.
        starts: int64, ascending: where texts begin, or records; the first is 0.
        records: whether the texts are records, each complete with its separator.
        weights: int64, how often each record counts in training; None: once.
    """

    ids: Ids
    starts: Ids
    records: bool = False
    weights: Ids | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def epoch(self) -> int:
        """Symbols read in an epoch: all of them, those of a weighted record as often as it counts."""
        if self.weights is None:
            return len(self)
        return int(np.diff(self.starts, append=len(self)) @ self.weights)

    @classmethod
    def join(cls, texts: Sequence[Ids]) -> "TokenStream":
        """One stream of all texts that have symbols at all."""
        filled = [text for text in texts if len(text)]
        starts = np.cumsum([0, *(len(text) for text in filled[:-1])], dtype=np.int64)
        return cls(np.concatenate(filled) if filled else np.zeros(0, np.uint8), starts[: len(filled)])

    def texts(self, limit: int | None = None) -> list[Ids]:
        """The texts again, cut off after `limit` symbols in all."""
        end = len(self) if limit is None else min(limit, len(self))
        bounds = [int(start) for start in self.starts if start < end] + [end]
        return [self.ids[a:b] for a, b in itertools.pairwise(bounds)]

    def pieces(self, count: int, limit: int, start: int) -> list[Ids]:
        """`count` or fewer pieces of about equal length from the first `limit` symbols, for a quick look.

        Each is to be scored from `<s>`; those of a text have `MIN_PIECE_TOKENS` symbols at least. Records stay whole,
        and `<s>` stands before each but a piece's first.

        Args:
            start: the id of `<s>`.
        """
        size = min(limit, len(self))
        if not self.records:
            count = min(count, max(1, size // MIN_PIECE_TOKENS))
            return [piece for piece in np.array_split(self.ids[:size], count) if len(piece)]
        count = min(count, max(1, size))
        ends = np.append(self.starts[1:], len(self))
        last = int(np.searchsorted(ends, size))  # the record in which the limit falls
        size = int(ends[min(last, len(ends) - 1)])
        wanted = np.linspace(0, size, count, endpoint=False)
        firsts = np.unique(np.minimum(np.searchsorted(self.starts, wanted), last))  # each piece's first record
        bounds = [*self.starts[firsts].tolist(), size]
        return [insert_bos(self.ids[a:b], self._within(a, b), start) for a, b in itertools.pairwise(bounds)]

    def _within(self, begin: int, end: int) -> Ids:
        """The places between two where texts begin, counted from the first."""
        first, last = np.searchsorted(self.starts, begin, "right"), np.searchsorted(self.starts, end)
        return np.asarray(self.starts[first:last] - begin)


@dataclass(frozen=True)
class Dataset:
    """A corpus ready to learn from.

    Attributes:
        tokenizer: its vocabulary taken from the part to train on.
        train: what to train on. val: what to validate on; may be empty.
        train_counts, val_counts: their lengths.
        train_end: the end of `train` before encoding, and val_texts: the beginning of `val`.
        separator: what ends each record; empty: the texts are no records.
    """

    tokenizer: Tokenizer
    train: TokenStream
    val: TokenStream
    train_counts: TextCounts
    val_counts: TextCounts
    train_end: bytes
    val_texts: tuple[bytes, ...]
    separator: bytes = b""

    @property
    def exact_tokens(self) -> int:
        """How many symbols of `val` can be scored exactly."""
        return min(len(self.val), int(EXACT * min(1.0, len(self.val) / max(1, self.val_counts.chars))))

    def val_head(self, symbols: int) -> list[bytes]:
        """The first symbols of the validation texts, of records the last one whole.

        Exactly so many characters or bytes; where a symbol may be several characters, about so many symbols.
        """
        if symbols >= len(self.val):
            return list(self.val_texts)
        if self.tokenizer.name == "sentencepiece":
            symbols = round(symbols * self.val_counts.chars / len(self.val))
        return head(self.val_texts, symbols, by_char=self.tokenizer.name != "byte", separator=self.separator)


def head(texts: tuple[bytes, ...], symbols: int, *, by_char: bool, separator: bytes = b"") -> list[bytes]:
    """The first symbols (characters, or bytes) of texts one after another, to the end of a record if there are any."""
    found = []
    for text in texts:
        places = char_starts(text) if by_char else range(len(text))
        end = int(places[symbols]) if symbols < len(places) else len(text)
        if separator and 0 < end < len(text):
            end = text.index(separator, max(0, end - len(separator))) + len(separator)
        found.append(text[:end])
        symbols -= len(places)
        if symbols <= 0:
            break
    return found
