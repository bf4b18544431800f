"""The end of a text to train on and the beginning of one to validate on, kept as bytes beside the ids."""

from collections import deque

from charrnn.tokenizers.utf8 import head_bytes, tail_bytes


class TailExcerpt:
    """Keeps the last bytes of what is added: at most `limit`, whole characters."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._chunks: deque[bytes] = deque()

    def add(self, number: int, chunk: bytes) -> None:
        """Take the next bytes, of whichever text."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        while self._size - len(self._chunks[0]) > self._limit:  # a byte more than fits, as below
            self._size -= len(self._chunks.popleft())

    def text(self) -> bytes:
        """Return what is kept."""
        return tail_bytes(b"".join(self._chunks), self._limit)


class HeadExcerpt:
    """Keeps the first bytes of several texts: at most `limit` in all; whole characters, or whole records."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._texts: dict[int, list[bytes]] = {}

    def add(self, number: int, chunk: bytes) -> None:
        """Take the next bytes, which belong to the text of this number."""
        if chunk and self._size <= self._limit:  # a byte more than fits shows whether a character is cut
            self._texts.setdefault(number, []).append(chunk)
            self._size += len(chunk)

    def texts(self, separator: bytes = b"") -> list[bytes]:
        """Return what is kept of each text, none of it empty; `separator` ends every record."""
        texts = list(map(b"".join, self._texts.values()))
        if self._size > self._limit:  # chunks are taken whole, so the last text may be too long
            text = texts.pop()
            room = self._limit - sum(map(len, texts))
            if separator:
                end = text.rfind(separator, 0, room)
                text = text[: end + len(separator)] if end >= 0 else b""
            else:
                text = head_bytes(text, room)
            texts += [text] if text else []
        return texts
