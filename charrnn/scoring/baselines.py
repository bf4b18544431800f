"""The figures of simpler models on the same text: whether a model's own figure is good is seen beside them.

All are bits per character of the validation text, as `Score.bits_per_char` is, and all but xz are of proper
distributions over all of Unicode, as the model's own scores are: an unknown character has its share of `<unk>`.

    uniform   all known tokens, and `<unk>`, are equally likely
    unigram   tokens are as likely as they are frequent
    ngram     the four tokens before are known (a 5-gram)
    xz        what the validation text adds to the size of the compressed text before it
"""

import math
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np

from charrnn.errors import InputError
from charrnn.scoring.kneser_ney import ORDER, Array, kneser_ney, unigram_probabilities
from charrnn.tokenizers.byte import ByteTokenizer
from charrnn.tokenizers.char import CharTokenizer
from charrnn.tokenizers.utf8 import decode_utf8

MAX_TRAIN = 5_000_000
"""Bytes that are learnt from, at most; xz's window is 8 MiB."""


_CHUNK_BYTES = 1 << 18  # compressed before it is seen whether to go on


_CHECK_EVERY = 0.05  # seconds, while compression is waited for


@dataclass(frozen=True)
class Baselines:
    """Bits per character of a validation text; the module says what each is.

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
    """Fit the baselines to one text and score the other; return None where either is empty.

    Tokens are characters where both texts are UTF-8, else bytes. Figures are per code point, or, in what is not
    UTF-8, per byte that does not continue one; a byte order mark at the start is not counted, as by the tokenizers.

    Args:
        train, val: each from its own start, as the model scores them.
        check: called between the parts; may raise.
        order: of the n-grams: their tokens, the predicted one included.
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
    unknown = 0 if tokenizer.unknown is None else int(np.count_nonzero(ids[1] == tokenizer.unknown))
    unknown_bits = unknown * tokenizer.unknown_cost / math.log(2)

    def bits_per_char(probabilities: Array) -> float:
        return float((unknown_bits - np.log2(probabilities).sum()) / chars)

    stopped = threading.Event()
    with ThreadPoolExecutor(2) as pool:  # the xz library runs beside Python
        try:
            sizes = [pool.submit(_xz_size, text, stopped) for text in (train, train + val)]
            check()
            uniform = bits_per_char(np.full(len(ids[1]), 1 / tokenizer.size))
            unigram = bits_per_char(unigram_probabilities(*ids, tokenizer.size))
            ngram = bits_per_char(kneser_ney(*ids, tokenizer.size, order, check))
            before, after = _results(sizes, check)
        finally:
            stopped.set()
    xz = None if before is None or after is None else 8 * (after - before) / chars
    return Baselines(uniform, unigram, ngram, xz, len(train), len(val))


def _xz_size(text: bytes, stopped: threading.Event) -> int | None:
    """Return the bytes of its xz file; None where Python cannot make one, or once `stopped` is set."""
    try:
        import lzma
    except ImportError:
        return None
    compressor = lzma.LZMACompressor()
    size = 0
    for at in range(0, len(text), _CHUNK_BYTES):
        if stopped.is_set():
            return None
        size += len(compressor.compress(text[at : at + _CHUNK_BYTES]))
    return size + len(compressor.flush())


def _results(sizes: list[Future[int | None]], check: Callable[[], None]) -> list[int | None]:
    while wait(sizes, _CHECK_EVERY).not_done:
        check()
    return [size.result() for size in sizes]
