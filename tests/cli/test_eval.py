"""`charrnn eval`: perplexity in pipelines."""

import io
import json
import math
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from select import select

import numpy as np
import pytest

from charrnn.config.eval import METRICS
from charrnn.engines.native import lib as core
from charrnn.tokenizers.byte import ByteTokenizer
from charrnn.tokenizers.tokenizer import Tokenizer
from tests import tiny
from tests.cli.evals import objects, rows, write_models

KEYS = ["file", "nats", "bits", "tokens", "oov", "chars", "bytes", "words", "perplexity", "perplexity_without_oov"]
KEYS += ["bits_per_char", "bits_per_byte", "bits_per_byte_se", "byte_perplexity", "word_perplexity"]
NUMBER = re.compile(rb"[0-9.e+-]+|inf")

TOKENIZERS: dict[str, Tokenizer] = {"char": tiny.char(), "byte": ByteTokenizer(), "pieces": tiny.pieces()}


@pytest.fixture(autouse=True)
def _models() -> None:
    write_models()


TEXT = "\ufeffthe cat sat.\r\non the\tmat, né 日\n".encode()


@pytest.mark.parametrize("model", ["char", "byte", "pieces"])
def test_json_has_the_figures_and_their_formulas(model: str, run: tiny.Program) -> None:
    """EV-04, CL-19."""
    Path("t.txt").write_bytes(TEXT)
    ran = run("eval", "-m", model, "--json", "t.txt")
    [found] = objects(ran.out)
    assert (ran.code, ran.err) == (0, b"")
    assert list(found) == KEYS
    value = {name: figure for name, figure in found.items() if isinstance(figure, int | float)}
    assert value["bytes"] == len(TEXT)
    plain = TEXT.decode("utf-8" if model == "byte" else "utf-8-sig")
    assert (value["chars"], value["words"]) == (len(plain), len(plain.split()))
    assert value["tokens"] == len(TOKENIZERS[model].encode(TEXT))
    nats = value["nats"]
    assert value["perplexity"] == pytest.approx(math.exp(nats / value["tokens"]), rel=1e-12)
    assert value["bits_per_char"] == pytest.approx(nats / math.log(2) / value["chars"], rel=1e-12)
    assert value["bits_per_byte"] == pytest.approx(nats / math.log(2) / value["bytes"], rel=1e-12)
    assert value["byte_perplexity"] == pytest.approx(2 ** value["bits_per_byte"], rel=1e-12)
    assert value["word_perplexity"] == pytest.approx(math.exp(nats / value["words"]), rel=1e-12)


def test_one_text_or_several(run: tiny.Program) -> None:
    """EV-06."""
    Path("a").write_bytes(b"the king\n")
    Path("b").write_bytes(b"zzz\n" * 9)
    separate = rows(run("eval", "-m", "char", "a", "b").out)
    assert [row[-1] for row in separate] == [b"a", b"b", b"total"]
    assert [int(row[3]) for row in separate] == [9, 36, 45]
    a, b, total = (math.log(float(row[0])) for row in separate)
    assert total == pytest.approx((9 * a + 36 * b) / 45, abs=1e-6)
    for arguments in (["-"], []):
        [one] = rows(run("eval", "-m", "char", *arguments, stdin=b"the king\n" + b"zzz\n" * 9).out)
        assert one[-1] == b"-"
        assert one[3] == b"45"
        assert float(one[0]) != pytest.approx(math.exp(total), rel=1e-4)  # the state is carried
    found = objects(run("eval", "-m", "char", "a", "b", "--json").out)
    assert [row.get("file") for row in found] == ["a", "b", None]
    assert found[2]["total"] is True
    assert [list(row) for row in found] == [KEYS, KEYS, ["total", *KEYS[1:]]]


def test_a_row(run: tiny.Program) -> None:
    """EV-10: perplexity, bits per character, bits per byte, tokens, unknown, file."""
    Path("é").write_bytes("né Ü".encode())
    [row] = rows(run("eval", "-m", "char", "é").out)
    [found] = objects(run("eval", "-m", "char", "é", "--json").out)
    names = ("perplexity", "bits_per_char", "bits_per_byte")
    assert row == [*(f"{found[name]:.6f}".encode() for name in names), b"4", b"1", "é".encode()]


@pytest.mark.parametrize("metric", METRICS)
def test_a_bare_number(metric: str, run: tiny.Program) -> None:
    Path("a").write_bytes(b"the cat\n")
    Path("b").write_bytes(b"sat\n")
    [*_, total] = objects(run("eval", "-m", "char", "a", "b", "--json").out)
    ran = run("eval", "-m", "char", "a", "b", "-f", metric)
    assert ran.out.endswith(b"\n")
    assert float(ran.out.split()[-1]) == pytest.approx(total[metric], abs=1e-6)
    by_line = run("eval", "-m", "char", "a", "b", "--lines", "-f", metric).out.split()
    assert len(by_line) == 2
    if metric in ("nats", "bits", "tokens", "oov"):
        alone = [float(run("eval", "-m", "char", name, "-f", metric).out) for name in "ab"]
        assert [float(each) for each in by_line] == pytest.approx(alone, abs=2e-6)


LINES = [b"the cat", b"", b"  \t ", b"qzx vvk", b"the cat", "né 日 😀".encode(), b"a" * 5000, b"\r", b"."]


@pytest.mark.parametrize("model", ["char", "byte", "pieces"])
@pytest.mark.parametrize("last", [b"", b"\n"], ids=["unterminated", "terminated"])
def test_a_record_a_line(model: str, last: bytes, run: tiny.Program) -> None:
    """EV-07, EV-08: in order, each from nothing, its newline scored even where the file lacks it."""
    ran = run("eval", "-m", model, "--lines", stdin=b"\n".join(LINES) + last)
    found = [line.split(b"\t", 3) for line in ran.out.split(b"\n")[:-1]]
    assert [row[3] for row in found] == LINES
    assert float(found[0][0]) == pytest.approx(float(found[4][0]), rel=1e-6)
    assert [int(row[1]) for row in found] == [len(TOKENIZERS[model].encode(line + b"\n")) for line in LINES]
    for line, row in zip(LINES, found, strict=True):
        [alone] = rows(run("eval", "-m", model, "-", stdin=line + b"\n").out)
        assert float(row[0]) == pytest.approx(float(alone[0]), rel=1e-6)


@pytest.mark.parametrize("size", [100_000, pytest.param(10_000_000, marks=pytest.mark.slow)])
def test_a_long_line(size: int, run: tiny.Program) -> None:
    """EV-07."""
    found = rows(run("eval", "-m", "letters", "--lines", stdin=b"a\n" + b"b" * size + b"\nc").out)
    assert [int(row[1]) for row in found] == [2, size + 1, 2]
    assert [len(row[3]) for row in found] == [1, size, 1]


@pytest.mark.parametrize("mark", ["\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_line_ends_at_a_newline_alone(mark: str, run: tiny.Program) -> None:
    """EV-09."""
    line = f"a{mark}b".encode()
    found = rows(run("eval", "-m", "char", "--lines", stdin=line + b"\nc\n").out)
    assert [row[3] for row in found] == [line, b"c"]


def test_rows_are_for_sort_and_awk(run: tiny.Program) -> None:
    """EV-10: numbers that match the pattern, and the line's bytes as they are."""
    data = b"\n".join([*LINES, b"tab\tin it", "Ü".encode() * 3, b"\x1b[31m"]) + b"\n"
    ran = run("eval", "-m", "char", "--lines", stdin=data)
    for row, line in zip(ran.out.split(b"\n"), data.split(b"\n")[:-1], strict=False):
        *numbers, text = row.split(b"\t", 3)
        assert text == line
        assert all(NUMBER.fullmatch(number) for number in numbers)


def test_the_likeliest_line_first() -> None:
    """EV-10, as in the README."""
    script = "printf 'qzx vvk\\nthe king\\n' | charrnn eval -m letters --lines | "
    found = tiny.shell(script + "sort -g")
    assert [row[3] for row in rows(found.out)] == [b"the king", b"qzx vvk"]
    assert tiny.shell(script + "awk '$1<20' | cut -f4").out == b"the king\n"


def test_lines_and_records_align_under_paste() -> None:
    """EV-07."""
    Path("t").write_bytes(b"\n".join([b"a", b"", b" ", b"b" * 300, b"c"]))
    found = tiny.shell("paste t <(charrnn eval -m char --lines t | cut -f4) | awk -F'\\t' '$1 != $2'; wc -l < t")
    assert found.out.strip() == b"4"


@pytest.mark.parametrize("model", ["char", "pieces"])
def test_permuted_lines_give_permuted_records(model: str, run: tiny.Program) -> None:
    """EV-12."""
    rng = np.random.default_rng(0)
    lines = [bytes(rng.choice(list(b"the cat sat"), rng.integers(0, 60))) for _ in range(300)]
    order = rng.permutation(300)
    first = rows(run("eval", "-m", model, "--lines", stdin=b"\n".join(lines) + b"\n").out)
    again = rows(run("eval", "-m", model, "--lines", stdin=b"".join(lines[n] + b"\n" for n in order)).out)
    for n, row in zip(order, again, strict=True):
        assert float(row[0]) == pytest.approx(float(first[n][0]), rel=1e-6)
        assert row[1:] == first[n][1:]


def test_json_lines(run: tiny.Program) -> None:
    """EV-11."""
    given = [
        '{"id": 1, "text": "the cat", "ключ": "é\\u0000😀", "n": [1, 2.5, null, true]}',
        '{"text": "", "id": 2}',
        '{"id": 3}',
        '{"text": null, "z": {"a": 1e300}}',
        '{"text": 5}',
        '{"a": "\\ud800 \\u001b \\u009b", "text": "the cat"}\r',
        ' {"text": "qzx\\nÜ"} ',
    ]
    found = objects(run("eval", "-m", "char", "--jsonl", "text", stdin="\n".join(given).encode()).out)
    assert len(found) == len(given)
    for before, after in zip(map(json.loads, given), found, strict=True):
        perplexity = after.get("perplexity")
        assert list(after) == list(before | {"perplexity": 0})
        assert after == before | {"perplexity": perplexity}
        if isinstance(before.get("text"), str):
            text = f"{before['text']}\n".encode()
            assert isinstance(perplexity, float)
            assert perplexity == pytest.approx(float(run("eval", "-m", "char", "-f", "perplexity", stdin=text).out))
        else:
            assert perplexity is None


def test_a_key_that_an_object_has_already(run: tiny.Program) -> None:
    """EV-11: it is not replaced; --fields gives the new one another name."""
    given = b'{"text": "a"}\n{"text": "b", "perplexity": "old"}\n'
    ran = run("eval", "-m", "char", "--jsonl", "text", stdin=given)
    assert (ran.code, ran.out.count(b"\n")) == (4, 1)
    assert ran.complaint == (
        "Error: stdin, line 2: the object has a key 'perplexity' already; --fields perplexity=NAME calls the new one"
        " otherwise"
    )
    [_, found] = objects(run("eval", "-m", "char", "--jsonl", "text", "-f", "perplexity=gru,oov", stdin=given).out)
    assert list(found) == ["text", "perplexity", "gru", "oov"]
    assert (found["perplexity"], found["oov"]) == ("old", 0)


def test_fields(run: tiny.Program) -> None:
    """Columns and keys, in the order given; of tables before the row, of a total with its name."""
    Path("a").write_bytes(b"the cat\nsat\n")
    Path("b").write_bytes(b"on\n")
    fields = "bits,file,oov=unknown"
    found = rows(run("eval", "-m", "char", "-f", fields, "a", "b").out)
    assert [row[1:] for row in found] == [[b"a", b"0"], [b"b", b"0"], [b"total", b"0"]]
    assert float(found[2][0]) == pytest.approx(float(found[0][0]) + float(found[1][0]), abs=2e-6)
    [one] = objects(run("eval", "-m", "char", "-f", fields, "--json", "a").out)
    assert list(one) == ["bits", "file", "unknown"]
    by_line = rows(run("eval", "-m", "char", "--lines", "-f", "line,tokens,text,file", "a").out)
    assert by_line == [[b"1", b"8", b"the cat", b"a"], [b"2", b"4", b"sat", b"a"]]
    as_json = objects(run("eval", "-m", "char", "--lines", "-f", "line,text=t", "--json", "a").out)
    assert as_json == [{"line": 1, "t": "the cat"}, {"line": 2, "t": "sat"}]
    table = run("eval", "-m", "char", "--tsv", "name", "-f", "tokens=n", stdin=b"name\tx\nsat\t1\n").out
    assert table == b"n\tname\tx\n4\tsat\t1\n"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"no", "not valid JSON at column 1: Expecting value;"),
        (b'{"a": 1', "not valid JSON at column 8: "),
        (b"[1]", "not a JSON object; jq -c '.[]' "),
        (b'{"text": "a", "x": NaN}', "NaN is out of range"),
        (b'{"text": "a", "x": 1e999}', "1e999 is out of range"),
        (b"\xff", "invalid UTF-8 at byte 0;"),
        (b'{"text":' * 100_000, "nested too deeply"),
        (b'{"text": "\\ud800"}', "invalid UTF-8 at byte 0;"),
    ],
    ids=lambda each: repr(each[:20]),
)
def test_bad_json(line: bytes, complaint: str, run: tiny.Program) -> None:
    """EV-11: refused with its line; the objects before it have been written."""
    Path("f.jsonl").write_bytes(b'{"text": "a"}\n{"text": "b"}\n' + line + b'\n{"text": "c"}\n')
    ran = run("eval", "-m", "char", "--jsonl", "text", "f.jsonl")
    assert ran.code == 4
    assert [each["text"] for each in objects(ran.out)] == ["a", "b"]
    assert ran.complaint.startswith("Error: 'f.jsonl', line 3: ")
    assert complaint in ran.complaint
    assert ran.complaint.endswith(("; --errors skip leaves the line out", "; else --errors replace or skip"))
    assert len(ran.complaint) < 200


def test_unknown_characters(run: tiny.Program) -> None:
    """EV-13."""
    text = "ab ÜÖ".encode()
    ran = run("eval", "-m", "char", "--json", stdin=text)
    [found] = objects(ran.out)
    assert ran.code == 0
    assert (found["tokens"], found["oov"]) == (5, 2)
    assert isinstance(found["perplexity"], float)
    assert isinstance(found["perplexity_without_oov"], float)
    assert found["perplexity"] > 100 * found["perplexity_without_oov"]
    assert ran.err.decode() == (
        "Warning: unknown to the model: 2 of 5 tokens; the commonest: U+00D6 LATIN CAPITAL LETTER O WITH DIAERESIS (1),"
        " U+00DC LATIN CAPITAL LETTER U WITH DIAERESIS (1)\n"
    )
    [only] = objects(run("eval", "-m", "char", "--json", stdin="ÜÖ".encode()).out)
    assert only["perplexity_without_oov"] is None
    without = run("eval", "-m", "char", "-f", "perplexity_without_oov", stdin=text)
    assert float(without.out) == pytest.approx(found["perplexity_without_oov"], rel=1e-6)
    assert run("eval", "-m", "char", stdin=b"a" * 200 + "Ü".encode()).err == b""  # less than 1 %


@pytest.mark.parametrize(("model", "text"), [("char", b""), ("byte", b""), ("char", "\ufeff".encode())])
@pytest.mark.parametrize("more", [[], ["--json"], ["-f", "nats"], ["--window", "3"], ["--streams", "3"]], ids=str)
def test_nothing_to_score(model: str, text: bytes, more: list[str], run: tiny.Program) -> None:
    """EV-14."""
    ran = run("eval", "-m", model, "-q", *more, stdin=text)
    assert (ran.code, ran.error) == (4, "Error: stdin: no tokens to score")
    Path("empty\x1b").write_bytes(text)
    Path("full").write_bytes(b"a")
    ran = run("eval", "-m", model, "-q", *more, "empty\x1b", "full")
    assert (ran.code, ran.complaint) == (4, "Error: 'empty\\x1b': no tokens to score")
    assert ran.out.count(b"\n") == 1


def test_no_lines(run: tiny.Program) -> None:
    """EV-14."""
    assert run("eval", "-m", "char", "--lines") == tiny.Ran(0, b"", b"")
    assert run("eval", "-m", "char", "--jsonl", "text") == tiny.Ran(0, b"", b"")


def test_a_perplexity_that_is_no_float(run: tiny.Program, tmp_path: Path) -> None:
    """EV-15."""
    model = tiny.saved(tmp_path / "sure.safetensors", tiny.reciting(tiny.char(), b"ab", strength=2000))
    ran = run("eval", "-m", model, stdin=b"ba" * 50)
    assert (ran.code, rows(ran.out)[0][0], ran.err) == (0, b"inf", b"")
    [found] = objects(run("eval", "-m", model, "--json", stdin=b"ba" * 50).out)
    assert found["perplexity"] is None
    assert found["nats"] == pytest.approx(200_000)
    [found] = objects(run("eval", "-m", model, "--jsonl", "t", stdin=b'{"t": "ba"}').out)
    assert found == {"t": "ba", "perplexity": None}
    long = rows(run("eval", "-m", model, "--lines", stdin=b"aba" + b"b" * 3 + b"\n").out)[0]
    assert NUMBER.fullmatch(long[0])


def test_dropout_is_for_training(run: tiny.Program, tmp_path: Path) -> None:
    """EV-18: a model trained with dropout is scored without; and nothing is held for gradients."""
    model = tiny.drawn(tiny.char())
    model.info["plan"] = {"dropout": 0.9}
    path = tiny.saved(tmp_path / "m.safetensors", model)
    for engine in ("numpy", "torch"):
        first, again = (run("eval", "-m", path, "--engine", engine, "--json", stdin=TEXT * 9).out for _ in range(2))
        assert first == again
        [found] = objects(first)
        assert found["perplexity"] == pytest.approx(
            float(run("eval", "-m", "char", "-f", "perplexity", stdin=TEXT * 9).out), rel=1e-5
        )


def test_windows_reset_the_state(run: tiny.Program) -> None:
    text = b"the cat sat on the mat.\n" * 10
    [whole] = rows(run("eval", "-m", "char", stdin=text).out)
    [cut] = rows(run("eval", "-m", "char", "--window", "24", stdin=text).out)
    by_line = [float(each) for each in run("eval", "-m", "char", "--lines", "-f", "nats", stdin=text).out.split()]
    assert math.log(float(cut[0])) == pytest.approx(sum(by_line) / 240, abs=1e-6)
    assert whole[0] != cut[0]
    assert whole[3] == cut[3] == b"240"
    ran = run("eval", "-m", "char", "--streams", "10", stdin=text)
    assert rows(ran.out) == [cut]
    assert ran.err == b"scored as 10 separate pieces a text: an approximation\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--window", "2", "--streams", "2"], "--streams and --window cannot be used together"),
        (["--window", "2", "--lines"], "--window and --lines cannot be used together"),
        (["--streams", "2", "--jsonl", "t"], "--streams and --jsonl cannot be used together"),
        (["-f", "bit"], "--fields must be fields separated by commas, of nats, bits,"),
        (["-f", "perplexty"], "did you mean 'perplexity'?"),
        (["--window", "-1"], "--window must be a whole number"),
        (["--streams", "0"], "--streams must be a whole number"),
        (["--unknown", "skip"], "--unknown is now the field perplexity_without_oov"),
        (["-f", "adapted_perplexity"], "--fields: adapted_perplexity needs --adapt"),
        (["-f", "line"], "--fields: line needs --lines, --records, --jsonl, --tsv, --csv or --by"),
        (["--device", "tpu"], "--device must be auto, cpu, cuda or cuda:N"),
    ],
    ids=str,
)
def test_usage(arguments: list[str], complaint: str, run: tiny.Program) -> None:
    ran = run("eval", "-m", "char", *arguments, stdin=b"a")
    assert ran.code == 2
    assert complaint in ran.error


@pytest.mark.parametrize("more", [[], ["--lines"], ["--window", "2"], ["--streams", "2"]], ids=str)
def test_invalid_utf8(more: list[str], run: tiny.Program) -> None:
    """IN-03: refused with its place, or read as U+FFFD and counted."""
    Path("good").write_bytes(b"a\nb\n")
    Path("bad").write_bytes(b"ab\na\xffb\n")
    ran = run("eval", "-m", "char", "-q", *more, "good", "bad")
    assert ran.code == 4
    where = (
        "'bad', line 2: invalid UTF-8 at byte 1" if more == ["--lines"] else "'bad': invalid UTF-8 at byte 4 (line 2)"
    )
    assert (
        ran.complaint
        == f"Error: {where}; if it is Latin-1, iconv -f LATIN1 -t UTF-8 converts it; else --errors replace or skip"
    )
    assert ran.out.count(b"\n") == (3 if more == ["--lines"] else 1)  # what came before has been written
    ran = run("eval", "-m", "char", "--errors", "replace", *more, "bad")
    assert ran.code == 0
    assert b"Warning: places with invalid UTF-8, read as U+FFFD: 1\n" in ran.err
    assert run("eval", "-m", "byte", "-q", *more, "good", "bad").code == 0


@pytest.mark.parametrize("value", [math.nan, 3e38])
@pytest.mark.parametrize("more", [[], ["--lines"], ["--json"], ["-f", "nats"]], ids=str)
def test_a_model_that_is_not_finite(value: float, more: list[str], run: tiny.Program, tmp_path: Path) -> None:
    """NU-06."""
    model = tiny.drawn(tiny.char())
    model.weights["head.bias"][:] = 3e38
    path = tiny.poisoned(tmp_path / "m.safetensors", model, value)
    ran = run("eval", "-m", path, *more, stdin=b"the cat\n")
    if math.isnan(value):
        assert (ran.code, ran.error) == (5, "Error: the model's figures are not finite: its weights are unusable")
    else:
        assert ran.code in (0, 5)


def test_stdin_is_a_terminal(run: tiny.Program) -> None:
    """CL-17: says how, and does not wait."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "r") as terminal:
        for arguments in ([], ["--lines"]):
            ran = run("eval", "-m", "char", *arguments, stdin=terminal)
            assert (ran.code, ran.error) == (
                2, "Error: no text: name a file, or pipe one in: cat FILE | charrnn eval"
            )  # fmt: skip
    os.close(master)


def test_input_of_every_kind(run: tiny.Program) -> None:
    """CL-18: -, /dev/stdin, <(...), a FIFO and a packed file; closed stdin is named."""
    os.mkfifo("fifo")
    writer = threading.Thread(target=lambda: Path("fifo").write_bytes(b"the cat\n"))
    writer.start()
    expected = run("eval", "-m", "char", "-", stdin=b"the cat\n").out.rpartition(b"\t")[0]
    assert run("eval", "-m", "char", "fifo").out == expected + b"\tfifo\n"
    writer.join()
    script = """
        echo 'the cat' | charrnn eval -m char /dev/stdin
        charrnn eval -m char <(echo 'the cat')
        echo 'the cat' | gzip > t.gz; charrnn eval -m char t.gz
        charrnn eval -m char <&-; echo $?
    """
    ran = tiny.shell(script)
    lines = ran.out.splitlines()
    assert [line.rpartition(b"\t")[0] for line in lines[:3]] == [expected] * 3
    assert lines[3:] == [b"4"]
    assert ran.err == b"Error: cannot read stdin: it is closed\n"


@pytest.mark.parametrize("more", [[], ["--lines"], ["--window", "9"]], ids=str)
def test_a_missing_file(more: list[str], run: tiny.Program) -> None:
    Path("good").write_bytes(b"a\n")
    ran = run("eval", "-m", "char", *more, "good", "gone\x1b[31m\n")
    assert ran.code == 4
    assert ran.complaint == (
        "Error: cannot read 'gone\\x1b[31m\\n': No such file or directory; --errors skip leaves the file out"
    )
    assert ran.out.count(b"\n") == 1
    ran = run("eval", "-m", "char", *more, "--errors", "skip", "good", "gone")
    assert (ran.code, ran.out.count(b"\n")) == (0, 1)
    assert ran.err == b"Warning: left out: 1 file; the first: cannot read 'gone': No such file or directory\n"
    ran = run("eval", "-m", "char", *more, "--errors", "skip", "gone")
    assert (ran.code, ran.error) == (4, "Error: cannot read 'gone': No such file or directory")


def test_many_files_are_not_open_at_once() -> None:
    """RS-04."""
    Path("texts").mkdir()
    for n in range(300):
        Path("texts", f"{n}").write_bytes(b"the cat\n" * 2)
    ran = tiny.shell("ulimit -n 100; charrnn eval -m char texts/*")
    assert (ran.code, ran.err) == (0, b"")
    assert len(rows(ran.out)) == 301


@pytest.mark.parametrize("more", ["", "--lines", "--json", "-f nats"])
def test_output_that_cannot_be_written(more: str) -> None:
    """CL-07."""
    script = f"echo 'the cat' | charrnn eval -m char {more}"
    full = tiny.shell(script + " > /dev/full")
    assert full == tiny.Ran(1, b"", b"Error: cannot write to stdout: No space left on device\n")
    if not more:
        closed = tiny.shell(script + " >&-")
        assert closed == tiny.Ran(1, b"", b"Error: cannot write to stdout: it is closed\n")


def test_a_reader_that_goes_away() -> None:
    """CL-06."""
    ran = tiny.shell("yes 'the cat' | charrnn eval -m char --lines | head -1; echo ${PIPESTATUS[1]}")
    first, code = ran.out.splitlines()
    assert first.endswith(b"\tthe cat")
    assert (code, ran.err) == (b"141", b"")


@pytest.mark.parametrize("more", [["--lines"], ["--lines", "--json"]], ids=str)
def test_an_interrupt(more: list[str]) -> None:
    """CL-11: what is on stdout are whole records."""
    with tiny.start("eval", "-m", "char", *more) as process:
        assert process.stdin is not None
        feeder = threading.Thread(target=_feed, args=(process.stdin, b"the cat sat\n" * 100))
        feeder.start()
        ran = tiny.interrupted(process, 0.2)
        feeder.join()
    assert (ran.code, ran.err) == (130, b"")
    assert ran.out.endswith(b"}\n" if "--json" in more else b"\tthe cat sat\n")
    assert ran.out.count(b"\n") > 10


def _feed(pipe: io.RawIOBase, data: bytes) -> None:
    try:
        while True:
            pipe.write(data)
    except (OSError, ValueError):
        pass


def test_a_slow_feed_is_answered_at_once() -> None:
    """EV-16, CL-27: a line's record comes while the next line is still awaited."""
    with tiny.start("eval", "-m", "char", "--lines", stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number, line in enumerate([b"the cat\n", b"sat\n", b"on\nthe\n", b"mat\n"]):
            process.stdin.write(line)
            begun = time.monotonic()
            answer = b""
            while answer.count(b"\n") < line.count(b"\n"):
                assert select([process.stdout], [], [], 20)[0]
                answer += os.read(process.stdout.fileno(), 1 << 16)
            if number:  # the program has started
                assert time.monotonic() - begun < 0.4
            assert [row[3] for row in rows(answer)] == line.split(b"\n")[:-1]
        process.stdin.close()
    assert process.returncode == 0


PEAK = """
import sys
from charrnn.__main__ import main
main(sys.argv[1:])
sys.stderr.write(open("/proc/self/status").read())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
@pytest.mark.parametrize(
    ("more", "megabytes", "growth"),
    [
        (["--lines"], 11, 8),
        (["--window", "64"], 3, 3),
        pytest.param([], 10, 10, marks=pytest.mark.slow),
        pytest.param(["--lines"], 30, 10, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_memory_is_bounded(more: list[str], megabytes: int, growth: int) -> None:
    """EV-16: a text is neither held nor made into ids as a whole. Lines come in blocks, larger or smaller ones as the
    pipe gives them."""

    def peak(times: int) -> int:
        command = [sys.executable, "-c", PEAK, "eval", "-m", "letters", *more]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            for _ in range(times):
                process.stdin.write((b"the king in the knight the kitten " * 30 + b"\n") * 500)  # half a megabyte
            process.stdin.close()
            assert process.stderr is not None
            return int(re.findall(r"VmHWM:\s*([0-9]+) kB", process.stderr.read().decode())[0])

    assert peak(2 * megabytes) < peak(3) + 1000 * growth  # its bytes alone take more


def test_a_table_on_a_terminal() -> None:
    """SE-03: file names and lines are shown, never sent."""
    Path("a\x1b]0;pwn\x07").write_bytes(b"the cat\n")
    Path("[red]b").write_bytes(b"sat")
    ran = tiny.on_terminal("eval", "-m", "char", "a\x1b]0;pwn\x07", "[red]b")
    assert ran.code == 0
    for word in (b"perplexity", b"bits/char", b"a\\x1b]0;pwn\\x07", b"[red]b", b"total"):
        assert word in ran.out
    assert b"\x07" not in ran.out
    assert b"\x1b]" not in ran.out


def test_lines_on_a_terminal() -> None:
    """SE-01."""
    line = "a\x1b[2J\x9b31m\u202e\x07\t.\r".encode()
    ran = tiny.on_terminal("eval", "-m", "char", "--lines", stdin=line + b"\nb\n")
    heading, *found = rows(ran.out)
    assert heading == [b"perplexity", b"tokens", b"oov", b"text"]
    assert [row[3:] for row in found] == [[b"a\\x1b[2J\\x9b31m<U+202E>\\x07", b".\r"], [b"b"]]
    piped = tiny.shell("printf 'a\\033[2J\\n' | charrnn eval -m char --lines | cut -f4")
    assert piped.out == b"a\x1b[2J\n"


@pytest.mark.serial
def test_interrupt_of_a_long_text() -> None:
    """CL-11: nothing is said of a text that was not scored to its end."""
    with tiny.start("eval", "-m", "char") as process:
        assert process.stdin is not None
        feeder = threading.Thread(target=_feed, args=(process.stdin, b"the cat sat\n" * 100))
        feeder.start()
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        feeder.join()
    assert (process.returncode, out, err) == (130, b"", b"")


@pytest.mark.skipif(core.library() is None, reason="the compiled core was not built here")
def test_other_precisions(run: tiny.Program) -> None:
    """Other arithmetics, the same to a thousandth: bfloat16 is the native engine's alone, int8 NumPy's too."""

    def bits(precision: str, engine: str = "auto") -> float:
        options = ["-f", "bits_per_char", "--precision", precision, "--engine", engine]
        return float(run("eval", "-m", "char", *options, stdin=TEXT).out)

    exact, bfloat16, int8 = map(bits, ("float32", "bfloat16", "int8"))
    assert bits("auto") == exact
    assert len({exact, bfloat16, int8}) == 3
    assert [bfloat16, int8] == pytest.approx([exact, exact], rel=1e-3)
    assert bits("int8", "numpy") == pytest.approx(int8, rel=1e-4)
    refused = {
        ("bfloat16", "numpy"): "float32 and int8",
        ("int8", "torch"): "float32, bfloat16 and float16",
    }
    for (precision, engine), known in refused.items():
        ran = run("eval", "-m", "char", "--precision", precision, "--engine", engine, stdin=TEXT)
        assert ran.code == 2
        assert ran.error == f"Error: --precision {precision}: the engine is {engine} on cpu, which has {known}"
    ran = run("train", "char", "--precision", "int8")
    assert (ran.code, ran.error) == (
        2, "Error: --precision must be one of auto, float32, tf32, bfloat16, float16, not 'int8'",
    )  # fmt: skip


@pytest.mark.parametrize("in_memory", [3, 1 << 20])
def test_a_pipe_is_read_twice_to_adapt(in_memory: int, run: tiny.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """EV-16: what can be read only once is kept on disk where it is long; the figures are a file's."""
    monkeypatch.setattr("charrnn.cli.eval_texts._MAX_IN_MEMORY", in_memory)
    data = b"the cat sat on the mat.\n" * 20
    Path("a").write_bytes(data)
    Path("b.fa").write_bytes(b">x\nthe\ncat\n>y\nsat\n")
    expected = objects(run("eval", "-m", "char", "--adapt", "weights", "--json", "a").out)
    assert objects(run("eval", "-m", "char", "--adapt", "weights", "--json", stdin=data).out) == [
        {**each, "file": "-"} for each in expected
    ]
    [sequences] = objects(run("eval", "-m", "char", "--adapt", "weights", "--json", "b.fa").out)
    assert sequences["tokens"] == 9
    ran = run("eval", "-m", "char", "--adapt", "weights", "--errors", "skip", "a", stdin=b"")
    assert (ran.code, ran.err) == (0, b"")
    Path("bad").write_bytes(b"\xff")
    ran = run("eval", "-m", "char", "--adapt", "weights", "--errors", "skip", "bad", "a")
    assert (ran.code, ran.out.count(b"\n")) == (0, 1)
