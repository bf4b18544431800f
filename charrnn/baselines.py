"""What simpler models make of the same text, so that a figure can be told to be good or bad.

All are in bits per character of the validation text, as `Score.bits_per_char` is, and all but xz are proper
distributions over all of Unicode, as the model's own scores are: an unknown character costs its share of `<unk>`.

    uniform   all known symbols, and `<unk>`, are equally likely
    unigram   symbols are as likely as they are frequent
    ngram     the four symbols before are known (a 5-gram)
    xz        what the validation text adds to the size of the compressed text before it
"""

import lzma
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.errors import InputError
from charrnn.tokenizers import decode_utf8
from charrnn.tokenizers.char import SCALARS

ORDER = 5

MAX_TRAIN, MAX_VAL = 5_000_000, 1_000_000
"""Bytes that are looked at, at most."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Baselines:
    """Bits per character of a validation text; see this module's beginning.

    Attributes:
        train_bytes, val_bytes: what they were measured on.
    """

    uniform: float
    unigram: float
    ngram: float
    xz: float
    train_bytes: int
    val_bytes: int


def measure(train: bytes, val: bytes, check: Callable[[], None] = lambda: None) -> Baselines | None:
    """Learn from one text and predict the other; None where there is nothing to predict, or to learn from.

    Symbols are characters where both texts are UTF-8, else bytes.

    Args:
        train, val: the second may follow the first: its first symbols are predicted from the end of that.
        check: called between the parts; may raise to end it.
    """
    if not (train and val):
        return None
    try:
        learned, text, rest = decode_utf8(train), decode_utf8(val), SCALARS
    except InputError:
        learned, text, rest = np.frombuffer(train, np.uint8), np.frombuffer(val, np.uint8), 256
    chars = int(np.count_nonzero((np.frombuffer(val, np.uint8) & 0xC0) != 0x80))
    if not (len(learned) and len(text) and chars):
        return None
    known, ids = np.unique(learned, return_inverse=True)
    places = np.minimum(np.searchsorted(known, text), len(known) - 1)
    strange = known[places] != text
    places[strange] = len(known)
    spread = np.log2(rest - len(known)) * int(strange.sum()) if strange.any() else 0.0
    symbols = np.concatenate([ids, places]).astype(np.int64)
    uniform = np.full(len(text), 1 / (len(known) + 1))
    check()
    probabilities = interpolated(symbols, len(ids), uniform)
    check()

    def bits(chances: Array) -> float:
        return float((spread - np.log2(chances).sum()) / chars)

    return Baselines(
        bits(uniform),
        bits(probabilities[0]),
        bits(probabilities[-1]),
        8 * _added(train, val, check) / chars,
        len(train),
        len(val),
    )


def first(text: bytes, limit: int) -> bytes:
    """Its first bytes, whole characters of them."""
    end = min(limit, len(text))
    while 0 < end < len(text) and text[end] & 0xC0 == 0x80 and limit - end < 3:
        end -= 1
    return text[:end]


def last(text: bytes, limit: int) -> bytes:
    """Its last bytes, whole characters of them: of a text to learn from what is nearest to the one after it."""
    begin = max(0, len(text) - limit)
    while 0 < begin < len(text) and text[begin] & 0xC0 == 0x80 and begin - len(text) + limit < 3:
        begin += 1
    return text[begin:]


def interpolated(symbols: Array, learned: int, uniform: Array, order: int = ORDER) -> list[Array]:
    """The probability of each symbol after the `learned` first ones, by models of order 1 to `order`.

    With c the symbols before, N(c) how often c was followed by anything, T(c) by how many different symbols,
    and c' the same but for its first symbol (Witten & Bell 1991, method C, interpolated):

        p(s | c) = (N(c s) + T(c) p(s | c')) / (N(c) + T(c))

    Args:
        symbols: int64 (N,), at least 0; those to learn from, then those to predict.
        uniform: (N - learned,), the probabilities that a model of order 0 gives.
    """
    size = int(symbols.max()) + 1
    grams = symbols  # of each place, the number of the k-gram that ends there
    contexts = np.zeros(len(symbols), np.int64)  # of each place, the number of the (k-1)-gram that ends before it
    found = [uniform]
    for length in range(order):  # of the context
        begin = max(learned, length)  # places with so long a context
        wanted, given = grams[begin:], contexts[begin:]
        taught, before = grams[length:learned], contexts[length:learned]
        times = np.bincount(taught, minlength=int(grams.max()) + 1)
        followed = np.bincount(before, minlength=int(contexts.max()) + 1)
        kinds, firsts = np.unique(taught, return_index=True)
        different = np.bincount(before[firsts], minlength=len(followed)) if len(kinds) else followed
        lower = found[-1]
        chances = lower.copy()
        total = followed[given] + different[given]
        seen = total > 0
        places = np.flatnonzero(seen) + begin - learned
        chances[places] = (times[wanted] + different[given] * lower[begin - learned :])[seen] / total[seen]
        found.append(chances)
        # the next longer: a gram's number with the symbol after it, numbered anew
        contexts = np.concatenate([[0], grams[:-1]])
        _, grams = np.unique(contexts * size + symbols, return_inverse=True)
    return found[1:]


def _added(train: bytes, val: bytes, check: Callable[[], None]) -> int:
    """Bytes by which the second text makes the first one's xz file longer."""
    alone = len(lzma.compress(train))
    check()
    return len(lzma.compress(train + val)) - alone
