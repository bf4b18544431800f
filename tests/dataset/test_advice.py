"""How a text is best read, by its beginning."""

import shlex
from pathlib import Path

import pytest

from charrnn.corpus.formats import TextFormat
from charrnn.corpus.reader import read_corpus
from charrnn.dataset.advice import guess_fields

CSV = b'id,text\n1,"hello, there"\n2,"two\nlines"\n3,and more\n'


@pytest.mark.parametrize(
    ("name", "data", "option"),
    [
        ("a.csv", CSV, "--csv text"),
        ("a b.CSV", CSV * 5000, "--csv text"),  # cut off within a row
        ("a.tsv", b"the text\tn\nbye\t1\nhi there\t2\n", "--tsv 'the text'"),
        ("a.csv", b"1,oh no,x\n2,not again,y\n2,oh yes,z\n", "--csv 'oh no'"),  # a first row of texts looks like names
        ("a.csv", b"a,1\nb,hello\nc,there\n", "--csv 2"),
        ("a.csv", b"1,a first text of some length\n2,short\n3,ones\n", "--csv 2"),
        ("a.csv", b'a,"te\nxt"\nb,hello\nc,there\n', "--csv 2"),
        ("a.csv", b"id,text\n1," + b"x" * 200_000 + b"\n2,y\n", "--csv text"),
        ("a.csv", b"a,a\nb,hello\nc,there\n", "--csv 2"),
        ("a.jsonl", b'{"n": 1, "title": "x", "body": "longer"}\n{"n": 22222222, "body": "yes"}\n', "--jsonl body"),
        ("a.jsonl", b'{"id": "1", "text": null}\n{"id": "2", "text": "yes"}\n', "--jsonl text"),
        ("a.jsonl", b'{"id": "1", "t\\ud800": "hello", "te\\nxt": "hello there"}\n', "--jsonl id"),
        ("a.jsonl", b'{"te\\nxt": "hello there"}\n', None),
        ("a.csv", b"text\nhello\nyou\n", None),  # a list, with a heading
        ("a.csv", b"a,b\nc\nd,e,f\n", None),
        ("a.csv", b'a,b\n"c,d\n', None),  # a quote that is never closed
        ("a.txt", CSV, None),  # prose has commas too
        ("a.jsonl", b'{"n": 1}\n', None),
        ("a.jsonl", b'{"n": "x"}\n[1]\n', None),
        ("a.jsonl", b"\n\n", None),
    ],
)
def test_tables_and_json_lines_are_recognised(tmp_path: Path, name: str, data: bytes, option: str | None) -> None:
    """With the command that checks their texts, of the column that has the most."""
    file = tmp_path / name
    file.write_bytes(data)
    found = guess_fields(read_corpus([str(file)]), [str(file)])
    assert (found and found.option) == (option and f"charrnn check {shlex.quote(str(file))} {option}")


def test_what_is_read_as_fields_needs_no_advice(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(CSV)
    assert guess_fields(read_corpus([str(file)], TextFormat(csv="text")), ["a.csv"]) is None


def test_a_field_that_cannot_be_typed_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"id": "1", "t\\ud800": "hello"}\n')
    found = guess_fields(read_corpus([str(file)]), ["-"])
    assert found is not None
    assert found.message.startswith("JSON Lines of id, t\\ud800: ")
    assert found.option == "charrnn check - --jsonl id"
