"""UTF-8 to code points and back to whole characters, over any chunking of the bytes."""

import codecs
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.errors import InputError

CodePoints = npt.NDArray[np.uint32]


Errors = str  # "strict" or "replace"


BOM = 0xFEFF


STEP = 1 << 20  # bytes decoded at a time, so that what lies between bytes and ids stays small


# What `str.split` takes for whitespace; one entry more stands for every larger code point.
SPACES = np.zeros(0x3002, np.bool_)


SPACES[[*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B)]] = True


SPACES[[0x2028, 0x2029, 0x202F, 0x205F, 0x3000]] = True


HEAD = 64  # first bytes looked at to tell what a file is


WIDE_BOMS = (  # UTF-32 first: its little-endian mark begins with UTF-16's
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


SIGNATURES = (
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
    """The code points of a whole text, a byte order mark at its start left out.

    Raises:
        InputError: as `Utf8Decoder.decode`.
    """
    decoder = Utf8Decoder(errors)
    starts = range(0, max(len(data), 1), STEP)
    return np.concatenate([decoder.decode(data[at : at + STEP], at + STEP >= len(data)) for at in starts])


class Utf8Decoder:
    """Decodes one text that arrives in pieces, and counts it. The counts are those of `Encoder`.

    Args:
        errors: what becomes of invalid UTF-8: "strict" raises, "replace" puts U+FFFD for each
            maximal piece, as `bytes.decode` does, and counts it.
    """

    def __init__(self, errors: Errors = "strict") -> None:
        self.bytes = 0
        self.chars = 0
        self.replaced = 0
        self.bom = False
        self._errors = errors
        self._words = WordCounter()
        self._newlines = 0
        self._head = b""
        self._held = b""  # the start of a character whose end has not come

    @property
    def words(self) -> int:
        """Whitespace-separated words so far."""
        return self._words.count

    def decode(self, data: bytes, final: bool = False) -> CodePoints:
        """The code points that are complete with this piece; `final` says that the text ends here.

        Raises:
            InputError: invalid UTF-8 under "strict", as "invalid UTF-8 at byte N (line L)", N
                counted from 0 and L from 1 over all pieces; or UTF-16 or UTF-32.
        """
        self.bytes += len(data)
        if len(self._head) < HEAD:
            self._head += data[: HEAD - len(self._head)]
            self._refuse_wide(final)
        data = self._held + data
        try:
            text, used = codecs.utf_8_decode(data, self._errors, final)
        except UnicodeDecodeError as error:
            if final or len(self._head) == HEAD:
                raise InputError(self._complaint(data, error.start)) from None
            # The bytes that tell what the file is have not all come: complain when they have.
            text, used = "", 0
        self._held = data[used:]
        self._newlines += data.count(b"\n", 0, used)
        if self._errors == "replace":
            self.replaced += text.count("\ufffd") - data.count(b"\xef\xbf\xbd", 0, used)

        points: CodePoints = np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.uint32, copy=False)
        if self.chars == 0 and not self.bom and points.size and points[0] == BOM:
            self.bom = True
            points = points[1:]
        self.chars += points.size
        self._words.feed(SPACES.take(points, mode="clip"))
        return points

    def _refuse_wide(self, final: bool) -> None:
        encoding = None
        if final or len(self._head) >= 4:
            encoding = next((name for mark, name in WIDE_BOMS if self._head.startswith(mark)), None)
        if encoding is None and (final or len(self._head) == HEAD):
            encoding = _wide_without_mark(self._head)
        if encoding is not None:
            raise InputError(f"looks like {encoding}; convert it with iconv -f {encoding} -t UTF-8")

    def _complaint(self, data: bytes, start: int) -> str:
        offset = self.bytes - len(data) + start
        line = 1 + self._newlines + data.count(b"\n", 0, start)
        kind = next((name for magic, name in SIGNATURES if self._head.startswith(magic)), None)
        hint = f"; this looks like {kind}" if kind else ""
        return f"invalid UTF-8 at byte {offset} (line {line}){hint}"


class WordCounter:
    """Counts words that whitespace separates, in a text that arrives in pieces."""

    def __init__(self) -> None:
        self.count = 0
        self._inside = False

    def feed(self, spaces: npt.NDArray[np.bool_]) -> None:
        """Count on; `spaces` says of each symbol of the piece whether it is whitespace."""
        if spaces.size:
            self.count += int(np.count_nonzero(spaces[:-1] > spaces[1:]))
            self.count += not spaces[0] and not self._inside
            self._inside = not spaces[-1]


class Utf8Splitter:
    """Cuts a stream of bytes where no character is cut, so that each piece can be shown.

    Only what may be the beginning of a character is held back, 3 bytes at most; what cannot be
    UTF-8 passes, and nothing is changed.
    """

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What can be shown now that these bytes have come."""
        data = self._held + data
        tail = data[-3:]
        _, used = codecs.utf_8_decode(tail, "replace", False)
        shown = len(data) - len(tail) + used
        self._held = data[shown:]
        return data[:shown]

    def flush(self) -> bytes:
        """What is held back, as nothing more will come."""
        held, self._held = self._held, b""
        return held


def _wide_without_mark(head: bytes) -> str | None:
    """Whether the first bytes are Latin text in UTF-16 or UTF-32: zeros in fixed places, and there only.

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


def char_starts(data: bytes, by_char: bool) -> npt.NDArray[Any] | range:
    """Where in some bytes symbols begin; in UTF-8, wherever no continuation byte stands."""
    if not by_char:
        return range(len(data))
    return np.flatnonzero((np.frombuffer(data, np.uint8) & 0xC0) != 0x80)


def _last_char_start(text: bytes) -> int:
    """Where the last character of a text begins, which may be cut; the end, where no character can be told."""
    return next((len(text) - n for n in range(1, min(4, len(text)) + 1) if text[-n] & 0xC0 != 0x80), len(text))


class TailKeeper:
    """Keeps the last bytes of a text, whole characters of them."""

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self.pieces: deque[bytes] = deque()

    def add(self, number: int, piece: bytes) -> None:
        self.pieces.append(piece)
        self.size += len(piece)
        while self.size - len(self.pieces[0]) >= self.limit:
            self.size -= len(self.pieces.popleft())

    def text(self) -> bytes:
        data = b"".join(self.pieces)[-self.limit :]
        places = char_starts(data[:8], by_char=True)
        return data[int(places[0]) :] if len(places) else data


class HeadKeeper:
    """Keeps the first bytes of texts, of which the last one may end early, but not within a character or a record."""

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.pieces: dict[int, list[bytes]] = {}
        self.cut = False

    def add(self, number: int, piece: bytes) -> None:
        self.cut = self.cut or len(piece) > self.left
        piece = piece[: self.left]
        self.left -= len(piece)
        if piece:
            self.pieces.setdefault(number, []).append(piece)

    def texts(self, separator: bytes) -> list[bytes]:
        texts = list(map(b"".join, self.pieces.values()))
        if self.cut and texts:
            text = texts.pop()
            end = text.rfind(separator) + len(separator) if separator else _last_char_start(text)
            texts += [text[:end]] if end > 0 else []
        return texts


def head_bytes(text: bytes, limit: int) -> bytes:
    """Its first bytes, whole characters of them."""
    end = min(limit, len(text))
    while 0 < end < len(text) and text[end] & 0xC0 == 0x80 and limit - end < 3:
        end -= 1
    return text[:end]


def tail_bytes(text: bytes, limit: int) -> bytes:
    """Its last bytes, whole characters of them: of a text to learn from what is nearest to the one after it."""
    begin = max(0, len(text) - limit)
    while 0 < begin < len(text) and text[begin] & 0xC0 == 0x80 and begin - len(text) + limit < 3:
        begin += 1
    return text[begin:]
