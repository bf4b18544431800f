"""Which logits of a head are whose."""

from typing import Any

import numpy as np
import pytest

from charrnn.network.architecture import Architecture
from charrnn.network.head import HeadLayout

CLUSTERS = bytes([0, 2, 0, 1, 2])


def layout_of(clusters: bytes, vocabulary: int = 5) -> HeadLayout:
    return HeadLayout.of(Architecture("gru", vocabulary, (3,), 2, clusters=clusters))


def test_the_order_of_logits() -> None:
    """Tokens of the first level, clusters, tokens of each cluster."""
    layout = layout_of(CLUSTERS)
    assert layout.levels == ((0, 4), (4, 5), (5, 7))
    assert layout.row_of.tolist() == [0, 5, 1, 4, 6]
    assert layout.entry_of.tolist() == [0, 3, 1, 2, 3]
    assert range(7)[layout.entries] == range(2, 4)
    one = layout_of(b"")
    assert (one.levels, one.row_of.tolist(), one.entry_of.tolist()) == (((0, 5),), [*range(5)], [*range(5)])
    assert not range(5)[one.entries]


@pytest.mark.parametrize("clusters", [b"", CLUSTERS, bytes([1, 1, 1, 1, 1])])
def test_biases_give_frequencies(clusters: bytes) -> None:
    """And so do all logits that differ from them by a number for each level."""
    layout, frequencies = layout_of(clusters), np.array([5.0, 0.5, 3.0, 1.0, 0.25])
    logits = np.stack([layout.bias_of(frequencies)] * 2)
    for number, (begin, end) in enumerate(layout.levels):
        logits[1, begin:end] += number - 9.0
    assert np.allclose(np.exp(layout.ln_p(logits)), frequencies / frequencies.sum(), rtol=1e-12)


@pytest.mark.parametrize("clusters", [b"", CLUSTERS])
def test_the_gradient_is_that_of_the_loss(clusters: bytes) -> None:
    """By differences, of the mean over tokens."""
    layout, tokens = layout_of(clusters), np.array([4, 0, 1, 4])
    logits = np.random.default_rng(1).standard_normal((4, layout.levels[-1][1]))

    def loss(logits: Any) -> float:
        return float(-layout.ln_p(logits)[np.arange(4), tokens].mean())

    gradient = layout.loss_gradient(logits, tokens)
    for place in np.ndindex(logits.shape):
        step = np.zeros(logits.shape)
        step[place] = 1e-6
        assert gradient[place] == pytest.approx((loss(logits + step) - loss(logits - step)) / 2e-6, abs=1e-9)
