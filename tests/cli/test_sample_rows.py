"""Rows of `charrnn sample`: their columns and keys, the model's own figures, and the likeliest first."""

import math
from pathlib import Path

import pytest

from charrnn.config.sample import FIELDS
from tests import tiny
from tests.cli import evals


@pytest.fixture(autouse=True)
def _models(tmp_path: Path) -> None:
    evals.write_models()


def test_columns(run: tiny.Program) -> None:
    """CL-19, and rules 4 and 7: in the order named, renamed, texts escaped; no header in a pipe. Keys likewise."""
    tiny.saved(Path("m"), tiny.reciting(tiny.char("\n\tab\\"), b"a\t\\\nb"))
    line = ("sample", "-m", "m", "--seed", "5", "-l", "5", "-n", "2", "-p", "b\n")
    ran = run(*line, "-f", "index,text=says,prompt,nats,line,seed,finish_reason,tokens,perplexity")
    rows = [rb"%d" % n + rb"	\\\nba\t	b\n	0.000000		5	length	5	1.000000" for n in range(2)]
    assert (ran.code, ran.out, ran.err) == (0, b"\n".join(rows) + b"\n", b"")
    found = evals.objects(run(*line, "--json", "-f", "text=says,index").out)
    assert found == [{"says": "\\\nba\t", "index": n} for n in range(2)]
    assert [list(each) for each in found] == [["says", "index"]] * 2
    [_, last] = evals.objects(run(*line, "--json").out)
    assert tuple(last) == FIELDS
    assert (last["line"], last["prompt"]) == (None, "b\n")


def test_a_header_on_a_terminal() -> None:
    ran = tiny.on_terminal("sample", "-m", "char", "--seed", "1", "-l", "1", "-f", "index,tokens=n")
    assert ran == tiny.Ran(0, b"index\tn\n0\t1\n", b"")


CONTROLS = ["--temp", "0.5", "--top-k", "9", "--top-p", "0.9", "--min-p", "0.01"]


@pytest.mark.parametrize(
    ("model", "more"),
    [
        (["char"], []),
        (["char"], CONTROLS),
        (["char"], ["-p", "né "]),
        (["char"], ["--temp", "0", "-p", "the "]),
        (["byte"], ["-p", "é"]),
        (["char", "other"], CONTROLS),
    ],
    ids=str,
)
def test_nats_are_those_of_eval(model: list[str], more: list[str], run: tiny.Program) -> None:
    """At temperature 1 and without constraints, whatever the text was drawn with."""
    models = [word for name in model for word in ("-m", name)]
    line = ("sample", *models, "--seed", "3", "-l", "40", *more)
    [found] = evals.objects(run(*line, "--json").out)
    prompt = more[more.index("-p") :] if "-p" in more else []
    text = run(*line).out
    [scored] = evals.objects(run("eval", *models, *prompt, "--json", stdin=text).out)
    assert found["tokens"] == scored["tokens"] == 40
    assert found["nats"] == pytest.approx(scored["nats"], rel=1e-6)
    assert found["perplexity"] == pytest.approx(scored["perplexity"], rel=1e-6)
    if len(model) == 1:
        expected = math.fsum(evals.nats(model[0], text, b"".join(word.encode() for word in prompt[1:])))
        assert found["nats"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("prompt", ["", "the ", "a\nb"])
def test_the_end_of_a_record_counts(prompt: str, run: tiny.Program) -> None:
    """Where it came to it; of a text that was cut its tokens alone, as `eval --no-end` has them."""
    line = ("sample", "-m", "records", "--seed", "3", "-n", "40", "-p", prompt, "--no-echo")
    before = ("-p", prompt.rpartition("\n")[2])
    for length, more, reason in (("0", [], "end"), ("3", ["--no-end"], "length")):
        found = [e for e in evals.objects(run(*line, "-l", length, "--json").out) if e["finish_reason"] == reason]
        assert len(found) > 20
        lines = "".join(each["text"] + "\n" for each in found).encode()
        scored = evals.objects(run("eval", "-m", "records", *before, "--lines", "--json", *more, stdin=lines).out)
        assert [each["tokens"] for each in found] == [each["tokens"] for each in scored]
        assert [each["nats"] for each in found] == pytest.approx([each["nats"] for each in scored], rel=1e-6)


def test_what_stops_a_text_counts(run: tiny.Program) -> None:
    """As among its tokens."""
    [found] = evals.objects(run("sample", "-m", "char", "--seed", "3", "--stop", "a", "-l", "0", "--json").out)
    assert found["finish_reason"] == "stop"
    assert found["nats"] == pytest.approx(math.fsum(evals.nats("char", found["text"].encode() + b"a")), rel=1e-5)


def test_nats_of_pieces(run: tiny.Program) -> None:
    """Of the tokens that were drawn: those of eval where it cuts the text alike, as it does a single piece."""
    found = evals.objects(run("sample", "-m", "pieces", "--seed", "3", "-n", "300", "-l", "1", "--json").out)
    pieces = {each["text"]: each["nats"] for each in found if len(each["text"]) > 1}  # of a letter the byte is one too
    assert len(pieces) > 2
    for text, nats in pieces.items():
        assert [nats] == pytest.approx(evals.nats("pieces", text.encode()), rel=1e-5)


def test_rank(run: tiny.Program) -> None:
    """The same texts, by their nats; those that are alike as drawn."""
    line = ("sample", "-m", "records", "--seed", "3", "-n", "200", "-l", "12")
    drawn = evals.objects(run(*line, "--json").out)
    ranked = evals.objects(run(*line, "--rank", "--json").out)
    assert ranked == sorted(drawn, key=lambda each: (each["nats"], each["index"]))
    assert ranked != drawn
    texts = "".join(each["text"] + "\n" for each in ranked).encode()
    assert run(*line, "--rank").out == texts
    alike = evals.objects(run("sample", "-m", "char", "--temp", "0", "-n", "3", "-l", "5", "--rank", "--json").out)
    assert [each["index"] for each in alike] == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--rank", "-n", "0"], "--rank and --num 0 cannot be used together: no text is the last one"),
        (["-f", "nat"], "--fields must be fields separated by commas, of index, line, prompt, text, nats, tokens,"),
        (["-f", "nat"], "there is no 'nat'; did you mean 'nats'?"),
        (["-f", "nats,nats"], "a name occurs twice"),
    ],
    ids=str,
)
def test_usage(arguments: list[str], complaint: str, run: tiny.Program) -> None:
    """Refused before the model is looked for."""
    ran = run("sample", "-m", "no such model", *arguments)
    assert ran.code == 2
    assert complaint in ran.error


@pytest.mark.parametrize("more", [["--json"], ["-f", "text"], ["--rank"]], ids=str)
def test_a_text_without_an_end_cannot_be_printed_whole(more: list[str], run: tiny.Program) -> None:
    ran = run("sample", "-m", "char", "-l", "0", *more)
    assert (ran.code, ran.error) == (
        2,
        "Error: --length 0 needs --stop with this model: the text has no end",
    )
