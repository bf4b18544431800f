"""Sampling by steps: the distribution, and the draws from it."""

import math
from typing import Any

import numpy as np
import pytest

from charrnn.config.sample import SampleConfig
from charrnn.errors import NonFiniteError, UsageError
from charrnn.generation.sampling import distribution, inverse_cdf
from charrnn.rng import RngStream, generator

CHI_SQUARED = {4: 18.47}
"""What chance exceeds once in a thousand times, by degrees of freedom."""


def probabilities_of(logits: list[float], forbidden: int | None = None, **controls: Any) -> list[float]:
    never = None if forbidden is None else np.arange(len(logits))[None] == forbidden
    found: list[float] = distribution(np.array([logits], np.float32), SampleConfig(**controls), never)[0].tolist()
    return found


def drawn(probabilities: list[float], count: int = 10_000) -> list[int]:
    """How often each is drawn."""
    uniforms = generator(5, RngStream.SAMPLE, 0).random(count)
    ids = inverse_cdf(np.tile(probabilities, (count, 1)), uniforms)
    counts: list[int] = np.bincount(ids, minlength=len(probabilities)).tolist()
    return counts


def chi_squared(counts: list[int], probabilities: list[float]) -> float:
    expected = np.array(probabilities) * sum(counts)
    return float(((np.array(counts) - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("temp", [0, 1e-8, 1e-300])
@pytest.mark.parametrize(
    ("logits", "likeliest"), [([1, 3, 2], 1), ([2, 1, 2], 0), ([0, 5, 5, 5], 1), ([-3e38, 3e38], 1)]
)
def test_temperature_zero_takes_the_likeliest(temp: float, logits: list[float], likeliest: int) -> None:
    """NU-04: and the lowest id among equals."""
    found = probabilities_of(logits, temp=temp)
    assert found == [float(n == likeliest) for n in range(len(logits))]


def test_a_huge_temperature_is_a_fair_die() -> None:
    """NU-04."""
    found = probabilities_of([0, 1, -5, 9, 2], temp=1e8)
    assert found == pytest.approx([0.2] * 5, rel=1e-6)
    assert chi_squared(drawn(found), [0.2] * 5) < CHI_SQUARED[4]


def test_temperature_one_gives_the_model_s_probabilities() -> None:
    """NU-07."""
    probabilities = [0.5, 0.25, 0.125, 0.1, 0.025]
    found = probabilities_of([math.log(p) for p in probabilities])
    assert found == pytest.approx(probabilities, rel=1e-6)
    assert chi_squared(drawn(found), probabilities) < CHI_SQUARED[4]
    assert chi_squared(drawn(found), [0.45, 0.3, 0.125, 0.1, 0.025]) > CHI_SQUARED[4]  # the test can fail
    assert probabilities_of([math.log(p) for p in probabilities], temp=0.5)[0] == pytest.approx(
        0.25 / sum(p * p for p in probabilities), rel=1e-6
    )


@pytest.mark.parametrize(
    ("controls", "support"),
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"top_k": 1}, {1}),
        ({"top_k": 3}, {1, 0, 3}),
        ({"top_k": 5}, {0, 1, 2, 3, 4}),
        ({"top_k": 10**9}, {0, 1, 2, 3, 4}),  # NU-05: more than there are
        ({"top_p": 1e-9}, {1}),
        ({"top_p": 0.39}, {1}),
        ({"top_p": 0.41}, {1, 0}),
        ({"top_p": 0.71}, {1, 0, 3}),
        ({"top_p": 0.999}, {0, 1, 2, 3, 4}),
        ({"min_p": 0.24}, {0, 1, 2, 3}),
        ({"min_p": 0.26}, {0, 1, 3}),
        ({"min_p": 1.0}, {1}),
        ({"top_k": 3, "top_p": 0.75}, {1, 0}),  # of what top-k keeps, 0.9 in all
        ({"top_p": 0.95, "min_p": 0.6}, {1, 0}),
        ({"top_k": 2, "temp": 1e8}, {1, 0}),
        ({"min_p": 0.5, "temp": 1e8}, {0, 1, 2, 3, 4}),
    ],
)
def test_what_can_be_drawn(controls: dict[str, Any], support: set[int]) -> None:
    """NU-07: the support is exact and keeps its proportions."""
    probabilities = [0.3, 0.4, 0.1, 0.195, 0.005]
    found = probabilities_of([math.log(p) for p in probabilities], **controls)
    assert {n for n, p in enumerate(found) if p > 0} == support
    assert sum(found) == pytest.approx(1)
    if "temp" not in controls:
        assert [found[n] for n in support] == pytest.approx(
            [probabilities[n] / sum(probabilities[n] for n in support) for n in support]
        )
    counts = drawn(found, 1000)
    assert {n for n, count in enumerate(counts) if count} <= support


@pytest.mark.parametrize("controls", [{"top_k": 1}, {"top_p": 0.1}])
def test_among_equals_the_lower_id_is_kept(controls: dict[str, Any]) -> None:
    """NU-05."""
    assert probabilities_of([1, 2, 2, 2], **controls) == [0, 1, 0, 0]


@pytest.mark.parametrize("controls", [{}, {"temp": 0}, {"temp": 1e8}, {"top_k": 2}, {"top_p": 0.5}, {"min_p": 0.1}])
def test_what_is_banned_is_never_drawn(controls: dict[str, Any]) -> None:
    found = probabilities_of([1, 9, 1], forbidden=1, **controls)
    assert found[1] == 0
    assert sum(found) == pytest.approx(1)


def test_choosing_at_the_borders() -> None:
    probabilities = np.array([[0, 0.25, 0, 0.75, 0]])
    for uniform, expected in [(0, 1), (0.2499, 1), (0.25, 3), (np.nextafter(1, 0), 3)]:
        assert inverse_cdf(probabilities, np.array([uniform])).tolist() == [expected]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("temp", [0.0, 1.0])
def test_logits_that_are_not_finite(value: float, temp: float) -> None:
    """NU-06."""
    with pytest.raises(NonFiniteError):
        probabilities_of([1, value, 2], temp=temp)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temp": math.nan}, {"temp": math.inf}, {"temp": -0.1}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_p": math.nan},
        {"top_k": -1}, {"min_p": -0.1}, {"min_p": 1.5}, {"length": -1}, {"num": -1}, {"seed": -1}, {"seed": 2**63},
        {"stop": 5}, {"stop": ["a", b"b"]}, {"unknown": "maybe"}, {"prompt": "a", "prompt_file": "b"},
    ],
    ids=str,
)  # fmt: skip
def test_controls_out_of_range(wrong: dict[str, Any]) -> None:
    """NU-05."""
    with pytest.raises(UsageError):
        SampleConfig(**wrong)
