"""What must not follow in a text, as it depends on all of the text: token by token, for engines without a loop of their
own. The compiled core has the same in `native/repeats.h` and `native/copies.h`.
"""

import codecs
from typing import Protocol

import numpy as np

from charrnn.engines.base import Array, CopyIndex


class Guard(Protocol):
    """Watches over a text: what must not follow depends on all of it."""

    def add(self, token: int) -> None:
        """Let the text go on."""

    def forbidden(self) -> Array:
        """Return what must not be next, bool (V,)."""


class RepeatGuard:
    """`Guard`: no sequence of so many of V tokens comes twice."""

    def __init__(self, length: int, vocabulary: int) -> None:
        self._length, self._vocabulary = length, vocabulary
        self._last: tuple[int, ...] = ()  # length - 1 tokens
        self._followers: dict[tuple[int, ...], list[int]] = {}

    def add(self, token: int) -> None:
        """See `Guard`."""
        if len(self._last) == self._length - 1:
            self._followers.setdefault(self._last, []).append(token)
            self._last = self._last[1:]
        if self._length > 1:
            self._last = (*self._last, token)

    def forbidden(self) -> Array:
        """See `Guard`."""
        found = np.zeros(self._vocabulary, np.bool_)
        found[self._followers.get(self._last, [])] = True
        return found


class CopyRules:
    """What the guards of all texts share: what each token writes."""

    def __init__(self, index: CopyIndex) -> None:
        self.index = index
        self.power = pow(CopyIndex.base, index.length, 1 << 64)
        self._written: dict[bytes, tuple[Array, Array]] = {}

    def written(self, partial: bytes) -> tuple[Array, Array]:
        """Return the characters that are complete with each token, (V, K), and how many they are, (V,).

        Args:
            partial: the beginning of a character that comes before.
        """
        if (found := self._written.get(partial)) is None:
            texts = []
            for token in self.index.token_bytes:
                decode = codecs.getincrementaldecoder("utf-8")("surrogateescape")
                decode.setstate((partial, 0))
                texts.append([ord(char) for char in decode.decode(token)])
            counts = np.array([len(text) for text in texts])
            chars = np.zeros((len(texts), counts.max()), np.uint64)
            for row, text in zip(chars, texts, strict=True):
                row[: len(text)] = text
            found = self._written[partial] = chars, counts
        return found

    def contains(self, keys: Array) -> Array:
        """Return which keys the index has, bool."""
        known = self.index.keys
        return np.asarray(known.take(np.searchsorted(known, keys), mode="clip") == keys)


class CopyGuard:
    """`Guard`: no stretch of the training text of more than N characters is copied."""

    def __init__(self, rules: CopyRules) -> None:
        self._rules, self._length = rules, rules.index.length
        self._hash = 0
        self._last: list[int] = []  # at most N characters
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def add(self, token: int) -> None:
        """See `Guard`."""
        for point in map(ord, self._decoder.decode(self._rules.index.token_bytes[token])):
            oldest = self._last.pop(0) if len(self._last) == self._length else 0
            self._hash = (self._hash - oldest * self._rules.power + point) * CopyIndex.base % (1 << 64)
            self._last.append(point)

    def forbidden(self) -> Array:
        """See `Guard`."""
        chars, counts = self._rules.written(self._decoder.getstate()[0])
        found = np.zeros(len(chars), np.bool_)
        known, bits = len(self._last), np.uint64(CopyIndex.point_bits)
        hashes = np.full(len(chars), self._hash, np.uint64)
        for place, points in enumerate(chars.T):
            if known + place >= self._length:  # so many come before
                found |= self._rules.contains(hashes >> bits << bits | points) & (place < counts)
                first = known + place - self._length
                oldest = np.array([self._last[first]], np.uint64) if first < known else chars[:, first - known]
                hashes = hashes - oldest * np.uint64(self._rules.power)
            hashes = (hashes + points) * np.uint64(CopyIndex.base)
        return found
