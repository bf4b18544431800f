"""What whole texts are cut in: blocks of lines, by which their figures vary; windows; records to be read together."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from charrnn.corpus.records import SeparatorScanner
from charrnn.engines.base import Ids
from charrnn.scoring.batching import with_text_ends
from charrnn.tokenizers.utf8 import starts_char

_BLOCK_IDS = 1 << 12  # of the records that a row of the batch reads at a time


BLOCK_CHARS = 1000
"""Characters of a block, and the rest of the line in which they end."""


def cut_blocks(chunks: Iterable[bytes], boundary: bytes) -> Iterator[tuple[bytes, bool]]:
    """Return a text in pieces, cut where blocks end.

    Args:
        boundary: what ends a line; empty: the text is not cut.

    Yields:
        The bytes of a piece, and whether a block ends with it.
    """
    if not boundary:
        yield from ((chunk, False) for chunk in chunks)
        return
    scanner = SeparatorScanner(np.frombuffer(boundary, np.uint8))
    chars = 0  # of the block that has not ended
    for chunk in chunks:
        counts = np.append(0, np.cumsum(starts_char(chunk)))  # of the characters before each byte
        ends = scanner.feed(np.frombuffer(chunk, np.uint8))
        at_ends = counts[ends]
        begin = 0
        while True:
            nth = int(np.searchsorted(at_ends, counts[begin] + BLOCK_CHARS - chars))
            if nth == len(ends):
                break
            yield chunk[begin : int(ends[nth])], True
            begin, chars = int(ends[nth]), 0
        if begin < len(chunk):
            yield chunk[begin:], False
            chars += int(counts[-1] - counts[begin])


def windows_of(chunks: Iterable[Ids], window: int) -> Iterator[Ids]:
    """Return the ids of a text in pieces of `window`, the last one shorter."""
    held: list[Ids] = []
    count = 0
    for chunk in chunks:
        held.append(chunk)
        count += len(chunk)
        if count < window:
            continue
        ids = np.concatenate(held)
        whole = count // window * window
        for begin in range(0, whole, window):
            yield ids[begin : begin + window]
        held, count = [ids[whole:]], count - whole
    if count:
        yield np.concatenate(held)


def record_blocks(
    chunks: Iterable[tuple[Ids, bool]], scanner: SeparatorScanner, bos: int, window: int
) -> Iterator[Ids]:
    """Return whole records, with `<s>` to be read before each but a block's first: those of the blocks that end in
    `chunks`, where these say so, else about `_BLOCK_IDS` ids at a time."""
    held: list[Ids] = []
    size = 0
    bounds = np.zeros(1, np.int64)  # where the records in `held` begin and end
    for chunk, is_end in chunks:
        bounds = np.append(bounds, scanner.feed(chunk) + size)
        held.append(chunk)
        size += len(chunk)
        complete = int(bounds[-1])
        if (is_end and complete == size) or complete >= _BLOCK_IDS:
            ids = np.concatenate(held)
            firsts = bounds[:1] if is_end else bounds[np.unique(bounds // _BLOCK_IDS, return_index=True)[1]]
            for a, b in itertools.pairwise(np.union1d(firsts, complete).tolist()):
                yield _with_bos(ids[a:b], bounds[(bounds > a) & (bounds < b)] - a, bos, window)
            held, size, bounds = [ids[complete:]], size - complete, bounds[:1]
    if size:
        yield _with_bos(np.concatenate(held), bounds[(bounds > 0) & (bounds < size)], bos, window)


def _with_bos(ids: Ids, places: Ids, bos: int, window: int) -> Ids:
    """Return records with `<s>` to be read before each but the first, which begin at `places`, and before each further
    window."""
    if window:
        starts = np.append(0, places)
        more = (np.diff(starts, append=len(ids)) - 1) // window  # windows of each record after its first
        within = np.arange(more.sum()) - np.repeat(np.cumsum(more) - more, more)
        places = np.union1d(places, np.repeat(starts, more) + (within + 1) * window)
    return with_text_ends(ids, places, bos)
