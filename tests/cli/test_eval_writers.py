"""The rows of `charrnn eval`, as a table, columns, JSON or rows as they came."""

import json
import math
import sys

import pytest

from charrnn.cli.eval_writers import JsonWriter, Result, RowWriter, TableWriter, TsvWriter, named
from charrnn.config.eval import ADAPTED, METRICS
from charrnn.console.streams import Console
from charrnn.corpus.formats import Place, Row
from charrnn.scoring.score import Score, Units

SCORE = Score(
    nats=2000 * math.log(2), tokens=1000, oov=3, chars=1000, bytes=1250, words=100, parts=Units(2, 2e6, 781250, 1.25e6)
)
LINE = Row(b"a\xffb", b"1\ta\xffb\r", Place("f", 7))


Capture = pytest.CaptureFixture[bytes]


def written(capture: Capture) -> bytes:
    sys.stdout.flush()
    return capture.readouterr().out


def test_a_table(capfdbinary: Capture) -> None:
    writer = TableWriter(Console())
    writer.row(Result(SCORE, "a.txt"))
    writer.row(Result(Score(nats=1.0, tokens=1), "b.txt"))
    assert written(capfdbinary) == b""
    writer.finish()
    lines = written(capfdbinary).decode().split("\n")
    [row] = [line.split() for line in lines if "a.txt" in line]
    assert row == ["a.txt", "4.0000", "2.0000", "1.6000", "1,000", "3"]
    [row] = [line.split() for line in lines if "b.txt" in line]
    assert row[2:4] == ["-", "-"]


def test_an_empty_table(capfdbinary: Capture) -> None:
    TableWriter(Console()).finish()
    assert written(capfdbinary) == b""


def test_a_table_of_models_that_adapt(capfdbinary: Capture) -> None:
    writer = TableWriter(Console())
    writer.row(Result(SCORE, "a.txt", adapted=Score(nats=1000 * math.log(2), tokens=1000, chars=500, bytes=500)))
    writer.finish()
    [row] = [line.split() for line in written(capfdbinary).decode().split("\n") if "a.txt" in line]
    assert row == ["a.txt", "4.0000", "2.0000", "1.6000", "2.0000", "2.0000", "2.0000", "1,000", "3"]


def test_columns(capfdbinary: Capture) -> None:
    """Integers whole, floats with 6 decimals, lines as they came, names escaped, and nothing where nothing is known."""
    fields = ["tokens", "bits_per_char", "nats", "file", "line", "text", "adapted_perplexity", "word_perplexity"]
    writer = TsvWriter(Console(), named(fields))
    writer.row(Result(SCORE, "f\udcff", LINE))
    writer.row(Result(Score(nats=2e15, tokens=1), "total"))
    writer.finish()
    assert written(capfdbinary).split(b"\n") == [
        b"\t".join([b"1000", b"2.000000", b"1386.294361", b"f\\xff", b"7", b"a\xffb", b"", b"1048576.000000"]),
        b"\t".join([b"1", b"nan", b"2.000000e+15", b"total", b"", b"", b"", b"nan"]),
        b"",
    ]


def test_objects(capfdbinary: Capture) -> None:
    """JSON has no NaN; bytes that are no UTF-8 are U+FFFD."""
    writer = JsonWriter(Console(), [*named(["file", "text", "oov", "perplexity"]), ("bits_per_byte", "bpb")])
    writer.row(Result(SCORE, "f", LINE))
    writer.row(Result(Score(nats=1e9, tokens=1), "total"))
    writer.row(Result(Score(), "f", LINE._replace(heading=True)))
    writer.finish()
    assert [json.loads(line) for line in written(capfdbinary).splitlines()] == [
        {
            "file": "f",
            "text": "a\ufffdb",
            "oov": 3,
            "perplexity": pytest.approx(4),
            "bpb": pytest.approx(1.6),
        },
        {"file": "total", "text": None, "oov": 0, "perplexity": None, "bpb": None},
    ]


def test_rows_as_they_came(capfdbinary: Capture) -> None:
    writer = RowWriter(Console(), [("oov", "unknown"), ("tokens", "tokens")])
    writer.row(Result(Score(), "f", Row(None, b"id\ttext", Place("f", 1), heading=True)))
    writer.row(Result(SCORE, "f", LINE))
    writer.row(Result(SCORE, "f", Row(b"x", b"{}", Place("f", 2), {"z": 1, "a": [None]})))
    writer.finish()
    assert (
        written(capfdbinary)
        == b'unknown\ttokens\tid\ttext\n3\t1000\t1\ta\xffb\r\n{"z": 1, "a": [null], "unknown": 3, "tokens": 1000}\n'
    )


def test_every_figure_is_one_of_a_score() -> None:
    for name in METRICS:
        assert Result(SCORE, "f").value(name) == getattr(SCORE, name)
    for field, name in ADAPTED.items():
        assert Result(Score(), "f", adapted=SCORE).value(field) == getattr(SCORE, name)
