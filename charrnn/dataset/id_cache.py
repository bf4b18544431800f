"""Ids of large corpora, kept in files so that a second run need not make them again.

An entry is a folder of arrays, each a file of plain numbers, and `entry.json`, which has their types, lengths and
checksums, and ends with its own. It is made under another name and renamed when it is whole. Entries can be removed at
any time, even while they are in use; the oldest are when there are too many.

Nothing in an entry is trusted: disks fail, and people edit, copy and delete files. One that is not what was written is
made again.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from charrnn.dataset.array_files import Array, ArrayWriter, file_size, read_array
from charrnn.errors import OutputError
from charrnn.files import error_reason, quote

MAX_CACHE_BYTES = 32 << 30
"""Bytes of all entries together, above which the oldest are removed."""

_ENTRY = "entry.json"

_MAX_ENTRY_BYTES = 1 << 20
"""Of that file; checksums of 5 GB take 1 kB."""

_STALE_SECONDS = 24 * 3600.0
"""The age at which an unfinished entry must have been left by a program that was killed."""

_TRIES = 10
"""How often an entry is looked for, while files of it are missing."""

Found = TypeVar("Found")


class Entry:
    """What is kept under a key: `info`, plain JSON, and arrays.

    Args:
        folder: of the entry.

    Raises:
        OSError, ValueError, KeyError, TypeError: it is not what was written.
    """

    def __init__(self, folder: Path) -> None:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise ValueError("not a folder")
        if file_size(folder / _ENTRY) > _MAX_ENTRY_BYTES:
            raise ValueError(f"{_ENTRY} is too long")
        data, _, digest = (folder / _ENTRY).read_bytes().rpartition(b"\n")
        if digest != hashlib.sha256(data).hexdigest().encode():
            raise ValueError(f"{_ENTRY} is damaged")
        table = json.loads(data)
        self.info: dict[str, Any] = table["info"]
        self._arrays: dict[str, Any] = table["arrays"]
        self._folder = folder
        with contextlib.suppress(OSError):  # another user's
            os.utime(folder)  # it is in use: others go before it

    def array(self, name: str, dtypes: Sequence[npt.DTypeLike], below: int | None = None) -> Array:
        """Return an array: mapped, not read; it stays if its file goes.

        Args:
            dtypes: those that it may have. below: what each of its values must be less than; None: any.

        Raises:
            OSError, ValueError, KeyError, TypeError: it is not what was written, or a value is out of range.
        """
        stored, path = self._arrays[name], self._folder / name
        size, checksums = stored["size"], stored["crc32"]
        if stored["dtype"] not in [np.dtype(each).str for each in dtypes]:
            raise ValueError(f"{name} is of the wrong type")
        return read_array(path, np.dtype(stored["dtype"]), size, checksums, below)


class PendingEntry:
    """An entry being made: `info` and arrays, which are there to be used whether it can be kept or not."""

    def __init__(self, folder: Path) -> None:
        self.info: dict[str, Any] = {}
        self.arrays: dict[str, Array] = {}
        self._folder = folder
        self._writers: dict[str, ArrayWriter] = {}

    def writer(self, name: str) -> ArrayWriter:
        """Return a writer of a new array. Raises OSError."""
        self._writers[name] = ArrayWriter((self._folder / name).open("w+b"))
        return self._writers[name]

    def finish(self) -> None:
        """Write what is left of the arrays. Raises OSError."""
        self.arrays = {name: writer.array() for name, writer in self._writers.items()}

    def describe(self) -> int:
        """Write the file that makes it an entry; return the bytes of all. Raises OSError."""
        arrays = {
            name: {"dtype": writer.dtype.str, "size": writer.size, "crc32": writer.checksums}
            for name, writer in self._writers.items()
        }
        data = json.dumps({"info": self.info, "arrays": arrays}).encode()
        (self._folder / _ENTRY).write_bytes(data + b"\n" + hashlib.sha256(data).hexdigest().encode())
        return sum(file.stat().st_size for file in self._folder.iterdir())

    def close(self) -> None:
        """Close all files."""
        for writer in self._writers.values():
            writer.close()


class IdCache:
    """Entries in a folder, by key.

    Args:
        folder: made if need be. max_bytes: of all entries.
        note: takes a sentence for the user.
    """

    def __init__(
        self, folder: Path, max_bytes: int = MAX_CACHE_BYTES, note: Callable[[str], None] = lambda message: None
    ) -> None:
        self.folder, self.max_bytes, self.note = folder, max_bytes, note

    def get(self, key: str, read: Callable[[Entry], Found | None]) -> Found | None:
        """Return what `read` makes of the entry of this key, None where there is none.

        One that it cannot read, as it raises what `Entry` does, is removed.
        """
        folder = self.folder / key
        for tries_left in reversed(range(_TRIES)):
            try:
                return read(Entry(folder))
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                if not os.path.lexists(folder):
                    break
                if isinstance(error, FileNotFoundError) and tries_left:
                    continue  # another program may have removed it meanwhile, and made another
                reason = error_reason(error) if isinstance(error, OSError | ValueError) else "it is not an entry"
                self.note(f"the ids kept in {quote(folder)} cannot be used and are made again: {reason}")
                _remove(folder)
                break
        return None

    @contextlib.contextmanager
    def create(self, key: str) -> Iterator[PendingEntry]:
        """Give an entry to fill; it is kept when the block ends well, and removed otherwise.

        Raises:
            OutputError: its arrays cannot be written.
        """
        temporary = self.folder / f".{key}.tmp-{os.urandom(8).hex()}"
        pending = PendingEntry(temporary)
        try:
            try:
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # texts may be private
                temporary.mkdir(mode=0o700)
                yield pending
                pending.finish()
            except OSError as error:
                raise OutputError(self._refused(error)) from error
            try:
                self._evict(pending.describe())
                self._put(temporary, self.folder / key)
            except OSError as error:  # the folder has been removed, say
                self.note(self._refused(error))
        finally:
            pending.close()
            _remove(temporary)

    def _refused(self, error: OSError) -> str:
        return (
            f"cannot keep the ids of the text in {quote(self.folder)}: {error_reason(error)}; $XDG_CACHE_HOME names"
            " another place"
        )

    def _put(self, temporary: Path, target: Path) -> None:
        """Give an entry its name, unless there is one that another program has just made."""
        try:
            os.replace(temporary, target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise

    def _evict(self, size: int) -> None:
        """Make room for an entry, at the cost of those that have not been used for longest."""
        found = []
        for folder in self.folder.iterdir():
            with contextlib.suppress(OSError):
                used = folder.stat().st_mtime
                if folder.name.startswith("."):
                    if time.time() - used > _STALE_SECONDS:
                        _remove(folder)
                    continue
                found.append((used, sum(file.stat().st_size for file in folder.iterdir()), folder))
        total = size + sum(held for _, held, _ in found)
        for _, held, folder in sorted(found):
            if total <= self.max_bytes:
                break
            _remove(folder)
            total -= held


def _remove(path: Path) -> None:
    """Remove an entry, or what has its name: first the name, so that no other program finds a part of it."""
    gone = path.with_name(f".{path.name.lstrip('.')[:32]}.tmp-{os.urandom(8).hex()}")
    with contextlib.suppress(OSError):
        os.replace(path, gone)
        if gone.is_dir() and not gone.is_symlink():
            shutil.rmtree(gone, ignore_errors=True)
        else:
            gone.unlink()
