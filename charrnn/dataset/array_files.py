"""Arrays in files: written part by part, and read as maps once they have been checked against their checksums."""

import contextlib
import os
import stat
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

_STEP = 1 << 20
"""Values of a file that are changed, and bytes of one that are checked, at a time."""

_BLOCK = 1 << 26
"""Bytes that have a checksum of their own; a thread checks one while others check the next."""

_THREADS = 4

Array = npt.NDArray[Any]


def read_array(path: Path, dtype: np.dtype[Any], size: int, checksums: Sequence[int], below: int | None) -> Array:
    """Return the array that a file is: mapped, not read; it stays if the file goes.

    Args:
        size: of the array. checksums: as `ArrayWriter.checksums`.
        below: what each value must be less than; None: any.

    Raises:
        OSError, ValueError, TypeError: it is not what was written, or a value is out of range.
    """
    count = file_size(path)
    if count != dtype.itemsize * size:
        raise ValueError(f"{path.name} is not whole")
    block_starts = range(0, count, _BLOCK)
    if len(checksums) != len(block_starts):
        raise ValueError(f"{path.name} has too few checksums, or too many")

    def check(begin: int, checksum: int) -> None:
        end, found = min(begin + _BLOCK, count), 0
        with path.open("rb") as file:
            file.seek(begin)
            for at in range(begin, end, _STEP):
                data = file.read(min(_STEP, end - at))
                found = zlib.crc32(data, found)
                if below is not None and np.frombuffer(data, dtype).max() >= below:
                    raise ValueError(f"{path.name} has a value out of range")
        if found != checksum:
            raise ValueError(f"{path.name} is damaged")

    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(check, block_starts, checksums))
    except RuntimeError:  # there may be no more threads
        list(map(check, block_starts, checksums))
    return np.memmap(path, dtype, mode="r", shape=(size,)) if size else np.zeros(0, dtype)


def file_size(path: Path) -> int:
    """Return the size of a regular file. Raises OSError; ValueError: it is none, but a link, say, or a pipe."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path.name} is not a file")
    return status.st_size


class ArrayWriter:
    """An array that grows: in a file open for reading and writing, or in memory where there is none."""

    def __init__(self, file: IO[bytes] | None = None) -> None:
        self.size = 0
        self.dtype = np.dtype(np.uint8)
        self._parts: list[Array] = []
        self._file = file
        self._begin_checksums()

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
            self._write(self._file, values)

    def _begin_checksums(self) -> None:
        self.checksums: list[int] = []
        """CRC-32 of each `_BLOCK` bytes of the file."""
        self._room = 0  # bytes that the last one's block lacks

    def _write(self, file: IO[bytes], values: Array) -> None:
        data = np.ascontiguousarray(values).data.cast("B")
        file.write(data)
        while data:
            if not self._room:
                self.checksums.append(0)
                self._room = _BLOCK
            part = data[: self._room]
            self.checksums[-1] = zlib.crc32(part, self.checksums[-1])
            self._room -= len(part)
            data = data[len(part) :]

    def remap(self, table: Array) -> None:
        """Replace every value by the entry of `table` that it numbers; their type is no wider. Raises OSError."""
        old, self.dtype = self.dtype, table.dtype
        assert table.itemsize <= old.itemsize, "values of a wider type"
        if self._file is None:
            for number, part in enumerate(self._parts):
                self._parts[number] = table[part]
            return
        self._begin_checksums()
        for begin in range(0, self.size, _STEP):  # what is written never reaches what is still to be read
            self._file.seek(begin * old.itemsize)
            values = np.frombuffer(self._file.read(min(_STEP, self.size - begin) * old.itemsize), old)
            self._file.seek(begin * table.itemsize)
            self._write(self._file, table[values])
        self._file.truncate(self.size * table.itemsize)
        self._file.seek(0, os.SEEK_END)

    def array(self) -> Array:
        """Return what has been added; of a file, once it is on the disk, as a map of it. Raises OSError."""
        if self._file is None:
            return np.concatenate(self._parts) if self._parts else np.zeros(0, self.dtype)
        self._file.flush()
        os.fsync(self._file.fileno())
        return np.memmap(self._file, self.dtype, mode="r", shape=(self.size,)) if self.size else np.zeros(0, self.dtype)

    def close(self) -> None:
        """Close the file; what `array` has returned stays."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # what is not on the disk by now is not wanted
                self._file.close()
