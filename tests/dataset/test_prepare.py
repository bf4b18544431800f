"""From a corpus to a dataset: how often it is read for that."""

import collections
import gzip
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest

from charrnn.corpus import documents, inputs, reader
from charrnn.corpus.documents import FileDocument, Spool
from charrnn.corpus.formats import TextFormat
from charrnn.corpus.reader import read_corpus
from charrnn.dataset.id_cache import IdCache
from charrnn.dataset.prepare import PrepareOptions, prepare

TEXT = "\n".join(topics[topic] for topic in sorted(topics)[:8]).encode()[:40_000] + b"\n"
BLOCK = 1000


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> collections.Counter[str]:
    """How many bytes have been read of sources, of files and of the spool, and written into the spool."""
    counter = collections.Counter[str]()
    for module in (documents, reader):
        monkeypatch.setattr(module, "CHUNK_BYTES", BLOCK)

    def counted(what: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            counter[what] += len(chunk)
            yield chunk

    read_chunks, file_chunks = inputs.read_chunks, FileDocument.chunks
    spool_read, spool_write = Spool.read, Spool.write

    def from_spool(spool: Spool, begin: int, end: int) -> bytes:
        counter["spool"] += end - begin
        return spool_read(spool, begin, end)

    def into_spool(spool: Spool, data: bytes) -> None:
        counter["into spool"] += len(data)
        spool_write(spool, data)

    monkeypatch.setattr(reader, "read_chunks", lambda *args: counted("source", read_chunks(*args)))
    monkeypatch.setattr(FileDocument, "chunks", lambda *args: counted("file", file_chunks(*args)))
    monkeypatch.setattr(Spool, "read", from_spool)
    monkeypatch.setattr(Spool, "write", into_spool)
    monkeypatch.chdir(tmp_path)
    return counter


@pytest.mark.parametrize("separator", [b"", b"\n"])
@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({"tokenizer": "char"}, 2),
        ({"tokenizer": "char", "val_fraction": 0.0}, 2),
        ({"tokenizer": "byte"}, 2),
        ({"tokenizer": "sentencepiece", "vocab_size": 300}, 3),
    ],
)
@pytest.mark.parametrize("source", ["a.txt", "a.txt.gz", "-"])
@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_how_often_a_document_is_read(
    read: collections.Counter[str],
    limit: int,
    source: str,
    options: dict[str, Any],
    times: int,
    separator: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twice; three times where a tokenizer is trained. What cannot be read twice goes into the spool once."""
    Path("a.txt").write_bytes(TEXT)
    Path("a.txt.gz").write_bytes(gzip.compress(TEXT))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT)))
    corpus = read_corpus([source], TextFormat(separator), limit=limit)
    assert read["file"] + read["source"] == len(TEXT)
    prepare(corpus, None, PrepareOptions(**options))
    if source == "a.txt" and limit == 0:
        expected = {"file": times * len(TEXT)}
    else:
        expected = {"source": len(TEXT), "into spool": len(TEXT), "spool": (times - 1) * len(TEXT)}
    read = +read
    if options["tokenizer"] != "byte" and options.get("val_fraction") != 0 and not separator:
        read["file" if "file" in expected else "spool"] -= BLOCK  # in which the text is cut: where, is looked up
    assert read == expected


def test_a_cached_dataset_is_read_once(read: collections.Counter[str], tmp_path: Path) -> None:
    """To know that it is the same; a second validation text is read as often as the first."""
    Path("a.txt").write_bytes(TEXT)
    Path("b.txt").write_bytes(TEXT[:9000])
    for _ in range(2):
        read.clear()
        both = [read_corpus([name], limit=0) for name in ("a.txt", "b.txt")]
        prepare(both[0], both[1], PrepareOptions(), cache=IdCache(tmp_path / "cache"))
        assert read["file"] in (2 * len(TEXT) + 18_000, len(TEXT) + 9000)
    assert read["file"] == len(TEXT) + 9000
