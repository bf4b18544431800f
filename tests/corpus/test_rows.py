"""What cannot be used in a source: it is named with its place, or left out and counted."""

import gzip
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from charrnn.corpus.faults import LineEnds
from charrnn.corpus.formats import TextFormat
from charrnn.corpus.inputs import open_source
from charrnn.corpus.reader import read_corpus
from charrnn.errors import InputError

LINES = TextFormat(b"\n")

BAD: list[tuple[str, TextFormat, bytes, list[bytes], str, str]] = [
    (
        "a.tsv",
        TextFormat(tsv="text"),
        b"\xef\xbb\xbfid\ttext\r\n1\ta\r\n\r\n\xef\xbb\xbf2\tb\r\n3\n4\tcaf\xe9\n5\tc",
        [b"a", b"b", b"c"],
        "line 5: there is no column 2, only 1; errors skip leaves the line out",
        "2 lines; the first: 'a.tsv', line 5: there is no column 2, only 1",
    ),
    (
        "a.tsv",
        TextFormat(b"b", tsv="1"),
        b"a\nabc\n\xff\nc\n",
        [b"abcb"],
        "line 2: the text holds the separator b'b', which would end the record; choose another separator, or errors",
        "2 lines; the first: 'a.tsv', line 2: the text holds the separator b'b', which would end the record",
    ),
    (
        "a.txt",
        TextFormat(b"\n", weights=True),
        b"1\ta\n \nno\n2\tcaf\xe9\n0\tx\n3\tb\n",
        [b"a\nb\n"],
        "line 3: a count of 1 or more, a tab and a text are expected; errors skip leaves the line out",
        "3 lines; the first: 'a.txt', line 3: a count of 1 or more, a tab and a text are expected",
    ),
    (
        "a.fa",
        TextFormat(),
        b"AC\n>one\nAC\nGT\n>two\n\xff\n",
        [b"ACGT"],
        "line 1: not valid FASTA: a sequence begins with a line that begins with >; errors skip leaves the line out",
        "2 lines; the first: 'a.fa', line 1: not valid FASTA: a sequence begins with a line that begins with >",
    ),
    (
        "a.csv",
        TextFormat(csv="2"),
        b'1,"a\r\nb"\n2\n3,"c"d\n4,e\n5,caf\xe9\n6,"f',
        [b"a\r\nb", b"e"],
        "line 3: there is no column 2, only 1; errors skip leaves the line out",
        "3 lines and 1 rest of a file; the first: 'a.csv', line 3: there is no column 2, only 1",
    ),
    (
        "a.jsonl",
        TextFormat(jsonl="a.b"),
        b'{"a": {"b": "x"}}\n\n{"a": {"b": "\\ud800"}}\n[1]\n{"a.b": "y"}\n',
        [b"x", b"y"],
        "line 3: invalid UTF-8 at byte 0 of the text; if it is Latin-1, iconv -f LATIN1 -t UTF-8 converts it; else",
        "2 lines; the first: 'a.jsonl', line 3: invalid UTF-8 at byte 0 of the text",
    ),
]


@pytest.mark.parametrize(("name", "text_format", "data", "texts", "strict", "warning"), BAD)
def test_lines_that_cannot_be_used(
    name: str, text_format: TextFormat, data: bytes, texts: list[bytes], strict: str, warning: str
) -> None:
    """IN-03, IN-05: with one line number; what is read is the same in memory and out of it."""
    Path(name).write_bytes(data)
    with pytest.raises(InputError) as error:
        read_corpus([name], text_format)
    assert str(error.value).startswith(f"'{name}', {strict}")
    for limit in (0, 10**6):
        corpus = read_corpus([name], text_format, errors="skip", limit=limit)
        assert [b"".join(document.chunks()) for document in corpus.documents] == texts
        assert corpus.warnings == [f"left out: {warning}"]
    if corpus.weights is not None:
        assert corpus.weights.tolist() == [1, 3]


@pytest.mark.parametrize("separator", [b"\n", b"\n\n", b"aa"])
def test_records_are_left_out_as_they_are_split(separator: bytes) -> None:
    """Those that stay are as they are without bad ones."""
    good = [b"one", b"", b"two \xe2\x82\xac", b"four"]
    bad = [b"\xff", b"one", b"", b"two \xe2\x82\xac", b"\xc3(", b"four"]
    found = []
    for number, records in enumerate((good, bad)):
        Path(f"{number}.txt").write_bytes(separator.join(records))
        found.append(read_corpus([f"{number}.txt"], TextFormat(separator), errors="skip", limit=0))
    assert found[1].sha256 == found[0].sha256
    assert found[0].warnings == []
    [warning] = found[1].warnings
    assert warning.startswith("left out: 2 lines; the first: '1.txt', line 1: invalid UTF-8 at byte 0 of the text")


def test_files_that_cannot_be_used() -> None:
    """IN-03, IN-18: damaged, unreadable, not UTF-8: named, and left out with "skip"; alone, that is all of the text."""
    Path("damaged.gz").write_bytes(b"text\n" * 1000)
    Path("link").symlink_to("nothing")
    Path("wide.txt").write_bytes("text\n".encode("utf-16"))
    Path("good.txt").write_bytes(b"good\n")
    faults = {
        "damaged.gz": "cannot read 'damaged.gz': ",
        "link": "cannot read 'link': it is a link to nothing",
        "wide.txt": "'wide.txt': looks like UTF-16; convert it with iconv",
    }
    for name, fault in faults.items():
        for text_format in (TextFormat(), LINES, TextFormat(tsv="1")):
            corpus = read_corpus([name, "good.txt"], text_format, errors="skip")
            assert corpus.warnings[0].startswith(f"left out: 1 file; the first: {fault}")
            assert len(corpus.warnings) == 1
            with pytest.raises(InputError) as error:
                read_corpus([name], text_format, errors="skip")
            assert str(error.value).startswith(f"no text in '{name}'; left out: 1 file; the first: {fault}")
        with pytest.raises(InputError) as error:
            read_corpus([name, "good.txt"], TextFormat(tsv="1"))
        assert str(error.value).startswith(fault)
    with pytest.raises(InputError, match="column is called 'x'"):
        read_corpus(["good.txt"], TextFormat(tsv="x"))
    Path("x.tsv").write_bytes(b"x\n1\n")
    corpus = read_corpus(["good.txt", "x.tsv"], TextFormat(tsv="x"), errors="skip")
    assert corpus.warnings[0].startswith("left out: 1 file; the first: 'good.txt', line 1: no column is called 'x'; ")


def test_the_rest_of_a_damaged_file() -> None:
    data = gzip.compress(b"".join(b"text %d\n" % (n * n) for n in range(99_999)))
    Path("rows.gz").write_bytes(data[: len(data) // 2])
    corpus = read_corpus(["rows.gz"], TextFormat(tsv="1"), errors="skip")
    assert corpus.warnings[0].startswith("left out: 1 rest of a file; the first: cannot read 'rows.gz': ")
    assert 1000 < len(list(corpus.documents)) < 99_000


def test_bytes_may_be_any() -> None:
    """As tokens; JSON is UTF-8 nevertheless."""
    Path("a.tsv").write_bytes(b"a\xff\nb\n")
    for errors in ("strict", "replace", "skip"):
        more: dict[str, Any] = {"errors": errors, "is_utf8": False}
        corpus = read_corpus(["a.tsv"], TextFormat(tsv="1"), **more)
        assert [b"".join(document.chunks()) for document in corpus.documents] == [b"a\xff", b"b"]
        [document] = read_corpus(["a.tsv"], LINES, **more).documents
        assert b"".join(document.chunks()) == b"a\xff\nb\n"
    Path("a.jsonl").write_bytes(b'{"t": "\xff"}\n{"t": "x"}')
    corpus = read_corpus(["a.jsonl"], TextFormat(jsonl="t"), errors="replace")
    assert corpus.warnings == ["1 invalid pieces of UTF-8 in JSON are read as U+FFFD"]
    with pytest.raises(InputError, match="line 1: invalid UTF-8 at byte 7; if it is Latin-1"):
        read_corpus(["a.jsonl"], TextFormat(jsonl="t"), is_utf8=False)


def test_a_field_that_no_object_has() -> None:
    Path("a.jsonl").write_bytes(b'{"text": "x"}\n{"text": 3}\n')
    with pytest.raises(InputError, match="no object has text in the field 'texts'; did you mean 'text'"):
        read_corpus(["a.jsonl"], TextFormat(jsonl="texts"))
    corpus = read_corpus(["a.jsonl"], TextFormat(jsonl="text"))
    assert corpus.warnings == ["1 of 2 objects have no text in the field 'text', or no string: they are left out"]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", ""),
        (b"a\nb\n", ""),
        (b"a\r\nb\r\n", "CRLF"),
        (b"a\r\nb\nc\r\n", "CRLF"),
        (b"a\nb\nc\r\n", ""),
        (b"a\rb\r", "CR"),
        (b"10 %\r20 %\r30 %\ndone\n", ""),
        (b"a\n\nb\n\rc", ""),
        (b"a\r\r\nb\r\r\n", "CRLF"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_line_ends(data: bytes, kind: str, size: int) -> None:
    """IN-08."""
    ends = LineEnds()
    for begin in range(0, len(data), size):
        ends.add(data[begin : begin + size])
    assert ends.kind == kind


def test_lines_that_end_with_cr() -> None:
    """IN-08: of a file whose lines are found, none of them can be, and what converts them is named."""
    Path("a.jsonl").write_bytes(b'{"t": "x"}\r{"t": "y"}\r')
    Path("a.tsv").write_bytes(b"id\ttext\r1\tx\r")
    Path("a.csv").write_bytes(b"id,text\r1,x\r")
    advice = r"; lines of 'NAME' end with CR, which ends no line here: tr '\r' '\n' < FILE > NEW converts it"
    for name, text_format in (
        ("a.jsonl", TextFormat(jsonl="t")),
        ("a.tsv", TextFormat(tsv="text")),
        ("a.csv", TextFormat(csv="1")),
    ):
        with pytest.raises(InputError) as error:
            read_corpus([name], text_format)
        assert str(error.value).endswith(advice.replace("NAME", name))
    Path("b.jsonl").write_bytes(b'{"t": "x"}\r\n{"t": "y"}\r\n')
    assert read_corpus(["b.jsonl"], TextFormat(jsonl="t")).warnings == []


def test_archives() -> None:
    """IN-07: by their names, and a tar by what it is."""
    Path("text.txt").write_bytes(b"a text\n")
    for name, mode in (("a.tar", "w"), ("a.TGZ", "w:gz"), ("a.b.tar.xz", "w:xz"), ("a.tbz", "w:bz2"), ("a.dat", "w")):
        with tarfile.open(name, mode) as archive:  # type: ignore[call-overload]
            archive.add("text.txt")
        with pytest.raises(InputError) as error:
            read_corpus([name])
        assert str(error.value).startswith(
            f"cannot read '{name}': it is an archive; tar -xOf '{name}' writes the texts"
        )
        if name == "a.dat":
            assert read_corpus([name], is_utf8=False).size == Path(name).stat().st_size
    with zipfile.ZipFile("a.zip", "w") as zipped:
        zipped.write("text.txt")
    with pytest.raises(InputError, match=r"^cannot read 'a.zip': it is an archive; unzip -p 'a.zip' writes"):
        open_source("a.zip")
    Path(".tar").write_bytes(b"tar")
    open_source(".tar").close()
