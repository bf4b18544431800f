"""Random numbers that depend on what they are for and never on the order of calls.

Every draw of the project is a function of (seed, purpose, indices, position), taken from the
counter-based generator Philox 4x64 (Salmon et al. 2011). So a run that resumes needs no generator
state, and batches, ranks and threads cannot change what is drawn.
"""

from enum import IntEnum

import numpy as np


class RngStream(IntEnum):
    """What draws are for. The numbers are part of every result: never renumber."""

    INITIALISE = 1
    ROWS = 2
    START = 3
    DROPOUT = 4
    SAMPLE = 5
    SPLIT = 6
    WEIGHT_DROP = 7


def generator(seed: int, purpose: RngStream, *indices: int) -> np.random.Generator:
    """The generator of one thing's draws; the same arguments give the same draws.

    Args:
        seed: 0 <= seed < 2**64.
        purpose: what for; with the seed it makes Philox's key.
        indices: at most three, each 0 <= index < 2**64 (a step, a layer, a sample). They fill the
            high words of Philox's counter; the low word counts the draws.
    """
    assert len(indices) <= 3, "Philox's counter has room for three indices"
    words = [0, *indices, *[0] * (3 - len(indices))]
    assert all(0 <= word < 1 << 64 for word in (seed, *indices)), "seed or index out of range"
    return np.random.Generator(
        np.random.Philox(key=np.array([seed, purpose], dtype=np.uint64), counter=np.array(words, dtype=np.uint64))
    )
