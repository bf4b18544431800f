"""The lines of a text: how long they are, and which of them come again."""

import numpy as np
import numpy.typing as npt

from charrnn.corpus.records import HASH_BYTES, RecordHasher
from charrnn.dataset.text_blocks import Block

Places = npt.NDArray[np.int64]

COUNTED_LINE = 20
"""Bytes from which on a line comes again by no chance."""

_MAX_SIZE = (1 << 31) - 1  # of a line; of a text of short ones, every byte that a number takes counts


class Lines:
    """The lines of a text: their hashes, and how long they are.

    Attributes:
        indented: how many begin with white space.
    """

    def __init__(self) -> None:
        self.indented = 0
        self._hashes: list[npt.NDArray[np.uint32]] = []
        self._sizes: list[npt.NDArray[np.int32]] = []
        self._blocks: list[tuple[int, Block]] = []  # without data: the number of the first line of each
        self._count = 0
        self._hasher, self._open = RecordHasher(), 0  # of the line that goes on in the next block, and its bytes so far

    def add(self, block: Block) -> tuple[Places, Places]:
        """Take the lines of a block; return of those that end in it where each begins, less than 0 where that was in an
        earlier block, and how many bytes it has."""
        data = block.data if block.data.endswith(b"\n") or block.is_partial else block.data + b"\n"
        items, hasher = np.frombuffer(data, np.uint8), self._hasher
        ends = np.flatnonzero(items == 10) + 1
        for begin in range(0, len(items), HASH_BYTES):
            low, high = np.searchsorted(ends, [begin, begin + HASH_BYTES], "right")
            self._hashes.append(hasher.feed(items[begin : begin + HASH_BYTES], ends[low:high] - begin))
        firsts = np.append(0, ends)[: len(ends) + block.is_partial]  # of the lines that are here, or parts of them here
        self.indented += int(np.isin(items[firsts[self._open > 0 :]], (9, 32)).sum())
        starts = firsts[: len(ends)]
        starts[:1] -= self._open
        sizes = ends - starts - 1
        self._sizes.append(np.minimum(sizes, _MAX_SIZE).astype(np.int32))
        self._open = self._open + len(data) if block.is_partial else 0
        self._blocks.append((self._count, block._replace(data=b"", starts=None)))
        self._count += len(ends)
        return starts, sizes

    @property
    def sizes(self) -> npt.NDArray[np.int32]:
        """Bytes of each line, without its end, (L,); of longer ones 2 GiB."""
        if len(self._sizes) != 1:
            self._sizes = [np.concatenate([np.zeros(0, np.int32), *self._sizes])]
        return self._sizes[0]

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
