"""Documents: the same bytes any number of times, wherever they are."""

import errno
import os
import resource
from pathlib import Path

import pytest

from charrnn.corpus import documents
from charrnn.corpus.documents import Document, DocumentList, FileDocument, MemoryDocument, Spool, SpooledDocument
from charrnn.errors import InputError, OutputError

TEXT = "Größe und Maß,\nnaïve 日本語 😀😀.\n".encode() * 12


def data_of(text: Document, begin: int = 0, end: int | None = None) -> bytes:
    return b"".join(text.chunks(begin, end))


def readables(tmp_path: Path, data: bytes) -> list[Document]:
    (tmp_path / "file").write_bytes(data)
    made: list[Document] = [MemoryDocument("t", data), FileDocument(str(tmp_path / "file"))]
    for limit in (0, 10, 10**6):
        spool = Spool(limit)
        spool.write(b"before")
        for at in range(0, len(data), 5):
            spool.write(data[at : at + 5])
        spool.write(b"after")
        made.append(SpooledDocument("s", spool, 6, len(data)))
        many = DocumentList("d", Spool(limit))
        for line, part in enumerate((b"one", data, b"two"), 1):
            many.add(line, part)
        [first, second, last] = many
        assert [data_of(first), data_of(last)] == [b"one", b"two"]
        assert second.name == "d, line 2"
        assert many.size == len(data) + 6
        made.append(second)
    return made


@pytest.mark.parametrize("chunk", [1, 3, 1 << 20])
def test_any_part_any_number_of_times(chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "CHUNK_BYTES", chunk)
    data = TEXT[:50]
    for text in readables(tmp_path, data):
        assert text.size == len(data)
        for begin, end in ((0, None), (0, 0), (0, 1), (7, 30), (49, 50), (3, None), (0, 50)):
            assert data_of(text, begin, end) == data[begin:end]
            assert all(0 < len(part) <= chunk for part in text.chunks(begin, end))


@pytest.mark.parametrize("change", ["longer", "shorter", "newer", "replaced", "gone"])
def test_in_17_a_file_that_changes_is_reported(change: str, tmp_path: Path) -> None:
    """IN-17: between two readings, or in the middle of one."""
    path = tmp_path / "f"
    path.write_bytes(TEXT)
    text = FileDocument(str(path))
    assert data_of(text) == TEXT
    match change:
        case "longer":
            path.write_bytes(TEXT + b"x")
        case "shorter":
            path.write_bytes(TEXT[:-1])
        case "newer":
            os.utime(path, (1e9, 1e9))
        case "replaced":
            (tmp_path / "g").write_bytes(TEXT)
            os.replace(tmp_path / "g", path)
        case "gone":
            path.unlink()
    with pytest.raises(InputError, match=r"changed while it was being read|cannot read"):
        data_of(text)


def test_in_16_a_spool_has_no_name(tmp_path: Path) -> None:
    """IN-16: nothing to see while it is there, nothing to remove when it is gone."""
    spool = Spool(10, tmp_path)
    for _ in range(100):
        spool.write(b"0123456789")
    assert spool.read(995, 1000) == b"56789"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="cannot keep the text in"):
        Spool(0, tmp_path / "missing").write(b"x")


@pytest.mark.parametrize("sizes", [(5000,), (4096, 1), (4000, 90, 90), (1, 4096)])
def test_in_16_a_full_disk(sizes: tuple[int, ...], tmp_path: Path) -> None:
    """IN-16: noticed when it is written to, not when it is read, however little is written at a time."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    spool = Spool(0, tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        for size in sizes[:-1]:
            spool.write(bytes(size))
        with pytest.raises(OutputError, match=f"cannot keep the text in '{tmp_path}': File too large"):
            spool.write(bytes(sizes[-1]))
        assert spool.size == sum(sizes[:-1])
        spool.__del__()
        with pytest.raises(ValueError, match="closed"):
            spool.read(0, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_spool_that_cannot_be_read(tmp_path: Path) -> None:
    spool = Spool(0, tmp_path)
    spool.write(b"text")
    assert spool._file is not None
    spool._file.seek = fail  # type: ignore[method-assign]
    with pytest.raises(InputError, match=f"cannot read the text kept in '{tmp_path}': Input/output error"):
        spool.read(0, 4)


def fail(*args: object) -> int:
    raise OSError(errno.EIO, os.strerror(errno.EIO))
