"""Records: short texts one after another, each ended by the same separator. They are found in bytes or in ids."""

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.corpus.inputs import begun_bytes

Items = npt.NDArray[Any]
"""Bytes or ids."""

Hashes = npt.NDArray[np.uint32]

HASH_BYTES = 1 << 16
"""Bytes that a `RecordHasher` takes at a time at most, so that what it computes stays in the processor's caches."""

_BASE = 0x9E3779B1


class SeparatorScanner:
    """Finds where records end, in bytes or ids that arrive in chunks.

    Separators are found from left to right and do not overlap, as `bytes.split` finds them.

    Args:
        separator: its bytes or ids; at least one.
    """

    def __init__(self, separator: Items) -> None:
        self.separator = np.asarray(separator)
        self.held = self.separator[:0]
        """The last bytes or ids of the record that has not ended, as many as may begin a separator."""
        self.open = 0
        """How many bytes or ids that record has."""

    def feed(self, items: Items) -> npt.NDArray[np.int64]:
        """Return the places in the chunk, ascending, where records end: each after its separator."""
        size = len(self.separator)
        if size == 1:
            ends = np.flatnonzero(items == self.separator[0]) + 1
        else:
            held = len(self.held)
            joined = np.concatenate([self.held, items]) if held else items
            ends = _apart(_find(joined, self.separator), size) + size - held
            last = int(ends[-1]) + held if len(ends) else 0
            self.held = joined[max(last, len(joined) - size + 1) :].copy()
        self.open = len(items) - int(ends[-1]) if len(ends) else self.open + len(items)
        return ends.astype(np.int64, copy=False)


class RecordHasher:
    """Hashes records whose bytes arrive in chunks: of a record b_0 b_1 ..., the sum of b_i * _BASE**i mod 2**32.

    Equal records have equal hashes, wherever the chunks are cut.
    """

    def __init__(self) -> None:
        self._sum = self._open = 0  # hash and bytes so far of the record that has not ended

    def feed(self, data: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> Hashes:
        """Return the hashes of the records that end in a chunk, uint32.

        Args:
            data: the chunk, `HASH_BYTES` at most. ends: as `SeparatorScanner.feed` returned them for it.
        """
        if not len(data):
            return np.zeros(0, np.uint32)
        powers, inverses = _powers(_BASE), _powers(pow(_BASE, -1, 1 << 32))
        starts = np.append(0, ends)
        starts = starts[starts < len(data)]
        hashes: Hashes = np.add.reduceat(data * powers[: len(data)], starts, dtype=np.uint32) * inverses[starts]
        hashes[0] = (self._sum + pow(_BASE, self._open, 1 << 32) * int(hashes[0])) % (1 << 32)
        if len(ends) == len(starts):  # the last record has ended
            self._sum = self._open = 0
        else:
            self._open = len(data) - int(starts[-1]) + (0 if len(ends) else self._open)
            self._sum = int(hashes[-1])
        return hashes[: len(ends)]


@functools.cache
def _powers(base: int) -> Hashes:
    """Return base**0, base**1, ... mod 2**32, `HASH_BYTES` of them."""
    factors = np.full(HASH_BYTES, base, np.uint32)
    factors[0] = 1
    return np.multiply.accumulate(factors, dtype=np.uint32)


def keyed(hashes: Hashes, key: Iterable[int]) -> Hashes:
    """Return other hashes in their place, as a key of 32-bit integers has them; different ones stay different."""
    hashes = hashes.copy()
    for word in key:
        hashes ^= np.uint32(word)
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):  # the finalizer of MurmurHash3
            hashes ^= hashes >> np.uint32(shift)
            hashes *= np.uint32(factor)
    return hashes


def _find(items: Items, pattern: Items) -> Items:
    """Return the places where a pattern begins, ascending, also where it overlaps itself."""
    size, starts = len(pattern), max(0, len(items) - len(pattern) + 1)
    match, compared = items[:starts] == pattern[0], 1
    while compared < size and np.count_nonzero(match) > starts // 16:
        match &= items[compared : compared + starts] == pattern[compared]
        compared += 1
    places = np.flatnonzero(match)
    while compared < size and len(places):  # of few places it costs less to look at each than at all items again
        places = places[items[places + compared] == pattern[compared]]
        compared += 1
    return places


def _apart(places: Items, size: int) -> Items:
    """Return those of ascending places that are `size` or more after the one kept before."""
    if len(places) < 2 or np.diff(places).min() >= size:
        return places
    chosen, after = [], -1
    for place in places.tolist():
        if place >= after:
            chosen.append(place)
            after = place + size
    return np.array(chosen, np.int64)


def missing_separator(scanner: SeparatorScanner) -> bytes:
    """Return what the last record of some bytes lacks of its separator; nothing where it has ended."""
    if not scanner.open:
        return b""
    separator, held = scanner.separator.tobytes(), scanner.held.tobytes()
    return separator[begun_bytes(held, separator) :]


def with_final_separator(chunks: Iterable[bytes], separator: bytes) -> Iterator[bytes]:
    """Yield a text of records again, its last record ended too: what is missing of its separator is added."""
    scanner = SeparatorScanner(np.frombuffer(separator, np.uint8))
    for chunk in chunks:
        scanner.feed(np.frombuffer(chunk, np.uint8))
        yield chunk
    if end := missing_separator(scanner):
        yield end


def split_records(chunks: Iterable[bytes], separator: bytes) -> Iterator[bytes]:
    """Return each record of a text, with its separator; what is missing of the last one's is added."""
    scanner = SeparatorScanner(np.frombuffer(separator, np.uint8))
    held: list[bytes] = []
    for chunk in with_final_separator(chunks, separator):
        begin = 0
        for end in scanner.feed(np.frombuffer(chunk, np.uint8)).tolist():
            yield b"".join((*held, chunk[begin:end]))
            held, begin = [], end
        held.append(chunk[begin:])


def insert_bos(ids: Items, places: Items, bos_id: int) -> Items:
    """Return ids with `<s>` put in before each place, as int64."""
    return np.insert(ids.astype(np.int64), places, bos_id)
