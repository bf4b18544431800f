"""The files that ids are kept in: whole or absent, found again, and gone when there are too many."""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.dataset import array_files
from charrnn.dataset import id_cache as module
from charrnn.dataset.id_cache import Entry, IdCache
from charrnn.errors import OutputError

Contents = tuple[dict[str, Any], list[int], str]


def make(store: IdCache, key: str, size: int = 5) -> None:
    with store.create(key) as pending:
        writer = pending.writer("ids")
        for begin in range(0, size, 3):
            writer.add(np.arange(begin, min(begin + 3, size), dtype=np.uint16))
        pending.writer("none").add(np.zeros(0, np.int64))
        pending.info["note"] = key


def read(entry: Entry) -> Contents:
    """All that `make` has written."""
    ids, none = entry.array("ids", (np.uint8, np.uint16), 60_000), entry.array("none", (np.int64,))
    assert none.dtype == np.int64
    assert len(none) == 0
    assert isinstance(ids, np.memmap)
    return entry.info, ids.tolist(), str(ids.dtype)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_what_is_kept_is_found(tmp_path: Path) -> None:
    store = IdCache(tmp_path / "a" / "ids")
    assert store.get("one", read) is None
    make(store, "one", 100)
    assert store.get("one", read) == ({"note": "one"}, list(range(100)), "uint16")
    assert store.get("one", lambda entry: None) is None  # not what was looked for: it stays
    assert names(store.folder) == ["one"]
    if sys.platform != "win32":
        assert stat.S_IMODE(store.folder.stat().st_mode) == stat.S_IMODE((store.folder / "one").stat().st_mode) == 0o700


@pytest.mark.parametrize("block", [1, 2, 7, 10, 200, 1 << 26])
@pytest.mark.parametrize("step", [2, 4, 1 << 20])
def test_every_block_is_checked(block: int, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever blocks and chunks end: what was written is found, and any byte that changed is missed."""
    monkeypatch.setattr(array_files, "_BLOCK", 2 * block)
    monkeypatch.setattr(array_files, "_STEP", step)
    store = IdCache(tmp_path)
    for remapped in (False, True):
        with store.create("one") as pending:
            writer = pending.writer("ids")
            for part in np.array_split(np.arange(50, dtype=np.uint16), 9):
                writer.add(part)
            if remapped:
                writer.remap(np.arange(49, -1, -1, dtype=np.uint16))
            pending.writer("none").add(np.zeros(0, np.int64))
        assert pending.arrays["ids"].tolist() == list(range(50))[:: -1 if remapped else 1]
        found = store.get("one", read)
        assert found is not None
        assert found[1] == pending.arrays["ids"].tolist()
        data = (tmp_path / "one" / "ids").read_bytes()
        for place in (0, 37, 99) if step < 1 << 20 else range(0, 100, 3):
            (tmp_path / "one" / "ids").write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            with pytest.raises(ValueError, match="ids is damaged"):
                read(Entry(tmp_path / "one"))
        shutil.rmtree(tmp_path / "one")


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


def test_a_full_disk_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OutputError, match="Input/output error"):
        make(IdCache(tmp_path), "one")
    assert names(tmp_path) == []


@pytest.mark.parametrize("fault", ["name", "folder removed"])
def test_what_cannot_be_kept_can_be_used(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ids are there: it has only no name by which another run could find it."""
    notes: list[str] = []
    store = IdCache(tmp_path / "ids", note=notes.append)

    def fail(*args: object) -> None:
        raise OSError(5, "Input/output error")

    with store.create("one") as pending:
        pending.writer("ids").add(np.arange(100_000))
        if fault == "name":
            monkeypatch.setattr("os.replace", fail)
        else:
            shutil.rmtree(store.folder)
    monkeypatch.undo()
    assert pending.arrays["ids"].tolist() == list(range(100_000))
    assert len(notes) == 1
    assert notes[0].startswith(f"cannot keep the ids of the text in '{store.folder}': ")
    assert store.get("one", read) is None


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = IdCache(tmp_path / "file")
    assert store.get("one", read) is None
    with pytest.raises(OutputError, match="cannot keep the ids of the text in"):
        make(store, "one")


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what an entry says of itself, its checksum included."""
    data = (folder / "entry.json").read_bytes().rpartition(b"\n")[0]
    table = json.loads(data)
    change(table)
    data = json.dumps(table).encode()
    (folder / "entry.json").write_bytes(data + b"\n" + hashlib.sha256(data).hexdigest().encode())


def replace_by_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_bytes(b"x")


def empty(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def set_array(key: str, value: object) -> Callable[[Path], None]:
    return lambda one: rewrite(one, lambda table: table["arrays"]["ids"].update({key: value}))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda one: os.truncate(one / "ids", 9),
    "emptied": lambda one: os.truncate(one / "ids", 0),
    "longer": lambda one: (one / "ids").write_bytes((one / "ids").read_bytes() + b"\0"),
    "altered": lambda one: (one / "ids").write_bytes(b"\1" + (one / "ids").read_bytes()[1:]),
    "out of range": lambda one: (one / "ids").write_bytes(b"\xff" * 10),
    "gone": lambda one: (one / "ids").unlink(),
    "a folder": lambda one: replace_by_folder(one / "ids"),
    "a link": lambda one: replace_by_link(one / "ids"),
    "a pipe": lambda one: replace_by_pipe(one / "ids"),
    "no table": lambda one: (one / "entry.json").unlink(),
    "empty table": lambda one: (one / "entry.json").write_bytes(b""),
    "garbage table": lambda one: (one / "entry.json").write_bytes(os.urandom(300)),
    "truncated table": lambda one: os.truncate(one / "entry.json", 50),
    "altered table": lambda one: (one / "entry.json").write_bytes(
        (one / "entry.json").read_bytes().replace(b'"one"', b'"two"')
    ),
    "an earlier layout": lambda one: (one / "entry.json").write_bytes(b'{"document": {}, "arrays": {"ids": 3}}'),
    "endless table": lambda one: os.truncate(one / "entry.json", 1 << 32),
    "table a folder": lambda one: replace_by_folder(one / "entry.json"),
    "table a pipe": lambda one: replace_by_pipe(one / "entry.json"),
    "all a link": replace_by_link,
    "a file": replace_by_file,
    "an empty folder": empty,
    # a digest that fits, so that what it covers is checked too
    "no JSON": lambda one: (one / "entry.json").write_bytes(b"{\n" + hashlib.sha256(b"{").hexdigest().encode()),
    "another type": set_array("dtype", "<u4"),
    "objects": set_array("dtype", "|O"),
    "type of another type": set_array("dtype", ["<u2"]),
    "another size": set_array("size", 4),
    "negative size": set_array("size", -5),
    "size of another type": set_array("size", "5"),
    "no checksums": set_array("crc32", []),
    "checksum of another type": set_array("crc32", ["x"]),
    "too many checksums": set_array("crc32", [0, 0]),
    "no arrays": lambda one: rewrite(one, lambda table: table.pop("arrays")),
    "other arrays": lambda one: rewrite(one, lambda table: table["arrays"].pop("ids")),
    "arrays of another type": lambda one: rewrite(one, lambda table: table.update(arrays=[])),
    "an array of another type": lambda one: rewrite(one, lambda table: table["arrays"].update(ids=3)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_made_again(damage: str, tmp_path: Path) -> None:
    """With one note that says where and why; no other file is touched."""
    notes: list[str] = []
    store = IdCache(tmp_path, note=notes.append)
    make(store, "one")
    make(store, "other")
    DAMAGES[damage](tmp_path / "one")
    assert store.get("one", read) is None
    assert [note.partition(": ")[0] for note in notes] == [
        f"the ids kept in '{tmp_path / 'one'}' cannot be used and are made again"
    ]
    assert store.get("one", read) is None  # it is gone
    make(store, "one", 7)
    assert store.get("one", read) == ({"note": "one"}, list(range(7)), "uint16")
    assert store.get("other", read) == ({"note": "other"}, list(range(5)), "uint16")
    assert len(notes) == 1
    assert set(names(tmp_path)) - {"elsewhere"} == {"one", "other"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("what", ["", "entry.json", "ids"])
def test_an_entry_that_may_not_be_read(what: str, tmp_path: Path) -> None:
    notes: list[str] = []
    store = IdCache(tmp_path, note=notes.append)
    make(store, "one")
    (tmp_path / "one" / what).chmod(0)
    assert store.get("one", read) is None
    assert "Permission denied" in notes[0]
    make(store, "one")
    assert store.get("one", read) is not None
    assert len(notes) == 1


def test_what_is_not_asked_for_is_not_opened(tmp_path: Path) -> None:
    """Names in an entry are not paths."""
    store = IdCache(tmp_path / "ids")
    make(store, "one")
    rewrite(tmp_path / "ids" / "one", lambda table: table["arrays"].update({"../../secret": table["arrays"]["ids"]}))
    assert store.get("one", read) is not None


@pytest.mark.parametrize("planted", ["link", "folder"])
def test_se_09_a_planted_name(planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SE-09: an entry is made in a folder that is new, under a name that nobody can know."""
    monkeypatch.setattr(os, "urandom", lambda count: b"\xab" * count)
    store, trap, victim = IdCache(tmp_path / "ids"), tmp_path / "ids" / f".one.tmp-{'ab' * 8}", tmp_path / "victim"
    for folder in (store.folder, victim):
        folder.mkdir()
    trap.symlink_to(victim) if planted == "link" else trap.mkdir()
    with pytest.raises(OutputError, match="File exists"):
        make(store, "one")
    assert names(victim) == []


def test_an_entry_in_use_may_go(tmp_path: Path) -> None:
    """IN-17: no SIGBUS; what is mapped stays until it is let go."""
    store = IdCache(tmp_path)
    make(store, "one", 60_000)
    ids = store.get("one", lambda entry: entry.array("ids", (np.uint16,)))
    assert ids is not None
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
    assert store.get("a", read) is not None  # it is in use again
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
for number in range(20):
    with IdCache(Path(sys.argv[1]), 10).create(["one", "two"][number % 3 == 0]) as pending:
        pending.writer("ids").add(np.arange(1000))
"""


def test_a_killed_program_leaves_no_entry(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)]).returncode == -9
    assert IdCache(tmp_path).get("one", read) is None
    make(IdCache(tmp_path), "one")
    assert IdCache(tmp_path).get("one", read) is not None


def test_two_programs_at_once(tmp_path: Path) -> None:
    """Whoever reads meanwhile finds all of an entry or none, and nobody is told that one was damaged."""
    running = [subprocess.Popen([sys.executable, "-c", MANY, str(tmp_path)]) for _ in range(2)]
    notes: list[str] = []
    store = IdCache(tmp_path, note=notes.append)
    while any(each.poll() is None for each in running):
        ids = store.get("one", lambda entry: entry.array("ids", (np.int64,)).tolist())
        assert ids is None or ids == list(range(1000))
    assert [each.wait(60) for each in running] == [0, 0]
    assert set(names(tmp_path)) <= {"one", "two"}
    assert notes == []
