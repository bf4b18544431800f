"""Atomic writes, whatever system call fails; modes, links and temporary files; locks."""

import errno
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from charrnn.errors import CharRNNError, OutputError
from charrnn.files import Lock, atomic_write, prune_temporaries

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes, links and FIFOs are POSIX's")

STEPS = ("open", "write", "fsync", "fchmod", "replace")


@pytest.fixture
def umask() -> Iterator[None]:
    old = os.umask(0o022)
    yield
    os.umask(old)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class Recorder:
    """Records the system calls of a writer and makes the k-th fail."""

    def __init__(self, patch: pytest.MonkeyPatch, failing: int = -1, code: int = 0, also: tuple[str, ...] = ()) -> None:
        self.calls: list[tuple[str, Any]] = []
        for name in (*STEPS, *also):
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
    """CK-05: the old file is unchanged, no temporary file is left, and the message names path and cause."""
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
                message = str(error)
            else:
                break
        assert message == f"cannot write {str(path)!r}: {os.strerror(code)}", recorder.calls
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


def test_short_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CK-05: after a short write, the rest is written."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    atomic_write(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_folder_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems cannot fsync a folder; that is not an error."""
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
def test_callbacks_that_raise(tmp_path: Path, error: BaseException, moment: str) -> None:
    """CK-05: their exception propagates; the old file stays, and no other file."""
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
    """CK-07: the temporary file of a private file is private too."""
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
    """SE-09: a temporary file is created new; a file or link that has its name already is not touched."""
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


def test_temporary_names_are_unpredictable(tmp_path: Path) -> None:
    """SE-09: in the same folder, with another name each time."""
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
    """CK-08: stale temporary files are removed; other files stay."""
    temporaries = [".model.safetensors.tmp-0123456789abcdef", ".a.tmp-ffffffffffffffff"]
    other = ["model.safetensors", "a.tmp-0123456789abcdef", ".a.tmp-xyz", ".a.tmp-0123456789abcdef.txt"]
    for name in temporaries + other:
        (tmp_path / name).write_bytes(b"")
    assert prune_temporaries(tmp_path) == 2
    assert sorted(os.listdir(tmp_path)) == sorted(other)
    assert prune_temporaries(tmp_path / "none") == 0


HOLDER = "import sys, charrnn.files as f\nwith f.Lock(sys.argv[1]): print('held', flush=True); sys.stdin.read()"


def test_lock_of_another_process(tmp_path: Path) -> None:
    """CK-19: the second process fails at once and names the first's pid; the lock of a killed process is free."""
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
