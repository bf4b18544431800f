"""Quantiles: exact while all values are kept, and within the bound after that."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from charrnn.scoring.quantiles import Quantiles

Array = npt.NDArray[Any]

N, CAPACITY = 200_000, 1024


def ramp(rng: np.random.Generator) -> Array:
    return np.arange(N) / 7


ORDERS: dict[str, Callable[[np.random.Generator], Array]] = {
    "sorted": ramp,
    "reversed": lambda rng: ramp(rng)[::-1],
    "random": lambda rng: rng.permutation(ramp(rng)),
    "normal": lambda rng: rng.normal(size=N),
    "constant": lambda rng: np.full(N, 3.5),
    "ties": lambda rng: rng.integers(0, 5, N).astype(float),
    "sawtooth": lambda rng: np.arange(N) % CAPACITY + np.arange(N) / N,
    "infinite": lambda rng: np.where(rng.random(N) < 0.3, np.inf, rng.random(N)),
}


def filled(values: Array, capacity: int = CAPACITY) -> Quantiles:
    found = Quantiles(capacity)
    found.extend(values)
    return found


def max_rank_error(count: int, capacity: int) -> float:
    """The bound of the docstring."""
    return (math.ceil(math.log2(count / capacity)) / 2 + 1) * count / capacity


def slow_share_below(values: Array, value: float) -> float:
    return 100 * sum(float(each) < value for each in values) / len(values)


def slow_quantile(values: Array, share: int) -> float:
    """The least value for which share * N / 100 values are no greater, in whole numbers."""
    ordered = sorted(map(float, values))
    return next(each for at, each in enumerate(ordered, 1) if 100 * at >= share * len(ordered))


@pytest.mark.parametrize("count", [1, 2, 7, 99, 100])
@pytest.mark.parametrize("kind", ["random", "ties", "constant", "infinite"])
def test_exact_up_to_the_capacity(count: int, kind: str) -> None:
    values = ORDERS[kind](np.random.default_rng(count))[:count]
    found = filled(values, 100)
    assert found.count == count
    for value in (*values, -math.inf, math.inf, 0.5, 2.0):
        assert found.share_below(value) == pytest.approx(slow_share_below(values, value), abs=1e-12)
    for share in range(0, 101, 5):
        assert found.quantile(share) == slow_quantile(values, share)


@pytest.mark.parametrize("kind", ORDERS)
def test_the_error_is_bounded(kind: str) -> None:
    values = ORDERS[kind](np.random.default_rng(1))
    found = filled(values)
    assert found.count == N
    bound = max_rank_error(N, CAPACITY)
    assert bound < N / 200
    ordered = np.sort(values)
    for value in np.unique(ordered[:: N // 500]):
        assert abs(found.share_below(value) * N / 100 - np.searchsorted(ordered, value)) <= bound + 1e-6
    for share in range(101):
        quantile = found.quantile(share)
        least, most = np.searchsorted(ordered, quantile, "left"), np.searchsorted(ordered, quantile, "right")
        assert least - bound <= share * N / 100 <= most + bound + 1


def test_errors_of_one_direction_cancel() -> None:
    """In a sorted text each collapse is alike: without the alternating offsets all would be wrong the same way."""
    found = filled(ramp(np.random.default_rng(0)))
    errors = [found.share_below(at / 7) * N / 100 - at for at in range(0, N, 997)]
    assert min(errors) < 0 < max(errors)


def test_little_is_kept() -> None:
    found = filled(np.random.default_rng(2).random(N))
    assert len(np.unique([found.quantile(share / 1000) for share in range(100_001)])) <= CAPACITY * (1 + 8 / 2)


@pytest.mark.parametrize("kind", ["random", "infinite"])
def test_one_by_one_or_together(kind: str) -> None:
    values = ORDERS[kind](np.random.default_rng(3))[:5000]
    together, single, mixed = filled(values, 64), Quantiles(64), Quantiles(64)
    for value in values.tolist():
        single.add(value)
    for part in np.split(values, range(700, len(values), 700)):
        mixed.extend(part[:-1])
        mixed.add(part[-1])
    for found in (single, mixed):
        assert found.count == len(values)
        assert [found.quantile(share) for share in range(101)] == [together.quantile(share) for share in range(101)]


def test_questions_between_values() -> None:
    found = Quantiles(4)
    for count in range(1, 5):
        found.add(count)
        assert found.share_below(count) == pytest.approx(100 * (count - 1) / count)
        assert found.quantile(100) == count
    found.extend(np.array([5.0]))
    assert found.quantile(100) == 5


def test_none() -> None:
    found = Quantiles()
    found.extend(np.array([]))
    assert found.count == 0
    assert math.isnan(found.share_below(1.0))
    assert math.isnan(found.quantile(50))


def test_nan_is_refused() -> None:
    found = filled(np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="nan"):
        found.add(math.nan)
    with pytest.raises(ValueError, match="nan"):
        found.extend(np.array([3.0, math.nan]))
    assert found.count == 2
    assert found.share_below(math.inf) == 100
    assert math.isnan(found.share_below(math.nan))
