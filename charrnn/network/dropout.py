"""Dropout masks: which units, or which recurrent weights, a training step drops."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from charrnn.network.architecture import Architecture
from charrnn.rng import RngStream, generator


@dataclass(frozen=True, eq=False)
class Masks:
    """What a training step drops.

    Attributes:
        units: as `dropout_masks` returns them; None: no units.
        weights: as `weight_masks` returns them; empty: no weights.
    """

    units: Sequence[npt.NDArray[np.float32]] | None = None
    weights: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)


NO_MASKS = Masks()


def dropout_masks(
    architecture: Architecture, rate: float, *, seed: int, step: int, first_row: int, rows: int
) -> list[npt.NDArray[np.float32]]:
    """Return masks that drop units, the same units at all time steps of a row.

    This is "locked" or variational dropout (Gal & Ghahramani 2016), inverted: units that are kept are scaled by
    1 / (1 - rate), so that scoring needs no scaling. A row's mask depends on its number in the global batch alone: the
    masks of rows [0, 8) are those of rows [0, 3) followed by those of rows [3, 8).

    Args:
        architecture: the model's sizes.
        rate: share of units dropped, 0 <= rate < 1.
        seed: the run's seed.
        step: the training step.
        first_row, rows: which rows of the global batch; B = rows.

    Returns:
        L float32 arrays (B, size): for the output of each layer but the last, which the next layer reads, and for the
        features that the head reads. The embedding has none: there it costs more than it gains.
    """
    sizes = (*architecture.input_sizes[1:], architecture.feature_size)
    return [
        _mask(generator(seed, RngStream.DROPOUT, step, place), rate, first_row, rows, size)
        for place, size in enumerate(sizes)
    ]


def weight_masks(
    architecture: Architecture, rate: float, *, seed: int, step: int
) -> dict[str, npt.NDArray[np.float32]]:
    """Return masks that drop single recurrent weights, the same weights for all rows and time steps of a batch.

    This is DropConnect (Wan et al. 2013) of the recurrent matrices, as in AWD-LSTM (Merity et al. 2018), inverted as
    in `dropout_masks`.

    Args:
        architecture: the model's sizes.
        rate: share of weights dropped, 0 <= rate < 1.
        seed: the run's seed.
        step: the training step.

    Returns:
        Float32 arrays, named and shaped as `Architecture.shapes`; none for a cell without recurrent matrices.
    """
    recurrent = [(name, shape) for name, shape in architecture.shapes().items() if name.endswith("weight_hh")]
    return {
        name: _mask(generator(seed, RngStream.WEIGHT_DROP, step, layer), rate, 0, *shape)
        for layer, (name, shape) in enumerate(recurrent)
    }


def _mask(rng: "np.random.Generator", rate: float, first_row: int, rows: int, size: int) -> npt.NDArray[np.float32]:
    """Return one inverted dropout mask (rows, size): 0 or 1 / (1 - rate)."""
    assert 0 <= rate < 1, "dropout rate out of range"
    # One generator serves all rows: each row has a fixed range of Philox blocks (4 words of 64 bits, so 16 draws of 16
    # bits), and the counter's low word is advanced to the first row's range.
    blocks = -(-size // 16)
    assert isinstance(rng.bit_generator, np.random.Philox)
    rng.bit_generator.advance(first_row * blocks)
    words = rng.bit_generator.random_raw(rows * blocks * 4)
    draws = words.astype("<u8", copy=False).view("<u2").reshape(rows, blocks * 16)[:, :size]
    keep = draws >= np.uint16(min(round(rate * 2**16), 2**16 - 1))
    return keep * np.float32(1 / (1 - rate))
