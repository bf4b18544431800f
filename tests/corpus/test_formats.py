"""Texts inside structured files: the right ones, wherever the bytes are cut, and every fault by its line."""

import random
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pytest

from charrnn.corpus.formats import Row, counted_lines, fasta, is_fasta, read_rows
from charrnn.corpus.inputs import split_lines
from charrnn.corpus.json_lines import MAX_JSON_LINE, Field, read_json_lines
from charrnn.corpus.records import split_records
from charrnn.corpus.tables import table
from charrnn.errors import InputError

BOM = b"\xef\xbb\xbf"


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


GOOD: list[tuple[Callable[..., Iterator[object]], bytes, list[object]]] = [
    (
        partial(read_json_lines, field=Field("t")),
        '{"t": "anna"}\n{"n": 1, "t": "é\\n日"}\r\n\n{"t": ""}\n{"t": 3}\n{}\n{"t": "\\u0000"}'.encode(),
        [(1, b"anna"), (2, "é\n日".encode()), (7, b"\0")],
    ),
    (partial(read_json_lines, field=Field("a b")), BOM + b'{"a b": "x"}\n', [(1, b"x")]),
    (partial(table, column="2"), b"1\tanna\n2\tolivia\tmore\r\n\n3\t\n4\tx", [(1, b"anna"), (2, b"olivia"), (5, b"x")]),
    (partial(read_json_lines, field=Field("t")), b'{"t": "x"}\n' + BOM + b'{"t": "y"}\n', [(1, b"x"), (2, b"y")]),
    (partial(table, column="1"), b"anna\n" + BOM + b"x\t1\n", [(1, b"anna"), (2, b"x")]),
    (partial(table, column="name"), BOM + b"name\tid\nanna\t1\n\tx\nx\n", [(2, b"anna"), (4, b"x")]),
    (partial(table, column="1"), b"one\ntwo\n", [(1, b"one"), (2, b"two")]),
    (partial(table, column="2"), b"a\t\t\n \tb\n", [(2, b"b")]),
    (
        partial(table, column="text", is_csv=True),
        BOM + b'id,text\r\n1,"a, ""b""\r\nc\n\n' + BOM + 'é"\r\n\r\n2,x y\n3,\n'.encode() + BOM + b'4,"z"',
        [(2, b'a, "b"\r\nc\n\n' + BOM + "é".encode()), (7, b"x y"), (9, b"z")],
    ),
    (partial(table, column="1", is_csv=True), BOM + b'"one",2\na\0\xffb,\n\n', [(1, b"one"), (2, b"a\0\xffb")]),
    (
        fasta,
        b">one\nACGT\nAC GT\n;comment\n\n>two\r\nTT\r\n>empty\n>three\nA",
        [(1, b"ACGTAC GT"), (6, b"TT"), (9, b"A")],
    ),
    (fasta, b"\n\n", []),
    (
        counted_lines,
        b"3\tanna\n\n   12 two words\n1\t\ttab\n7\tx",
        [(1, b"anna", 3), (3, b"two words", 12), (4, b"\ttab", 1), (5, b"x", 7)],
    ),
]


@pytest.mark.parametrize("size", [*range(1, 9), 1000])
@pytest.mark.parametrize(("read", "data", "expected"), GOOD, ids=range(len(GOOD)))
def test_texts(read: Callable[..., Iterator[object]], data: bytes, expected: list[object], size: int) -> None:
    """IN-04."""
    assert list(read(cut(data, size), name="x")) == expected


BAD: list[tuple[Callable[..., Iterator[object]], bytes, int, str]] = [
    (partial(read_json_lines, field=Field("t")), b'{"t": "a"}\n{"t": \n', 2, "not valid JSON at column 7: "),
    (partial(read_json_lines, field=Field("t")), b'["t"]\n', 1, "not a JSON object"),
    (partial(read_json_lines, field=Field("t")), b' {"t": "a"} \n{"t": "a"} {}\n', 2, "at column 12: Extra data"),
    (partial(read_json_lines, field=Field("t")), b'{"t": "a"}\n{"t": 1e999}\n', 2, "1e999 is out of range"),
    (partial(read_json_lines, field=Field("t")), b'{"t": NaN}\n', 1, "not valid JSON: "),
    (partial(read_json_lines, field=Field("t")), b"[" * 100_000, 1, "nested too deeply"),
    (partial(read_json_lines, field=Field("t")), b'{"t": "\xff"}\n', 1, "invalid UTF-8 at byte 7"),
    (partial(table, column="3"), b"a\tb\tc\na\tb\n", 2, "there is no column 3, only 2"),
    (partial(table, column="text"), b"id\tname\n", 1, "no column is called 'text'; there are id, name"),
    (partial(table, column="0"), b"id\n", 1, "no column is called '0'"),
    (partial(table, column="1", is_csv=True), b'a,b\n"c\n"d,e\n', 2, "not valid CSV: ',' expected after '\"'"),
    (
        partial(table, column="1", is_csv=True),
        b"a,b\rc,d\re",
        1,
        "not valid CSV: new-line character seen in unquoted field",
    ),
    (partial(table, column="1", is_csv=True), b'a,b\n"c\n\n', 2, "not valid CSV: a quote that is never closed"),
    (partial(table, column="3", is_csv=True), b'a,b,c\n"x\n",y\n', 2, "there is no column 3, only 2"),
    (
        partial(table, column="texts", is_csv=True),
        b'id,"text"\n',
        1,
        "no column is called 'texts'; did you mean 'text'",
    ),
    (fasta, b"\nACGT\n>x\n", 2, "not valid FASTA"),
    (counted_lines, b"3\tanna\nanna\n", 2, "a count of 1 or more, a tab and a text are expected"),
    (counted_lines, b"0\tanna\n", 1, "a count"),
    (counted_lines, b"-1\tanna\n", 1, "a count"),
    (counted_lines, b"1.5\tanna\n", 1, "a count"),
    (counted_lines, b"3\t\n", 1, "a count"),
    (counted_lines, b"3anna\n", 1, "a count"),
]


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(("read", "data", "line", "expected"), BAD, ids=range(len(BAD)))
def test_faults(read: Callable[..., Iterator[object]], data: bytes, line: int, expected: str, size: int) -> None:
    """CL-12: exit 4, with the file and the line."""
    size = max(size, len(data) // 1000)
    with pytest.raises(InputError) as error:
        list(read(cut(data, size), name="'f'"))
    message = str(error.value)
    assert message.startswith(f"'f', line {line}: ")
    assert expected in message
    assert error.value.exit_code == 4


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_lines(size: int) -> None:
    """Those of `split`, but for nothing after the last newline."""
    for data in (b"", b"a", b"a\n", b"\n", b"a\n\nb", b"\n\na\r\nb\n"):
        found = [line for block in split_lines(cut(data, size)) for line in block]
        assert found == (data + b"\n" * (not data.endswith(b"\n") and data != b"")).split(b"\n")[:-1]


def test_a_line_over_the_limit_is_cut() -> None:
    for size in (1, 2, 3, 100):
        found = [line for block in split_lines(cut(b"abcdefghij\nk\nl" * 2, size), 4) for line in block]
        assert found[1:] == [b"k", b"labcdefghij"[: len(found[2])], b"k", b"l"]
        assert min(map(len, (found[0], found[2]))) > 4
    [row, after] = [
        row
        for rows in read_rows(cut(b" " * (MAX_JSON_LINE + 9) + b"{}\n{}", 1 << 20), "f", field=Field("t"))
        for row in rows
    ]
    assert str(row.fault).startswith("'f', line 1: a line of JSON longer than 64 MB; jq ")
    assert after.value == {}


def rows_of(chunks: Iterable[bytes], **more: Any) -> list[Row]:
    return [row for rows in read_rows(chunks, "f", **more) for row in rows]


NESTED: dict[str, Any] = {"a": {"b": "x", "c.d": "y", "n": 1}, "a.n": "z", "l": ["a"], "e": ""}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.b", b"x"),
        ("a.c.d", b"y"),
        ("a.n", b"z"),
        ("e", b""),
        *((name, None) for name in ("a", "l", "b", "a.", "a.b.c")),
    ],
)
def test_fields_of_objects(name: str, text: bytes | None) -> None:
    """EV-11: `a.b` reaches into objects, unless a key is named so; what is no string is no text."""
    field = Field(name)
    assert field.of(NESTED) == text
    assert (field.objects, field.missing) == (1, text is None)


def test_a_field_that_no_object_has() -> None:
    """EV-11."""
    Field("x").check()  # there are no objects
    cases: list[tuple[str, list[dict[str, Any]], str]] = [
        ("txet", [NESTED, {"text": "a"}], "did you mean 'text'? there is text in 'a.b', 'a.c.d', 'a.n', 'e', 'text'"),
        ("text", [{"data": {"text": "a"}}], "did you mean 'data.text'? there is text in 'data.text'"),
        ("n", [{"n": 1}, {}], "no field of theirs is text"),
    ]
    for name, objects, expected in cases:
        field = Field(name)
        for each in objects:
            field.of(each)
        with pytest.raises(InputError) as error:
            field.check()
        assert str(error.value) == f"no object has text in the field {name!r}; {expected}"
        field.of({name: "found", "n": "found"})
        field.check()


def test_rows() -> None:
    """Blank lines and marks pass; a fault is its row's."""
    data = BOM + b'{"t": "a"}\r\n \n' + BOM + b'{"t": 1}\nno\n{"t": "\xff"}\n{"t": "b"}'
    for size in (1, 5, 1000):
        rows = rows_of(cut(data, size), field=Field("t"))
        assert [row.text for row in rows] == [b"a", None, None, None, None, b"b"]
        assert [row.is_blank for row in rows] == [False, True, False, False, False, False]
        assert [str(row.fault or "") for row in rows[3:5]] == [
            "'f', line 4: not valid JSON at column 1: Expecting value",
            "'f', line 5: invalid UTF-8 at byte 7",
        ]
    [row] = rows_of([b'{"t": "\xff\xfe", "x": "\xff\xef\xbf\xbd"}\n'], field=Field("t"), errors="replace")
    assert (row.text, row.replaced) == ("\ufffd\ufffd".encode(), 3)
    data = b"\n" + BOM + b"id\ttext\r\n1\ta\n\n2\n" + BOM + b"3\t\tx\r\n"
    rows = rows_of([data], column="text")
    assert [row.text for row in rows] == [None, None, b"a", None, None, b""]
    assert [(row.heading, row.is_blank) for row in rows[:2]] == [(False, True), (True, False)]
    assert str(rows[4].fault) == "'f', line 5: there is no column 2, only 1"
    assert [row.raw for row in rows if row.fault is None] == [line for line in data.split(b"\n")[:-1] if line != b"2"]
    with pytest.raises(InputError, match=r"'f', line 1: no column is called 'texts'; did you mean 'text'\?"):
        rows_of([b"id\ttext\n1\ta\n"], column="texts")


def test_rows_of_csv() -> None:
    """A row is its bytes, with the newlines in its cells; blank rows pass, a fault is its row's."""
    data = BOM + b'id,text\r\n1,"a ""b""\r\nc"\r\n\r\n2\n"3"x,y\n4,\n'
    expected = [
        (BOM + b"id,text\r", None, 1, ""),
        (b'1,"a ""b""\r\nc"\r', b'a "b"\r\nc', 2, ""),
        (b"\r", None, 4, ""),
        (b"2", None, 5, "'f', line 5: there is no column 2, only 1"),
        (b'"3"x,y', None, 6, "'f', line 6: not valid CSV: ',' expected after '\"'"),
        (b"4,", b"", 7, ""),
    ]
    for size in (1, 2, 7, 1000):
        rows = rows_of(cut(data, size), column="text", is_csv=True)
        assert [(row.raw, row.text, row.place.line, str(row.fault or "")) for row in rows] == expected
        assert [row.heading for row in rows] == [True] + [False] * 5
        assert [row.is_blank for row in rows] == [False, False, True, False, False, False]
    assert [row.text for row in rows_of([data], column="1", is_csv=True)] == [b"id", b"1", None, b"2", None, b"4"]
    with pytest.raises(InputError, match=r"'f', line 1: no column is called 'texts'; did you mean 'text'\?"):
        rows_of([data], column="texts", is_csv=True)


@pytest.mark.parametrize("separator", [b"\n", b"\n\n", b"aba", b"--\n", b"aab"])
def test_rows_that_are_records(separator: bytes) -> None:
    """Those of `split_records` without their separators, wherever the bytes are cut."""
    rng = random.Random(0)  # noqa: S311
    for _ in range(60):
        data = b"".join(rng.choices([separator, b"a", b"b", b"\n", b"-"], k=rng.randrange(12)))
        records = [record[: -len(separator)] for record in split_records([data], separator)]
        lines, at = [], 0
        for record in records:
            lines.append(data[:at].count(b"\n") + 1)
            at += len(record) + len(separator)
        for size in (1, 2, 3, 1000):
            rows = rows_of(cut(data, size), separator=separator)
            assert [row.text for row in rows] == [row.raw for row in rows] == records
            assert [row.place.line for row in rows] == lines


def test_rows_of_fasta() -> None:
    """Sequences are records; a sequence without letters is no text."""
    data = b">one\nAC\nGT\r\n;x\n>two\n\n" + BOM + b">three\nA"
    for size in (1, 4, 1000):
        found = [row for rows in read_rows(cut(data, size), "a.fa", separator=b"\n") for row in rows]
        assert [(row.text, row.raw, row.place.line) for row in found] == [
            (b"ACGT", b">one\nAC\nGT\r\n;x", 1),
            (None, b">two\n", 5),
            (b"A", BOM + b">three\nA", 7),
        ]
        assert [row.is_blank for row in found] == [False, True, False]
    [fault, row] = [row for rows in read_rows([b"\nAC\n>x\nA\n"], "a.fa", separator=b"\n\n") for row in rows]
    assert str(fault.fault).startswith("'a.fa', line 2: not valid FASTA: ")
    assert (row.text, row.place.line) == (b"A", 3)
    assert [row.text for rows in read_rows([data], "a.fa") for row in rows] == data.split(b"\n")  # --lines


@pytest.mark.parametrize(
    "more", [{}, {"field": Field("t")}, {"column": "1"}, {"column": "1", "is_csv": True}, {"separator": b"\n\n"}]
)
def test_rows_do_not_wait(more: dict[str, Any]) -> None:
    """Those that a chunk completes are given before the next is read; many short lines not in one list."""
    given = 0

    def chunks() -> Iterator[bytes]:
        nonlocal given
        for given in (1, 2):  # noqa: B007
            yield b'{"t":1}\n\n{"t":2}\n\n{'

    rows = read_rows(chunks(), "f", **more)
    assert [row.raw for row in next(rows) if row.raw] == [b'{"t":1}', b'{"t":2}']
    assert given == 1
    sizes = [len(found) for found in read_rows([b'{"t":1}\n\n' * 10_000], "f", **more)]
    assert sum(sizes) in (10_000, 20_000)
    assert max(sizes) < 5000


def test_names_of_fasta_files() -> None:
    for name in ("a.fa", "a.FASTA", "x/y.fa.gz", "a.b.fna.xz", "p.faa"):
        assert is_fasta(name)
    for name in ("a.txt", "fa", "a.fa.txt", "fasta.gz", "-"):
        assert not is_fasta(name)
