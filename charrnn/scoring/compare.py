"""The difference of two models' bits per byte on the same texts, and how sure it is."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MAX_GROUPS = 1 << 15
"""Units that are resampled, at most; of more, neighbours are one unit together."""


_BLOCK = 1 << 18  # units drawn at once: bounds the memory


@dataclass(frozen=True)
class Difference:
    """How two models differ on the same texts.

    Attributes:
        difference: the first's bits per byte minus the other's: below 0 the first is better.
        low, high: the interval around it; nan of fewer than two texts.
        texts: the units.
    """

    bits_per_byte: float
    other_bits_per_byte: float
    difference: float
    low: float
    high: float
    texts: int


def paired_difference(
    bits: Array,
    byte_counts: Array,
    other_bits: Array,
    other_byte_counts: Array,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Return the difference of two models' bits per byte over the same M units, and its interval.

    The percentile bootstrap (Efron 1979) over units, in pairs (Koehn 2004, "Statistical significance tests for machine
    translation evaluation"): each resample draws M units with replacement and takes both models' figures of them.
    Its interval is too narrow where units are few, so that percentiles further out are taken (`_tail`). In simulations
    with lengths as of lines that covers the true difference 92 to 95 times in 100 from 10 units on, plain percentiles
    88 to 95 times; below 10 units it is a rough guide.
    More than `MAX_GROUPS` units are drawn in as many groups of neighbours: the time does not grow, and what that adds
    to the interval's own error is small beside what `resamples` leave.

    Args:
        bits, byte_counts, other_bits, other_byte_counts: (M,), in the same order.
        level: of the interval. seed: of the draws.

    Returns:
        The difference; models that give the same bits have 0, from 0 to 0, and without a byte all is nan.
    """
    units = [np.asarray(each, np.float64) for each in (bits, byte_counts, other_bits, other_byte_counts)]
    M = len(units[0])
    assert all(each.shape == (M,) for each in units)
    sums = [each.sum() for each in units]
    bits_per_byte, other_bits_per_byte = float(_ratio(sums[0], sums[1])), float(_ratio(sums[2], sums[3]))
    low = high = math.nan
    if M > 1:
        found = _resampled_differences(_grouped(units), resamples, seed)
        found = found[np.isfinite(found)]  # a resample may consist of units without bytes
        if len(found):
            tail = _tail(M, level)
            low, high = np.quantile(found, [tail, 1 - tail]).tolist()
    return Difference(bits_per_byte, other_bits_per_byte, bits_per_byte - other_bits_per_byte, low, high, M)


def _tail(M: int, level: float) -> float:
    """Return the share of resamples to leave out on either side.

    Percentiles take a normal distribution's width with a variance that divides by M; Hesterberg 2015 ("What teachers
    should know about the bootstrap", the expanded percentile interval) makes of them Student's t and M - 1:

        Phi(-sqrt(M / (M - 1)) * t)

    with t from the normal quantile (Abramowitz & Stegun 26.7.5), to 2 % from 4 degrees of freedom on.
    """
    normal, freedom = NormalDist(), M - 1
    z = normal.inv_cdf((1 + level) / 2)
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return normal.cdf(-math.sqrt(M / (M - 1)) * t)


def _grouped(units: list[Array]) -> list[Array]:
    """Return the sums of neighbours, as evenly as it goes, where there are too many."""
    M = len(units[0])
    if M <= MAX_GROUPS:
        return units
    starts = np.arange(MAX_GROUPS) * M // MAX_GROUPS
    return [np.add.reduceat(each, starts) for each in units]


def _resampled_differences(units: list[Array], resamples: int, seed: int) -> Array:
    """Return the difference in each resample (R,)."""
    rng = np.random.Generator(np.random.Philox(seed))
    M = len(units[0])
    rows = max(1, _BLOCK // M)
    found = np.empty(resamples)
    for begin in range(0, resamples, rows):
        drawn = rng.integers(0, M, (min(rows, resamples - begin), M))
        b, n, other_b, other_n = (each[drawn].sum(axis=1) for each in units)
        found[begin : begin + rows] = _ratio(b, n) - _ratio(other_b, other_n)
    return found


def _ratio(bits: Array, byte_counts: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(byte_counts > 0, bits / byte_counts, np.nan)
