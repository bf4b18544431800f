"""`charrnn eval --keep`, `--fail-if` and `--reference`: conditions on rows, and shares of a reference."""

from pathlib import Path

import pytest

from tests import tiny
from tests.cli.evals import column, objects, perplexity, rows, texts, write_models

LINES = [b"the cat", b"", b"qzx", b"on the mat"]


@pytest.fixture
def run(run: tiny.Program) -> tiny.Program:
    """The program, beside the models and two texts."""
    write_models()
    Path("a").write_bytes(b"\n".join(LINES) + b"\n")
    Path("b").write_bytes(b"sat\n")
    return run


def test_lines_that_are_kept(run: tiny.Program) -> None:
    """As they came; stderr says how many, and how the figures of the condition are spread."""
    ran = run("eval", "-m", "char", "--lines", "--keep", "tokens > 3 and bytes < 9", "a")
    assert (ran.code, ran.out) == (0, b"the cat\nqzx\n")
    assert ran.err.decode().splitlines() == [
        "kept 2, dropped 2",
        "bytes: 5 %: 1, 25 %: 1, 50 %: 4, 75 %: 8, 95 %: 11",
        "tokens: 5 %: 1, 25 %: 1, 50 %: 4, 75 %: 8, 95 %: 11",
    ]
    limit = sorted(perplexity("char", line + b"\n") for line in LINES)[1] + 1e-3
    by_perplexity = run("eval", "-m", "char", "--lines", "--keep", f"perplexity < {limit}", "-q", "a")
    expected = [line for line in LINES if perplexity("char", line + b"\n") < limit]
    assert (by_perplexity.out, by_perplexity.err) == (b"".join(line + b"\n" for line in expected), b"")
    assert len(expected) == 2


KEPT = [
    (["--lines", "--keep", "text == 'qzx'", "-f", "tokens,text"], b"4\tqzx\n"),
    (["--lines", "--keep", "line == 4 or text == ''", "--json", "-f", "line,tokens"],
     b'{"line": 2, "tokens": 1}\n{"line": 4, "tokens": 11}\n'),
    (["--keep", "bytes > 9"], b"a\n"),
    (["--keep", "bytes < 9", "--json", "-f", "tokens,file"], b'{"tokens": 4, "file": "b"}\n'),
    (["--keep", "file != 'a'", "-f", "tokens,file"], b"4\tb\n"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "out"), KEPT, ids=str)
def test_rows_that_are_kept(arguments: list[str], out: bytes, run: tiny.Program) -> None:
    """With -f or --json rows; of files their names, and no total."""
    files = ["a"] if "--lines" in arguments else ["a", "b"]
    ran = run("eval", "-m", "char", *arguments, *files)
    assert (ran.code, ran.out) == (0, out)


def test_objects_and_rows_that_are_kept(run: tiny.Program) -> None:
    """A row without text is neither kept nor dropped, but where the condition holds."""
    lines = b'{"b": 1,  "t": "the cat"}\n{"t": null}\n{"t": "on"}\n\n'
    ran = run("eval", "-m", "char", "--jsonl", "t", "--keep", "chars > 3", stdin=lines)
    assert ran.out == b'{"b": 1,  "t": "the cat"}\n'
    assert b"kept 1, dropped 1, unscored 1\n" in ran.err
    ran = run("eval", "-m", "char", "--jsonl", "t", "--keep", "not (chars > 3)", stdin=lines)
    assert ran.out == b'{"t": null}\n{"t": "on"}\n'
    assert b"kept 2, dropped 1\n" in ran.err
    table = b'id,t\n1,"the\ncat"\n2,on\n'
    assert run("eval", "-m", "char", "--csv", "t", "--keep", "chars > 3", stdin=table).out == b'id,t\n1,"the\ncat"\n'
    ran = run("eval", "-m", "char", "--csv", "t", "--keep", "chars < 4", "-f", "chars", stdin=table)
    assert ran.out == b"chars,id,t\n3,2,on\n"


FAILING = [
    (["a", "b"], "bytes > 20", "3", "2 of 3 rows; the first: 'a'"),
    (["a", "b"], "bytes > 27", "3", "1 of 3 rows; the first: the total"),
    (["a", "b"], "bytes > 28", "3", None),
    (["a"], "bytes > 20", "1", "1 of 1 row; the first: 'a'"),
    (["--lines", "a"], "tokens < 5", "4", "2 of 4 rows; the first: 'a', line 2"),
    (["--lines", "--keep", "tokens > 8", "a"], "tokens < 5", "1", "2 of 4 rows; the first: 'a', line 2"),
    (["--by", "word", "--lines", "a"], "text == 'mat'", "7", "1 of 7 rows; the first: 'a', line 4"),
    (["--by", "token", "b"], "rank > 0 and entropy < 0", "4", None),
    (["--by", "token", "--json", "b"], "index >= 2", "1", "2 of 4 rows; the first: 'b', line 1"),
]


@pytest.mark.parametrize(("arguments", "condition", "lines", "message"), FAILING, ids=str)
def test_a_condition_that_fails(
    arguments: list[str], condition: str, lines: str, message: str | None, run: tiny.Program
) -> None:
    """Exit code 10; all rows count, those that are not kept too, and all are printed before."""
    ran = run("eval", "-m", "char", "--fail-if", condition, *arguments)
    assert ran.code == (0 if message is None else 10)
    assert ran.out.count(b"\n") == int(lines)
    last = ran.err.decode().splitlines()[-1:]
    assert last == ([] if message is None else [f"--fail-if holds for {message}"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--keep", "perplexty < 5"], "--keep: unknown field 'perplexty' at column 1; did you mean 'perplexity'?"),
        (["--fail-if", "nats > 1 and lines > 2"], "--fail-if: unknown field 'lines' at column 14"),
        (["--keep", "nats = 1"], "--keep: '=' at column 6; write =="),
        (["--keep", "__import__('os')"], "--keep: \"__import__('os')\" is not allowed at column 1; fields, numbers,"),
        (["--keep", ""], "--keep: no condition, as perplexity < 20"),
    ],
)
def test_conditions_that_are_none(arguments: list[str], message: str, run: tiny.Program) -> None:
    """Exit code 2, before anything is read."""
    ran = run("eval", "-m", "gone", *arguments, "gone")
    assert ran.code == 2
    assert ran.error.startswith(f"Error: {message}")


def test_the_share_of_a_reference_that_is_likelier(run: tiny.Program) -> None:
    """A text without tokens has none; the file is read once, as the texts are."""
    found = rows(run("eval", "-m", "char", "--lines", "--reference", "a", "a", "b").out)
    reference = sorted(perplexity("char", line + b"\n") for line in LINES)
    own = [perplexity("char", line + b"\n") for line in (*LINES, b"sat")]
    assert [float(row[3]) for row in found] == [25 * sum(each < one - 1e-4 for each in reference) for one in own]
    assert texts(found) == [*LINES, b"sat"]
    ran = run("eval", "-m", "char", "--lines", "--reference", "a", "--keep", "percentile < 30", "a")
    assert ran.out.splitlines() == [line for line, one in zip(LINES, own, strict=False) if one < reference[2] - 1e-4]
    given = objects(run("eval", "-m", "char", "--lines", "--reference", "a", "--json", "-f", "percentile", "b").out)
    assert [each["percentile"] for each in given] == [float(found[4][3])]
    without = run("eval", "-m", "char", "--lines", "--no-end", "--reference", "a", "-f", "percentile", stdin=b"\n")
    assert without.out == b"\n"
    Path("r").write_bytes(b'{"t": "sat"}\n{"t": 5}\n')
    ran = run("eval", "-m", "char", "--jsonl", "t", "--reference", "r", "-f", "percentile", stdin=b'{"t": "sat"}\n')
    assert (ran.out, ran.err) == (b'{"t": "sat", "percentile": 0.0}\n', b"")
    Path("r").write_bytes(b"")
    ran = run("eval", "-m", "char", "--lines", "--reference", "r", "a")
    assert (ran.code, ran.error) == (4, "Error: 'r': no texts to compare with")
    ran = run("eval", "-m", "char", "--lines", "--reference", "-", "-f", "percentile", "b", stdin=b"sat\n")
    assert column(ran.out) == [0]


def test_a_total_that_is_not_printed_fails_nothing(run: tiny.Program) -> None:
    ran = run("eval", "-m", "char", "--keep", "perplexity > 1e9", "--fail-if", "tokens > 27", "a", "b")
    assert (ran.code, ran.out) == (0, b"")
    assert run("eval", "-m", "char", "--fail-if", "tokens > 27", "a", "b").code == 10
    both = run("eval", "-m", "char", "--lines", "--prompt-file", "-", "--reference", "-", "a", stdin=b"x\n")
    assert (both.code, both.out) == (2, b"")


def test_unknown_characters_of_a_reference_are_not_warned_of(run: tiny.Program) -> None:
    Path("reference").write_bytes("ж\n".encode() * 50 + b"the\n")
    ran = run("eval", "-m", "char", "--lines", "--reference", "reference", stdin="Ü\n".encode())
    assert b"U+00DC" in ran.err
    assert b"U+0436" not in ran.err


def test_marks_and_names_and_sequences_in_rows(run: tiny.Program) -> None:
    """A byte order mark stays in front, a tab in a name breaks no column, FASTA stays FASTA."""
    ran = run("eval", "-m", "char", "--csv", "text", stdin=b"\xef\xbb\xbfid,text\r\n1,the\r\n")
    assert ran.out.splitlines()[0] == b"perplexity,tokens,oov,id,text"
    Path("a\tb").write_bytes(b"the\n")
    assert run("eval", "-m", "char", "--lines", "-f", "file,text", "a\tb").out == b"a\\tb\tthe\n"
    Path("s.fa").write_bytes(b">a\nthe\n>b\ncat\n")
    ran = run("eval", "-m", "char", "--records", "--separator", ";", "--keep", "tokens > 0", "s.fa")
    assert ran.out == b">a\nthe\n>b\ncat\n"
