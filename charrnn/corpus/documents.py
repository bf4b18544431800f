"""Documents: texts that can be read again and again, whether they are in memory, in a file or in a spool."""

import os
import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from charrnn.errors import InputError, OutputError
from charrnn.files import quote

CHUNK_BYTES = 1 << 20
"""Bytes of a chunk at most."""

ProgressFactory = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"""Shows progress: `with progress(title, total bytes or None) as advance: advance(bytes)`."""


def no_progress(title: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
    """Show no progress."""
    return nullcontext(lambda count: None)


class Document(Protocol):
    """One text of a corpus, to be read from `<s>`."""

    @property
    def name(self) -> str:
        """What it is called in messages and results; a path, as a rule."""

    @property
    def size(self) -> int:
        """Its bytes, unpacked; of records with the end of the last one."""

    def chunks(self, begin: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield its bytes, or those from `begin` to `end`, `CHUNK_BYTES` at a time or fewer.

        Raises:
            InputError: they can no longer be read as they were.
        """


@dataclass(frozen=True)
class MemoryDocument:
    """A text in memory. See `Document`."""

    name: str
    data: bytes

    @property
    def size(self) -> int:
        """See `Document.size`."""
        return len(self.data)

    def chunks(self, begin: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See `Document.chunks`."""
        end = self.size if end is None else end
        if begin == 0 and end == self.size <= CHUNK_BYTES:
            if end:
                yield self.data
            return
        for at in range(begin, end, CHUNK_BYTES):
            yield self.data[at : min(at + CHUNK_BYTES, end)]


class FileDocument:
    """A file, too large for memory, read where it is. See `Document`.

    Args:
        path: of a regular file that is not packed.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        self._fingerprint = fingerprint(path)
        self._file_size = os.path.getsize(path)
        self._end = b""

    @property
    def size(self) -> int:
        """See `Document.size`."""
        return self._file_size + len(self._end)

    def append(self, data: bytes) -> None:
        """Let the text end with a few bytes that the file lacks."""
        self._end += data

    def chunks(self, begin: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See `Document.chunks`."""
        end = self.size if end is None else end
        last = self._end[max(0, begin - self._file_size) : max(0, end - self._file_size)]
        end = min(end, self._file_size)
        try:
            with open(self.name, "rb", buffering=0) as stream:
                stream.seek(begin)
                while begin < end:
                    chunk = stream.read(min(CHUNK_BYTES, end - begin))
                    if not chunk or fingerprint(stream.fileno()) != self._fingerprint:
                        raise InputError(
                            f"{quote(self.name)} has changed while it was being read; train on a copy of it"
                        )
                    begin += len(chunk)
                    yield chunk
        except OSError as error:
            raise InputError(f"cannot read {quote(self.name)}: {error.strerror}") from error
        if last:
            yield last


def fingerprint(path: str | int) -> tuple[int, ...] | None:
    """Return what differs once a file has changed; None where there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Spool:
    """Bytes that are kept to be read again: in memory, or, where they are many, in a file without a name,
    which is gone when the program ends, however it ends.

    Args:
        limit: bytes kept in memory.
        folder: of the file; None: the system's own for temporary files.
    """

    def __init__(self, limit: int, folder: Path | None = None) -> None:
        self.size = 0
        self._limit, self._folder = limit, folder
        self._memory = bytearray()
        self._file: IO[bytes] | None = None

    def __del__(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # what could not be written
                self._file.close()

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            OutputError: there is no room.
        """
        if self._file is None and self.size + len(data) <= self._limit:
            self._memory += data
        else:
            try:
                if self._file is None:
                    self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
                    self._file.write(self._memory)
                    self._memory = bytearray()
                self._file.seek(self.size)
                self._file.write(data)
                self._file.flush()
            except OSError as error:
                raise OutputError(f"cannot keep the text in {self._where()}: {error.strerror}") from error
        self.size += len(data)

    def read(self, begin: int, end: int) -> bytes:
        """Return the bytes from `begin` to `end`.

        Raises:
            InputError: they cannot be read.
        """
        if self._file is None:
            return bytes(memoryview(self._memory)[begin:end])
        try:
            self._file.seek(begin)
            return self._file.read(end - begin)
        except OSError as error:
            raise InputError(f"cannot read the text kept in {self._where()}: {error.strerror}") from error

    def _where(self) -> str:
        return quote(self._folder or tempfile.gettempdir())


@dataclass(frozen=True)
class SpooledDocument:
    """A part of a spool: `size` bytes from `start` on. See `Document`."""

    name: str
    spool: Spool
    start: int
    size: int

    def chunks(self, begin: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See `Document.chunks`."""
        end = self.start + (self.size if end is None else end)
        for at in range(self.start + begin, end, CHUNK_BYTES):
            yield self.spool.read(at, min(at + CHUNK_BYTES, end))


class DocumentList:
    """Many small documents of one source, one after another in a spool.

    Args:
        name: of the source.
    """

    def __init__(self, name: str, spool: Spool) -> None:
        self.name, self._spool = name, spool
        self._begin = spool.size
        self._ends, self._lines = array("q"), array("q")

    @property
    def size(self) -> int:
        """Bytes in all."""
        return (self._ends[-1] if self._ends else self._begin) - self._begin

    @property
    def lines(self) -> Sequence[int]:
        """The line of the source on which each begins."""
        return self._lines

    def add(self, line: int, data: bytes) -> None:
        """Append a document that begins on this line of the source."""
        self._spool.write(data)
        self._ends.append(self._spool.size)
        self._lines.append(line)

    def __iter__(self) -> Iterator[Document]:
        begin = self._begin
        for line, end in zip(self._lines, self._ends, strict=True):
            yield SpooledDocument(f"{self.name}, line {line}", self._spool, begin, end - begin)
            begin = end
