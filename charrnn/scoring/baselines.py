"""What simpler models make of the same text, so that a figure can be told to be good or bad.

All are in bits per character of the validation text, as `Score.bits_per_char` is, and all but xz are proper
distributions over all of Unicode, as the model's own scores are: an unknown character costs its share of `<unk>`.

    uniform   all known symbols, and `<unk>`, are equally likely
    unigram   symbols are as likely as they are frequent
    ngram     the four symbols before are known (a 5-gram)
    xz        what the validation text adds to the size of the compressed text before it
"""

import math
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np

from charrnn.errors import InputError
from charrnn.scoring.kneser_ney import ORDER, Array, frequencies, kneser_ney
from charrnn.tokenizers.byte import ByteTokenizer
from charrnn.tokenizers.char import CharTokenizer
from charrnn.tokenizers.utf8 import decode_utf8

MAX_TRAIN, MAX_VAL = 5_000_000, 1_000_000
"""Bytes that are looked at, at most; xz's window is 8 MiB."""


_PIECE = 1 << 18  # bytes compressed between two looks at whether to go on


_WAIT = 0.05  # seconds between two calls of `check` while there is nothing else to do


@dataclass(frozen=True)
class Baselines:
    """Bits per character of a validation text; see this module's beginning.

    Attributes:
        xz: None where Python has been built without it.
        train_bytes, val_bytes: what they were measured on.
    """

    uniform: float
    unigram: float
    ngram: float
    xz: float | None
    train_bytes: int
    val_bytes: int


def measure(
    train: bytes, val: bytes, check: Callable[[], None] = lambda: None, *, order: int = ORDER
) -> Baselines | None:
    """Learn from one text and predict the other; None where there is nothing to predict, or to learn from.

    Symbols are characters where both texts are UTF-8, else bytes. The characters divided by are code points, or,
    in what is not UTF-8, bytes that continue none; a byte order mark at the start is none, as for the tokenizers.

    Args:
        train, val: each from its own start, as the model scores them.
        check: called between the parts; may raise to end it.
        order: of the n-gram model: the symbols it looks at, the predicted one included.
    """
    if not (train and val):
        return None
    tokenizer: CharTokenizer | ByteTokenizer
    try:
        tokenizer = CharTokenizer.from_text(decode_utf8(train))
        ids = tokenizer.encode(train), tokenizer.encode(val)
        chars = len(ids[1])
    except InputError:
        tokenizer = ByteTokenizer()
        ids = tokenizer.encode(train), tokenizer.encode(val)
        chars = int(np.count_nonzero((ids[1] & 0xC0) != 0x80))
    if not chars:
        return None
    strange = 0 if tokenizer.unknown is None else int(np.count_nonzero(ids[1] == tokenizer.unknown))
    spread = strange * tokenizer.unknown_cost / math.log(2)

    def bits(chances: Array) -> float:
        return float((spread - np.log2(chances).sum()) / chars)

    stopped = threading.Event()
    with ThreadPoolExecutor(2) as pool:  # which the xz library runs in without hindrance
        try:
            sizes = [pool.submit(_packed, text, stopped) for text in (train, train + val)]
            check()
            one = np.full(len(ids[1]), 1 / tokenizer.size)
            uniform, unigram = bits(one), bits(frequencies(*ids, tokenizer.size))
            ngram = bits(kneser_ney(*ids, tokenizer.size, order, check))
            before, after = _results(sizes, check)
        finally:
            stopped.set()
    xz = None if before is None or after is None else 8 * (after - before) / chars
    return Baselines(uniform, unigram, ngram, xz, len(train), len(val))


def _packed(text: bytes, stopped: threading.Event) -> int | None:
    """The bytes of its xz file; None where Python cannot make one, or when it need not go on."""
    try:
        import lzma
    except ImportError:
        return None
    packer = lzma.LZMACompressor()
    size = 0
    for at in range(0, len(text), _PIECE):
        if stopped.is_set():
            return None
        size += len(packer.compress(text[at : at + _PIECE]))
    return size + len(packer.flush())


def _results(sizes: list[Future[int | None]], check: Callable[[], None]) -> list[int | None]:
    while wait(sizes, _WAIT).not_done:
        check()
    return [size.result() for size in sizes]
