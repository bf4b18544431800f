"""Dropout masks: shapes, shares, and that no mask depends on how rows are grouped."""

import numpy as np
import pytest

from charrnn.network.architecture import Architecture
from charrnn.network.dropout import dropout_masks, weight_masks

ARCHITECTURE = Architecture("gru", vocabulary=5, hidden=(7, 5), embedding=11)


@pytest.mark.parametrize("cut", [0, 1, 3, 8])
def test_rows_get_their_masks_whatever_the_batch_split(cut: int) -> None:
    whole = dropout_masks(ARCHITECTURE, 0.4, seed=1, step=2, first_row=4, rows=8)
    left = dropout_masks(ARCHITECTURE, 0.4, seed=1, step=2, first_row=4, rows=cut)
    right = dropout_masks(ARCHITECTURE, 0.4, seed=1, step=2, first_row=4 + cut, rows=8 - cut)
    for mask, *halves in zip(whole, left, right, strict=True):
        assert np.array_equal(mask, np.concatenate(halves))


@pytest.mark.parametrize("hidden", [(7,), (7, 5), (6, 6, 6)])
def test_masks_have_the_size_of_what_they_multiply(hidden: tuple[int, ...]) -> None:
    architecture = Architecture("lstm", vocabulary=5, hidden=hidden, embedding=11)
    masks = dropout_masks(architecture, 0.5, seed=1, step=2, first_row=0, rows=3)
    assert [mask.shape for mask in masks] == [
        (3, size) for size in (*architecture.input_sizes[1:], architecture.feature_size)
    ]
    assert all(mask.dtype == np.float32 for mask in masks)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru-v1", "mingru"])
def test_weight_masks_are_of_the_recurrent_matrices(cell: str) -> None:
    architecture = Architecture(cell, vocabulary=5, hidden=(7, 5), embedding=11)
    masks = weight_masks(architecture, 0.5, seed=1, step=2)
    shapes = architecture.shapes()
    assert [*masks] == [name for name in shapes if name.endswith("weight_hh")]
    assert len(masks) == (0 if cell == "mingru" else 2)
    assert all(mask.shape == shapes[name] and mask.dtype == np.float32 for name, mask in masks.items())


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_masks_keep_their_share_and_their_mean(rate: float) -> None:
    wide = Architecture("rnn", vocabulary=5, hidden=(1000,), embedding=1000)
    masks = dropout_masks(wide, rate, seed=1, step=2, first_row=0, rows=100)
    masks += weight_masks(wide, rate, seed=1, step=2).values()
    for mask in masks:
        scale = np.float32(1 / (1 - rate))
        assert set(np.unique(mask)) <= {np.float32(0), scale}
        deviation = np.sqrt(rate / (1 - rate) / mask.size)
        assert abs(mask.mean(dtype=np.float64) - 1) <= 5 * deviation + 1e-6


def test_masks_differ_between_rows_places_steps_and_seeds() -> None:
    square = Architecture("gru", vocabulary=5, hidden=(64, 64), embedding=64)
    masks = [
        mask
        for seed, step in [(0, 0), (0, 1), (1, 0)]
        for mask in dropout_masks(square, 0.5, seed=seed, step=step, first_row=0, rows=2)
    ]
    rows = np.concatenate(masks)  # 3 runs x 2 places x 2 rows
    assert len(np.unique(rows, axis=0)) == 12


def test_weight_masks_differ_between_rows_layers_steps_and_seeds() -> None:
    square = Architecture("gru", vocabulary=5, hidden=(64, 64), embedding=64)
    masks = [
        mask
        for seed, step in [(0, 0), (0, 1), (1, 0)]
        for mask in weight_masks(square, 0.5, seed=seed, step=step).values()
    ]
    rows = np.concatenate(masks)  # 3 runs x 2 layers x 3 gates x 64 rows
    assert len(np.unique(rows, axis=0)) == 1152
