"""Draws depend on what they are for, never on the order or the grouping of calls."""

import numpy as np
import pytest

from charrnn.network.architecture import Architecture
from charrnn.network.dropout import dropout_masks, weight_masks
from charrnn.rng import RngStream, generator

ARCHITECTURE = Architecture("gru", vocabulary=5, hidden=(7, 5), embedding=11)


def test_same_arguments_same_draws() -> None:
    draws = generator(3, RngStream.SAMPLE, 1, 2, 3).random(10)
    assert np.array_equal(draws, generator(3, RngStream.SAMPLE, 1, 2, 3).random(10))


def test_every_argument_matters_and_streams_do_not_overlap() -> None:
    keys = [(0,), (1,), (2**64 - 1,), (0, 1), (0, 0, 1), (0, 0, 0, 1), (0, 2**64 - 1)]
    streams = [generator(key[0], RngStream.SHUFFLE, *key[1:]).integers(2**63, size=100) for key in keys]
    streams += [generator(0, stream).integers(2**63, size=100) for stream in RngStream if stream != 2]
    assert len(np.unique(np.concatenate(streams))) == 100 * len(streams)


def test_draws_are_pinned_for_ever() -> None:
    """A change of these numbers changes every run and every sample of every seed."""
    assert [int(stream) for stream in RngStream] == [1, 2, 3, 4, 5, 6, 7]
    words = generator(1, RngStream.SAMPLE, 2, 3).bit_generator.random_raw(2)
    raw = np.random.Philox(key=np.array([1, 5], np.uint64), counter=np.array([0, 2, 3, 0], np.uint64)).random_raw(2)
    assert np.array_equal(words, raw)
    assert words.tolist() == [9596922720578012196, 4112887855780512194]


@pytest.mark.parametrize("arguments", [(-1,), (2**64,), (0, -1), (0, 2**64), (0, 1, 2, 3, 4)])
def test_out_of_range_is_refused(arguments: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError):
        generator(arguments[0], RngStream.SHUFFLE, *arguments[1:])


@pytest.mark.parametrize("cut", [0, 1, 3, 8])
def test_rows_get_their_masks_whatever_the_batch_split(cut: int) -> None:
    whole = dropout_masks(ARCHITECTURE, 0.4, seed=1, step=2, first_row=4, rows=8)
    left = dropout_masks(ARCHITECTURE, 0.4, seed=1, step=2, first_row=4, rows=cut)
    right = dropout_masks(ARCHITECTURE, 0.4, seed=1, step=2, first_row=4 + cut, rows=8 - cut)
    for mask, *halves in zip(whole, left, right, strict=True):
        assert np.array_equal(mask, np.concatenate(halves))


@pytest.mark.parametrize("hidden", [(7,), (7, 5), (6, 6, 6)])
def test_masks_have_the_width_of_what_they_multiply(hidden: tuple[int, ...]) -> None:
    architecture = Architecture("lstm", vocabulary=5, hidden=hidden, embedding=11)
    masks = dropout_masks(architecture, 0.5, seed=1, step=2, first_row=0, rows=3)
    assert [mask.shape for mask in masks] == [
        (3, w) for w in (*architecture.input_sizes[1:], architecture.feature_size)
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
