"""Differences of models and their intervals: coverage, width, and the cases without an answer."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from charrnn.scoring import compare
from charrnn.scoring.compare import Difference, paired_difference

Array = npt.NDArray[Any]

TRUE_DIFFERENCE = -0.03


def lines(rng: np.random.Generator, M: int) -> tuple[Array, Array]:
    """Bits and bytes of lines, some many times as long as others."""
    n = np.ceil(rng.lognormal(3.5, 0.6, M))
    return n * rng.normal(2.5, 0.5, M), n


def pair(seed: int) -> tuple[Array, Array, Array, Array]:
    """Two models' bits and bytes of the same lines: what makes a line hard makes it so for both."""
    rng = np.random.default_rng(seed)
    bits, n = lines(rng, int(rng.integers(60, 401)))
    return bits, n, bits + n * rng.normal(-TRUE_DIFFERENCE, 0.15, len(n)), n


def test_the_interval_covers_the_difference() -> None:
    """In 95 of 100 pairs; one that were not of pairs would cover it always."""
    found = [paired_difference(*pair(seed)) for seed in range(200)]
    assert 180 <= sum(each.low <= TRUE_DIFFERENCE <= each.high for each in found) <= 198


def test_few_units_have_a_wider_interval_than_plain_percentiles() -> None:
    covered = 0
    for seed in range(300):
        bits, n, other_bits, _ = (each[:10] for each in pair(seed))
        found = paired_difference(bits, n, other_bits, n, resamples=400)
        covered += found.low <= TRUE_DIFFERENCE <= found.high
    assert 273 <= covered <= 294


def test_the_figures() -> None:
    bits, n, other_bits, _ = pair(1)
    other_n = n + 1
    found = paired_difference(bits, n, other_bits, other_n)
    assert found.bits_per_byte == bits.sum() / n.sum()
    assert found.other_bits_per_byte == other_bits.sum() / other_n.sum()
    assert found.difference == found.bits_per_byte - found.other_bits_per_byte
    assert found.low < found.difference < found.high
    assert found.texts == len(n)


def test_the_width_is_the_standard_error_s() -> None:
    bits, n, other_bits, _ = pair(2)
    found = paired_difference(bits, n, other_bits, n, resamples=20_000)
    differences = bits - other_bits
    residuals = differences - differences.sum() / n.sum() * n
    error = math.sqrt(len(n) / (len(n) - 1) * (residuals**2).sum()) / n.sum()
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)
    narrow = paired_difference(bits, n, other_bits, n, resamples=20_000, level=0.5)
    assert narrow.high - narrow.low == pytest.approx(2 * 0.6745 * error, rel=0.05)


def test_the_other_way_round() -> None:
    bits, n, other_bits, _ = pair(3)
    found, back = paired_difference(bits, n, other_bits, n), paired_difference(other_bits, n, bits, n)
    assert (back.difference, back.low, back.high) == pytest.approx((-found.difference, -found.high, -found.low))


def test_the_seed_decides() -> None:
    first, again, other = (paired_difference(*pair(4), seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)


@pytest.mark.parametrize("M", [2, 3, 400, compare.MAX_GROUPS + 5])
def test_a_model_with_itself(M: int) -> None:
    bits, n = lines(np.random.default_rng(7), M)
    found = paired_difference(bits, n, bits.copy(), n.copy(), resamples=20)
    assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = paired_difference(*pair(5), resamples=101)
    monkeypatch.setattr(compare, "_BLOCK", 1000)
    assert paired_difference(*pair(5), resamples=101) == whole


def test_many_units_are_drawn_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    bits, n = lines(rng, 5003)
    other_bits = bits + n * rng.normal(0.03, 0.15, len(n))
    whole = paired_difference(bits, n, other_bits, n)
    monkeypatch.setattr(compare, "MAX_GROUPS", 1000)
    grouped = paired_difference(bits, n, other_bits, n)
    assert grouped.difference == whole.difference
    assert grouped.texts == 5003
    assert grouped != whole
    assert grouped.high - grouped.low == pytest.approx(whole.high - whole.low, rel=0.15)


@pytest.mark.parametrize("n", [[], [0], [0, 0]])
def test_nothing_to_compare(n: list[int]) -> None:
    bits = np.ones(len(n))
    found = paired_difference(bits, np.array(n), bits, np.array(n))
    assert found.texts == len(n)
    assert all(map(math.isnan, (found.bits_per_byte, found.other_bits_per_byte, found.difference)))
    assert all(map(math.isnan, (found.low, found.high)))


def test_one_unit_has_no_interval() -> None:
    found = paired_difference(np.array([6.0]), np.array([2]), np.array([4.0]), np.array([2]))
    assert found == Difference(3.0, 2.0, 1.0, found.low, found.high, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_units_without_bytes() -> None:
    """A resample of nothing else has no figure, and is left out."""
    found = paired_difference(np.array([6.0, 1.0]), np.array([2, 0]), np.array([4.0, 1.0]), np.array([2, 0]))
    assert (found.low, found.difference, found.high) == (1.0, 1.0, 1.0)
