"""What `charrnn eval` reads: records, CSV, prompts, folders and known corpora; and what it warns of."""

import gzip
import re
from pathlib import Path

import pytest

from charrnn.corpus.catalog import Recipe
from tests import tiny
from tests.cli.evals import column, nats, objects, perplexity, rows, texts, write_models


@pytest.fixture
def run(run: tiny.Program) -> tiny.Program:
    """The program, beside the models."""
    write_models()
    return run


def test_records(run: tiny.Program) -> None:
    """A record ends as the model's do, or as --separator says; its text is escaped, as it may have newlines in it."""
    Path("t").write_bytes(b"the cat\nsat\\\n\non\tthe\n")
    found = rows(run("eval", "-m", "char", "--separator", r"\n\n", "t").out)
    assert texts(found) == [rb"the cat\nsat\\", rb"on\tthe"]  # a last one may be ended in part
    assert float(found[1][0]) == pytest.approx(perplexity("char", b"on\tthe\n"), rel=1e-6)
    assert texts(rows(run("eval", "-m", "char", "--records", "t").out)) == [b"the cat", rb"sat\\", b"", rb"on\tthe"]
    given = objects(run("eval", "-m", "char", "--separator", "|", "--json", "-f", "line,text", stdin=b"a\nb|c").out)
    assert given == [{"line": 1, "text": "a\nb"}, {"line": 2, "text": "c"}]
    ran = run("eval", "-m", "char", "--separator", "|", "--keep", "chars > 2", "-q", stdin=b"a\nb|c").out
    assert ran == b"a\nb|"


CSV = b'id,text\n1,"the\ncat, ""sat"""\n\n2,on\n'


def test_csv(run: tiny.Program) -> None:
    """The row as it came, quoted newlines too, behind the figures; a heading gets their names."""
    cells = [b'the\ncat, "sat"', b"on"]
    ran = run("eval", "-m", "byte", "--csv", "text", "-f", "nats,tokens", stdin=CSV)
    costs = re.findall(rb"^([0-9.]+),", ran.out, re.MULTILINE)
    assert list(map(float, costs)) == pytest.approx([sum(nats("byte", cell + b"\n")) for cell in cells], abs=2e-6)
    assert (ran.code, ran.err, re.sub(rb"(?m)^[0-9.]+,", b"", ran.out)) == (
        0, b"", b'nats,tokens,id,text\n15,1,"the\ncat, ""sat"""\n\n3,2,on\n'
    )  # fmt: skip
    assert run("eval", "-m", "byte", "--csv", "text", stdin=CSV).out.startswith(b"perplexity,tokens,oov,id,text\n")
    given = objects(run("eval", "-m", "byte", "--csv", "text", "--json", "-f", "line,text", stdin=CSV).out)
    assert given == [{"line": 2, "text": cells[0].decode()}, {"line": 5, "text": "on"}]
    fields = run("eval", "-m", "byte", "--csv", "2", "-f", "tokens=n,text", "--header", stdin=b'1,"a, ""b"""\n').out
    assert fields == b'n,text,text\n7,"a, ""b""",1,"a, ""b"""\n'
    tabs = run("eval", "-m", "byte", "--tsv", "1", "-f", "tokens", stdin=b"a\tb\nc\n").out
    assert tabs == b"2\ta\tb\n2\tc\n"


def test_csv_with_faults(run: tiny.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes before has been written."""
    ragged = b"id,text\n1,on\n2\n3,the\n"
    ran = run("eval", "-m", "char", "--csv", "text", "-f", "tokens", stdin=ragged)
    assert (ran.code, ran.out) == (4, b"tokens,id,text\n3,1,on\n")
    assert ran.complaint == "Error: stdin, line 3: there is no column 2, only 1; --errors skip leaves the line out"
    ran = run("eval", "-m", "char", "--csv", "text", "-f", "tokens", "--errors", "skip", stdin=ragged)
    assert (ran.code, ran.out) == (0, b"tokens,id,text\n3,1,on\n4,3,the\n")
    assert ran.err == b"Warning: left out: 1 line; the first: stdin, line 3: there is no column 2, only 1\n"
    ran = run("eval", "-m", "char", "--csv", "name", stdin=ragged)
    assert (ran.code, ran.error) == (4, "Error: stdin, line 1: no column is called 'name'; there are id, text")
    open_quote = b'id,text\n1,on\n2,"the\n' + b"cat\n" * 300_000
    ran = run("eval", "-m", "char", "--csv", "text", "-f", "tokens", stdin=open_quote)
    assert (ran.code, ran.out) == (4, b"tokens,id,text\n3,1,on\n")
    assert ran.complaint == "Error: stdin, line 3: not valid CSV: a quote that is never closed"
    monkeypatch.setattr("charrnn.corpus.tables.MAX_ROW", 1 << 20)
    ran = run("eval", "-m", "char", "--csv", "text", "-f", "tokens", stdin=open_quote)
    assert ran.complaint == "Error: stdin, line 3: not valid CSV: a quote that is not closed within 1 MB"


def test_prompts(run: tiny.Program) -> None:
    """P(text | prompt), tokenised apart from it and read from `<s>` for each text; it is not counted."""
    Path("t").write_bytes(b"cat\nsat\n")
    expected = [perplexity("char", line, b"the ") for line in (b"cat\n", b"sat\n")]
    given = run("eval", "-m", "char", "--lines", "-p", "the ", "t").out
    assert column(given) == pytest.approx(expected, rel=1e-6)
    assert column(given, 1) == [4, 4]
    [whole] = column(run("eval", "-m", "char", "-f", "nats", "-p", r"the\tend", "t").out)
    assert whole == pytest.approx(sum(nats("char", b"cat\nsat\n", b"the\tend")), abs=2e-6)
    assert run("eval", "-m", "char", "--lines", "-p", "", "t").out == run("eval", "-m", "char", "--lines", "t").out
    for prompt in (b"the ", b"the \n", b"the \r\n"):  # verbatim but for one final newline
        Path("p").write_bytes(prompt)
        assert run("eval", "-m", "char", "--lines", "--prompt-file", "p", "t").out == given
    assert run("eval", "-m", "char", "--lines", "--prompt-file", "-", "t", stdin=b"the \n").out == given
    Path("p").write_bytes(b"the \\n\n\n")
    two = column(run("eval", "-m", "byte", "--lines", "--prompt-file", "p", "t").out)
    assert two == pytest.approx([perplexity("byte", line, b"the \\n\n") for line in (b"cat\n", b"sat\n")], rel=1e-6)


def test_a_prompt_for_each_text(run: tiny.Program) -> None:
    lines = b'{"p": "the ", "t": "cat"}\n{"p": "", "t": "cat"}\n{"t": "sat"}\n{"p": 5, "t": "sat"}\n'
    ran = run("eval", "-m", "char", "--jsonl", "t", "--prompt-field", "p", stdin=lines)
    found = objects(ran.out)
    assert [" ".join(each) for each in found] == [*["p t perplexity"] * 2, "t perplexity", "p t perplexity"]
    expected = [perplexity("char", b"cat\n", b"the "), perplexity("char", b"cat\n")]
    assert [each["perplexity"] for each in found] == [*(pytest.approx(each, abs=1e-4) for each in expected), None, None]
    assert ran.err == b"Warning: 2 of 4 objects have no text in the field 'p', or no string: their score is null\n"
    for option, table in (("--csv", b'p,t\n"the ",cat\n'), ("--tsv", b"p\tt\nthe \tcat\n")):
        out = run("eval", "-m", "char", option, "t", "--prompt-field", "p", "-f", "nats=n,tokens=m", stdin=table).out
        cells = out.split(b"\n")[1].replace(b",", b"\t").split(b"\t")
        assert float(cells[0]) == pytest.approx(sum(nats("char", b"cat\n", b"the ")), abs=2e-6)
        assert cells[1] == b"4"


def test_prompts_that_cannot_be_used(run: tiny.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run("eval", "-m", "records", "--lines", "-p", r"a\nb", stdin=b"c\n")
    assert (ran.code, ran.error) == (
        4, "Error: the prompt holds b'\\n', which ends a record of this model: nothing continues after it"
    )  # fmt: skip
    ran = run("eval", "-m", "char", "--prompt-file", "gone", stdin=b"c\n")
    assert (ran.code, ran.error) == (4, "Error: cannot read 'gone': No such file or directory")
    monkeypatch.setattr("charrnn.cli.eval_texts.MAX_PROMPT", 1 << 20)
    Path("p").write_bytes(b"a" * ((1 << 20) + 1))
    ran = run("eval", "-m", "char", "--prompt-file", "p", stdin=b"c\n")
    assert ran.code == 4
    assert ran.error.startswith("Error: 'p': a prompt longer than 1 MB; ")


def test_without_the_end(run: tiny.Program) -> None:
    """--no-end: an empty line has no tokens then."""
    fields = "nats,tokens,perplexity,text"
    found = rows(run("eval", "-m", "char", "--lines", "--no-end", "-f", fields, stdin=b"on\n\n").out)
    assert [row[1:] for row in found[1:]] == [[b"0", b"nan", b""]]
    assert float(found[0][0]) == pytest.approx(sum(nats("char", b"on")), abs=2e-6)
    [given] = objects(run("eval", "-m", "char", "--jsonl", "t", "--no-end", "-f", "tokens", stdin=b'{"t": "on"}').out)
    assert given["tokens"] == 2
    ran = run("eval", "-m", "char", "--no-end", stdin=b"on\n")
    assert (ran.code, ran.error) == (2, "Error: --no-end needs --lines, --records, --jsonl, --tsv or --csv")


def test_folders_patterns_and_known_corpora(run: tiny.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """All visible text files of a folder, in the order of their paths; a path wins over a corpus of that name."""
    Path("d", "sub").mkdir(parents=True)
    for name, data in (("b.txt", b"on"), ("a.txt", b"the"), (".hidden", b"x"), ("c.bin", b"\0"), ("sub/e.txt", b"sat")):
        Path("d", name).write_bytes(data)
    Path("d", "z.gz").write_bytes(gzip.compress(b"mat"))
    ran = run("eval", "-m", "char", "-f", "tokens,file", "d")
    names = [b"d/a.txt", b"d/b.txt", b"d/sub/e.txt", b"d/z.gz"]
    assert (ran.code, texts(rows(ran.out))) == (0, [*names, b"total"])
    assert texts(rows(run("eval", "-m", "char", "d/*.txt").out)) == [*names[:2], b"total"]
    ran = run("eval", "-m", "char", "d/*.text")
    assert (ran.code, ran.error) == (4, "Error: no file matches 'd/*.text'")
    Path("d2").mkdir()
    ran = run("eval", "-m", "char", "d2")
    assert (ran.code, ran.error) == (4, "Error: no text in 'd2'")
    monkeypatch.setattr(Recipe, "fetch", lambda self, progress: Path("d/b.txt"))
    assert column(run("eval", "-m", "char", "-f", "tokens", "shakespeare").out) == [2]
    Path("shakespeare").write_bytes(b"mat\n")
    assert column(run("eval", "-m", "char", "-f", "tokens", "shakespeare").out) == [4]
    ran = run("eval", "-m", "char", "python-docs")
    assert ran.code == 4
    assert ran.error.startswith("Error: python-docs is built into Python: ")
    ran = run("eval", "-m", "char", "-", "-")
    assert (ran.code, ran.error) == (4, "Error: stdin can be read only once")


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "ÜÜÖÖÖÄß",
            "7 of 7 tokens; the commonest: U+00D6 LATIN CAPITAL LETTER O WITH DIAERESIS (3),"
            " U+00DC LATIN CAPITAL LETTER U WITH DIAERESIS (2), U+00C4 LATIN CAPITAL LETTER A WITH DIAERESIS (1)",
        ),
        (
            "e\u0301",
            "1 of 2 tokens; the commonest: U+0301 COMBINING ACUTE ACCENT (1);"
            " U+0301 COMBINING ACUTE ACCENT would be known in NFC: uconv -x any-nfc",
        ),
    ],
)
def test_the_commonest_unknown_characters(text: str, warning: str, run: tiny.Program) -> None:
    """EV-13: and how they would be known."""
    ran = run("eval", "-m", "char", stdin=text.encode())
    assert ran.err.decode() == f"Warning: unknown to the model: {warning}\n"
    by_token = run("eval", "-m", "char", "--by", "token", stdin=text.encode())
    assert by_token.err == ran.err


def test_characters_known_in_another_form(run: tiny.Program, tmp_path: Path) -> None:
    """EV-13: NFD, or no carriage returns."""
    model = tiny.saved(tmp_path / "m.safetensors", tiny.drawn(tiny.char("\ne\u0301")))
    ran = run("eval", "-m", model, "--lines", stdin="é\n".encode())
    assert ran.err.endswith(b"U+00E9 LATIN SMALL LETTER E WITH ACUTE would be known in NFD: uconv -x any-nfd\n")
    ran = run("eval", "-m", model, "--lines", stdin=b"e\r\n")
    assert ran.err.endswith(b"; U+000D <control> is not in texts without carriage returns: tr -d '\\r'\n")
