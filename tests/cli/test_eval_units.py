"""`charrnn eval --by word`, `--by token`, `--carry` and `--heat`: rows within texts."""

import math
import os
import pty
import re
import subprocess
from pathlib import Path
from select import select

import numpy as np
import pytest

from charrnn.console.heat import SGR, STEPS
from tests import tiny
from tests.cli.evals import bits, column, models, nats, objects, perplexity, rows, write_models
from tests.program.program import command, environment
from tests.scoring.oracle import ids_of, ln_p

TEXT = b"the cat sat.\n\nqzx v\nthe end"

WORDS = [b"the", b" cat", b" sat.", b"\n\nqzx", b" v", b"\nthe", b" end"]

LINES = [[b"the", b" cat", b" sat.\n"], [b"\n"], [b"qzx", b" v\n"], [b"the", b" end\n"]]


@pytest.fixture
def run(run: tiny.Program) -> tiny.Program:
    """The program, beside the models and a text."""
    write_models()
    Path("a").write_bytes(TEXT)
    return run


@pytest.mark.parametrize("model", ["char", "byte"])
def test_words(model: str, run: tiny.Program) -> None:
    """White space counts with the word after it, what ends a text with its last word."""
    ran = run("eval", "-m", model, "--by", "word", "a")
    found = rows(ran.out)
    assert (ran.code, ran.err) == (0, b"")
    assert [float(row[0]) for row in found] == pytest.approx(bits(model, *WORDS), abs=2e-6)
    assert [b" ".join(row[1:]).decode() for row in found] == [
        *("1 0 the", "1 1 cat", "1 2 sat.", "3 3 qzx", "3 4 v", "4 5 the", "4 6 end")
    ]
    fields = "file,line,index,offset,text,bits"
    heading, *of_lines = rows(run("eval", "-m", model, "--by", "word", "--lines", "--header", "-f", fields, "a").out)
    assert b",".join(heading).decode() == fields
    expected = [bit for line in LINES for bit in bits(model, *line)]
    assert [float(row[5]) for row in of_lines] == pytest.approx(expected, abs=2e-6)
    assert [b" ".join(row[:5]).decode() for row in of_lines] == [
        *("a 1 0 0 the", "a 1 1 4 cat", "a 1 2 8 sat.", "a 2 0 0 ", "a 3 0 0 qzx", "a 3 1 4 v", "a 4 0 0 the"),
        "a 4 1 4 end",
    ]


def test_words_as_objects(run: tiny.Program) -> None:
    keys = ["file", "line", "index", "offset", "nats", "bits", "tokens", "oov", "perplexity", "text"]
    found = objects(run("eval", "-m", "char", "--by", "word", "--lines", "--json", "a").out)
    assert [list(each) for each in found] == [keys] * 8
    expected = nats("char", b"the end\n")
    assert found[7] == {
        "file": "a",
        "line": 4,
        "index": 1,
        "offset": 4,
        "tokens": 5,
        "oov": 0,
        "text": "end",
        "nats": pytest.approx(sum(expected[3:])),
        "bits": pytest.approx(sum(expected[3:]) / math.log(2)),
        "perplexity": pytest.approx(math.exp(sum(expected[3:]) / 5)),
    }
    renamed = objects(run("eval", "-m", "char", "--by", "word", "--json", "-f", "text=word,bits", "a").out)
    assert [(*each, each["word"]) for each in renamed[:2]] == [("word", "bits", "the"), ("word", "bits", "cat")]


@pytest.mark.parametrize("model", ["char", "byte", "pieces", "records"])
@pytest.mark.parametrize("within", [[], ["--lines"]], ids=str)
def test_rows_add_up_to_the_text(model: str, within: list[str], run: tiny.Program) -> None:
    """Whatever the tokens are, and characters that the model does not know among them."""
    Path("t").write_bytes("\ufeffthe cat Ü\r\n sat on\n\nthe  mat".encode())
    total = sum(column(run("eval", "-m", model, *within, "-f", "nats", "t").out))
    for unit in ("word", "token"):
        assert sum(column(run("eval", "-m", model, *within, "--by", unit, "-f", "nats", "t").out)) == pytest.approx(
            total, abs=1e-4
        )
    given = objects(run("eval", "-m", model, *within, "--by", "token", "--json", "t").out)
    assert -sum(sum(each["logprobs"]["token_logprobs"]) for each in given) == pytest.approx(total, abs=1e-4)


def test_tokens(run: tiny.Program) -> None:
    """Rank and entropy, of the distribution in each place."""
    model = models()["char"]
    ids = ids_of(model, b"a b\n")
    expected = ln_p(model, ids)
    found = rows(run("eval", "-m", "char", "--by", "token", stdin=b"a b\n").out)
    assert [b" ".join(row[3:]).decode() for row in found] == ["1 0 a", "1 1  ", "1 2 b", r"1 3 \n"]
    for row, token, each in zip(found, ids, expected, strict=True):
        entropy = -(np.exp(each) @ each) / math.log(2)
        assert [float(cell) for cell in row[:3]] == pytest.approx(
            [-each[token] / math.log(2), 1 + (each > each[token]).sum(), entropy], abs=1e-5
        )


def test_log_probabilities_as_openai_has_them(run: tiny.Program) -> None:
    """Natural logarithms, the first token's too; bytes that are no UTF-8 are named; an object a text."""
    options = ("--by", "token", "--json", "--top-logprobs", "2")
    [found] = objects(run("eval", "-m", "byte", *options, stdin=b"\xc3\xa9b").out)
    assert list(found) == ["file", "logprobs"]
    given = found["logprobs"]
    assert list(given) == ["tokens", "token_logprobs", "top_logprobs", "text_offset", "ranks", "entropies"]
    assert given["tokens"] == [r"bytes:\xc3", r"bytes:\xa9", "b"]
    assert given["text_offset"] == [0, 0, 1]
    assert given["token_logprobs"] == pytest.approx([-each for each in nats("byte", b"\xc3\xa9b")], abs=1e-5)
    for each, expected in zip(given["top_logprobs"], ln_p(models()["byte"], [0xC3, 0xA9, 0x62]), strict=True):
        likeliest = np.argsort(-expected)[:2].tolist()
        names = [chr(byte) if byte < 128 else rf"bytes:\x{byte:02x}" for byte in likeliest]
        assert list(each) == names
        assert list(each.values()) == pytest.approx(expected[likeliest], abs=1e-5)
    lines = objects(run("eval", "-m", "char", "--by", "token", "--lines", "--json", stdin="é\n\nÜ".encode()).out)
    assert [(each["file"], each["line"], each["logprobs"]["tokens"]) for each in lines] == [
        ("-", 1, ["é", "\n"]), ("-", 2, ["\n"]), ("-", 3, ["Ü", "\n"])
    ]  # fmt: skip
    assert [each["logprobs"]["top_logprobs"] for each in lines] == [None] * 3


def test_a_prompt_before_words(run: tiny.Program) -> None:
    """It has no row, and offsets are the text's own."""
    found = rows(run("eval", "-m", "char", "--by", "word", "-p", "the ", "-f", "text,offset,nats", stdin=b"cat").out)
    assert [row[:2] for row in found] == [[b"cat", b"0"]]
    assert float(found[0][2]) == pytest.approx(sum(nats("char", b"cat", b"the ")), abs=2e-6)


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_shares_of_a_whole(end: bytes, run: tiny.Program) -> None:
    """--carry: rows add up to the file, whose last line is scored as it is."""
    Path("t").write_bytes(TEXT + end)
    [whole] = column(run("eval", "-m", "char", "-f", "nats", "t").out)
    found = rows(run("eval", "-m", "char", "--lines", "--carry", "-f", "nats,tokens,text", "t").out)
    lines = [line + b"\n" for line in TEXT.split(b"\n")]
    lines[-1] = lines[-1][:-1] + end
    assert [float(row[0]) / math.log(2) for row in found] == pytest.approx(bits("char", *lines), abs=2e-6)
    assert [int(row[1]) for row in found] == [13, 1, 6, 7 + len(end)]
    assert sum(float(row[0]) for row in found) == pytest.approx(whole, abs=4e-6)
    words = column(run("eval", "-m", "char", "--lines", "--carry", "--by", "word", "-f", "nats", "t").out)
    assert len(words) == 8
    assert sum(words) == pytest.approx(whole, abs=1e-5)
    compared = rows(run("eval", "-m", "char", "--lines", "--carry", "--reference", "a", "t").out)
    alone = [perplexity("char", line + b"\n") for line in TEXT.split(b"\n")]
    for row in compared[1:]:  # the first one's is as that of the same line alone
        assert float(row[3]) == 25 * sum(each < float(row[0]) for each in alone)


def test_state_is_not_carried_through_a_model_of_records(run: tiny.Program) -> None:
    ran = run("eval", "-m", "records", "--lines", "--carry", "a")
    assert (ran.code, ran.error) == (2, "Error: --carry cannot be used with a model of records")


def test_heat(run: tiny.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours go into a pipe, their legend to stderr; without the colours it is the text."""
    monkeypatch.setenv("TERM", "xterm-256color")
    ran = run("eval", "-m", "letters", "--heat", stdin=b"the\nzz")
    colors = [SGR[256][np.searchsorted(STEPS, nat / math.log(2), "right")] for nat in nats("letters", b"the\nzz")]
    assert ran.out.decode() == (f"\x1b[{colors[0]}mthe\x1b[0m\x1b[{colors[3]}m \x1b[0m\n\x1b[{colors[4]}mzz\x1b[0m\n")
    assert ran.err == b"surprise in bits per token:  <1  1-2  2-4  4-6  6-9  9+ \n"
    lines = run("eval", "-m", "char", "--heat", "--lines", "a", "a")
    assert re.sub(rb" ?\x1b\[[0-9;]*m ?", b"", lines.out).replace(b" ", b"") == (TEXT + b"\n").replace(b" ", b"") * 2
    ran = run("eval", "-m", "char", "--heat", stdin=b"")
    assert (ran.code, ran.error) == (4, "Error: stdin: no tokens to score")
    assert run("eval", "-m", "char", "--heat", "--lines", "--no-end", stdin=b"\n\n").out == b"\n\n"
    monkeypatch.setenv("NO_COLOR", "1")
    ran = run("eval", "-m", "char", "--heat", "a")
    assert (ran.code, ran.error) == (2, "Error: --heat needs colour, which NO_COLOR, --no-color or TERM=dumb turns off")


@pytest.mark.parametrize(
    ("options", "lines"),
    [("--lines --carry --by word", [b"the\n", b"sat\n"]), ("--csv 1", [b'a,"b\nc"\n', b"d,e\n"])],
)
def test_a_slow_feed_is_answered_at_once(options: str, lines: list[bytes], run: tiny.Program) -> None:
    """EV-16: whatever the rows are."""
    with tiny.start("eval", "-m", "char", *options.split(), stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in lines:
            process.stdin.write(line)
            assert select([process.stdout], [], [], 20)[0]
            assert line.split(b",")[0].strip() in os.read(process.stdout.fileno(), 1 << 16)
        process.stdin.close()
    assert process.returncode == 0


def test_heat_at_a_terminal(run: tiny.Program) -> None:
    """Each typed line is answered, and the legend comes first."""
    master, slave = pty.openpty()
    command = ("eval", "-m", "char", "--lines", "--heat", "-")
    with tiny.start(*command, stdin=slave, env=os.environ | {"TERM": "xterm"}) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        os.close(slave)
        for line in (b"the cat\n", b"sat\n"):
            os.write(master, line)
            answer = b""
            while b"\n" not in answer:
                assert select([process.stdout], [], [], 20)[0]
                answer += os.read(process.stdout.fileno(), 1 << 16)
            assert re.sub(rb"\x1b\[[0-9;]*m", b"", answer).split() == line.split()
        assert select([process.stderr], [], [], 0)[0]
        os.write(master, b"\x04")
        assert process.stderr.read().startswith(b"surprise in bits per token: ")
        assert process.wait(20) == 0
    os.close(master)


def test_what_is_left_out_is_not_in_the_next_row(run: tiny.Program) -> None:
    """What was kept of a file up to its fault was printed with the next file."""
    Path("bad").write_bytes(b"the \xff")
    ran = run("eval", "-m", "char", "--by", "token", "--json", "--errors", "skip", "bad", "a")
    assert ran.code == 0
    [found] = objects(ran.out)
    assert "".join(found["logprobs"]["tokens"]).encode() == TEXT
    assert found["file"] == "a"
    ran = run("eval", "-m", "char", "--heat", "--errors", "skip", "bad", "a")
    assert re.sub(rb"\x1b\[[0-9;]*m", b"", ran.out).startswith(b"the cat")


def test_replaced_places_are_warned_of(run: tiny.Program) -> None:
    Path("bad").write_bytes(b"the \xff\nking\xff\n")
    for more in (["--by", "word"], ["--lines", "--by", "token"], ["--lines", "--carry", "--by", "word"]):
        assert (
            b"places with invalid UTF-8, read as U+FFFD: 2"
            in run("eval", "-m", "char", "--errors", "replace", *more, "bad").err
        )


def test_shares_of_records_add_up_whatever_ends_the_file(run: tiny.Program) -> None:
    """The beginning of a separator at the end of a file was left out."""
    for data in (b"the\n\ncat\n", b"the\n\ncat", b"the\n\ncat\n\n"):
        Path("r").write_bytes(data)
        ran = run("eval", "-m", "char", "--records", "--separator", r"\n\n", "--carry", "-f", "bits,tokens", "r")
        found = np.array([[float(cell) for cell in row] for row in rows(ran.out)]).sum(axis=0)
        assert found.tolist() == pytest.approx([sum(bits("char", data)), len(data)], abs=2e-6)
    Path("s.fa").write_bytes(b">a\nthe\n")
    ran = run("eval", "-m", "char", "--records", "--carry", "s.fa")
    assert (ran.code, ran.out) == (4, b"")
    assert b"leave --carry out" in ran.err


@pytest.mark.parametrize("more", [["--lines", "--carry", "--by", "word"], ["--by", "token"]], ids=" ".join)
def test_what_has_come_is_there_before_more_is_waited_for(more: list[str]) -> None:
    """Rule 5: rows waited for the end of the pipe, or for 4,096 tokens."""
    write_models()
    words = command("eval", "-m", "char", *more)
    variables = {name: value for name, value in environment().items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"the cat sat\n")
        process.stdin.flush()
        expected = 2 if "word" in more else 11  # the last one may go on
        found = b""
        while found.count(b"\n") < expected:
            assert select([process.stdout], [], [], 20)[0], found
            found += os.read(process.stdout.fileno(), 1 << 16)
        process.stdin.close()
        process.stdout.read()
