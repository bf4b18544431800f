"""Frequencies and n-grams with Kneser-Ney smoothing: the models that a recurrent one has to beat."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

ORDER = 5


_MAX_TABLE = 1 << 25  # numbers up to here are counted in a table, which is faster than sorting


Array = npt.NDArray[Any]


def unigram_probabilities(train: Array, val: Array, size: int) -> Array:
    """Return the probability of each token of `val`, whatever is before it.

    With N(s) how often s occurs among N tokens of T types (Witten & Bell 1991, method C, interpolated):

        p(s) = (N(s) + T / size) / (N + T)

    Args:
        train, val: ids below `size`, shape (N,), (M,). size: of the vocabulary, `<unk>` included.

    Returns:
        float64 (M,); over the vocabulary they sum to 1.
    """
    counts = np.bincount(train, minlength=size)
    types = np.count_nonzero(counts)
    return np.asarray((counts[val] + types / size) / (len(train) + types))


def kneser_ney(
    train: Array, val: Array, size: int, order: int = ORDER, check: Callable[[], None] = lambda: None
) -> Array:
    """Return the probability of each token of `val` after the `order - 1` before it, `<s>` before the first.

    Interpolated, modified Kneser-Ney smoothing (Chen & Goodman 1998, section 3): with c the tokens before and c'
    the same but for the first of them,

        p(s | c) = (N(c s) - D(N(c s)) + G(c) p(s | c')) / N(c),    p(s | c') alone where N(c) is 0

    N(c s) is how often c s occurs in `train`, and for all but the longest c how many different tokens are seen
    before it; N(c) is its sum over s, and G(c) that of the discounts D. Under the shortest c lies 1 / size.

    Args: as `frequencies`.
        check: called before each length of c; may raise.

    Returns: as `frequencies`.
    """
    grams = _grams(train, val, size, order, check)
    counts = grams[-1].counts
    probabilities = np.full(len(val), 1 / size)
    levels = []
    for gram in reversed(grams):
        levels.append((gram, counts))
        counts = np.bincount(gram.shorter[counts > 0], minlength=gram.num_shorter)
    for gram, counts in reversed(levels):
        discounts = _discounts(counts)[np.minimum(counts, 3)]
        contexts = max(int(gram.context.max()), int(gram.val_context.max())) + 1
        total = np.bincount(gram.context, counts, contexts)[gram.val_context]  # N(c)
        discounted = np.bincount(gram.context, discounts, contexts)[gram.val_context]  # G(c)
        numerator = (counts - discounts)[gram.val] + discounted * probabilities
        np.divide(numerator, total, out=probabilities, where=total > 0)
    return probabilities


@dataclass(frozen=True)
class _Grams:
    """The different n-grams of one length n, numbered, of two texts with `<s>` before each.

    Attributes:
        counts: how often each occurs in the training text.
        context, shorter: the number, among those of length n - 1, of each one without its last token; its first.
        num_shorter: how many there are of length n - 1.
        val, val_context: the number of the n-gram that ends at each token to predict; of the tokens before it.
    """

    counts: Array
    context: Array
    shorter: Array
    num_shorter: int
    val: Array
    val_context: Array


def _grams(train: Array, val: Array, size: int, order: int, check: Callable[[], None]) -> list[_Grams]:
    """Return those of length 1 to `order`; each takes the time of a sort, however large the vocabulary."""
    bos = np.full(order - 1, size)  # <s>
    ids = np.concatenate([bos, train, bos, val]).astype(np.int64)
    train_part = slice(len(bos), len(bos) + len(train))
    val_part = slice(len(ids) - len(val), None)
    before = np.zeros(len(ids), np.int32)  # of each place, the number of the shorter n-gram that ends there
    found = []
    for _ in range(order):
        check()
        keys = ids.copy()
        keys[1:] += before[:-1] * np.int64(size + 1)
        different, numbers = _numbered(keys)
        shorter = np.empty(len(different), np.int32)
        shorter[numbers] = before
        found.append(
            _Grams(
                np.bincount(numbers[train_part], minlength=len(different)),
                different // (size + 1),
                shorter,
                int(before.max()) + 1,
                numbers[val_part].copy(),
                before[val_part.start - 1 : -1].copy() if val_part.start else np.zeros(len(val), np.int32),
            )
        )
        before = numbers
    return found


def _numbered(keys: Array) -> tuple[Array, Array]:
    """Return the different ones of numbers from 0, ascending, and the place of each number among them, as int32."""
    bound = int(keys.max()) + 1
    if bound > _MAX_TABLE:
        different, places = np.unique(keys, return_inverse=True)
        return different, places.astype(np.int32)
    there = np.zeros(bound, np.bool_)
    there[keys] = True
    different = np.flatnonzero(there)
    table = np.empty(bound, np.int32)
    table[different] = np.arange(len(different))
    return different, table[keys]


def _discounts(counts: Array) -> Array:
    """Return what is taken from n-grams that occur 0, 1, 2, and 3 times or more, as Chen & Goodman estimate it.

    The estimate is made for words; of a few characters too few are rare. Then it is 1/2, 1, 3/2, as KenLM has it.
    """
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == times)) for times in (1, 2, 3, 4))
    if n1 and n2 and n3:
        y = n1 / (n1 + 2 * n2)
        found = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
        if (found[1:] > 0).all():  # zero would leave nothing for what has not been seen
            return found
    return np.array([0, 0.5, 1, 1.5])
