"""Rows of CSV, wherever the bytes are cut: those of `csv.reader` over the whole, each as soon as it has come."""

import csv
import io
import random
from collections.abc import Iterable, Iterator

import pytest

from charrnn.corpus import tables
from charrnn.corpus.tables import TableRow, read_csv
from charrnn.errors import InputError
from tests.corpus.test_formats import cut


def read(chunks: Iterable[bytes]) -> tuple[list[TableRow], str]:
    """Return the rows before an error, and the error; empty: there is none."""
    rows: list[TableRow] = []
    try:
        for block in read_csv(chunks, "'f'"):
            rows += block
    except InputError as error:
        return rows, str(error)
    return rows, ""


def whole(data: bytes) -> tuple[list[list[bytes] | str], bool]:
    """Return what `csv.reader` has for each row, cells or a fault, and whether a quote is never closed."""
    reader = csv.reader(io.StringIO(data.decode("latin-1"), newline="\n"), strict=True)
    found: list[list[bytes] | str] = []
    while True:
        try:
            found.append([cell.encode("latin-1") for cell in next(reader)])
        except StopIteration:
            return found, False
        except csv.Error as error:
            if "end of data" in str(error):
                return found, True
            found.append(str(error).partition(" - ")[0])


def test_random_csv() -> None:
    """The rows, their bytes and their lines; cells, faults and an open quote as `csv.reader` finds them."""
    rng = random.Random(0)  # noqa: S311
    pieces = [b'"', b'"', b'""', b",", b"\n", b"\n", b"\r\n", b"a", b"\xe9", b" ", b"\0", b'",', b',"']
    closed = 0  # readings without an open quote
    for _ in range(400):
        data = b"".join(rng.choices(pieces, k=rng.randrange(1, 25)))
        data += b"" if data.endswith(b"\n") else b"\n"
        expected, is_open = whole(data)
        for size in (1, 3, len(data)):
            rows, error = read(cut(data, size))
            assert ("a quote that is never closed" in error) == bool(error) == is_open
            if not is_open:
                closed += 1
                assert b"".join(raw + b"\n" for _, raw, _ in rows) == data
            assert len(rows) == len(expected)
            at = 0
            for (line, raw, cells), other in zip(rows, expected, strict=True):
                assert line == data[:at].count(b"\n") + 1
                assert data.startswith(raw + b"\n", at)
                at += len(raw) + 1
                if isinstance(cells, InputError):
                    assert str(cells) == f"'f', line {line}: not valid CSV: {other!s}"
                else:
                    assert cells == other
    assert 200 < closed < 1000


def test_a_row_is_there_with_its_last_line() -> None:
    lines = [b"a,b\n", b'1,"x\n', b"y\n", b'z""",2\n', b"3,4\n"]
    given = 0

    def chunks() -> Iterator[bytes]:
        nonlocal given
        for given, line in enumerate(lines, 1):  # noqa: B007
            yield line

    found = [(given, row) for rows in read_csv(chunks(), "'f'") for row in rows]
    assert found == [
        (1, (1, b"a,b", [b"a", b"b"])),
        (4, (2, b'1,"x\ny\nz""",2', [b"1", b'x\ny\nz"', b"2"])),
        (5, (5, b"3,4", [b"3", b"4"])),
    ]


@pytest.mark.parametrize(
    ("data", "line", "expected"),
    [
        (b'a,b\n1,"x\ny","z\n' + b"more\n" * 1000, 3, "a quote that is not closed within"),
        (b'a,b\n1,"' + b"more" * 1000, 2, "a line longer than"),
        (b"a,b\n\n" + b"1," * 2000, 3, "a line longer than"),
        (b'a,b\n1,"x\ny","z\nmore\n', 3, "a quote that is never closed"),
    ],
)
def test_a_row_without_an_end(monkeypatch: pytest.MonkeyPatch, data: bytes, line: int, expected: str) -> None:
    """The rows before it are there, and it is not read to its end; the message names the line of the quote."""
    monkeypatch.setattr(tables, "MAX_ROW", 1000)
    size = 0

    def chunks() -> Iterator[bytes]:
        nonlocal size
        for chunk in cut(data, 100):
            size += len(chunk)
            yield chunk

    rows, error = read(chunks())
    assert rows[0] == (1, b"a,b", [b"a", b"b"])
    assert error.startswith(f"'f', line {line}: not valid CSV: {expected}")
    assert size < 1300
    assert len(read([b"a\n" * 5000])[0]) == 5000  # many rows may be longer together


def test_marks() -> None:
    """A byte order mark before a row is dropped, within a cell it is text."""
    mark = b"\xef\xbb\xbf"
    data = mark + b'"a",b\n"' + mark + b"x\n" + mark + b'y",1\n' + mark + b'"z",2\n'
    for size in range(1, 20):
        assert [cells for _, _, cells in read(cut(data, size))[0]] == [
            [b"a", b"b"],
            [mark + b"x\n" + mark + b"y", b"1"],
            [b"z", b"2"],
        ]
