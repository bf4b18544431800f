"""Random numbers depend on what they are drawn for, never on the order of calls."""

import numpy as np
import pytest

from charrnn.rng import RngStream, generator


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
    assert [int(stream) for stream in RngStream] == [1, 2, 3, 4, 5, 6, 7, 8]
    words = generator(1, RngStream.SAMPLE, 2, 3).bit_generator.random_raw(2)
    raw = np.random.Philox(key=np.array([1, 5], np.uint64), counter=np.array([0, 2, 3, 0], np.uint64)).random_raw(2)
    assert np.array_equal(words, raw)
    assert words.tolist() == [9596922720578012196, 4112887855780512194]


@pytest.mark.parametrize("arguments", [(-1,), (2**64,), (0, -1), (0, 2**64), (0, 1, 2, 3, 4)])
def test_out_of_range_is_refused(arguments: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError):
        generator(arguments[0], RngStream.SHUFFLE, *arguments[1:])
