"""A text, which comes in chunks, cut in words or tokens: their ids, texts and places."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from charrnn.engines.base import Array, Ids
from charrnn.scoring.entries import NO_IDS
from charrnn.tokenizers.byte import ByteTokenizer, is_space
from charrnn.tokenizers.char import CharTokenizer
from charrnn.tokenizers.tokenizer import Tokenizer
from charrnn.tokenizers.utf8 import SPACES, CodePoints, Errors, Utf8Decoder, char_starts, starts_char


class UnitCut(NamedTuple):
    """Ids, where units end among them, and each unit's text, offset and line."""

    ids: Ids
    ends: Ids
    places: list[tuple[bytes, int, int]]


class UnitCutter:
    """Cuts a text, which comes in chunks, in units.

    Args:
        by: "word" or "token". token_sizes: of each id, in bytes.
        offset, line, begin: of the text's first character, and its first byte, in what it is a part of.
        keeps_bom: whether a byte order mark at its start is a character.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        by: str,
        errors: Errors,
        token_sizes: Array,
        *,
        offset: int,
        line: int,
        begin: int,
        keeps_bom: bool,
    ) -> None:
        self._tokenizer, self._by, self._sizes = tokenizer, by, token_sizes
        self._decoder = Utf8Decoder(errors)
        self._decoder.bom, self._decoder.bytes, self._decoder.newlines = keeps_bom, begin, line - 1
        self._encoder = tokenizer.encoder()
        if isinstance(self._encoder, Utf8Decoder):
            self._encoder.bom = True  # it was left out before
        self._data: list[bytes] = []  # what has come and is not in a unit that has ended
        self._ids: list[Ids] = [NO_IDS]  # of it
        self._after_space = False  # whether it ends with white space
        self._first, self._chars, self._line = offset, offset, line

    @property
    def replaced(self) -> int:
        """Places with invalid UTF-8 that were read as U+FFFD."""
        return self._decoder.replaced

    @property
    def unknown_chars(self) -> Mapping[int, int]:
        """How often each unknown code point has come."""
        return self._encoder.unknown_chars

    def feed(self, data: bytes, final: bool = False) -> UnitCut:
        """Return the units that have ended with these bytes; `final` says that the text ends here.

        Raises:
            InputError: the text is not what the tokenizer reads.
        """
        if not isinstance(self._tokenizer, ByteTokenizer):
            begun = self._decoder.bom
            data = _utf8(self._decoder.decode(data, final))
            self._chars += self._decoder.bom and not begun  # a byte order mark was left out
        self._ids.append(self._encoder.feed(data, final))
        self._data.append(data)
        if self._by == "word" and not self._ends_word(data) and not final:
            return UnitCut(NO_IDS, NO_IDS, [])
        ids, data = np.concatenate(self._ids), b"".join(self._data)
        sizes = self._sizes[ids]
        if isinstance(self._tokenizer, CharTokenizer):  # one of them may be unknown
            sizes = np.diff(char_starts(data), append=len(data))
        token_ends = np.cumsum(sizes)  # in bytes
        read = data[: int(token_ends[-1])] if len(sizes) else b""
        if self._by == "token":
            ends = np.arange(1, len(sizes) + 1)
            begins_at, ends_at = token_ends - sizes, token_ends
        else:
            spaces = self._spaces(read)
            ends = _word_ends(spaces, token_ends, final)
            ends_at = token_ends[ends - 1]
            begins_at, ends_at = _without_spaces(spaces, np.append(0, ends_at[:-1])[: len(ends)], ends_at)
        chars, newlines = np.cumsum(starts_char(read)), np.cumsum(np.frombuffer(read, np.uint8) == 10)
        offsets, lines = [], []
        if len(ends):
            firsts = np.minimum(begins_at, len(read) - 1)
            offsets = np.maximum(self._chars + chars[firsts] - 1, self._first).tolist()
            lines = (self._line + newlines[firsts] - (np.frombuffer(read, np.uint8)[firsts] == 10)).tolist()
        texts = [read[a:b] for a, b in zip(begins_at.tolist(), ends_at.tolist(), strict=True)]
        places = list(zip(texts, offsets, lines, strict=True))
        count = int(ends[-1]) if len(ends) else 0
        size = int(token_ends[count - 1]) if count else 0
        self._ids, self._data = [ids[count:]], [data[size:]]
        if size:
            self._chars += int(chars[size - 1])
            self._line += int(newlines[size - 1])
        return UnitCut(ids[:count], ends, places)

    def _ends_word(self, data: bytes) -> bool:
        """Return whether a word may end with these bytes: some follow white space. A long word is put together once."""
        text = data if isinstance(self._tokenizer, ByteTokenizer) else data.decode()
        follows = self._after_space or text[:1].isspace()
        if text:
            self._after_space = text[-1:].isspace()
        return not text.isspace() and (follows or len(text.split(None, 1)) == 2)

    def _spaces(self, data: bytes) -> Array:
        """Return for each byte whether it is white space, or part of it."""
        if isinstance(self._tokenizer, ByteTokenizer):
            return is_space(np.frombuffer(data, np.uint8))
        points = np.frombuffer(data.decode().encode("utf-32-le"), "<u4")
        return np.repeat(SPACES.take(points, mode="clip"), np.diff(char_starts(data), append=len(data)))


def _utf8(points: CodePoints) -> bytes:
    return points.astype("<u4", copy=False).tobytes().decode("utf-32-le").encode()


def _word_ends(spaces: Array, token_ends: Ids, final: bool) -> Ids:
    """Return after how many tokens words end: before white space that another word follows.

    Args:
        spaces: of the bytes. token_ends: of the tokens, in bytes. final: whether the text ends here; the last word then
            ends with it, and otherwise goes on.
    """
    if not len(token_ends):
        return np.zeros(0, np.int64)
    cuts = token_ends[:-1]
    starts = 1 + np.flatnonzero(spaces[cuts] & ~spaces[cuts - 1])  # tokens
    filled = np.flatnonzero(~spaces)
    starts = starts[token_ends[starts - 1] < filled[-1]] if len(filled) else starts[:0]
    return np.append(starts, len(token_ends)) if final else starts


def _without_spaces(spaces: Array, starts: Ids, ends: Ids) -> tuple[Ids, Ids]:
    """Return where the first character that is no white space begins in each piece, and where the last one ends."""
    filled = np.flatnonzero(~spaces)
    if not len(filled):
        return starts, starts
    firsts, lasts = np.searchsorted(filled, starts), np.searchsorted(filled, ends) - 1
    found = firsts <= lasts
    return (
        np.where(found, filled[np.minimum(firsts, len(filled) - 1)], starts),
        np.where(found, filled[lasts] + 1, starts),
    )
