"""Texts inside structured files: the right ones, wherever the bytes are cut, and every fault by its line."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from charrnn.corpus.formats import counted_lines, fasta, is_fasta, read_json_lines
from charrnn.corpus.inputs import split_lines
from charrnn.corpus.tables import table
from charrnn.errors import InputError

BOM = b"\xef\xbb\xbf"


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


GOOD: list[tuple[Callable[..., Iterator[object]], bytes, list[object]]] = [
    (
        partial(read_json_lines, field="t"),
        '{"t": "anna"}\n{"n": 1, "t": "é\\n日"}\r\n\n{"t": ""}\n{"t": 3}\n{}\n{"t": "\\u0000"}'.encode(),
        [(1, b"anna"), (2, "é\n日".encode()), (7, b"\0")],
    ),
    (partial(read_json_lines, field="a b"), BOM + b'{"a b": "x"}\n', [(1, b"x")]),
    (partial(table, column="2"), b"1\tanna\n2\tolivia\tmore\r\n\n3\t\n4\tx", [(1, b"anna"), (2, b"olivia"), (5, b"x")]),
    (partial(table, column="name"), BOM + b"name\tid\nanna\t1\n\tx\nx\n", [(2, b"anna"), (4, b"x")]),
    (partial(table, column="1"), b"one\ntwo\n", [(1, b"one"), (2, b"two")]),
    (
        fasta,
        b">one\nACGT\nAC GT\n;comment\n\n>two\r\nTT\r\n>empty\n>three\nA",
        [(1, b"ACGTAC GT"), (6, b"TT"), (9, b"A")],
    ),
    (fasta, b"\n\n", []),
    (
        counted_lines,
        b"3\tanna\n\n   12 two words\n1\t\ttab\n7\tx",
        [(1, 3, b"anna"), (3, 12, b"two words"), (4, 1, b"\ttab"), (5, 7, b"x")],
    ),
]


@pytest.mark.parametrize("size", [*range(1, 9), 1000])
@pytest.mark.parametrize(("read", "data", "expected"), GOOD, ids=range(len(GOOD)))
def test_texts(read: Callable[..., Iterator[object]], data: bytes, expected: list[object], size: int) -> None:
    """IN-04."""
    assert list(read(cut(data, size), name="x")) == expected


BAD: list[tuple[Callable[..., Iterator[object]], bytes, int, str]] = [
    (partial(read_json_lines, field="t"), b'{"t": "a"}\n{"t": \n', 2, "not valid JSON: "),
    (partial(read_json_lines, field="t"), b'["t"]\n', 1, "not a JSON object"),
    (partial(read_json_lines, field="t"), b'{"t": NaN}\n', 1, "not valid JSON: "),
    (partial(read_json_lines, field="t"), b"[" * 100_000, 1, "nested too deeply"),
    (partial(read_json_lines, field="t"), b'{"t": "\xff"}\n', 1, "not valid JSON: "),
    (partial(table, column="3"), b"a\tb\tc\na\tb\n", 2, "there is no column 3, only 2"),
    (partial(table, column="text"), b"id\tname\n", 1, "no column is called 'text'; there are id, name"),
    (partial(table, column="0"), b"id\n", 1, "no column is called '0'"),
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


def test_names_of_fasta_files() -> None:
    for name in ("a.fa", "a.FASTA", "x/y.fa.gz", "a.b.fna.xz", "p.faa"):
        assert is_fasta(name)
    for name in ("a.txt", "fa", "a.fa.txt", "fasta.gz", "-"):
        assert not is_fasta(name)
