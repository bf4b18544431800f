"""Every byte is an id: any file at all, V = 256, nothing ever unknown."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from charrnn.tokenizers.texts import EncodedTexts, count_words
from charrnn.tokenizers.utf8 import Errors, WordCounter, count_chars, starts_char


class ByteTokenizer:
    """The tokenizer whose ids are the bytes themselves. See `Tokenizer`."""

    name = "byte"
    size = 256
    newline: int | None = 10
    unknown: int | None = None
    unknown_cost = 0.0
    token_bytes = tuple(bytes([byte]) for byte in range(256))

    @property
    def table(self) -> npt.NDArray[np.uint32]:
        """See `Tokenizer.table`: nothing needs to be stored."""
        return np.zeros(0, np.uint32)

    def encode(self, data: bytes, errors: Errors = "strict") -> npt.NDArray[np.uint8]:
        """Return the bytes as a read-only array, not copied. No byte is an error."""
        return np.frombuffer(data, np.uint8)

    def encode_texts(self, texts: Sequence[bytes]) -> EncodedTexts:
        """See `Tokenizer.encode_texts`. There is no text that is not plain."""
        data = b"".join(texts)
        ids, sizes = np.frombuffer(data, np.uint8), np.fromiter(map(len, texts), np.int64, len(texts))
        starts = np.append(0, np.cumsum(starts_char(data)))
        ends = np.cumsum(sizes)
        return EncodedTexts(ids, sizes, starts[ends] - starts[ends - sizes], count_words(is_space(ids), sizes))

    def decode(self, ids: npt.ArrayLike) -> bytes:
        """See `Tokenizer.decode`."""
        wide = np.asarray(ids)
        if wide.size and (wide.min() < 0 or wide.max() >= 256):
            raise ValueError("an id is not a byte")
        return wide.astype(np.uint8).tobytes()

    def encoder(self, errors: Errors = "strict") -> "ByteEncoder":
        """Return an encoder, which only counts."""
        return ByteEncoder()


class ByteEncoder:
    """See `Encoder`."""

    unknowns = 0
    unknown_chars: Mapping[int, int] = {}
    replaced = 0
    bom = False  # a byte order mark is kept

    def __init__(self) -> None:
        self.bytes = 0
        self.chars = 0
        self._words = WordCounter()

    @property
    def words(self) -> int:
        """Words as `len(data.split())` counts them: only ASCII whitespace separates them."""
        return self._words.count

    def feed(self, data: bytes, final: bool = False) -> npt.NDArray[np.uint8]:
        """See `Encoder.feed`."""
        ids = np.frombuffer(data, np.uint8)
        self.bytes += ids.size
        self.chars += count_chars(data)
        self._words.feed(is_space(ids))
        return ids


def is_space(ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return of each byte whether it is ASCII whitespace."""
    # uint8 wraps around, so one comparison finds 9..13: tab, \n, \v, \f and \r
    return np.asarray((ids - np.uint8(9) < 5) | (ids == 32))
