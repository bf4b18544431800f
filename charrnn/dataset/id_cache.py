"""Ids of large corpora, kept in files so that a second run need not make them again.

An entry is a folder of arrays, each a file of plain little-endian numbers, and `entry.json`, which tells their
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


_STALE = 24 * 3600.0  # seconds after which an unfinished entry was left by a program that was killed


Array = npt.NDArray[Any]


class Entry:
    """What was kept: `document`, plain JSON, and arrays that are mapped, not read; they stay if the files go.

    Args:
        folder: of the entry.

    Raises:
        OSError, ValueError: it is not whole.
    """

    def __init__(self, folder: Path) -> None:
        table = json.loads((folder / _ENTRY).read_bytes())
        self.document: dict[str, Any] = table["document"]
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
    """An array that grows: in a file, or in memory where there is none."""

    def __init__(self, path: Path | None = None) -> None:
        self.size = 0
        self.dtype = np.dtype(np.uint8)
        self._parts: list[Array] = []
        self._file: IO[bytes] | None = None if path is None else path.open("wb")

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

    def array(self) -> Array:
        """What has been added, where there is no file."""
        return np.concatenate(self._parts) if self._parts else np.zeros(0, self.dtype)

    def close(self, *, durable: bool) -> None:
        """Close the file; `durable` makes sure of it. Raises OSError."""
        if self._file is not None and not self._file.closed:
            with self._file:
                if durable:
                    self._file.flush()
                    os.fsync(self._file.fileno())


class PendingEntry:
    """An entry being made; `entry` is what it has become when it is kept."""

    entry: Entry

    def __init__(self, folder: Path) -> None:
        self.document: dict[str, Any] = {}
        self._folder = folder
        self._sinks: dict[str, ArrayWriter] = {}

    def sink(self, name: str) -> ArrayWriter:
        """A new array."""
        self._sinks[name] = ArrayWriter(self._folder / name)
        return self._sinks[name]

    def finish(self) -> None:
        """Write all that is left. Raises OSError."""
        for sink in self._sinks.values():
            sink.close(durable=True)
        arrays = {name: (sink.dtype.newbyteorder("<").str, sink.size) for name, sink in self._sinks.items()}
        (self._folder / _ENTRY).write_bytes(json.dumps({"document": self.document, "arrays": arrays}).encode())
        self.entry = Entry(self._folder)

    def abandon(self) -> None:
        """Remove it."""
        for sink in self._sinks.values():
            with contextlib.suppress(OSError):
                sink.close(durable=False)
        shutil.rmtree(self._folder, ignore_errors=True)


class IdCache:
    """Entries in a folder, by key.

    Args:
        folder: made if need be. cap: bytes of all entries.
    """

    def __init__(self, folder: Path, cap: int = MAX_CACHE_BYTES) -> None:
        self.folder, self.cap = folder, cap

    def get(self, key: str) -> Entry | None:
        """What is kept under a key; None where there is nothing whole."""
        try:
            return Entry(self.folder / key)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextlib.contextmanager
    def create(self, key: str) -> Iterator[PendingEntry]:
        """An entry to fill; it is kept when the block ends well, and removed otherwise.

        Raises:
            OutputError: it cannot be written.
        """
        draft = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # texts may be private
            temporary = self.folder / f".{key}.tmp-{os.urandom(8).hex()}"
            temporary.mkdir(mode=0o700)
            draft = PendingEntry(temporary)
            yield draft
            draft.finish()
            self._evict(sum(file.stat().st_size for file in temporary.iterdir()))
            self._put(temporary, self.folder / key)
        except BaseException as error:
            if draft is not None:
                draft.abandon()
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
                    if time.time() - used > _STALE:
                        shutil.rmtree(folder, ignore_errors=True)
                    continue
                found.append((used, sum(file.stat().st_size for file in folder.iterdir()), folder))
        total = size + sum(held for _, held, _ in found)
        for _, held, folder in sorted(found):
            if total <= self.cap:
                break
            shutil.rmtree(folder, ignore_errors=True)
            total -= held
