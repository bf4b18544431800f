"""The text of a corpus in blocks of whole lines, each with its place."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.corpus.corpus import Corpus
from charrnn.corpus.documents import CHUNK_BYTES, Document, DocumentList
from charrnn.tokenizers.utf8 import count_newlines, head_bytes

_MAX_BLOCK = 4 * CHUNK_BYTES  # bytes that are held of a line whose end has not come


class Block(NamedTuple):
    """Whole lines of a source, as a rule; a part of a line that is very long.

    Attributes:
        name: of the source. data: the bytes.
        byte: where they begin in the source; None: not known. line: likewise, the number of the line, from 1.
        is_partial: whether its last line goes on in the next block.
        starts: where the texts begin that these are, each on a line of the source: `lines`; None: it is one text.
    """

    name: str
    data: bytes
    byte: int | None
    line: int | None
    is_partial: bool = False
    starts: npt.NDArray[np.int64] | None = None
    lines: npt.NDArray[np.int64] | None = None

    def place(self, at: int) -> tuple[int | None, int | None]:
        """Return line and byte of the source at which a byte of the data is; None: not known. Less than 0: where its
        first line began in an earlier block."""
        if self.starts is not None and self.lines is not None:
            return int(self.lines[np.searchsorted(self.starts, at, "right") - 1]), None
        line = None if self.line is None else self.line + count_newlines(self.data, max(0, at))
        return line, None if self.byte is None else self.byte + at


def blocks(corpus: Corpus, limit: int | None = None) -> Iterator[Block]:
    """Yield the text of a corpus; of a large one no more than `limit` bytes, if that is not None."""
    located, left = not corpus.text_format.is_structured, limit
    for part in corpus.parts:
        if isinstance(part, DocumentList):
            found = _list_blocks(part)
        else:
            found = _document_blocks(part, located=located, end=left)
        for block in found:
            yield block
            left = None if left is None else left - len(block.data)
            if left is not None and left <= 0:
                return


def _document_blocks(document: Document, *, located: bool, end: int | None) -> Iterator[Block]:
    held, byte, line = b"", 0, 1
    name = document.name
    for chunk in document.chunks(0, document.size if end is None else min(end, document.size)):
        data = held + chunk
        cut = data.rfind(b"\n") + 1
        is_partial = not cut and len(data) >= _MAX_BLOCK
        if is_partial:
            cut = len(head_bytes(data, len(data) - 1))  # not between CR and LF either
        if cut:
            yield Block(name, data[:cut], byte if located else None, line if located else None, is_partial)
            byte, line = byte + cut, line + count_newlines(data, cut)
        held = data[cut:]
    if held:
        yield Block(name, held, byte if located else None, line if located else None)


def _list_blocks(documents: DocumentList) -> Iterator[Block]:
    """Yield short texts together, a newline after each."""
    data, starts, lines = bytearray(), list[int](), list[int]()

    def block() -> Block:
        return Block(documents.name, bytes(data), None, None, False, np.array(starts), np.array(lines))

    for line, document in zip(documents.lines, documents, strict=True):
        starts.append(len(data))
        lines.append(line)
        for chunk in document.chunks():
            data += chunk
        data += b"\n"
        if len(data) >= CHUNK_BYTES:
            yield block()
            data, starts, lines = bytearray(), [], []
    if data:
        yield block()
