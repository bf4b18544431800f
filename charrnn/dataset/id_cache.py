"""Ids of large corpora, kept in files so that a second run need not make them again.

An entry is a folder of arrays, each a file of plain little-endian numbers, and `entry.json`, which has their
types and lengths. It is made under another name and renamed when it is whole. Entries can be
removed at any time, even while they are in use; the oldest are when there are too many.
"""

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from charrnn.errors import OutputError
from charrnn.files import quote

MAX_CACHE_BYTES = 32 << 30
"""Bytes of all entries together, above which the oldest are removed."""

_ENTRY = "entry.json"

_STALE_SECONDS = 24 * 3600.0
"""The age at which an unfinished entry must have been left by a program that was killed."""

_STEP = 1 << 20
"""Values of a file that are changed at a time."""

Array = npt.NDArray[Any]


class Entry:
    """What is kept under a key: `info`, plain JSON, and arrays that are mapped, not read; they stay if the files go.

    Args:
        folder: of the entry.

    Raises:
        OSError, ValueError: it is not whole.
    """

    def __init__(self, folder: Path) -> None:
        table = json.loads((folder / _ENTRY).read_bytes())
        self.info: dict[str, Any] = table["document"]
        self._arrays = {name: _mapped(folder / name, kind, size) for name, (kind, size) in table["arrays"].items()}
        os.utime(folder)  # it is in use: others go before it

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]


def _mapped(path: Path, kind: str, size: int) -> Array:
    dtype = np.dtype(kind)
    if path.stat().st_size != dtype.itemsize * size:
        raise ValueError(f"{path.name} is not whole")
    return np.memmap(path, dtype, mode="r", shape=(size,)) if size else np.zeros(0, dtype)


class ArrayWriter:
    """An array that grows: in a file, or in memory where no path is given."""

    def __init__(self, path: Path | None = None) -> None:
        self.size = 0
        self.dtype = np.dtype(np.uint8)
        self._parts: list[Array] = []
        self._file: IO[bytes] | None = None if path is None else path.open("w+b")

    def add(self, values: Array) -> None:
        """Append values, all of one type from call to call. Raises OSError."""
        if self.size == 0:
            self.dtype = values.dtype
        if not len(values):
            return
        assert values.dtype == self.dtype, "values of another type"
        self.size += len(values)
        if self._file is None:
            self._parts.append(values)
        else:
            self._file.write(np.ascontiguousarray(values).data)

    def remap(self, table: Array) -> None:
        """Replace every value by the entry of `table` that it numbers; their type is no wider. Raises OSError."""
        old, self.dtype = self.dtype, table.dtype
        assert table.itemsize <= old.itemsize, "values of a wider type"
        if self._file is None:
            for number, part in enumerate(self._parts):
                self._parts[number] = table[part]
            return
        for begin in range(0, self.size, _STEP):  # what is written never reaches what is still to be read
            self._file.seek(begin * old.itemsize)
            values = np.frombuffer(self._file.read(min(_STEP, self.size - begin) * old.itemsize), old)
            self._file.seek(begin * table.itemsize)
            self._file.write(table[values].data)
        self._file.truncate(self.size * table.itemsize)
        self._file.seek(0, os.SEEK_END)

    def array(self) -> Array:
        """Return what has been added, where there is no file."""
        return np.concatenate(self._parts) if self._parts else np.zeros(0, self.dtype)

    def close(self, *, durable: bool) -> None:
        """Close the file; `durable` waits until it is on the disk. Raises OSError."""
        if self._file is not None and not self._file.closed:
            with self._file:
                if durable:
                    self._file.flush()
                    os.fsync(self._file.fileno())


class PendingEntry:
    """An entry being made; `entry` is what it has become when it is kept."""

    entry: Entry

    def __init__(self, folder: Path) -> None:
        self.info: dict[str, Any] = {}
        self._folder = folder
        self._writers: dict[str, ArrayWriter] = {}

    def writer(self, name: str) -> ArrayWriter:
        """Return a writer of a new array."""
        self._writers[name] = ArrayWriter(self._folder / name)
        return self._writers[name]

    def finish(self) -> None:
        """Write all that is left. Raises OSError."""
        for writer in self._writers.values():
            writer.close(durable=True)
        arrays = {name: (writer.dtype.newbyteorder("<").str, writer.size) for name, writer in self._writers.items()}
        (self._folder / _ENTRY).write_bytes(json.dumps({"document": self.info, "arrays": arrays}).encode())
        self.entry = Entry(self._folder)

    def abandon(self) -> None:
        """Remove it."""
        for writer in self._writers.values():
            with contextlib.suppress(OSError):
                writer.close(durable=False)
        shutil.rmtree(self._folder, ignore_errors=True)


class IdCache:
    """Entries in a folder, by key.

    Args:
        folder: made if need be. max_bytes: of all entries.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self.folder, self.max_bytes = folder, max_bytes

    def get(self, key: str) -> Entry | None:
        """Return what is kept under a key; None where there is nothing whole."""
        try:
            return Entry(self.folder / key)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextlib.contextmanager
    def create(self, key: str) -> Iterator[PendingEntry]:
        """Give an entry to fill; it is kept when the block ends well, and removed otherwise.

        Raises:
            OutputError: it cannot be written.
        """
        pending = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # texts may be private
            temporary = self.folder / f".{key}.tmp-{os.urandom(8).hex()}"
            temporary.mkdir(mode=0o700)
            pending = PendingEntry(temporary)
            yield pending
            pending.finish()
            self._evict(sum(file.stat().st_size for file in temporary.iterdir()))
            self._put(temporary, self.folder / key)
        except BaseException as error:
            if pending is not None:
                pending.abandon()
            if isinstance(error, OSError):
                raise OutputError(
                    f"cannot keep the ids of the text in {quote(self.folder)}: {error.strerror}; $XDG_CACHE_HOME names"
                    " another place"
                ) from error
            raise

    def _put(self, temporary: Path, target: Path) -> None:
        """Give an entry its name, which a damaged one may have, or one that another program has just made."""
        for _ in range(100):
            old = temporary.with_name(f"{temporary.name}-old")
            with contextlib.suppress(FileNotFoundError):
                os.replace(target, old)
                shutil.rmtree(old, ignore_errors=True)
            try:
                os.replace(temporary, target)
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        shutil.rmtree(temporary, ignore_errors=True)

    def _evict(self, size: int) -> None:
        """Make room for an entry, at the cost of those that have not been used for longest."""
        found = []
        for folder in self.folder.iterdir():
            with contextlib.suppress(OSError):
                used = folder.stat().st_mtime
                if folder.name.startswith("."):
                    if time.time() - used > _STALE_SECONDS:
                        shutil.rmtree(folder, ignore_errors=True)
                    continue
                found.append((used, sum(file.stat().st_size for file in folder.iterdir()), folder))
        total = size + sum(held for _, held, _ in found)
        for _, held, folder in sorted(found):
            if total <= self.max_bytes:
                break
            shutil.rmtree(folder, ignore_errors=True)
            total -= held
