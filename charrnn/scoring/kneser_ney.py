"""Frequencies and n-grams with Kneser-Ney smoothing: the models that a recurrent one has to beat."""

from collections.abc import Callable, Sequence
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

    Args: as `unigram_probabilities`.
        check: called before each length of c; may raise.

    Returns: as `unigram_probabilities`.
    """
    return kneser_ney_texts([train], [val], size, order, check)


def kneser_ney_texts(
    train: Sequence[Array],
    val: Sequence[Array],
    size: int,
    order: int = ORDER,
    check: Callable[[], None] = lambda: None,
) -> Array:
    """Return what `kneser_ney` does for several texts, such as lines: `<s>` stands before the first token of each.

    Returns:
        float64 (M,), M being the tokens of all texts of `val`, one text after another.
    """
    tables, numbers = _tables(train, val, size, order, check)
    return tables[-1].probabilities[numbers]


def ngram_tables(train: Sequence[Array], size: int, order: int = ORDER) -> "list[NgramTable]":
    """Return the n-grams of length 1 to `order` of several texts, with what `kneser_ney_texts` takes from them."""
    return _tables(train, [], size, order, lambda: None)[0]


@dataclass(frozen=True)
class NgramTable:
    """The different n-grams of one length n, numbered; `order - 1` times `<s>` is before each text.

    Attributes:
        token: the last token of each; `<s>` is the size of the vocabulary.
        context, shorter: the number, among those of length n - 1, of each one without its last token; its first.
        counts: N(c s) of each; 0 where it does not end at a token of the training texts.
        probabilities: p(s | c) of each.
        backoffs: of each n-gram c of length n - 1, G(c) / N(c): p(s | c) / p(s | c') where c s has not been seen.
    """

    token: Array
    context: Array
    shorter: Array
    counts: Array
    probabilities: Array
    backoffs: Array


@dataclass(frozen=True)
class _Grams:
    """The different n-grams of one length of the training texts and the others. See `NgramTable`.

    Attributes:
        occurrences: how often each ends at a token of the training texts.
        num_shorter: how many there are of length n - 1.
    """

    token: Array
    context: Array
    shorter: Array
    occurrences: Array
    num_shorter: int


def _tables(
    train: Sequence[Array], val: Sequence[Array], size: int, order: int, check: Callable[[], None]
) -> tuple[list[NgramTable], Array]:
    """Return the n-grams of both, and of each token of `val` the number of the longest that ends there."""
    grams, numbers = _grams(train, val, size, order, check)
    counts = grams[-1].occurrences
    levels = []
    for gram in reversed(grams):
        levels.append((gram, counts))
        counts = np.bincount(gram.shorter[counts > 0], minlength=gram.num_shorter)
    probabilities = np.full(1, 1 / size)
    tables = []
    for gram, counts in reversed(levels):
        discounts = _discounts(counts)[np.minimum(counts, 3)]
        total = np.bincount(gram.context, counts, gram.num_shorter)  # N(c)
        discounted = np.bincount(gram.context, discounts, gram.num_shorter)  # G(c)
        seen = total > 0
        lower = probabilities[gram.shorter]
        numerator = counts - discounts + discounted[gram.context] * lower
        probabilities = np.divide(numerator, total[gram.context], out=lower, where=seen[gram.context])
        backoffs = np.divide(discounted, total, out=np.ones(gram.num_shorter), where=seen)
        tables.append(NgramTable(gram.token, gram.context, gram.shorter, counts, probabilities, backoffs))
    return tables, numbers


def _grams(
    train: Sequence[Array], val: Sequence[Array], size: int, order: int, check: Callable[[], None]
) -> tuple[list[_Grams], Array]:
    """Return those of length 1 to `order`, and the numbers of the longest that end at each token of `val`.

    Each length takes the time of a sort, however large the vocabulary.
    """
    bos = np.full(order - 1, size)  # <s>
    padded = [[part for text in texts for part in (bos, text)] for texts in (train, val)]
    ids = np.concatenate([*padded[0], *padded[1]]).astype(np.int64)
    middle = sum(map(len, padded[0]))
    is_token = ids != size
    before = np.zeros(len(ids), np.int32)  # of each place, the number of the shorter n-gram that ends there
    num_shorter = 1
    found = []
    for _ in range(order):
        check()
        keys = ids.copy()
        keys[1:] += before[:-1] * np.int64(size + 1)
        different, numbers = _numbered(keys)
        shorter = np.empty(len(different), np.int32)
        shorter[numbers] = before
        occurrences = np.bincount(numbers[:middle][is_token[:middle]], minlength=len(different))
        context, token = np.divmod(different, size + 1)
        found.append(_Grams(token, context, shorter, occurrences, num_shorter))
        before, num_shorter = numbers, len(different)
    return found, before[middle:][is_token[middle:]]


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
