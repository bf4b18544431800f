"""Files that are whole or absent, whatever fails; locks; and inputs of every kind."""

import bz2
import errno
import gzip
import io
import lzma
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from charrnn.corpus.inputs import open_source, read_chunks
from charrnn.errors import CharRNNError, InputError, OutputError
from charrnn.files import Lock, atomic_write, prune_temporaries, quote

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes, links and FIFOs are POSIX's")

STEPS = ("open", "write", "fsync", "fchmod", "replace")


@pytest.fixture
def umask() -> Iterator[None]:
    old = os.umask(0o022)
    yield
    os.umask(old)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def read(path: str) -> bytes:
    with open_source(path) as stream:
        return b"".join(read_chunks(stream, 1000, path))


class Recorder:
    """Notes each system call of a writer and makes the k-th fail."""

    def __init__(self, patch: pytest.MonkeyPatch, failing: int = -1, code: int = 0) -> None:
        self.calls: list[tuple[str, Any]] = []
        for name in STEPS:
            patch.setattr(os, name, self.recorded(name, getattr(os, name), failing, code))

    def recorded(self, name: str, call: Callable[..., Any], failing: int, code: int) -> Callable[..., Any]:
        def recorded(*args: Any, **options: Any) -> Any:
            self.calls.append((name, args[0]))
            if len(self.calls) - 1 == failing:
                raise OSError(code, os.strerror(code))
            return call(*args, **options)

        return recorded


@pytest.mark.parametrize("old", [b"old", None])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_each_system_call_fails_once(tmp_path: Path, code: int, old: bytes | None) -> None:
    """CK-05: the old file stays as it was, no temporary file stays, and the message names path and cause."""
    path = tmp_path / "model.safetensors"
    if old is not None:
        path.write_bytes(old)
        path.chmod(0o640)
    failing = 0
    while True:
        with pytest.MonkeyPatch.context() as patch:
            recorder = Recorder(patch, failing, code)
            try:
                atomic_write(path, b"new")
            except OutputError as error:
                told = str(error)
            else:
                break
        assert told == f"cannot write {str(path)!r}: {os.strerror(code)}", recorder.calls
        assert os.listdir(tmp_path) == ([path.name] if old is not None else []), recorder.calls
        if old is not None:
            assert path.read_bytes() == old, recorder.calls
            assert mode(path) == 0o640
            assert path.stat().st_nlink == 1
        failing += 1
    assert failing == 7  # open, write, fsync, chmod, replace, open and fsync of the folder
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == [path.name]


def test_order_of_a_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CK-06: open in the same folder, write, fsync, chmod, replace, fsync of the folder."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    recorder = Recorder(monkeypatch)
    atomic_write(
        path,
        b"new",
        verify=lambda temporary: recorder.calls.append(("verify", temporary.read_bytes())),
        before_replace=lambda: recorder.calls.append(("before", path.read_bytes())),
    )
    names = [name for name, _ in recorder.calls]
    assert names == ["open", "write", "fsync", "fchmod", "verify", "before", "replace", "open", "fsync"]
    temporary = recorder.calls[0][1]
    assert os.path.dirname(temporary) == str(tmp_path)
    assert recorder.calls[4:8] == [
        ("verify", b"new"),
        ("before", b"old"),
        ("replace", temporary),
        ("open", str(tmp_path)),
    ]


def test_written_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CK-05: a short write is not the end of it."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    atomic_write(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_folder_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems know no fsync of a folder; that is no failure."""
    sync = os.fsync

    def only_files(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    atomic_write(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
@pytest.mark.parametrize("moment", ["verify", "before_replace"])
def test_callbacks_that_refuse(tmp_path: Path, error: BaseException, moment: str) -> None:
    """CK-05: what they raise passes through; the old file stays and no other."""
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def refuse(*_: object) -> None:
        raise error

    with pytest.raises(type(error)):
        atomic_write(path, b"new", **{moment: refuse})
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.usefixtures("umask")
def test_modes_and_links(tmp_path: Path) -> None:
    """CK-07: 0644 for a new file under umask 022, an old mode is kept, and so is a link."""
    path, link = tmp_path / "folder" / "a", tmp_path / "link"
    path.parent.mkdir()
    link.symlink_to("folder/a")
    atomic_write(link, b"through a link to nothing yet")
    assert mode(path) == 0o644
    path.chmod(0o640)
    atomic_write(link, b"again")
    assert (mode(path), path.read_bytes()) == (0o640, b"again")
    assert os.readlink(link) == "folder/a"
    assert os.listdir(path.parent) == ["a"]


@pytest.mark.usefixtures("umask")
def test_private_file_is_never_public(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CK-07: the temporary file of a private one cannot be read by others either."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o600)
    modes: list[int] = []
    write = os.write

    def watched(descriptor: int, data: bytes) -> int:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", watched)
    atomic_write(path, b"new")
    assert modes == [0o600]
    assert mode(path) == 0o600


@pytest.mark.parametrize("planted", ["link", "file"])
def test_planted_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str) -> None:
    """SE-09: a temporary file is new, or there is none; what lies at its name is not touched."""
    monkeypatch.setattr(os, "urandom", lambda count: b"\xab" * count)
    victim, trap = tmp_path / "victim", tmp_path / f".a.tmp-{'ab' * 8}"
    victim.write_bytes(b"precious")
    if planted == "link":
        trap.symlink_to(victim)
    else:
        trap.write_bytes(b"precious")
    with pytest.raises(OutputError, match="File exists"):
        atomic_write(tmp_path / "a", b"new")
    assert trap.read_bytes() == victim.read_bytes() == b"precious"
    assert trap.is_symlink() == (planted == "link")


def test_temporary_names_cannot_be_guessed(tmp_path: Path) -> None:
    """SE-09: in the same folder, each time another."""
    seen: list[Path] = []
    for _ in range(20):
        atomic_write(tmp_path / "a", b"new", verify=seen.append)
    assert {path.parent for path in seen} == {tmp_path}
    assert len(set(seen)) == 20
    assert all(re.fullmatch(r"\.a\.tmp-[0-9a-f]{16}", path.name) for path in seen)


def test_what_cannot_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name, cause in (
        ("folder", "Is a directory"),
        ("fifo", "Not a regular file"),
        ("none/a", "No such file or directory"),
    ):
        with pytest.raises(OutputError) as error:
            atomic_write(tmp_path / name, b"new")
        assert str(error.value) == f"cannot write {str(tmp_path / name)!r}: {cause}"
    assert sorted(os.listdir(tmp_path)) == ["fifo", "folder"]


def test_pruning(tmp_path: Path) -> None:
    """CK-08: stale temporary files go, whatever else lies there stays."""
    evals_beyond_recovery = [".model.safetensors.tmp-0123456789abcdef", ".a.tmp-ffffffffffffffff"]
    other = ["model.safetensors", "a.tmp-0123456789abcdef", ".a.tmp-xyz", ".a.tmp-0123456789abcdef.txt"]
    for name in evals_beyond_recovery + other:
        (tmp_path / name).write_bytes(b"")
    assert prune_temporaries(tmp_path) == 2
    assert sorted(os.listdir(tmp_path)) == sorted(other)
    assert prune_temporaries(tmp_path / "none") == 0


HOLDER = "import sys, charrnn.files as f\nwith f.Lock(sys.argv[1]): print('held', flush=True); sys.stdin.read()"


def test_lock_of_another_process(tmp_path: Path) -> None:
    """CK-19: the second is told the first's pid at once; the lock of a killed process is free."""
    path = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(CharRNNError) as error, Lock(path):
            pass
        assert str(error.value) == f"{str(tmp_path)!r} is in use by process {holder.pid}"
        assert error.value.exit_code == 1
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with Lock(path):
        assert path.read_text() == f"{os.getpid()}\n"
        with pytest.raises(CharRNNError, match=f"process {os.getpid()}$"), Lock(path):
            pass
    with Lock(path):
        pass
    with pytest.raises(OutputError, match=r"^cannot lock .*none/lock': No such file or directory$"):
        Lock(tmp_path / "none" / "lock").__enter__()


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
    """CL-18, CL-27: a slow writer is not waited for."""
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
