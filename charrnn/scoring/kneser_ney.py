"""Frequencies and n-grams with Kneser-Ney smoothing: the models that a recurrent one has to beat."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

ORDER = 5


_DENSE = 1 << 25  # numbers up to here are told apart in a table, which is faster than sorting


Array = npt.NDArray[Any]


def frequencies(train: Array, val: Array, size: int) -> Array:
    """The probability of each symbol of `val`, whatever is before it.

    With N(s) how often s occurs among N symbols of T kinds (Witten & Bell 1991, method C, interpolated):

        p(s) = (N(s) + T / size) / (N + T)

    Args:
        train, val: ids below `size`, shape (N,), (M,). size: of the vocabulary, `<unk>` included.

    Returns:
        float64 (M,); over the vocabulary they sum to 1.
    """
    times = np.bincount(train, minlength=size)
    param_types = np.count_nonzero(times)
    return np.asarray((times[val] + param_types / size) / (len(train) + param_types))


def kneser_ney(
    train: Array, val: Array, size: int, order: int = ORDER, check: Callable[[], None] = lambda: None
) -> Array:
    """The probability of each symbol of `val` after the `order - 1` before it, `<s>` before the first.

    Interpolated, modified Kneser-Ney smoothing (Chen & Goodman 1998, section 3): with c the symbols before and c'
    the same but for the first of them,

        p(s | c) = (N(c s) - D(N(c s)) + G(c) p(s | c')) / N(c),    p(s | c') alone where N(c) is 0

    N(c s) is how often c s occurs in `train`, and for all but the longest c how many different symbols are seen
    before it; N(c) is its sum over s, and G(c) that of the discounts D. Under the shortest c lies 1 / size.

    Args: as `frequencies`.
        check: called before each length of c; may raise.

    Returns: as `frequencies`.
    """
    grams = _grams(train, val, size, order, check)
    times = grams[-1].times
    chances = np.full(len(val), 1 / size)
    levels = []
    for gram in reversed(grams):
        levels.append((gram, times))
        times = np.bincount(gram.shorter[times > 0], minlength=gram.count_of_shorter)
    for gram, times in reversed(levels):
        discounts = _discounts(times)[np.minimum(times, 3)]
        contexts = max(int(gram.context.max()), int(gram.val_context.max())) + 1
        total = np.bincount(gram.context, times, contexts)[gram.val_context]
        kept = np.bincount(gram.context, discounts, contexts)[gram.val_context]
        seen = total > 0
        here = (times - discounts)[gram.val] + kept * chances
        np.divide(here, total, out=chances, where=seen)
    return chances


@dataclass(frozen=True)
class _Grams:
    """The different n-grams of one length n, numbered, of two texts with `<s>` before each.

    Attributes:
        times: how often each occurs in the text to learn from.
        context, shorter: the number, among those of length n - 1, of each one without its last symbol; its first.
        val, val_context: the number of the n-gram that ends at each symbol to predict; of the symbols before it.
    """

    times: Array
    context: Array
    shorter: Array
    count_of_shorter: int
    val: Array
    val_context: Array


def _grams(train: Array, val: Array, size: int, order: int, check: Callable[[], None]) -> list[_Grams]:
    """Those of length 1 to `order`, in time of a sort each, however large the vocabulary."""
    start = np.full(order - 1, size)  # <s>
    symbols = np.concatenate([start, train, start, val]).astype(np.int64)
    taught = slice(len(start), len(start) + len(train))
    asked = slice(len(symbols) - len(val), None)
    before = np.zeros(len(symbols), np.int32)  # of each place, the number of the shorter n-gram that ends there
    found = []
    for _ in range(order):
        check()
        keys = symbols.copy()
        keys[1:] += before[:-1] * np.int64(size + 1)
        different, numbers = _numbered(keys)
        shorter = np.empty(len(different), np.int32)
        shorter[numbers] = before
        found.append(
            _Grams(
                np.bincount(numbers[taught], minlength=len(different)),
                different // (size + 1),
                shorter,
                int(before.max()) + 1,
                numbers[asked].copy(),
                before[asked.start - 1 : -1].copy() if asked.start else np.zeros(len(val), np.int32),
            )
        )
        before = numbers
    return found


def _numbered(keys: Array) -> tuple[Array, Array]:
    """The different ones of numbers from 0, ascending, and the place of each number among them, as int32."""
    bound = int(keys.max()) + 1
    if bound > _DENSE:
        different, places = np.unique(keys, return_inverse=True)
        return different, places.astype(np.int32)
    there = np.zeros(bound, np.bool_)
    there[keys] = True
    different = np.flatnonzero(there)
    table = np.empty(bound, np.int32)
    table[different] = np.arange(len(different))
    return different, table[keys]


def _discounts(times: Array) -> Array:
    """What is taken from n-grams that occur 0, 1, 2, and 3 times or more, as Chen & Goodman estimate it.

    The estimate is made for words; of a few characters too few are rare. Then it is 1/2, 1, 3/2, as KenLM has it.
    """
    n1, n2, n3, n4 = (int(np.count_nonzero(times == count)) for count in (1, 2, 3, 4))
    if n1 and n2 and n3:
        y = n1 / (n1 + 2 * n2)
        found = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
        if (found[1:] > 0).all():  # zero would leave nothing for what has not been seen
            return found
    return np.array([0, 0.5, 1, 1.5])
