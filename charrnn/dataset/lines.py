"""The lines of a text: how long they are, and which of them come again."""

import numpy as np
import numpy.typing as npt

from charrnn.corpus.corpus import Counts
from charrnn.corpus.records import HASH_BYTES, RecordHasher
from charrnn.dataset.text_blocks import Block

COUNTED_LINE = 20
"""Bytes from which on a line comes again by no chance."""


class Lines:
    """The lines of a text: their hashes, and how long they are.

    Attributes:
        indented: how many begin with white space.
    """

    def __init__(self) -> None:
        self.indented = 0
        self._hashes: list[npt.NDArray[np.uint32]] = []
        self._sizes: list[Counts] = []
        self._blocks: list[tuple[int, Block]] = []  # without data: the number of the first line of each
        self._count = 0

    def add(self, block: Block) -> None:
        """Take the lines of a block."""
        data = block.data if block.data.endswith(b"\n") else block.data + b"\n"
        items, hasher = np.frombuffer(data, np.uint8), RecordHasher()
        ends = np.flatnonzero(items == 10) + 1
        for begin in range(0, len(items), HASH_BYTES):
            low, high = np.searchsorted(ends, [begin, begin + HASH_BYTES], "right")
            self._hashes.append(hasher.feed(items[begin : begin + HASH_BYTES], ends[low:high] - begin))
        starts = np.append(0, ends[:-1])
        self._sizes.append((ends - starts - 1).astype(np.int32))
        self.indented += int(np.isin(items[starts], (9, 32)).sum())
        self._blocks.append((self._count, block._replace(data=b"", starts=None)))
        self._count += len(ends)

    @property
    def sizes(self) -> Counts:
        """Bytes of each line, without its end, (L,)."""
        return np.concatenate([np.zeros(0, np.int32), *self._sizes])

    def repeated(self, least: int) -> tuple[int, int, str, int | None]:
        """Return how many lines of `least` bytes or more there are, how many of them are equal to an earlier one, and
        source and line of the first such."""
        hashes = np.concatenate([np.zeros(0, np.uint32), *self._hashes])
        numbers = np.flatnonzero(self.sizes >= least)
        hashes = hashes[numbers]
        order = np.argsort(hashes, kind="stable")
        again = order[1:][hashes[order[1:]] == hashes[order[:-1]]]
        if not len(again):
            return len(numbers), 0, "", None
        number = int(numbers[again.min()])
        first, block = next(each for each in reversed(self._blocks) if each[0] <= number)
        line = None if block.line is None or block.lines is not None else block.line + number - first
        return len(numbers), len(again), block.name, line
