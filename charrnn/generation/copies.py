"""What of a text stands in the training text: so that no long stretch is copied (`--max-copy`), or to say how much is.

A text is known by hashes of all its windows of N characters, see `CopyIndex`; 8 bytes for each of its characters.
"""

import codecs
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from charrnn.engines.base import Array, CopyIndex

_BLOCK = 1 << 20
"""Characters whose windows are hashed at a time."""


_END = 0x110000
"""Stands behind each document: no code point."""


def code_points(chunks: Iterable[bytes], errors: str = "surrogateescape") -> Iterator[Array]:
    """Decode a text that comes in chunks: return the characters that each completes, uint32."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors)
    decoded = chain(map(decoder.decode, chunks), (decoder.decode(data, True) for data in [b""]))
    return (np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4") for text in decoded)


def blocks_of(documents: Iterable[Iterable[bytes]], overlap: int, errors: str = "surrogateescape") -> Iterator[Array]:
    """Return the characters of documents, uint32, in blocks; each but the first begins with the last `overlap` of the
    one before. Behind a document stands what is no character.

    Args:
        documents: each in chunks of its bytes. errors: of invalid UTF-8, as in `bytes.decode`.
    """

    def pieces() -> Iterator[Array]:
        for document in documents:
            yield from code_points(document, errors)
            yield np.array([_END], np.uint32)

    held: list[Array] = []
    size = 0
    for piece in pieces():
        held.append(piece)
        size += len(piece)
        if size >= overlap + _BLOCK:
            block = np.concatenate(held)
            yield block
            held, size = [block[size - overlap :]], overlap
    yield np.concatenate(held or [np.zeros(0, np.uint32)])


def window_hashes(points: Array, length: int) -> Array:
    """Return the hash of each window of `length` characters, uint64 (T - length + 1,): see `CopyIndex`.

    Args:
        points: (T,), T at least `length`. A window twice as long is made of two.
    """
    T, size, done = len(points), 1, 0
    part = points.astype(np.uint64) * np.uint64(CopyIndex.base)  # of windows of `size` characters
    found = np.zeros(T + 1, np.uint64)  # of windows of `done` characters
    while True:
        if length & size:
            found = found[: T - done - size + 1] * _power(size) + part[done:][: T - done - size + 1]
            done += size
        if done == length:
            return found
        part = part[:-size] * _power(size) + part[size:]
        size *= 2


def _power(exponent: int) -> np.uint64:
    return np.uint64(pow(CopyIndex.base, exponent, 1 << 64))


def copy_index(blocks: Iterable[Array], length: int, size: int, token_bytes: Sequence[bytes]) -> CopyIndex | None:
    """Return the index of a text of which no stretch of more than `length` characters is to be copied;
    None: it has none.

    Args:
        blocks: of `blocks_of`, overlapping by `length`.
        size: at least the characters of all of them together, overlaps left out.
        token_bytes: see `CopyIndex`.
    """
    bits = np.uint64(CopyIndex.point_bits)
    keys, count = np.empty(size, np.uint64), 0  # memory that is not written to is not taken
    for points in blocks:
        if (more := len(points) - length) > 0:
            hashes = window_hashes(points[:-1], length)
            keys[count : count + more] = hashes >> bits << bits | points[length:]
            count += more
    keys = keys[:count]
    keys.sort()
    return CopyIndex(length, _distinct(keys), token_bytes) if count else None


def _distinct(keys: Array) -> Array:
    """Return sorted keys, each once; they are moved in place, as there may be very many."""
    count = 0
    for begin in range(0, len(keys), _BLOCK):
        block = keys[begin : begin + _BLOCK]
        is_new = np.append(not count or block[0] != keys[count - 1], block[1:] != block[:-1])
        new = block[is_new]
        keys[count : count + len(new)] = new
        count += len(new)
    return keys[:count]


def copied_chars(texts: Sequence[Array], blocks: Iterable[Array], length: int) -> int:
    """Return how many characters of texts lie in stretches of at least `length` that stand in another text.

    Args:
        texts: their characters, uint32. They are few: memory is taken for them alone.
        blocks: of `blocks_of` the other text, overlapping by `length` - 1.
    """
    points = np.concatenate([part for text in texts for part in (text, [_END + 1])] or [[]]).astype(np.uint32)
    if len(points) < length:
        return 0
    hashes, place = np.unique(window_hashes(points, length), return_inverse=True)
    is_found = np.zeros(len(hashes), np.bool_)
    for block in blocks:
        if len(block) >= length:
            found = window_hashes(block, length)
            places = np.searchsorted(hashes, found)
            is_found[places[hashes.take(places, mode="clip") == found]] = True
    depth = np.zeros(len(points) + 1, np.int64)  # how many found windows begin, less those that have ended
    starts = np.flatnonzero(is_found[place])
    depth[starts] += 1
    depth[starts + length] -= 1
    return int((np.cumsum(depth)[:-1][points != _END + 1] > 0).sum())
