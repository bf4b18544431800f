"""Every code point of the training text is an id, and `<unk>` is one more."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.errors import InputError
from charrnn.tokenizers.texts import EncodedTexts, decode_texts
from charrnn.tokenizers.utf8 import STEP, CodePoints, CountingDecoder, Errors, decode_utf8

SCALARS = 0x110000 - 0x800
"""How many code points of Unicode are characters: all but surrogates."""

CODE_POINTS = 0x110000
"""How many code points there are: 0 to 0x10FFFF."""


class CharTokenizer:
    """A vocabulary of K code points, sorted, as the ids 0..K-1; `<unk>` is K, so V = K + 1.

    An unknown character costs -ln p(`<unk>`) + ln(1,112,064 - K): `<unk>` shares its probability
    evenly among the code points it stands for, which makes a proper distribution over Unicode.
    See `Tokenizer`.

    Args:
        code_points: uint32, shape (K,), ascending, without surrogates. Copied.

    Raises:
        ValueError: anything else.
    """

    name = "char"

    def __init__(self, code_points: npt.NDArray[Any]) -> None:
        if code_points.dtype != np.uint32 or code_points.ndim != 1:
            raise ValueError(f"code points cannot be {code_points.dtype} {code_points.shape}")
        if code_points.size == 0:
            raise ValueError("there are no code points")
        if not (code_points[1:] > code_points[:-1]).all():
            raise ValueError("code points are not in ascending order, each once")
        if code_points[-1] >= CODE_POINTS or ((code_points >= 0xD800) & (code_points < 0xE000)).any():
            raise ValueError("code points are not all characters of Unicode")
        self.table: CodePoints = code_points.copy()
        self.table.setflags(write=False)
        self.unknown: int | None = code_points.size
        self.size: int = code_points.size + 1
        rest = SCALARS - code_points.size
        self.unknown_cost = math.log(rest) if rest else 0.0  # of nothing, when all are known
        # ids[code point]; the entry after the last known one stands for all that follow it.
        self._ids = np.full(int(code_points[-1]) + 2, self.unknown, np.min_scalar_type(self.size - 1))
        self._ids[self.table] = np.arange(code_points.size)

    @property
    def newline(self) -> int | None:
        """See `Tokenizer.newline`."""
        newline = int(self._ids[min(10, self._ids.size - 1)])
        return None if newline == self.unknown else newline

    @cached_property
    def token_bytes(self) -> Sequence[bytes]:
        """See `Tokenizer.token_bytes`."""
        return *(chr(point).encode() for point in self.table.tolist()), b""

    @classmethod
    def from_text(cls, code_points: CodePoints, vocab_size: int | None = None) -> "CharTokenizer":
        """Return the vocabulary of a training text: all its code points, or the `vocab_size` commonest.

        Of equally common ones those with the lower numbers are taken.

        Raises:
            InputError: there are none.
        """
        counts = np.zeros(CODE_POINTS, np.int64)
        for start in range(0, code_points.size, STEP):
            found = np.bincount(code_points[start : start + STEP])
            counts[: found.size] += found
        return cls.from_counts(counts, vocab_size)

    @classmethod
    def from_counts(cls, counts: npt.NDArray[np.int64], vocab_size: int | None = None) -> "CharTokenizer":
        """Return the vocabulary of a text in which each code point occurs `counts[point]` times.

        Raises:
            InputError: as `from_text`.
        """
        known = np.flatnonzero(counts)
        if known.size == 0:
            raise InputError("no characters to make a vocabulary of")
        commonest = known[np.argsort(-counts[known], kind="stable")][:vocab_size]
        return cls(np.sort(commonest).astype(np.uint32))

    def encode(self, data: bytes, errors: Errors = "strict") -> npt.NDArray[np.unsignedinteger[Any]]:
        """See `Tokenizer.encode`. A byte order mark at the start gets no id."""
        encoder = self.encoder(errors)
        starts = range(0, max(len(data), 1), STEP)
        return np.concatenate([encoder.feed(data[at : at + STEP], at + STEP >= len(data)) for at in starts])

    def decode(self, ids: npt.ArrayLike) -> bytes:
        """See `Tokenizer.decode`."""
        wide = np.asarray(ids, np.int64)
        if wide.size and (wide.min() < 0 or wide.max() >= self.table.size):
            raise ValueError("an id is not a character")
        points = self.table.take(wide)
        return points.astype("<u4", copy=False).tobytes().decode("utf-32-le").encode()

    def encoder(self, errors: Errors = "strict") -> "CharEncoder":
        """See `Tokenizer.encoder`."""
        return CharEncoder(self, errors)

    def encode_texts(self, texts: Sequence[bytes]) -> EncodedTexts | None:
        """See `Tokenizer.encode_texts`."""
        if (decoded := decode_texts(texts)) is None:
            return None
        points, chars, words = decoded
        ids = self.ids_of(points)
        return EncodedTexts(ids, chars, chars, words, self.count_unknown(points, ids))

    def ids_of(self, points: CodePoints) -> npt.NDArray[np.unsignedinteger[Any]]:
        """Return the id of each code point, `<unk>` where it is not known."""
        return self._ids.take(points, mode="clip")

    def count_unknown(self, points: CodePoints, ids: npt.NDArray[Any]) -> dict[int, int]:
        """Return how often each unknown code point occurs in a text, of which these are the ids."""
        if not (is_unknown := ids == self.unknown).any():
            return {}
        found, counts = np.unique(points[is_unknown], return_counts=True)
        return dict(zip(found.tolist(), counts.tolist(), strict=True))

    def explain(self, data: bytes) -> list[tuple[str, int]]:
        """Return the unknown characters of a text, each once, with the place where it first occurs.

        Places are counted in characters from 0, a byte order mark at the start not counted.

        Raises:
            InputError: invalid UTF-8.
        """
        points = decode_utf8(data)
        places = np.flatnonzero(self.ids_of(points) == self.unknown)
        unknown, first = np.unique(points[places], return_index=True)
        found = zip(unknown.tolist(), places[first].tolist(), strict=True)
        return sorted(((chr(point), place) for point, place in found), key=lambda pair: pair[1])

    def nearest(self, code_point: int) -> int:
        """Return the id of the known character that best stands for this one.

        The character itself, if it is known; else the same letter in the other case; else the
        character it is made from (the first of its NFKD decomposition: e for é, fi's f for a
        ligature, a space for a no-break space), in either case; else the known code point with
        the closest number, the smaller of two.
        """
        import unicodedata

        char = chr(code_point)
        base = unicodedata.normalize("NFKD", char)[0]
        for stem in (char, base):
            for candidate in (stem, stem.lower(), stem.upper()):
                if len(candidate) == 1:
                    found = int(self._ids.take(ord(candidate), mode="clip"))
                    if found != self.unknown:
                        return found
        return int(np.abs(self.table.astype(np.int64) - code_point).argmin())


class CharEncoder(CountingDecoder):
    """See `Encoder`."""

    def __init__(self, tokenizer: CharTokenizer, errors: Errors) -> None:
        super().__init__(errors)
        self.unknown_chars: Counter[int] = Counter()
        self._tokenizer = tokenizer

    @property
    def unknowns(self) -> int:
        """See `Encoder.unknowns`."""
        return self.unknown_chars.total()

    def feed(self, data: bytes, final: bool = False) -> npt.NDArray[np.unsignedinteger[Any]]:
        """See `Encoder.feed`."""
        points = self.decode(data, final)
        ids = self._tokenizer.ids_of(points)
        self.unknown_chars.update(self._tokenizer.count_unknown(points, ids))
        return ids


def known_otherwise(tokenizer: CharTokenizer, code_point: int) -> str:
    """Return what would make an unknown character known; empty: nothing that is easily done."""
    import unicodedata

    char, known = chr(code_point), set(tokenizer.table.tolist())
    parts = unicodedata.normalize("NFD", char)
    if char == "\r":
        return r"is not in texts without carriage returns: tr -d '\r'"
    if parts != char and known.issuperset(map(ord, parts)):
        return "would be known in NFD: uconv -x any-nfd"
    if unicodedata.combining(char) and any(char in unicodedata.normalize("NFD", chr(point)) for point in known):
        return "would be known in NFC: uconv -x any-nfc"
    return ""


def describe(char: str) -> str:
    """Return a character as "U+00E9 LATIN SMALL LETTER E WITH ACUTE"."""
    import unicodedata

    unnamed = {"Cc": "<control>", "Co": "<private use>"}
    name = unicodedata.name(char, "") or unnamed.get(unicodedata.category(char), "<unassigned>")
    return f"U+{ord(char):04X} {name}"
