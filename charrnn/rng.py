"""Random numbers that depend on what they are drawn for, never on the order of calls.

Every draw of the project is a function of (seed, stream, indices, position), taken from the counter-based generator
Philox 4x64 (Salmon et al. 2011). So a run that resumes needs no generator state, and batch sizes, ranks and threads
cannot change what is drawn.
"""

from enum import IntEnum

import numpy as np  # numpy.random is imported when something is drawn: a sample does not wait for it


class RngStream(IntEnum):
    """What numbers are drawn for. The values are part of every result: never renumber."""

    INIT_WEIGHTS = 1
    SHUFFLE = 2
    BOS = 3
    DROPOUT = 4
    SAMPLE = 5
    SPLIT = 6
    WEIGHT_DROP = 7
    NEW_ROWS = 8


def generator(seed: int, stream: RngStream, *indices: int) -> "np.random.Generator":
    """Return the generator of one stream's draws; the same arguments give the same draws.

    Args:
        seed: 0 <= seed < 2**64.
        stream: what the numbers are for; with the seed it makes Philox's key.
        indices: at most three, each 0 <= index < 2**64 (a step, a layer, a sample). They fill the high words of
            Philox's counter; the low word counts the draws.
    """
    assert len(indices) <= 3, "Philox's counter has room for three indices"
    words = [0, *indices, *[0] * (3 - len(indices))]
    assert all(0 <= word < 1 << 64 for word in (seed, *indices)), "seed or index out of range"
    return np.random.Generator(
        np.random.Philox(key=np.array([seed, stream], dtype=np.uint64), counter=np.array(words, dtype=np.uint64))
    )
