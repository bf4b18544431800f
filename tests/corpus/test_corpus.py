"""What is counted while a corpus is read for the first time."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from charrnn.corpus import documents, reader
from charrnn.corpus.corpus import Corpus, CorpusStats
from charrnn.corpus.formats import PLAIN_TEXT, TextFormat
from charrnn.corpus.reader import read_corpus

TEXTS = ["\ufeffGröße,\nMaß".encode(), b"plain\n", "日本語 😀".encode()]
LINES = TextFormat(separator=b"\n")


def read_all(chunk_bytes: int, limit: int, text_format: TextFormat, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """The texts as files, read in chunks of a size; above `limit` bytes they stay where they are."""
    for module in (documents, reader):
        monkeypatch.setattr(module, "CHUNK_BYTES", chunk_bytes)
    for number, text in enumerate(TEXTS):
        Path(f"{number}.txt").write_bytes(text)
    return read_corpus([f"{number}.txt" for number in range(len(TEXTS))], text_format, limit=limit)


@pytest.mark.parametrize("chunk_bytes", [1, 2, 5, 1 << 20])
@pytest.mark.parametrize("limit", [0, 12, 1 << 20])
@pytest.mark.parametrize("text_format", [PLAIN_TEXT, LINES])
def test_counts(
    chunk_bytes: int, limit: int, text_format: TextFormat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same wherever the text lies and however it is cut; and the documents are what was counted."""
    monkeypatch.chdir(tmp_path)
    corpus = read_all(chunk_bytes, limit, text_format, monkeypatch)
    expected = [text if not text_format.separator or text.endswith(b"\n") else text + b"\n" for text in TEXTS]
    assert [b"".join(document.chunks()) for document in corpus.documents] == expected
    stats = corpus.stats
    assert stats.sizes.tolist() == [len(text) for text in expected]
    assert [document.size for document in corpus.documents] == stats.sizes.tolist()
    assert stats.chars.tolist() == [len(text.decode()) for text in expected]
    assert stats.records.tolist() == ([2, 1, 1] if text_format.separator else [0, 0, 0])
    assert set(map(chr, stats.code_points)) == set(b"".join(expected).decode()) - {"\ufeff"}
    assert stats.faults == {}
    digest = hashlib.sha256(b"".join(text + len(text).to_bytes(8, "little") for text in expected))
    assert corpus.sha256 == stats.sha256 == digest.hexdigest()
    for number, text in enumerate(expected):
        sizes, chars = stats.blocks(number)
        assert (sizes.sum(), chars.sum()) == (len(text), len(text.decode()))
        assert sizes.max() <= max(chunk_bytes, 1)


def test_weights_are_part_of_the_digest() -> None:
    def digest(*weights: int) -> str:
        return Corpus.from_texts([("a", b"a\nb\n")], LINES, np.array(weights, np.int64)).sha256

    assert digest(1, 2) == digest(1, 2) != digest(2, 1)


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("texts", "strict", "replace"),
    [
        ([b"fine"], None, None),
        ([b"fine", b"a\n\xff" + b"b" * 100], "'text 1': invalid UTF-8 at byte 2 (line 2)", None),
        ([b"\xc3", b"\xff"], "'text 0': invalid UTF-8 at byte 0 (line 1)", None),
        (["ab".encode("utf-16")], "'text 0': looks like UTF-16", "'text 0': looks like UTF-16"),
        ([b"\xff", "ab".encode("utf-16")], "'text 0': invalid UTF-8 at byte 0", "'text 1': looks like UTF-16"),
    ],
)
def test_in_03_the_first_fault(texts: list[bytes], strict: str | None, replace: str | None, size: int) -> None:
    """IN-03: of each kind, with its place."""
    stats = CorpusStats()
    for number, text in enumerate(texts):
        for begin in range(0, len(text), size):
            stats.add(text[begin : begin + size])
        stats.end_document(f"'text {number}'")
    for errors, expected in (("strict", strict), ("replace", replace)):
        assert stats.faults.get(errors, "").startswith(expected or "")
        assert (errors in stats.faults) == (expected is not None)


def test_bytes_as_tokens_are_not_decoded(tmp_path: Path) -> None:
    """Which takes half the time of a first reading; all that is known of any text stays the same."""
    path = tmp_path / "a"
    path.write_bytes("\ufeffGröße\n".encode() + b"\xff\n")
    decoded, raw = (read_corpus([str(path)], LINES, is_utf8=is_utf8) for is_utf8 in (True, False))
    assert decoded.sha256 == raw.sha256
    for name in ("sizes", "chars", "records", "record_hashes"):
        assert getattr(decoded.stats, name).tolist() == getattr(raw.stats, name).tolist()
    assert list(decoded.stats.faults) == ["strict"]
    assert (raw.stats.faults, raw.stats.marks, raw.stats.code_points.tolist()) == ({}, 0, [])
