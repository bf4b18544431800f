"""The standard error of bits per byte: its formula, and the cases without one."""

import math
from itertools import starmap

import numpy as np
import pytest

from charrnn.engines.base import Array
from charrnn.scoring.score import Score, total_of


def units(seed: int, M: int) -> tuple[Array, Array]:
    """Bits and bytes of lines, some many times as long as others."""
    rng = np.random.default_rng(seed)
    n = np.ceil(rng.lognormal(3.5, 0.6, M))
    return n * rng.normal(2.5, 0.5, M), n


def total(bits: Array, n: Array) -> Score:
    return sum(starmap(unit, zip(bits.tolist(), n.tolist(), strict=True)), Score())


def unit(bits: float, n: float) -> Score:
    return Score(bits * math.log(2), tokens=1, bytes=int(n))


@pytest.mark.parametrize("M", [2, 3, 50, 1000])
def test_the_formula(M: int) -> None:
    bits, n = units(M, M)
    ratio = math.fsum(bits) / math.fsum(n)
    squared = math.fsum((b - ratio * k) ** 2 for b, k in zip(bits, n, strict=True))
    found = total(bits, n)
    assert found.units.num == M
    assert found.bits_per_byte_se == pytest.approx(math.sqrt(M / (M - 1) * squared) / math.fsum(n), rel=1e-9)


def test_by_hand() -> None:
    """r = 6 / 4; the residuals are 1/2, -1/2 of two units with four bytes."""
    assert total(np.array([2.0, 4.0]), np.array([1, 3])).bits_per_byte_se == pytest.approx(math.sqrt(2 * 0.5) / 4)


def test_it_is_the_spread_of_the_figure() -> None:
    found = [total(*units(seed, 200)) for seed in range(200)]
    spread = np.std([each.bits_per_byte for each in found])
    assert np.mean([each.bits_per_byte_se for each in found]) == pytest.approx(spread, rel=0.15)


def test_units_that_are_all_alike() -> None:
    """All but the same ratio: what is lost in the differences of sums of squares is 1e-7 of the figure at most."""
    n = np.random.default_rng(6).integers(1000, 2000, 3000)
    for spread in (0.0, 1e-3, 1.0):
        bits = 2.0 * n + np.random.default_rng(7).normal(0, 1, len(n)) * spread
        found = total(bits, n)
        residuals = bits - found.bits_per_byte * n
        expected = math.sqrt(3000 / 2999 * (residuals**2).sum()) / n.sum()
        assert found.bits_per_byte_se == pytest.approx(expected, abs=1e-7 * found.bits_per_byte / math.sqrt(3000))


@pytest.mark.parametrize(
    "scores",
    [[], [Score()], [unit(3, 2)], [unit(3, 2), Score(), Score(bytes=3)], [unit(3, 0), unit(1, 0)]],
    ids=["none", "without tokens", "one", "one with tokens", "without bytes"],
)
def test_no_standard_error(scores: list[Score]) -> None:
    assert math.isnan(sum(scores, Score()).bits_per_byte_se)


@pytest.mark.parametrize("count", [0, 1, 7])
@pytest.mark.parametrize("more", [(), (Score(), Score(bytes=3)), (unit(3, 2) + unit(4, 1),)], ids=["", "empty", "sums"])
def test_many_together(count: int, more: tuple[Score, ...]) -> None:
    scores = [*(unit(bits, bits + 1) for bits in range(count)), *more]
    found, expected = total_of(scores), sum(scores, Score())
    assert found[:-1] == pytest.approx(expected[:-1])
    assert found.units == pytest.approx(expected.units)


def test_it_does_not_depend_on_how_scores_are_added() -> None:
    bits, n = units(1, 60)
    parts = [total(bits[at : at + 20], n[at : at + 20]) for at in range(0, 60, 20)]
    assert sum(parts, Score()).bits_per_byte_se == pytest.approx(total(bits, n).bits_per_byte_se, rel=1e-12)
