"""The score of a text: its nats, and how long it is.

Definitions. `nats` is the sum over all N tokens of -ln p, the first included (predicted after
`<s>`), summed in float64; then

    perplexity      = exp(nats / N)
    bits_per_char   = nats / (ln 2 * code points)
    bits_per_byte   = nats / (ln 2 * input bytes)
    byte_perplexity = 2 ** bits_per_byte
    word_perplexity = exp(nats / words), words being separated by white space
    bits_per_byte_se = the standard error of bits_per_byte over lines or blocks of them

The nats of an unknown character are -ln p(`<unk>`) plus the tokenizer's `unknown_cost`.
"""

import math
from collections.abc import Sequence
from operator import add, mul
from typing import Any, NamedTuple


class Units(NamedTuple):
    """What the bits b and bytes n of separate units come to: the lines of a text, or blocks of them."""

    num: int = 0
    squared_bits: float = 0.0
    squared_bytes: float = 0.0
    bits_times_bytes: float = 0.0


class Score(NamedTuple):
    """The nats of a text, and how long it is. Scores of separate texts add up."""

    nats: float = 0.0
    tokens: int = 0
    oov: int = 0
    """Characters of the text that the model does not know."""
    oov_nats: float = 0.0
    """Their part of `nats`."""
    chars: int = 0
    bytes: int = 0
    words: int = 0
    replaced: int = 0
    """Places with invalid UTF-8 that were read as U+FFFD."""
    parts: Units | None = None
    """Of the units that it consists of; None: it is one, if it has tokens."""

    def __add__(self, other: "Score") -> "Score":  # type: ignore[override]  # as numbers do, not as tuples
        return Score(*map(add, self[:-1], other[:-1]))._replace(parts=Units(*map(add, self.units, other.units)))

    @property
    def units(self) -> Units:
        """Of its units."""
        if self.parts is not None:
            return self.parts
        bits = self.bits
        return Units(1, bits**2, self.bytes**2, bits * self.bytes) if self.tokens else Units()

    @property
    def bits_per_byte_se(self) -> float:
        """The standard error of `bits_per_byte`, a ratio of sums over m units (Cochran 1977, 6.4): the root of
        m / (m - 1) times the sum of (b - bits_per_byte * n)**2, over the bytes; nan of fewer than two units."""
        m, bb, nn, bn = self.units
        if m < 2 or not self.bytes:
            return math.nan
        ratio = self.bits_per_byte
        return math.sqrt(max(0.0, bb - 2 * ratio * bn + ratio**2 * nn) * m / (m - 1)) / self.bytes

    @property
    def perplexity(self) -> float:
        """exp(nats / tokens); inf where no float is as large, nan where there are no tokens."""
        return _exp(self.nats, self.tokens)

    @property
    def perplexity_without_oov(self) -> float:
        """The same without the unknown characters, in sum and count."""
        return _exp(self.nats - self.oov_nats, self.tokens - self.oov)

    @property
    def bits(self) -> float:
        """nats / ln 2."""
        return self.nats / math.log(2)

    @property
    def bits_per_char(self) -> float:
        """Bits per code point of the input."""
        return _ratio(self.bits, self.chars)

    @property
    def bits_per_byte(self) -> float:
        """Bits per byte of the input."""
        return _ratio(self.bits, self.bytes)

    @property
    def byte_perplexity(self) -> float:
        """2 ** bits_per_byte."""
        return _exp(self.nats, self.bytes)

    @property
    def word_perplexity(self) -> float:
        """exp(nats / words)."""
        return _exp(self.nats, self.words)


def total_of(scores: Sequence[Score]) -> Score:
    """Return the sum of scores: far faster than one after another."""
    if not scores:
        return Score()
    *columns, parts = zip(*scores, strict=True)
    sums: Any = map(sum, columns)
    total = Score(*sums)
    if any(each is not None for each in parts):
        return total._replace(parts=Units(*map(sum, zip(*(score.units for score in scores), strict=True))))
    bits = [score.nats / math.log(2) for score in scores]
    sizes = [score.bytes if score.tokens else 0 for score in scores]
    products = sum(map(mul, bits, bits)), sum(map(mul, sizes, sizes)), sum(map(mul, bits, sizes))
    return total._replace(parts=Units(sum(score.tokens > 0 for score in scores), *products))


def _ratio(value: float, count: int) -> float:
    return value / count if count else math.nan


def _exp(nats: float, count: int) -> float:
    try:
        return math.exp(_ratio(nats, count))
    except OverflowError:
        return math.inf
