"""How sure a figure is: the standard error of bits per byte, and the interval of the difference of two models'.

Both are ratios of sums over units, the texts that are scored, each with bits b and bytes n:

    r = sum(b) / sum(n)
"""

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


def standard_error(bits: Array, byte_counts: Array) -> float:
    """Return the standard error of the bits per byte of M units (M,).

    The ratio estimator's (Cochran 1977, "Sampling techniques", section 6.4), which is the delta method's:

        sqrt(M / (M - 1) * sum((b - r n)**2)) / sum(n)

    It is nan of fewer than two units and of those without a byte.
    """
    error = RatioError()
    error.extend(bits, byte_counts)
    return error.value


class RatioError:
    """`standard_error` of units that come one after another, from six numbers.

    The squares are of b - s n, where s is the first ratio seen: with s near r, little cancels in

        sum((b - r n)**2) = sum((b - s n)**2) - 2 (r - s) sum((b - s n) n) + (r - s)**2 sum(n**2)
    """

    def __init__(self) -> None:
        self._shift = 0.0  # s; b - s n does not depend on it as long as all n are 0
        self._units = 0
        self._bytes = 0.0
        self._rest = 0.0  # sum(b - s n)
        self._rest_rest = self._rest_bytes = self._bytes_bytes = 0.0

    def add(self, bits: float, byte_count: float) -> None:
        """Take a unit."""
        if not self._bytes and byte_count:
            self._shift = bits / byte_count
        rest = bits - self._shift * byte_count
        self._units += 1
        self._bytes += byte_count
        self._rest += rest
        self._rest_rest += rest * rest
        self._rest_bytes += rest * byte_count
        self._bytes_bytes += byte_count * byte_count

    def extend(self, bits: Array, byte_counts: Array) -> None:
        """Take units (M,)."""
        b, n = np.asarray(bits, np.float64), np.asarray(byte_counts, np.float64)
        total = float(n.sum())
        if not self._bytes and total:
            self._shift = float(b.sum()) / total
        rest = b - self._shift * n
        self._units += len(n)
        self._bytes += total
        self._rest += float(rest.sum())
        self._rest_rest += float((rest * rest).sum())
        self._rest_bytes += float((rest * n).sum())
        self._bytes_bytes += float((n * n).sum())

    @property
    def value(self) -> float:
        """The standard error."""
        M = self._units
        if M < 2 or not self._bytes:
            return math.nan
        shift = self._rest / self._bytes  # r - s
        rest_rest = self._rest_rest - 2 * shift * self._rest_bytes + shift * shift * self._bytes_bytes
        return math.sqrt(max(0.0, M / (M - 1) * rest_rest)) / self._bytes


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
