"""The bytes of a source: a file, packed or not, a pipe, or standard input."""

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, cast

from charrnn.errors import InputError
from charrnn.files import error_reason, quote

PACKED = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma"}


def open_source(path: str) -> BinaryIO:
    """Open an input for reading bytes: a file, a FIFO or a device; "-" is standard input itself.

    What ends in .gz, .bz2 or .xz is unpacked while it is read; read it with `read_chunks`, which
    tells of damage in our words.

    Raises:
        InputError: it is missing, a folder, not readable, or standard input and closed.
    """
    if path == "-":
        if sys.stdin is None or sys.stdin.closed:
            raise InputError("cannot read stdin: it is closed")
        return sys.stdin.buffer
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


def read_chunks(stream: BinaryIO, size: int, name: str = "") -> Iterator[bytes]:
    """The bytes of an open source, each piece as soon as it can be had, `size` bytes at most.

    Args:
        stream: what `open_source` gave, or any binary stream.
        size: the largest piece, in bytes.
        name: the source in messages; the stream's own name if empty.

    Raises:
        InputError: reading fails, or a packed file is damaged or cut short.
    """
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    try:
        while chunk := read(size):
            yield chunk
    except _reading_errors() as error:
        told = "stdin" if stream is getattr(sys.stdin, "buffer", None) else quote(_name(stream, name))
        raise InputError(f"cannot read {told}: {error_reason(error)}") from error


def _reading_errors() -> tuple[type[Exception], ...]:
    """What a source raises. Called when something is raised, so that nothing is imported before."""
    import zlib

    found: list[type[Exception]] = [OSError, EOFError, zlib.error]
    with contextlib.suppress(ImportError):
        import lzma

        found.append(lzma.LZMAError)
    return tuple(found)


def _name(stream: Any, name: str) -> str:
    return name or str(getattr(stream, "name", "input"))


_PIECE = 1 << 16  # bytes read at a time


_LITTLE = 1 << 12  # bytes handed to what takes seconds for them


def open_chunks(file: str, advance: Callable[[int], None]) -> Iterator[bytes]:
    """The bytes of a source, opened when they are first asked for; `advance` is told how many have come."""
    with open_source(file) as stream:
        for chunk in read_chunks(stream, _PIECE, file):
            advance(len(chunk))
            yield chunk


def split_chunks(text: Iterable[bytes], advance: Callable[[int], None]) -> Iterator[bytes]:
    """A text again, little by little; `advance` is told how much has gone."""
    for data in text:
        for begin in range(0, len(data), _LITTLE):
            yield data[begin : begin + _LITTLE]
            advance(len(data[begin : begin + _LITTLE]))
