"""The files that ids are kept in: whole or absent, found again, and gone when there are too many."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from charrnn.dataset import id_cache as module
from charrnn.dataset.id_cache import ArrayWriter, Entry, IdCache
from charrnn.errors import OutputError


def make(store: IdCache, key: str, size: int = 5) -> None:
    with store.create(key) as pending:
        writer = pending.writer("ids")
        for begin in range(0, size, 3):
            writer.add(np.arange(begin, min(begin + 3, size), dtype=np.uint16))
        pending.writer("none").add(np.zeros(0, np.int64))
        pending.info["note"] = key


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_what_is_kept_is_found(tmp_path: Path) -> None:
    store = IdCache(tmp_path / "a" / "ids")
    assert store.get("one") is None
    make(store, "one", 100)
    entry = store.get("one")
    assert entry is not None
    assert entry.info == {"note": "one"}
    assert isinstance(entry["ids"], np.memmap)
    assert entry["ids"].dtype == np.uint16
    assert entry["ids"].tolist() == list(range(100))
    assert entry["none"].dtype == np.int64
    assert len(entry["none"]) == 0
    assert names(store.folder) == ["one"]
    if sys.platform != "win32":
        assert stat.S_IMODE(store.folder.stat().st_mode) == stat.S_IMODE((store.folder / "one").stat().st_mode) == 0o700


def test_a_writer_keeps_one_type() -> None:
    writer = ArrayWriter()
    writer.add(np.zeros(0, np.int64))
    writer.add(np.array([1], np.uint8))
    writer.add(np.zeros(0, np.int64))
    assert writer.array().dtype == np.uint8
    with pytest.raises(AssertionError):
        writer.add(np.array([1], np.int64))
    assert ArrayWriter().array().tolist() == []


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize("dtypes", [("uint8", "uint8"), ("uint16", "uint8"), ("uint32", "uint16")])
def test_values_are_replaced(
    dtypes: tuple[str, str], step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In memory or in place, by a type that is no wider."""
    monkeypatch.setattr(module, "_STEP", step)
    old, new = dtypes
    values, table = np.arange(200).astype(old), np.arange(199, -1, -1).astype(new)
    in_memory, in_file = ArrayWriter(), ArrayWriter(tmp_path / "a")
    for writer in (in_memory, in_file):
        for part in np.array_split(values, 7):
            writer.add(part)
        writer.remap(table)
        assert (writer.dtype, writer.size) == (np.dtype(new), 200)
    in_file.add(table[:1])
    in_file.close(durable=False)
    assert in_memory.array().tolist() == table.tolist()
    assert np.fromfile(tmp_path / "a", new).tolist() == [*table.tolist(), 199]
    with pytest.raises(AssertionError):
        ArrayWriter().remap(np.zeros(3, np.uint16))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, OSError(28, "No space left on device")])
def test_what_is_not_finished_is_not_there(error: BaseException, tmp_path: Path) -> None:
    """As after a full disk, of which the message says where and what to do."""
    store = IdCache(tmp_path)
    make(store, "old")
    expected = OutputError if isinstance(error, OSError) else error if isinstance(error, type) else type(error)
    with pytest.raises(expected) as caught, store.create("new") as pending:  # noqa: PT012
        pending.writer("ids").add(np.arange(9))
        raise error
    assert names(tmp_path) == ["old"]
    if expected is OutputError:
        message = str(caught.value)
        assert f"in '{tmp_path}': No space left on device" in message
        assert "$XDG_CACHE_HOME" in message


@pytest.mark.parametrize("call", ["os.fsync", "os.replace"])
def test_every_step_may_fail(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise OSError(5, "Input/output error")

    store = IdCache(tmp_path)
    monkeypatch.setattr(call, fail)
    with pytest.raises(OutputError, match="Input/output error"):
        make(store, "one")
    monkeypatch.undo()
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot keep the ids of the text in"):
        make(IdCache(tmp_path / "file"), "one")


@pytest.mark.parametrize("damage", ["cut", "longer", "gone", "no table", "bad table", "wrong table"])
def test_a_damaged_entry_is_none(damage: str, tmp_path: Path) -> None:
    """And is made again."""
    store = IdCache(tmp_path)
    make(store, "one")
    ids, table = tmp_path / "one" / "ids", tmp_path / "one" / "entry.json"
    match damage:
        case "cut":
            ids.write_bytes(ids.read_bytes()[:-1])
        case "longer":
            ids.write_bytes(ids.read_bytes() + b"\0")
        case "gone":
            ids.unlink()
        case "no table":
            table.unlink()
        case "bad table":
            table.write_bytes(b"{")
        case "wrong table":
            table.write_bytes(b'{"document": {}, "arrays": {"ids": 3}}')
    assert store.get("one") is None
    make(store, "one", 7)
    entry = store.get("one")
    assert entry is not None
    assert len(entry["ids"]) == 7


def test_an_entry_in_use_may_go(tmp_path: Path) -> None:
    """IN-17: no SIGBUS; what is mapped stays until it is let go."""
    store = IdCache(tmp_path)
    make(store, "one", 60_000)
    entry = store.get("one")
    assert entry is not None
    ids = entry["ids"]
    for path in (tmp_path / "one").iterdir():
        path.unlink()
    (tmp_path / "one").rmdir()
    assert int(ids.sum()) == sum(range(60_000))


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    """Those that have not been used for longest."""
    store = IdCache(tmp_path)
    for age, key in enumerate(["a", "b", "c", "d"]):
        make(store, key, 1000)
        os.utime(tmp_path / key, (1e9 + age, 1e9 + age))
    assert store.get("a") is not None  # it is in use again
    store.max_bytes = 8000
    make(store, "e", 1000)
    assert names(tmp_path) == ["a", "d", "e"]
    store.max_bytes = 10
    make(store, "f", 1000)  # the one that is wanted is kept, however large
    assert names(tmp_path) == ["f"]


def test_what_killed_programs_leave_is_removed_in_time(tmp_path: Path) -> None:
    store = IdCache(tmp_path)
    for name, age in ((".x.tmp-1", 2 * module._STALE_SECONDS), (".x.tmp-2", 0.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ids").write_bytes(b"1")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    make(store, "one")
    assert names(tmp_path) == [".x.tmp-2", "one"]


KILLED = """
import os, signal, sys, numpy as np
from pathlib import Path
from charrnn.dataset.id_cache import IdCache
with IdCache(Path(sys.argv[1])).create("one") as pending:
    pending.writer("ids").add(np.arange(100_000))
    os.kill(os.getpid(), signal.SIGKILL)
"""

MANY = """
import sys, numpy as np
from pathlib import Path
from charrnn.dataset.id_cache import IdCache
for _ in range(20):
    with IdCache(Path(sys.argv[1])).create("one") as pending:
        pending.writer("ids").add(np.arange(1000))
"""


def test_a_killed_program_leaves_no_entry(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)]).returncode == -9
    assert IdCache(tmp_path).get("one") is None
    make(IdCache(tmp_path), "one")
    assert IdCache(tmp_path).get("one") is not None


def test_two_programs_at_once(tmp_path: Path) -> None:
    running = [subprocess.Popen([sys.executable, "-c", MANY, str(tmp_path)]) for _ in range(2)]
    codes = [each.wait(60) for each in running]
    assert codes == [0, 0]
    entry = Entry(tmp_path / "one")
    assert entry["ids"].tolist() == list(range(1000))
    assert names(tmp_path) == ["one"]
