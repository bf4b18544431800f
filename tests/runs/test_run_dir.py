"""The folder of a run: its checkpoints while they are replaced."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from charrnn.checkpoint import format as checkpoint
from charrnn.errors import OutputError
from charrnn.files import duplicate
from charrnn.runs.run_dir import RunDir
from tests import tiny
from tests.test_files import Recorder


def state(step: int) -> checkpoint.Checkpoint:
    """A checkpoint of this step."""
    model = tiny.drawn(tiny.char("ab"), hidden=(2,), seed=step)
    model.info["step"] = step
    return model


def step_of(path: Path) -> int:
    return int(checkpoint.read(path).info["step"])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_ck_05_each_system_call_of_a_save_fails_once(code: int, tmp_path: Path) -> None:
    """CK-05, CK-20: of the file and of the link: `last` is there and whole, `previous` too, and no temporary file."""
    expected = ["open", "write", "fsync", "fchmod", "link", "replace", "link", "replace", "open", "fsync"]
    for failing in range(len(expected) + 1):
        folder = tmp_path / str(failing)
        folder.mkdir()
        warnings: list[str] = []
        run = RunDir(folder, warnings.append)
        run.save_last(state(1))
        run.save_last(state(2))
        before = run.last.read_bytes(), run.previous.read_bytes()
        faults = []
        with pytest.MonkeyPatch.context() as patch:
            recorder = Recorder(patch, failing, code, also=("link",))
            try:
                run.save_last(state(3))
            except OutputError as error:
                faults.append(str(error))
        names = [name for name, _ in recorder.calls]
        assert names[: failing + 1] == expected[: failing + 1]
        assert sorted(path.name for path in folder.iterdir()) == ["last.safetensors", "previous.safetensors"]
        if failing in (4, 5):  # a warning, and the new file all the same
            assert warnings == [f"cannot keep {str(run.last)!r} as the previous checkpoint: {os.strerror(code)}"]
            assert (step_of(run.last), run.previous.read_bytes()) == (3, before[1])
        elif failing in (6, len(expected)):  # a second name of the old file, should the last call fail: none is needed
            assert (step_of(run.last), step_of(run.previous)) == (3, 2)
        else:
            assert faults == [f"cannot write {str(run.last)!r}: {os.strerror(code)}"]
            assert run.last.read_bytes() == before[0]
            assert step_of(run.previous) == (1 if failing < 5 else 2)
        assert run.last.stat().st_nlink == run.previous.stat().st_nlink


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The former checkpoint is copied."""

    def no_links(*args: Any, **more: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    warnings: list[str] = []
    run = RunDir(tmp_path, warnings.append)
    for step in (1, 2, 3):
        run.save_last(state(step))
    assert (step_of(run.last), step_of(run.previous), warnings) == (3, 2, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.safetensors", "previous.safetensors"]


def test_a_duplicate(tmp_path: Path) -> None:
    """Links stay links; the same content twice leaves nothing behind."""
    one, two, link = tmp_path / "one", tmp_path / "two", tmp_path / "link"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    link.symlink_to(two)
    for _ in range(2):
        duplicate(one, link)
    assert two.read_bytes() == b"1"
    assert link.is_symlink()
    assert one.samefile(two)
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(FileNotFoundError):
        duplicate(tmp_path / "absent", two)
    assert two.read_bytes() == b"1"
