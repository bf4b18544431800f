"""Ids of texts, one after another."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[Any]

SHORTEST = 256
"""A piece of a text has as many symbols or more: its first ones are harder to predict than they were in their place."""


@dataclass(frozen=True, eq=False)
class Stream:
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
    def join(cls, texts: Sequence[Ids]) -> "Stream":
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

        Each is to be scored from `<s>`; those of a text have `SHORTEST` symbols at least. Records stay whole,
        and `<s>` stands before each but a piece's first.

        Args:
            start: the id of `<s>`.
        """
        size = min(limit, len(self))
        if not self.records:
            count = min(count, max(1, size // SHORTEST))
            return [piece for piece in np.array_split(self.ids[:size], count) if len(piece)]
        count = min(count, max(1, size))
        ends = np.append(self.starts[1:], len(self))
        last = int(np.searchsorted(ends, size))  # the record in which the limit falls
        size = int(ends[min(last, len(ends) - 1)])
        wanted = np.linspace(0, size, count, endpoint=False)
        firsts = np.unique(np.minimum(np.searchsorted(self.starts, wanted), last))  # each piece's first record
        bounds = [*self.starts[firsts].tolist(), size]
        return [with_starts(self.ids[a:b], self._within(a, b), start) for a, b in itertools.pairwise(bounds)]

    def _within(self, begin: int, end: int) -> Ids:
        """The places between two where texts begin, counted from the first."""
        first, last = np.searchsorted(self.starts, begin, "right"), np.searchsorted(self.starts, end)
        return np.asarray(self.starts[first:last] - begin)


def with_starts(ids: Ids, places: Ids, start: int) -> Ids:
    """Ids with `<s>` put in before each place, as int64."""
    return np.insert(ids.astype(np.int64), places, start)
