"""Figures as text."""

import math

import pytest

from charrnn.console.format import EmaLoss, count, perplexity


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (999.4, "999"),
        (999.6, "1k"),
        (1000, "1k"),
        (34_500, "34.5k"),
        (999_499, "999k"),
        (999_501, "1M"),
        (1_234_567, "1.23M"),
        (999_999_999, "1G"),
        (-2_000_000, "-2M"),
        (0.01234, "0.0123"),
    ],
)
def test_counts_have_three_digits_and_a_unit(number: float, text: str) -> None:
    assert count(number) == text


def test_the_running_mean_of_the_loss() -> None:
    """Of everything at first, then of the last fifty or so; the same for any start."""
    loss = EmaLoss()
    assert math.isnan(loss.value)
    for number, value in enumerate((4.0, 2.0, 3.0), 1):
        loss.add(value)
        assert loss.value == pytest.approx((4.0, 3.0, 3.0)[number - 1])
    for _ in range(1000):
        loss.add(1.0)
    assert loss.value == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("loss", "text"), [(0.0, "1.000"), (math.log(1234.5), "1,234.500"), (60.0, "huge")])
def test_perplexity_for_people(loss: float, text: str) -> None:
    assert perplexity(loss) == text
