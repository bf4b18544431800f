"""The bytes of a source: a file, packed or not, a pipe, or standard input."""

import contextlib
import importlib
import os
import re
import select
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, cast

from charrnn.errors import InputError
from charrnn.files import error_reason, quote

PACKED = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma"}
"""Endings of packed files, and the modules that unpack them."""

BOM = b"\xef\xbb\xbf"

_ARCHIVE = re.compile(r"[^/]\.(tar(\.(gz|bz2|xz|zst|z))?|tgz|tbz2?|txz|zip)\Z", re.IGNORECASE)
"""How the names of archives end."""

Chunks = Iterable[bytes]
"""The bytes of a text, cut anywhere."""

TakeFault = Callable[[InputError], None]
"""Takes what is wrong with a line, which is left out, or raises it."""


def raise_fault(error: InputError) -> None:
    """Raise what is wrong with a line."""
    raise error


def open_source(path: str) -> BinaryIO:
    """Open an input for reading bytes: a file, a FIFO or a device; "-" is standard input itself.

    What ends in .gz, .bz2 or .xz is unpacked while it is read; read it with `read_chunks`, whose
    errors name the file when it is damaged.

    Raises:
        InputError: it is missing, a folder, not readable, an archive, or standard input and closed.
    """
    if path == "-":
        if sys.stdin is None or sys.stdin.closed:
            raise InputError("cannot read stdin: it is closed")
        return sys.stdin.buffer
    if is_archive(path) and os.path.isfile(path):
        raise archive_error(path)
    packed = PACKED.get(os.path.splitext(path)[1].lower())
    try:
        if packed is None:
            return open(path, "rb")
        return cast(BinaryIO, importlib.import_module(packed).open(path, "rb"))
    except FileNotFoundError as error:
        if os.path.islink(path):
            raise InputError(f"cannot read {quote(path)}: it is a link to nothing") from error
        raise InputError(f"cannot read {quote(path)}: {error_reason(error)}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(f"cannot read {quote(path)}: {error_reason(error)}") from error
    except ImportError as error:
        raise InputError(f"cannot read {quote(path)}: this Python has no {packed}") from error


def is_archive(path: str) -> bool:
    """Return whether a file is an archive of files, by its name."""
    return _ARCHIVE.search(path) is not None


def archive_error(path: str) -> InputError:
    """Return the fault of a file that is an archive of files."""
    command = "unzip -p" if path.lower().endswith(".zip") else "tar -xOf"
    return InputError(
        f"cannot read {quote(path)}: it is an archive; {command} {quote(path)} writes the texts in it, for a pipe"
    )


def read_chunks(stream: BinaryIO, size: int, name: str = "") -> Iterator[bytes]:
    """Return the bytes of an open source, each chunk as soon as it can be had.

    Args:
        stream: what `open_source` gave, or any binary stream.
        size: the largest chunk, in bytes.
        name: the source in messages; the stream's own name if empty.

    Raises:
        InputError: reading fails, or a packed file is damaged or cut short.
    """
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    try:
        while chunk := read(size):
            yield chunk
    except _reading_errors() as error:
        shown_name = "stdin" if stream is getattr(sys.stdin, "buffer", None) else quote(_name(stream, name))
        raise InputError(f"cannot read {shown_name}: {error_reason(error)}") from error


def _reading_errors() -> tuple[type[Exception], ...]:
    """Return what reading a source raises. Called when something is raised, so that nothing is imported before."""
    import zlib

    found: list[type[Exception]] = [OSError, EOFError, zlib.error]
    with contextlib.suppress(ImportError):
        import lzma

        found.append(lzma.LZMAError)
    return tuple(found)


def _name(stream: Any, name: str) -> str:
    return name or str(getattr(stream, "name", "input"))


_CHUNK_BYTES = 1 << 16  # read at a time

_BLOCK_BYTES = 1 << 20  # of rows that are scored side by side


def open_chunks(file: str, advance: Callable[[int], None] = lambda count: None) -> Iterator[bytes]:
    """Return the bytes of a source, opened when they are first asked for; `advance` gets the size of each chunk.

    Raises:
        InputError: as `open_source` and `read_chunks`.
    """
    with open_source(file) as stream:
        for chunk in read_chunks(stream, _CHUNK_BYTES, file):
            advance(len(chunk))
            yield chunk


def open_blocks(file: str, advance: Callable[[int], None] = lambda count: None) -> Iterator[bytes]:
    """Return the bytes of a source as `open_chunks` does, but together what is there already, about `_BLOCK_BYTES`."""
    with open_source(file) as stream:
        block: list[bytes] = []
        size = 0
        for chunk in read_chunks(stream, _CHUNK_BYTES, file):
            block.append(chunk)
            size += len(chunk)
            if size >= _BLOCK_BYTES or not _is_ready(stream):
                yield b"".join(block)
                advance(size)
                block, size = [], 0
        if block:
            yield b"".join(block)
            advance(size)


def _is_ready(stream: BinaryIO) -> bool:
    """Return whether reading would not wait, as far as is known."""
    try:
        return bool(select.select([stream], [], [], 0)[0])
    except (OSError, ValueError, TypeError):  # no file descriptor, or one that the system cannot ask
        return False


def display_name(file: str) -> str:
    """Return what a source of the command line is called in messages."""
    return "stdin" if file == "-" else quote(file)


_MOST_LINES = 1 << 12  # or other pieces, given at a time


def split_lines(chunks: Chunks, limit: int | None = None) -> Iterator[list[bytes]]:
    """Return the lines that each chunk completes, without their newlines; at the end a last one that has none.

    They come in lists of at most `_MOST_LINES`, so that what is made of them takes little memory.

    Args:
        limit: what comes after more bytes of a line than this is dropped once a chunk has ended; None: nothing.
    """
    held: list[bytes] = []
    size = 0
    for chunk in chunks:
        found = chunk.split(b"\n")
        if limit is None or size <= limit:
            held.append(found[0])
            size += len(found[0])
        if len(found) > 1:
            found[0] = b"".join(held)
            held = [found.pop()]
            size = len(held[0])
            for begin in range(0, len(found), _MOST_LINES):
                yield found[begin : begin + _MOST_LINES]
    if last := b"".join(held):
        yield [last]


def split_at(chunks: Chunks, separator: bytes) -> Iterator[list[bytes]]:
    """Return what each chunk completes up to a separator, without it; at the end a last piece that has none, or only
    the beginning of one. Separators are found from left to right and do not overlap, as `bytes.split` finds them.
    They come in lists as those of `split_lines`."""
    held: list[bytes] = []
    tail = b""  # the last bytes of the piece, which may begin a separator
    for chunk in chunks:
        found = (tail + chunk).split(separator)
        rest = found.pop()
        if found:
            found[0] = b"".join((*held, found[0]))
            held = []
            for begin in range(0, len(found), _MOST_LINES):
                yield found[begin : begin + _MOST_LINES]
        cut = max(0, len(rest) - len(separator) + 1)
        held.append(rest[:cut])
        tail = rest[cut:]
    if last := b"".join((*held, tail)):
        yield [last[: len(last) - begun_bytes(last, separator)]]


def begun_bytes(data: bytes, text: bytes) -> int:
    """Return how many of the last bytes may be the beginning of a text that goes on after them."""
    longest = min(len(text) - 1, len(data))
    return next((size for size in range(longest, 0, -1) if data.endswith(text[:size])), 0)


def numbered_lines(chunks: Chunks, limit: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Return lines and their numbers, from 1, without newline, carriage return before it, or byte order mark: one may
    begin any line, as files are joined. `limit` as for `split_lines`."""
    number = 0
    for block in split_lines(chunks, limit):
        for line in block:
            number += 1
            yield number, line.removeprefix(BOM).removesuffix(b"\r")
