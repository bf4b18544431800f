"""From a corpus to a dataset: how often it is read for that, and where it is kept."""

import collections
import errno
import gzip
import hashlib
import io
import json
import sys
import zlib
from collections.abc import Iterator
from dataclasses import Field, fields, replace
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest

from charrnn.corpus import documents, inputs, reader
from charrnn.corpus.corpus import Corpus
from charrnn.corpus.documents import FileDocument, Spool
from charrnn.corpus.formats import TextFormat
from charrnn.corpus.reader import read_corpus
from charrnn.dataset import prepare as prepare_module
from charrnn.dataset.array_files import ArrayWriter
from charrnn.dataset.dataset import Dataset
from charrnn.dataset.id_cache import IdCache
from charrnn.dataset.prepare import PrepareOptions, prepare
from charrnn.tokenizers.char import CharTokenizer
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


@pytest.mark.parametrize(
    ("options", "separator", "times"),
    [
        ({"tokenizer": "char"}, b"", 2),
        ({"tokenizer": "char"}, b"\n", 2),
        ({"tokenizer": "char", "val_fraction": 0.0}, b"", 2),
        ({"tokenizer": "byte"}, b"\n", 2),
        ({"tokenizer": "sentencepiece", "vocab_size": 300}, b"", 3),
    ],
)
@pytest.mark.parametrize("source", ["a.txt", "a.txt.gz", "-"])
@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_how_often_a_document_is_read(
    read: collections.Counter[str],
    limit: int,
    source: str,
    options: dict[str, Any],
    separator: bytes,
    times: int,
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


@pytest.mark.parametrize(
    ("case", "chunk"),
    [(case, chunk) for number, case in enumerate(CASES) for chunk in ((1, 3, 8), (2, 5, 1 << 20))[number % 2]],
    ids=str,
)
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


@pytest.mark.parametrize("damage", ["train", "val", "train.starts", "table", "entry.json"])
def test_a_damaged_entry_is_made_again(damage: str, tmp_path: Path) -> None:
    """A byte is another, whatever of the entry it belongs to: the same dataset, and one note."""
    notes: list[str] = []
    store = IdCache(tmp_path, note=notes.append)
    corpus = corpus_of(TEXT)
    expected = prepare(corpus, None, PrepareOptions())
    equal(prepare(corpus, None, PrepareOptions(), cache=store), expected)
    [entry] = tmp_path.iterdir()
    data = bytearray((entry / damage).read_bytes())
    data[len(data) // 2] ^= 1
    (entry / damage).write_bytes(data)
    equal(prepare(corpus, None, PrepareOptions(), cache=store), expected)
    assert len(notes) == 1
    equal(prepare(corpus, None, PrepareOptions(), cache=store), expected)
    assert len(notes) == 1
    assert list(tmp_path.iterdir()) == [entry]


def test_an_id_out_of_range_is_never_read(tmp_path: Path) -> None:
    """Though its checksum is right."""
    notes: list[str] = []
    store = IdCache(tmp_path, note=notes.append)
    expected = prepare(corpus_of(TEXT), None, PrepareOptions())
    equal(prepare(corpus_of(TEXT), None, PrepareOptions(), cache=store), expected)
    [entry] = tmp_path.iterdir()
    for name, side in (("train", expected.train), ("val", expected.val)):
        content, _, _ = (entry / "entry.json").read_bytes().rpartition(b"\n")
        table = json.loads(content)
        ids = np.array(side.ids)
        ids[len(ids) // 2] = expected.tokenizer.size
        (entry / name).write_bytes(ids.tobytes())
        table["arrays"][name]["crc32"] = [zlib.crc32(ids.tobytes())]
        content = json.dumps(table).encode()
        (entry / "entry.json").write_bytes(content + b"\n" + hashlib.sha256(content).hexdigest().encode())
        equal(prepare(corpus_of(TEXT), None, PrepareOptions(), cache=store), expected)
        assert notes.pop().endswith(f"cannot be used and are made again: {name} has a value out of range")
    assert notes == []


@pytest.mark.parametrize("room", [0, 100, 300])
@pytest.mark.parametrize("separator", [b"", b"\n"])
def test_a_full_disk(separator: bytes, room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many bytes of the cache: the same dataset from files without a name; nothing is left but one note."""
    notes: list[str] = []
    (tmp_path / "run").mkdir()
    corpus = corpus_of(TEXT, separator=separator)
    expected = prepare(corpus, None, PrepareOptions())
    real, written = ArrayWriter._write, 0

    def write(self: ArrayWriter, file: Any, values: Any) -> None:
        nonlocal written
        if str(tmp_path / "ids") in str(file.name):
            written += values.nbytes
            if written > room:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(self, file, values)

    monkeypatch.setattr(ArrayWriter, "_write", write)
    cache = IdCache(tmp_path / "ids", note=notes.append)
    found = prepare(corpus, None, PrepareOptions(), cache=cache, folder=tmp_path / "run")
    equal(found, expected)
    assert isinstance(found.train.ids, np.memmap)
    assert list((tmp_path / "ids").iterdir()) == list((tmp_path / "run").iterdir()) == []
    assert notes == [
        f"cannot keep the ids of the text in '{tmp_path / 'ids'}': No space left on device; $XDG_CACHE_HOME names"
        " another place; they are made again for this run alone"
    ]


def test_the_ids_of_another_tokenizer_are_not_taken(tmp_path: Path) -> None:
    """A resumed run has its tokenizer: what it makes with it is not found by a run that makes its own."""
    cache, corpus = IdCache(tmp_path), corpus_of(TEXT)
    own = prepare(corpus, None, PrepareOptions())
    known = CharTokenizer.from_text(own.tokenizer.table[:7])  # type: ignore[arg-type]
    given = prepare(corpus, None, PrepareOptions(), tokenizer=known)
    assert given.train.ids.tolist() != own.train.ids.tolist()
    for _ in range(2):
        equal(prepare(corpus, None, PrepareOptions(), tokenizer=known, cache=cache), given)
        equal(prepare(corpus, None, PrepareOptions(), cache=cache), own)
    assert len(list(tmp_path.iterdir())) == 2
    equal(prepare(corpus, None, PrepareOptions(), tokenizer=own.tokenizer, cache=cache), own)
    assert len(list(tmp_path.iterdir())) == 2


def other(value: Any) -> Any:
    """Return another value of the same type; of a new type, say here what that is."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case bytes():
            return value + b"x"
        case None:
            return "x"
    raise AssertionError(f"no other value of {value!r} is known")


@pytest.mark.parametrize("field", fields(PrepareOptions), ids=lambda field: field.name)
def test_every_option_is_part_of_the_key(field: Field[Any]) -> None:
    """Also one that is added."""
    options, corpus = PrepareOptions(), corpus_of(TEXT)
    changed = replace(options, **{field.name: other(getattr(options, field.name))})
    assert prepare_module._key(corpus, None, options, None) != prepare_module._key(corpus, None, changed, None)


@pytest.mark.parametrize("field", fields(TextFormat), ids=lambda field: field.name)
def test_every_part_of_the_format_is_part_of_the_key(field: Field[Any]) -> None:
    """Of both texts; also one that is added."""
    corpus, options = corpus_of(TEXT), PrepareOptions()
    text_format = replace(corpus.text_format, **{field.name: other(getattr(corpus.text_format, field.name))})
    changed = replace(corpus, text_format=text_format)
    pairs = [(corpus, None), (changed, None), (corpus, corpus), (corpus, changed), (changed, corpus)]
    assert len({prepare_module._key(*pair, options, None) for pair in pairs}) == len(pairs)


def test_every_other_cause_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The constants and libraries by which a text becomes ids, and how the documents are cut and weighted."""
    spm = PrepareOptions("sentencepiece")

    def key(corpus: Corpus, options: PrepareOptions = spm) -> str:
        return prepare_module._key(corpus, None, options, None)

    weighted = [corpus_of(b"a\nb\n", separator=b"\n", weights=weights) for weights in (None, [1, 1], [1, 2])]
    keys = [key(corpus) for corpus in (*weighted, corpus_of(b"ab"), corpus_of(b"a", b"b"), corpus_of(b"b", b"a"))]
    for name, value in (("__version__", "x"), ("_LAYOUT", 0), ("MAX_TRAIN_END", 1), ("_MAX_VAL_BYTES", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(prepare_module, name, value)
            keys.append(key(corpus_of(b"ab")))
    with monkeypatch.context() as patch:
        patch.setattr("importlib.metadata.version", lambda name: "x")
        keys.append(key(corpus_of(b"ab")))
    assert len(set(keys)) == len(keys)


def test_every_answer_has_an_entry_of_its_own(tmp_path: Path) -> None:
    made = [
        (TEXT, {}, b""), (TEXT + b"x", {}, b""), (TEXT, {"tokenizer": "byte"}, b""), (TEXT, {"val_fraction": 0.2}, b""),
        (TEXT, {"vocab_size": 2}, b""), (TEXT, {}, b"\n"), (TEXT, {"split_seed": 1}, b"\n"), (TEXT, {}, b" "),
        (TEXT, {"tokenizer": "sentencepiece"}, b""), (TEXT, {"tokenizer": "sentencepiece", "vocab_size": 259}, b""),
    ]  # fmt: skip
    for text, options, separator in made:
        prepare(corpus_of(text, separator=separator), None, PrepareOptions(**options), cache=IdCache(tmp_path))  # type: ignore[arg-type]
    assert len(list(tmp_path.iterdir())) == len(made)
