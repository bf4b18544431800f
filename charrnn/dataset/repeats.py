"""Text that occurs more than once: every stretch of 50 characters by a rolling hash (Karp and Rabin 1987).

Two places whose stretches have the same hash of 64 bits hold the same text. Of a large text only the stretches with the
smallest hashes are kept, a fixed fraction of them: the same ones wherever they occur, so that what repeats is found as
often as among all.
"""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.corpus.records import SeparatorScanner
from charrnn.tokenizers.utf8 import CodePoints

LENGTH = 50
"""Characters of a stretch."""

MAX_STRETCHES = 1 << 23
"""Stretches that are kept, about; 16 bytes each, and as much again while they are compared."""

_STEP = 1 << 16  # stretches that are hashed at a time, in the processor's caches

_BASE = 0x9E3779B97F4A7C15

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


def sampling(chars: int) -> int:
    """Return of how many stretches one is kept, in a text of so many characters: 1 or another power of 2."""
    return 1 << max(0, (chars // MAX_STRETCHES).bit_length())


class Stretches:
    """The stretches of a text that arrives in chunks.

    Args:
        one_in: of how many stretches one is kept, as `sampling` has it.
        separator: what ends each record, in code points; no stretch goes beyond the end of its record. Empty: the text
            is no records.

    Attributes:
        chars: how many characters the text has so far.
    """

    def __init__(self, one_in: int, separator: CodePoints) -> None:
        self.one_in, self.chars = one_in, 0
        self._scanner = SeparatorScanner(separator) if len(separator) else None
        self._held: CodePoints = np.zeros(0, np.uint32)  # the last characters, with which further stretches begin
        self._is_start: npt.NDArray[np.bool_] = np.zeros(1, np.bool_)  # where records begin: there, and at the next one
        self._hashes: list[Hashes] = []
        self._places: list[Places] = []

    def add(self, points: CodePoints) -> None:
        """Take the next code points."""
        joined = np.concatenate([self._held, points])
        is_start = np.concatenate([self._is_start, np.zeros(len(points), np.bool_)])
        if self._scanner is not None:
            is_start[len(self._held) + self._scanner.feed(points)] = True
        first = self.chars - len(self._held)
        for at in range(0, len(joined) - LENGTH + 1, _STEP):
            end = min(at + _STEP, len(joined) - LENGTH + 1)
            self._keep(joined[at : end + LENGTH - 1], is_start[at : end + LENGTH - 1], first + at)
        self.chars += len(points)
        rest = min(len(joined), LENGTH - 1)
        self._held, self._is_start = joined[len(joined) - rest :], is_start[len(is_start) - rest - 1 :]

    def _keep(self, points: CodePoints, is_start: npt.NDArray[np.bool_], first: int) -> None:
        hashes = _hash(points)
        chosen = hashes < (1 << 64) // self.one_in if self.one_in > 1 else np.ones(len(hashes), np.bool_)
        if self._scanner is not None:
            sums = np.cumsum(is_start)
            chosen &= sums[LENGTH - 1 :] == sums[: len(hashes)]  # no record begins within the stretch
        places = np.flatnonzero(chosen)
        self._hashes.append(hashes[places])
        self._places.append(places + first)

    def repeated(self) -> int:
        """Return how many characters are inside stretches that occur earlier in this text; not fewer than so many,
        where stretches are sampled."""
        hashes, places = self._all()
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        again = order[1:][ordered[1:] == ordered[:-1]]
        return _covered(places[np.sort(again)])

    def found_in(self, other: "Stretches") -> int:
        """Return how many characters of this text are inside stretches that another text has; likewise."""
        known = np.sort(other._all()[0])
        hashes, places = self._all()
        if not len(known):
            return 0
        at = np.searchsorted(known, hashes)
        return _covered(places[known.take(at, mode="clip") == hashes])

    def _all(self) -> tuple[Hashes, Places]:
        self._hashes = [np.concatenate([np.zeros(0, np.uint64), *self._hashes])]
        self._places = [np.concatenate([np.zeros(0, np.int64), *self._places])]
        return self._hashes[0], self._places[0]


def _covered(places: Places) -> int:
    """Return how many characters are inside the stretches that begin at these places, ascending."""
    return int(np.minimum(np.diff(places), LENGTH).sum()) + LENGTH if len(places) else 0


def _hash(points: CodePoints) -> Hashes:
    """Return the hash of each stretch of n >= `LENGTH` code points, (n - LENGTH + 1,): a polynomial modulo 2**64, from
    its sums over what precedes, and then mixed as SplitMix64 does (Steele et al. 2014)."""
    powers, inverses = _powers(_BASE), _powers(pow(_BASE, -1, 1 << 64))
    sums = np.zeros(len(points) + 1, np.uint64)
    np.cumsum(points * powers[: len(points)], out=sums[1:])
    hashes: Hashes = sums[LENGTH:] - sums[:-LENGTH]
    hashes *= inverses[: len(hashes)]
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        hashes ^= hashes >> np.uint64(shift)
        hashes *= np.uint64(factor)
    return hashes


@functools.cache
def _powers(base: int) -> npt.NDArray[Any]:
    """Return base**0, base**1, ... modulo 2**64, as many as `_hash` takes code points."""
    factors = np.full(_STEP + LENGTH, base, np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)
