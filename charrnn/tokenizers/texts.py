"""Many short texts, encoded together: far faster than one after another."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.tokenizers.utf8 import SPACES, CodePoints, starts_char

Lengths = npt.NDArray[np.int64]


class EncodedTexts(NamedTuple):
    """The ids of N texts, one after another; how many ids, characters and words each text has, (N,); and how often each
    unknown code point occurs."""

    ids: npt.NDArray[np.unsignedinteger[Any]]
    tokens: Lengths
    chars: Lengths
    words: Lengths
    unknown_chars: Mapping[int, int] = {}


def decode_texts(texts: Sequence[bytes]) -> tuple[CodePoints, Lengths, Lengths] | None:
    """Return the code points of short texts, decoded together: far faster than one after another.

    Returns:
        The code points one after another, uint32; how many each text has, (N,); how many words. None: a text is not
        what a `Utf8Decoder` reads without changing anything, and is to be decoded on its own.
    """
    data = b"".join(texts)
    if b"\0" in data or b"\xef\xbb\xbf" in data:  # there may be a byte order mark, or UTF-16
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    points: CodePoints = np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.uint32, copy=False)
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    ends = np.cumsum(sizes)
    if len(points) == len(data):
        chars = sizes
    else:
        is_start = starts_char(data)
        if not is_start[(ends - sizes)[sizes > 0]].all():
            return None  # a character is cut: neither part is UTF-8
        starts = np.append(0, np.cumsum(is_start))
        chars = starts[ends] - starts[ends - sizes]
    return points, chars, count_words(SPACES.take(points, mode="clip"), chars)


def count_words(spaces: npt.NDArray[np.bool_], lengths: Lengths) -> Lengths:
    """Return how many words each of N texts has that stand one after another.

    Args:
        spaces: of each character or byte of theirs, whether it is whitespace. lengths: of each text, (N,).
    """
    is_first = ~spaces
    is_first[1:] &= spaces[:-1]
    firsts = (np.cumsum(lengths) - lengths)[lengths > 0]
    is_first[firsts] = ~spaces[firsts]
    words = np.zeros(len(lengths), np.int64)
    if len(firsts):
        words[lengths > 0] = np.add.reduceat(is_first, firsts, dtype=np.int64)
    return words
