"""Sources of bytes: files, packed or not, pipes and stdin; which cannot be read, and why."""

import bz2
import errno
import gzip
import io
import lzma
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from charrnn.corpus.inputs import open_source, read_chunks
from charrnn.errors import InputError
from charrnn.files import quote

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and FIFOs are POSIX's")


def read(path: str) -> bytes:
    with open_source(path) as stream:
        return b"".join(read_chunks(stream, 1000, path))


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz", ".GZ"])
def test_packed_files(tmp_path: Path, suffix: str) -> None:
    pack: dict[str, Callable[[bytes], bytes]] = {
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
    }
    data = bytes(range(256)) * 50
    packed = pack.get(suffix.lower(), bytes)(data)
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(packed)
    assert read(str(path)) == data
    if not suffix:
        return
    for damaged in (
        packed[:-5],
        packed[: len(packed) // 2],
        b"no archive" + packed,
        packed[:20] + packed[25:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=f"^cannot read {re.escape(quote(path))}: ") as error:
            read(str(path))
        assert "\n" not in str(error.value)


def test_pipes(tmp_path: Path) -> None:
    """CL-18: a FIFO, and a descriptor as `<(...)` makes it."""
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=(tmp_path / "fifo").write_bytes, args=(b"from a fifo",))
    writer.start()
    assert read(str(tmp_path / "fifo")) == b"from a fifo"
    writer.join()
    end, start = os.pipe()
    os.write(start, b"from a process")
    os.close(start)
    assert read(f"/dev/fd/{end}") == b"from a process"
    os.close(end)


READER = """
import sys
from charrnn.corpus.inputs import open_source, read_chunks
from charrnn.errors import InputError
try:
    sys.stdout.buffer.write(b"".join(read_chunks(open_source(sys.argv[1]), 7)))
except InputError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("source", ["-", "/dev/stdin"])
def test_standard_input(source: str) -> None:
    """CL-18: standard input by both its names; a closed one is an error in one line."""
    command = [sys.executable, "-c", READER, source]
    data = b"\xffany bytes\r\n\0"
    assert subprocess.run(command, input=data, capture_output=True, check=True).stdout == data
    closed = subprocess.run(["/bin/sh", "-c", 'exec "$@" <&-', "sh", *command], capture_output=True, check=False)
    assert (closed.returncode, closed.stderr, closed.stdout.count(b"\n")) == (4, b"", 1)
    assert closed.stdout.startswith(b"cannot read ")


def test_pieces_come_as_they_are_written() -> None:
    """CL-18, CL-27: chunks arrive as they are written."""
    end, start = os.pipe()
    with open(end, "rb") as stream:
        pieces = read_chunks(stream, 1 << 20)
        for data in (b"a", b"bc\n"):
            os.write(start, data)
            assert next(pieces) == data
        os.close(start)
        assert list(pieces) == []


def test_reading_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(InputError, match=r"^cannot read 'x\\n': Input/output error$"):
        list(read_chunks(Broken(), 10, "x\n"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Broken()))
    with pytest.raises(InputError, match=r"^cannot read stdin: Input/output error$"):
        list(read_chunks(open_source("-"), 10))


@pytest.mark.parametrize("name", ["none", "folder", "unreadable", "dangling", "new\nline", "\x1b[31mred", "nul\0"])
def test_unusable_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """IN-18: one line that names the file, quoted and escaped."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nothing")
    path = str(tmp_path / name)
    if name == "unreadable":  # by anyone but root, who may run this

        def refuse(*_: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(InputError) as error:
        open_source(path)
    causes = {
        "folder": "Is a directory",
        "unreadable": "Permission denied",
        "dangling": "it is a link to nothing",
        "nul\0": "embedded null byte",
    }
    assert str(error.value) == f"cannot read {path!r}: {causes.get(name, 'No such file or directory')}"
    assert str(error.value).isprintable()
    assert error.value.exit_code == 4
