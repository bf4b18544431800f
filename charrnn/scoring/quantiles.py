"""Quantiles of any number of values in bounded memory: `--reference`, and the percentiles that `--keep` reports."""

import math
from array import array
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Quantiles:
    """The distribution of float64 values, exact up to `capacity` of them.

    Munro & Paterson 1980 ("Selection and sorting with limited storage") with alternating offsets, as Manku, Rajagopalan
    & Lindsay 1998 ("Approximate medians and other quantiles in one pass and with limited memory") have them. Level l
    holds values that stand for 2**l each. Where `capacity` of them come together they are sorted, and every second goes
    up to level l + 1: the second of each pair one time, the first the next. Nothing is drawn at random: the same values
    in the same order have the same quantiles.

    Error: a collapse of level l moves the rank of a value, the number of values below it, by 0 to 2**l, down and up in
    turn. With L = ceil(log2(count / capacity)) levels that have collapsed, ranks are wrong by at most

        sum over levels of ceil(collapses / 2) * 2**l <= (L / 2 + 1) * count / capacity

    which for 10**9 values and the default capacity is 6 in a million.

    Memory: 4 * capacity * (L + 2) bytes, and three times that in all once something is asked.
    """

    def __init__(self, capacity: int = 1 << 20) -> None:
        assert capacity in range(2, 1 << 40, 2), "values are dropped in pairs"
        self.count = 0
        self._capacity = capacity
        self._recent = array("d")  # level 0, as it came
        self._levels: list[Array] = []  # those above, sorted, (capacity / 2,) or (0,)
        self._offsets: list[int] = []  # of each level from 0: what its next collapse keeps of a pair, 0 or 1
        self._ranked: tuple[Array, Array] | None = None

    def add(self, value: float) -> None:
        """Take a value; it may be inf.

        Raises:
            ValueError: nan, which has no rank.
        """
        if value != value:
            raise ValueError("nan has no rank")
        if len(self._recent) == self._capacity:
            self._collapse()
        self._recent.append(value)
        self.count += 1
        self._ranked = None

    def extend(self, values: Array) -> None:
        """Take values (N,), as `add` does one by one; none of them if one is nan."""
        values = np.asarray(values, np.float64)
        if np.isnan(values).any():
            raise ValueError("nan has no rank")
        begin = 0
        while begin < len(values):
            if len(self._recent) == self._capacity:
                self._collapse()
            part = values[begin : begin + self._capacity - len(self._recent)]
            self._recent.frombytes(part.tobytes())
            begin += len(part)
        self.count += len(values)
        self._ranked = None

    def share_below(self, value: float) -> float:
        """Return how many per cent of the values are less than this one; nan where there are none, or of nan."""
        if not self.count or math.isnan(value):
            return math.nan
        values, ranks = self._by_rank()
        index = int(np.searchsorted(values, value))
        return 100 * int(ranks[index - 1]) / self.count if index else 0.0

    def quantile(self, share: float) -> float:
        """Return the least value that at least `share` per cent of the values do not exceed; nan where there are none.

        Args:
            share: from 0, the least value, to 100, the greatest.
        """
        assert 0 <= share <= 100
        if not self.count:
            return math.nan
        values, ranks = self._by_rank()
        return float(values[np.searchsorted(ranks, max(1, math.ceil(share * self.count / 100)))])

    def _collapse(self) -> None:
        """Make room at level 0."""
        values, self._recent = np.frombuffer(self._recent), array("d")
        level = 0
        while len(values) == self._capacity:
            if level == len(self._levels):
                self._levels.append(values[:0])
                self._offsets.append(1)
            offset, self._offsets[level] = self._offsets[level], 1 - self._offsets[level]
            half = np.sort(values)[offset::2]
            values = np.concatenate([self._levels[level], half])  # sorted where one of them is empty
            self._levels[level] = values[:0] if len(values) == self._capacity else values
            level += 1

    def _by_rank(self) -> tuple[Array, Array]:
        """Return the values that are kept, sorted, and of each how many it and those before it stand for."""
        if self._ranked is None:
            parts = [np.frombuffer(self._recent) if self._recent else np.empty(0), *self._levels]
            values = np.concatenate(parts)
            weights = np.repeat([1 << level for level in range(len(parts))], [len(part) for part in parts])
            order = np.argsort(values)
            self._ranked = values[order], np.cumsum(weights[order])
        return self._ranked
