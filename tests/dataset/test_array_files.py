"""Arrays that grow, in memory or in files."""

from pathlib import Path

import numpy as np
import pytest

from charrnn.dataset import array_files as module
from charrnn.dataset.array_files import ArrayWriter, read_array


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
    in_memory, in_file = ArrayWriter(), ArrayWriter((tmp_path / "a").open("w+b"))
    for writer in (in_memory, in_file):
        for part in np.array_split(values, 7):
            writer.add(part)
        writer.remap(table)
        assert (writer.dtype, writer.size) == (np.dtype(new), 200)
    in_file.add(table[:1])
    assert in_memory.array().tolist() == table.tolist()
    mapped = in_file.array()
    in_file.close()
    assert mapped.tolist() == [*table.tolist(), 199]
    assert np.fromfile(tmp_path / "a", new).tolist() == [*table.tolist(), 199]
    with pytest.raises(AssertionError):
        ArrayWriter().remap(np.zeros(3, np.uint16))


def test_no_more_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the number of processes is limited: one does the work of several."""

    def fail(*args: object) -> None:
        raise RuntimeError("can't start new thread")

    path = tmp_path / "a"
    writer = ArrayWriter(path.open("w+b"))
    writer.add(np.arange(100))
    writer.array()
    writer.close()
    monkeypatch.setattr("threading.Thread.start", fail)
    found = read_array(path, np.dtype(np.int64), 100, writer.checksums, 100)
    assert found.tolist() == list(range(100))
    with pytest.raises(ValueError, match="out of range"):
        read_array(path, np.dtype(np.int64), 100, writer.checksums, 99)
