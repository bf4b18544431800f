"""From a corpus to a dataset: how often it is read for that, and where it is kept."""

import collections
import gzip
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest

from charrnn.corpus import documents, inputs, reader
from charrnn.corpus.documents import FileDocument, Spool
from charrnn.corpus.formats import TextFormat
from charrnn.corpus.reader import read_corpus
from charrnn.dataset.dataset import Dataset
from charrnn.dataset.id_cache import IdCache
from charrnn.dataset.prepare import PrepareOptions, prepare
from tests.trainings import corpus_of

DOCS = "\n".join(topics[topic] for topic in sorted(topics)[:8]).encode()[:40_000] + b"\n"
BLOCK = 1000
TEXT = "Größe und Maß,\nnaïve 日本語 😀😀.\n".encode() * 12


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
    Path("a.txt").write_bytes(DOCS)
    Path("a.txt.gz").write_bytes(gzip.compress(DOCS))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(DOCS)))
    corpus = read_corpus([source], TextFormat(separator), limit=limit)
    assert read["file"] + read["source"] == len(DOCS)
    prepare(corpus, None, PrepareOptions(**options))
    if source == "a.txt" and limit == 0:
        expected = {"file": times * len(DOCS)}
    else:
        expected = {"source": len(DOCS), "into spool": len(DOCS), "spool": (times - 1) * len(DOCS)}
    read = +read
    if options["tokenizer"] != "byte" and options.get("val_fraction") != 0 and not separator:
        read["file" if "file" in expected else "spool"] -= BLOCK  # in which the text is cut: where, is looked up
    assert read == expected


def test_a_cached_dataset_is_read_once(read: collections.Counter[str], tmp_path: Path) -> None:
    """To know that it is the same; a second validation text is read as often as the first."""
    Path("a.txt").write_bytes(DOCS)
    Path("b.txt").write_bytes(DOCS[:9000])
    for _ in range(2):
        read.clear()
        both = [read_corpus([name], limit=0) for name in ("a.txt", "b.txt")]
        prepare(both[0], both[1], PrepareOptions(), cache=IdCache(tmp_path / "cache"))
        assert read["file"] in (2 * len(DOCS) + 18_000, len(DOCS) + 9000)
    assert read["file"] == len(DOCS) + 9000


# --- prepared in files -----------------------------------------------------------------------------------


def equal(one: Dataset, other: Dataset) -> None:
    assert one.tokenizer.table.tolist() == other.tokenizer.table.tolist()
    for name in ("train", "val"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.ids.dtype == b.ids.dtype
        assert a.starts.dtype == b.starts.dtype == np.int64
        assert (a.ids.tolist(), a.starts.tolist(), a.records) == (b.ids.tolist(), b.starts.tolist(), b.records)
        assert (a.weights is None) == (b.weights is None)
        assert a.weights is None or a.weights.tolist() == b.weights.tolist()
    for name in ("train_counts", "val_counts", "train_end", "val_texts", "separator"):
        assert getattr(one, name) == getattr(other, name)


CASES: list[dict[str, Any]] = [
    {},
    {"tokenizer": "byte"},
    {"tokenizer": "sentencepiece"},
    {"separator": b"\n"},
    {"separator": b"\n\n", "tokenizer": "byte"},
    {"val_fraction": 0.5, "vocab_size": 3},
    {"val_fraction": 0.0},
]


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 8, 1 << 20])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_in_04_in_19_files_or_memory(
    case: dict[str, Any], chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IN-04, IN-19: the same split wherever it is kept and however it is read."""
    separator = case.get("separator", b"")
    options = PrepareOptions(**{name: value for name, value in case.items() if name != "separator"})
    held = (b"x\n" * 4 + TEXT, "\ufeffABC äöü\n".encode() * 9, b"end")
    expected = prepare(corpus_of(*held, separator=separator), None, options)
    for module in (documents, reader):
        monkeypatch.setattr(module, "CHUNK_BYTES", chunk)
    store = IdCache(tmp_path)
    for _ in range(2):
        found = prepare(corpus_of(*held, separator=separator), None, options, cache=store)
        equal(found, expected)
        assert isinstance(found.train.ids, np.memmap)
    assert len(list(tmp_path.iterdir())) == 1
    given = prepare(corpus_of(*held), corpus_of(b"other ABC\n"), PrepareOptions(), cache=store)
    equal(given, prepare(corpus_of(*held), corpus_of(b"other ABC\n"), PrepareOptions()))
    assert len(list(tmp_path.iterdir())) == (3 if case == {} else 2) - (case == {})


def test_every_answer_has_an_entry_of_its_own(tmp_path: Path) -> None:
    made = [
        (TEXT, {}, b""), (TEXT + b"x", {}, b""), (TEXT, {"tokenizer": "byte"}, b""), (TEXT, {"val_fraction": 0.2}, b""),
        (TEXT, {"vocab_size": 2}, b""), (TEXT, {}, b"\n"), (TEXT, {"seed": 1}, b"\n"), (TEXT, {}, b" "),
        (TEXT, {"tokenizer": "sentencepiece"}, b""), (TEXT, {"tokenizer": "sentencepiece", "vocab_size": 259}, b""),
    ]  # fmt: skip
    for text, options, separator in made:
        prepare(corpus_of(text, separator=separator), None, PrepareOptions(**options), cache=IdCache(tmp_path))  # type: ignore[arg-type]
    assert len(list(tmp_path.iterdir())) == len(made)
