"""Masks of dropout: which units, or which recurrent weights, a training step leaves out."""

import numpy as np
import numpy.typing as npt

from charrnn.network.architecture import Architecture
from charrnn.rng import RngStream, generator


def dropout_masks(
    architecture: Architecture, rate: float, *, seed: int, step: int, first_row: int, rows: int
) -> list[npt.NDArray[np.float32]]:
    """Masks that drop units of whole rows, one choice for all time steps of a chunk.

    "Locked" or variational dropout (Gal & Ghahramani 2016), inverted: what is kept is scaled by
    1 / (1 - rate), so that scoring needs no scaling. A row's mask depends on its global number
    alone: rows [0, 8) are rows [0, 3) followed by rows [3, 8).

    Args:
        rate: share of units dropped, 0 <= rate < 1.
        seed, step: of the run.
        first_row, rows: which rows of the global batch; B = rows.

    Returns:
        L float32 arrays (B, width): of each layer's output as the next layer's input, and of the features that the
        head reads. Symbols are read whole: to drop parts of them costs more than it teaches.
    """
    widths = (*architecture.inputs[1:], architecture.features)
    return [
        _mask(generator(seed, RngStream.DROPOUT, step, place), rate, first_row, rows, width)
        for place, width in enumerate(widths)
    ]


def weight_masks(
    architecture: Architecture, rate: float, *, seed: int, step: int
) -> dict[str, npt.NDArray[np.float32]]:
    """Masks that drop single weights of the recurrent matrices, one choice for all rows and time steps of a chunk.

    DropConnect (Wan et al. 2013) where AWD-LSTM has it (Merity et al. 2018), inverted as in `dropout_masks`.

    Args:
        rate: share of weights dropped, 0 <= rate < 1.
        seed, step: of the run.

    Returns:
        Float32 arrays, named and shaped as `Architecture.shapes`; none for a cell without recurrent matrices.
    """
    recurrent = [(name, shape) for name, shape in architecture.shapes().items() if name.endswith("weight_hh")]
    return {
        name: _mask(generator(seed, RngStream.WEIGHT_DROP, step, layer), rate, 0, *shape)
        for layer, (name, shape) in enumerate(recurrent)
    }


def _mask(source: np.random.Generator, rate: float, first_row: int, rows: int, width: int) -> npt.NDArray[np.float32]:
    assert 0 <= rate < 1, "dropout rate out of range"
    # One generator serves all rows: each owns a fixed run of Philox blocks (4 words of 64 bits, so
    # 16 draws of 16 bits), and the counter's low word is moved to the first row's run.
    blocks = -(-width // 16)
    assert isinstance(source.bit_generator, np.random.Philox)
    source.bit_generator.advance(first_row * blocks)
    words = source.bit_generator.random_raw(rows * blocks * 4)
    bits = words.astype("<u8", copy=False).view("<u2").reshape(rows, blocks * 16)[:, :width]
    kept = bits >= np.uint16(min(round(rate * 2**16), 2**16 - 1))
    return kept * np.float32(1 / (1 - rate))
