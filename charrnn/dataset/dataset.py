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

MIN_SEGMENT_TOKENS = 256
"""A segment of a text has as many tokens or more: its first ones are harder to predict than they were in place."""

MAX_EXACT_CHARS = 1_000_000
"""Characters of validation text at most that a finished model, and the baselines, are scored on: more take minutes, and
change no figure by as much as another seed does."""


@dataclass(frozen=True)
class TextCounts:
    """How long a text is. `replaced` counts the pieces of invalid UTF-8 read as U+FFFD."""

    bytes: int = 0
    chars: int = 0
    words: int = 0
    unknowns: int = 0
    replaced: int = 0


@dataclass(frozen=True, eq=False)
class TokenStream:
    """Ids of one or more texts, one after another.

    Attributes:
        ids: uint8, uint16 or uint32 of shape (N,), each below V; perhaps a mapped file.
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
    def epoch_tokens(self) -> int:
        """Tokens read in an epoch: all of them, those of a weighted record as often as it counts."""
        if self.weights is None:
            return len(self)
        return int(np.diff(self.starts, append=len(self)) @ self.weights)

    @classmethod
    def join(cls, texts: Sequence[Ids]) -> "TokenStream":
        """Return one stream of all texts that have tokens at all."""
        filled = [text for text in texts if len(text)]
        starts = np.cumsum([0, *(len(text) for text in filled[:-1])], dtype=np.int64)
        return cls(np.concatenate(filled) if filled else np.zeros(0, np.uint8), starts[: len(filled)])

    def texts(self, limit: int | None = None) -> list[Ids]:
        """Return the texts again, cut off after `limit` tokens in all."""
        end = len(self) if limit is None else min(limit, len(self))
        bounds = [int(start) for start in self.starts if start < end] + [end]
        return [self.ids[a:b] for a, b in itertools.pairwise(bounds)]

    def segments(self, count: int, limit: int, bos_id: int) -> list[Ids]:
        """Return `count` or fewer segments of about equal length, spread evenly over the stream: about `limit` tokens
        in all, or all of it.

        Each is to be scored from `<s>`, side by side with the others; those of a text have `MIN_SEGMENT_TOKENS` tokens
        or more. Records stay whole, and `<s>` stands before each but a segment's first.

        Args:
            bos_id: of `<s>`.
        """
        size = min(limit, len(self))
        if not self.records:
            count = min(count, max(1, size // MIN_SEGMENT_TOKENS))
            ends = np.cumsum([len(each) for each in np.array_split(self.ids[:size], count)])
            gaps = (len(self) - size) * (2 * np.arange(count) + 1) // (2 * count)  # before each segment, in all
            bounds = zip(np.append(0, ends[:-1]) + gaps, ends + gaps, strict=True)
            return [self.ids[a:b] for a, b in bounds if a < b]
        if not size:
            return []
        ends = np.append(self.starts[1:], len(self))
        wanted = np.linspace(0, len(self), min(count, size), endpoint=False)
        firsts = np.unique(np.minimum(np.searchsorted(self.starts, wanted), len(ends) - 1))  # of each segment
        positions = self.starts[firsts]
        stops = np.append(positions[1:], len(self))
        if size < len(self):
            last = np.searchsorted(ends, positions + size // len(firsts))
            stops = np.minimum(stops, ends[np.minimum(last, len(ends) - 1)])
        return [insert_bos(self.ids[a:b], self._within(a, b), bos_id) for a, b in zip(positions, stops, strict=True)]

    def _within(self, begin: int, end: int) -> Ids:
        """Return the places between two where texts begin, counted from the first."""
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
        separator: what ends each record; empty: the texts are not records.
        mix: another text that a part of each batch comes from; None: there is none.
    """

    tokenizer: Tokenizer
    train: TokenStream
    val: TokenStream
    train_counts: TextCounts
    val_counts: TextCounts
    train_end: bytes
    val_texts: tuple[bytes, ...]
    separator: bytes = b""
    mix: "Mix | None" = None

    @property
    def exact_tokens(self) -> int:
        """How many tokens of `val` can be scored exactly."""
        return min(len(self.val), int(MAX_EXACT_CHARS * min(1.0, len(self.val) / max(1, self.val_counts.chars))))

    def val_head(self, tokens: int) -> list[bytes]:
        """Return the first tokens of the validation texts as bytes; of records the last one whole.

        Exactly so many characters or bytes; where a token may be several characters, about so many tokens.
        """
        if tokens >= len(self.val):
            return list(self.val_texts)
        if self.tokenizer.name == "sentencepiece":
            tokens = round(tokens * self.val_counts.chars / len(self.val))
        return head(self.val_texts, tokens, by_char=self.tokenizer.name != "byte", separator=self.separator)


@dataclass(frozen=True)
class Mix:
    """A text that is mixed into the batches of another, encoded by the same tokenizer.

    Attributes:
        dataset: the text; what is held out of it shows what a model forgets.
        share: of the rows of a batch, above 0 and below 1.
    """

    dataset: Dataset
    share: float


def head(texts: tuple[bytes, ...], count: int, *, by_char: bool, separator: bytes = b"") -> list[bytes]:
    """Return the first characters, or bytes, of texts one after another, to the end of a record if there are any."""
    found = []
    for text in texts:
        starts = char_starts(text) if by_char else range(len(text))
        end = int(starts[count]) if count < len(starts) else len(text)
        if separator and 0 < end < len(text):
            end = text.index(separator, max(0, end - len(separator))) + len(separator)
        found.append(text[:end])
        count -= len(starts)
        if count <= 0:
            break
    return found
