"""UTF-8 to code points and back to whole characters, over any chunking of the bytes.

Nothing else in the package knows continuation bytes: whoever counts characters, or cuts bytes where no character is
cut, asks `count_chars`, `char_starts`, `head_bytes`, `tail_bytes` or a `Utf8Splitter`.
"""

import codecs
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.errors import InputError

CodePoints = npt.NDArray[np.uint32]

Errors = str
"""What becomes of invalid UTF-8: "strict" refuses it, "replace" reads it as U+FFFD."""

BOM = 0xFEFF
"""The byte order mark, as a code point."""

STEP = 1 << 18
"""Bytes decoded at a time, so that what lies between bytes and ids stays small and in the processor's caches."""

SPACES = np.zeros(0x3002, np.bool_)
"""Whether `str.split` takes a code point for whitespace; the last entry stands for every larger one."""
SPACES[[*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B)]] = True
SPACES[[0x2028, 0x2029, 0x202F, 0x205F, 0x3000]] = True

_NO_POINTS = np.zeros(0, np.uint32)

HEAD_BYTES = 64
"""First bytes of a text, by which other kinds of file are recognised."""

_WIDE_BOMS = (  # UTF-32 first: its little-endian mark begins with UTF-16's
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)

_SIGNATURES = (
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF-", "a PDF document"),
    (b"\x7fELF", "an ELF program"),
)


def decode_utf8(data: bytes, errors: Errors = "strict") -> CodePoints:
    """Return the code points of a whole text, a byte order mark at its start left out.

    Raises:
        InputError: as `Utf8Decoder.decode`.
    """
    decoder = Utf8Decoder(errors)
    starts = range(0, max(len(data), 1), STEP)
    return np.concatenate([decoder.decode(data[at : at + STEP], at + STEP >= len(data)) for at in starts])


def without_line(message: str) -> str:
    """Return what `Utf8Decoder.decode` raises without its line, for a text on a line that is named already."""
    return re.sub(r" \(line [0-9]+\)", "", message, count=1)


class Utf8Decoder:
    """Decodes one text that arrives in chunks. The counts are those of `Encoder`.

    Args:
        errors: "strict" raises at invalid UTF-8; "replace" puts U+FFFD for each maximal piece of it, as
            `bytes.decode` does, and counts it.
    """

    def __init__(self, errors: Errors = "strict") -> None:
        self.bytes = 0
        self.chars = 0
        self.replaced = 0
        self.bom = False
        self.fault: str | None = None
        """Where the first invalid UTF-8 was, as `decode` raises it under "strict"."""
        self._errors = errors
        self.newlines = 0
        self._head = b""
        self._held = b""  # the beginning of a character whose end has not come

    def decode(self, data: bytes, final: bool = False) -> CodePoints:
        """Return the code points that are complete with this chunk; `final` says that the text ends here.

        Raises:
            InputError: invalid UTF-8 under "strict", as "invalid UTF-8 at byte N (line L)", N
                counted from 0 and L from 1 over all chunks; or UTF-16 or UTF-32.
        """
        self.bytes += len(data)
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
            self._refuse_wide(final)
        elif not data and not self._held:
            return _NO_POINTS
        if self._held:
            data = self._held + data
        try:
            text, used = codecs.utf_8_decode(data, "strict", final)
        except UnicodeDecodeError as error:
            if not final and len(self._head) < HEAD_BYTES:
                text, used = "", 0  # the bytes by which a file is recognised have not all come
            else:
                self.fault = self.fault or self._place(data, error.start)
                if self._errors == "strict":
                    raise InputError(self.fault) from None
                text, used = codecs.utf_8_decode(data, self._errors, final)
                self.replaced += text.count("\ufffd") - data.count(b"\xef\xbf\xbd", 0, used)
        self._held = data[used:]
        if self.fault is None:
            self.newlines += count_newlines(data, used)

        points: CodePoints = np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.uint32, copy=False)
        if self.chars == 0 and not self.bom and points.size and points[0] == BOM:
            self.bom = True
            points = points[1:]
        self.chars += points.size
        return points

    def skip(self, data: bytes) -> bool:
        """Count a chunk whose bytes are its code points; return False where it is not one, and is to be decoded."""
        if self._held or len(self._head) < HEAD_BYTES or not data.isascii():
            return False
        self.bytes += len(data)
        self.chars += len(data)
        if self.fault is None:
            self.newlines += count_newlines(data, len(data))
        return True

    def _refuse_wide(self, final: bool) -> None:
        if b"\0" not in self._head and self._head[:1] < b"\xfe":
            return  # most texts, many of which are short
        encoding = None
        if final or len(self._head) >= 4:
            encoding = next((name for mark, name in _WIDE_BOMS if self._head.startswith(mark)), None)
        if encoding is None and (final or len(self._head) == HEAD_BYTES):
            encoding = _wide_without_bom(self._head)
        if encoding is not None:
            raise InputError(f"looks like {encoding}; convert it with iconv -f {encoding} -t UTF-8")

    def _place(self, data: bytes, start: int) -> str:
        offset = self.bytes - len(data) + start
        line = 1 + self.newlines + data.count(b"\n", 0, start)
        kind = next((name for magic, name in _SIGNATURES if self._head.startswith(magic)), None)
        hint = f"; this looks like {kind}" if kind else ""
        return f"invalid UTF-8 at byte {offset} (line {line}){hint}"


class CountingDecoder(Utf8Decoder):
    """A decoder that counts words too, as encoders of text do."""

    def __init__(self, errors: Errors = "strict") -> None:
        super().__init__(errors)
        self._words = WordCounter()

    @property
    def words(self) -> int:
        """Whitespace-separated words so far."""
        return self._words.count

    def decode(self, data: bytes, final: bool = False) -> CodePoints:
        """See `Utf8Decoder.decode`."""
        points = super().decode(data, final)
        self._words.feed(SPACES.take(points, mode="clip"))
        return points


class WordCounter:
    """Counts words that whitespace separates, in a text that arrives in chunks."""

    def __init__(self) -> None:
        self.count = 0
        self._inside = False

    def feed(self, spaces: npt.NDArray[np.bool_]) -> None:
        """Count on; `spaces` says of each character or byte of the chunk whether it is whitespace."""
        if spaces.size:
            self.count += int(np.count_nonzero(spaces[:-1] > spaces[1:]))
            self.count += not spaces[0] and not self._inside
            self._inside = not spaces[-1]


class Utf8Splitter:
    """Cuts a stream of bytes where no character is cut, so that each part can be shown.

    Only what may be the beginning of a character is held back, 3 bytes at most; what cannot be
    UTF-8 passes, and nothing is changed.
    """

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return what can be shown now that these bytes have come."""
        data = self._held + data
        tail = data[-3:]
        _, used = codecs.utf_8_decode(tail, "replace", False)
        shown = len(data) - len(tail) + used
        self._held = data[shown:]
        return data[:shown]

    def flush(self) -> bytes:
        """Return what is held back, as nothing more will come."""
        held, self._held = self._held, b""
        return held


def _wide_without_bom(head: bytes) -> str | None:
    """Return UTF-16 or UTF-32 if the first bytes are Latin text in it: zeros in fixed places, and there only.

    NUL is a character like any other in UTF-8, so a few of them prove nothing.
    """
    for width, encoding in ((4, "UTF-32"), (2, "UTF-16")):
        if len(head) < 8 * width:
            continue
        columns = [head[at::width] for at in range(width)]
        zeros = [not any(column) for column in columns]
        for letters, order in ((0, "LE"), (width - 1, "BE")):
            rest = zeros[:letters] + zeros[letters + 1 :]
            if all(rest) and 0 not in columns[letters]:
                return encoding + order
    return None


def count_newlines(data: bytes, end: int | None = None) -> int:
    """Return how many newlines there are among the first bytes of a text; None: among all."""
    end = len(data) if end is None else end
    if end < 4096:
        return data.count(b"\n", 0, end)
    return int(np.count_nonzero(np.frombuffer(data, np.uint8, end) == 10))  # faster, once it has begun


def starts_char(data: bytes) -> npt.NDArray[np.bool_]:
    """Return for each byte whether a character begins there: 0x80 to 0xBF, below -64 as int8, continue one."""
    return np.frombuffer(data, np.int8) >= -64


def count_chars(data: bytes) -> int:
    """Return how many characters begin in some bytes."""
    return int(np.count_nonzero(starts_char(data)))


def char_starts(data: bytes) -> npt.NDArray[Any]:
    """Return where characters begin in some bytes: wherever no continuation byte stands."""
    return np.flatnonzero(starts_char(data))


def head_bytes(text: bytes, limit: int) -> bytes:
    """Return at most `limit` first bytes of a text: whole characters, where it is UTF-8."""
    if len(text) <= limit:
        return text
    lowest = max(0, limit - 3)
    starts = char_starts(text[lowest : limit + 1])
    return text[: lowest + int(starts[-1]) if len(starts) else lowest]


def tail_bytes(text: bytes, limit: int) -> bytes:
    """Return at most `limit` last bytes of a text: whole characters, where it is UTF-8."""
    if len(text) <= limit:
        return text
    tail = text[len(text) - limit :]
    starts = char_starts(tail[:4])
    return tail[int(starts[0]) if len(starts) else min(limit, 3) :]
