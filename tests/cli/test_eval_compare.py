"""`charrnn eval` with several models: their mean, --classify and --compare; and the keys of all rows."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from charrnn.config.eval import COMPARED
from tests import tiny
from tests.cli.evals import bits, nats, objects, rows, texts, write_models

LINES = [b"the cat", b"", b"qzx vvk", b"the king", b"on the mat"]


@pytest.fixture
def run(run: tiny.Program) -> tiny.Program:
    """The program, beside the models and two texts."""
    write_models()
    Path("a").write_bytes(b"\n".join(LINES) + b"\n")
    Path("b").write_bytes(b"the cat\n" * 3)
    return run


def bits_per_byte(model: str, text: bytes) -> float:
    return sum(bits(model, text)) / len(text)


def likeliest(text: bytes, *models: str) -> tuple[str, float]:
    """Return the model with the fewest bits per byte, and how many the second needs more."""
    best, second = sorted((bits_per_byte(model, text), model) for model in models)[:2]
    return best[1], second[0] - best[0]


def test_the_mean_of_models(run: tiny.Program) -> None:
    """Of their probabilities; models of different vocabularies have none."""
    [found] = rows(run("eval", "-m", "char", "-m", "other", "-f", "nats", "b").out)
    ours, others = (np.array(nats(model, b"the cat\n" * 3)) for model in ("char", "other"))
    assert float(found[0]) == pytest.approx(-np.log((np.exp(-ours) + np.exp(-others)) / 2).sum(), abs=1e-5)
    ran = run("eval", "-m", "char", "-m", "byte", "b")
    assert (ran.code, ran.error.partition(" cannot")[2]) == (2, " be used together: they have different vocabularies")


def test_which_model_is_likeliest(run: tiny.Program) -> None:
    """Of different vocabularies too; rows come in the order of the input."""
    models = ("letters", "char", "byte")
    named = [word for model in models for word in ("-m", model)]
    found = rows(run("eval", *named, "--classify", "--lines", "a").out)
    expected = [likeliest(line + b"\n", *models) for line in LINES]
    assert len({model for model, _ in expected}) > 1
    assert [row[0].decode() for row in found] == [model for model, _ in expected]
    assert [float(row[2]) for row in found] == pytest.approx([margin for _, margin in expected], abs=2e-6)
    assert [float(row[1]) for row in found] == pytest.approx(
        [bits_per_byte(model, line + b"\n") for (model, _), line in zip(expected, LINES, strict=True)], abs=2e-6
    )
    assert texts(found) == LINES
    by_file = rows(run("eval", *named, "--classify", "a", "b").out)
    assert [(row[0].decode(), row[3]) for row in by_file] == [
        (likeliest(Path(name).read_bytes(), *models)[0], name.encode()) for name in "ab"
    ]
    lines = b"".join(json.dumps({"id": n, "t": line.decode()}).encode() + b"\n" for n, line in enumerate(LINES))
    given = objects(run("eval", *named, "--classify", "--jsonl", "t", stdin=lines + b'{"t": 1}\n').out)
    added = ["model", "bits_per_byte", "margin"]
    assert [list(each) for each in given] == [["id", "t", *added]] * 5 + [["t", *added]]
    assert [each["model"] for each in given] == [*(model for model, _ in expected), None]
    of_own = rows(run("eval", *named, "--classify", "--lines", "--reference", "a", "-f", "model,percentile", "a").out)
    for line, (model, percentile) in zip(LINES, of_own, strict=True):  # of the model's own scores of the reference
        costs = [np.mean(nats(model.decode(), each + b"\n")) for each in LINES]
        assert float(percentile) == 20 * sum(each < costs[LINES.index(line)] - 1e-5 for each in costs)
    ran = run("eval", *named, "--classify", "--lines", "--keep", "model == 'letters' and margin > 0", "-q", "a")
    of_letters = [line for line, (model, _) in zip(LINES, expected, strict=True) if model == "letters"]
    assert ran.out.splitlines() == of_letters
    ran = run("eval", *named, "--classify", "--lines", "--errors", "skip", stdin=b"a\xff\nthe\n")
    assert (ran.code, ran.out.count(b"\n")) == (0, 1)


def test_a_model_and_itself(run: tiny.Program) -> None:
    ran = run("eval", "-m", "char", "-m", "char", "--compare", "--lines", "a")
    [found] = rows(ran.out)
    assert found[:2] + found[4:] == [b"char", b"char", b"0.000000", b"0.000000", b"0.000000", b"5"]
    assert found[2] == found[3]


def test_differences_of_models(run: tiny.Program) -> None:
    """A row a pair, the first model's minus the second's; texts that only some models score are in none."""
    named = ["-m", "char", "-m", "other", "-m", "byte"]
    heading, *found = rows(run("eval", *named, "--compare", "--lines", "--header", "a", "b").out)
    assert b" ".join(heading).decode() == "model other " + " ".join(COMPARED)
    assert [row[:2] for row in found] == [[b"char", b"other"], [b"char", b"byte"], [b"other", b"byte"]]
    units = [line + b"\n" for line in [*LINES, *[b"the cat"] * 3]]
    size = sum(map(len, units))
    means = {model: sum(sum(bits(model, unit)) for unit in units) / size for model in ("char", "other", "byte")}
    for row in found:
        one, other, difference, low, high = map(float, row[2:7])
        assert [one, other] == pytest.approx([means[row[0].decode()], means[row[1].decode()]], abs=2e-6)
        assert difference == pytest.approx(one - other, abs=2e-6)
        assert low < difference < high
        assert row[7] == b"8"
    assert run("eval", *named, "--compare", "--lines", "a", "b").out.count(b"\n") == 3
    again = run("eval", *named, "--compare", "--lines", "a", "b", "--json")
    assert [each["low"] for each in objects(again.out)] == pytest.approx([float(row[5]) for row in found], abs=1e-6)


def test_a_comparison_that_fails(run: tiny.Program) -> None:
    for condition, code in (("low > 0", 0), ("difference == 0 and texts == 5", 10)):
        ran = run("eval", "-m", "char", "-m", "char", "--compare", "--lines", "--fail-if", condition, "a")
        assert ran.code == code
    assert ran.err == b"--fail-if holds for 1 of 1 row; the first: char and char\n"


def test_whole_files_are_compared_by_blocks_of_lines(run: tiny.Program) -> None:
    """Of about 1,000 characters; of one block there is no interval."""
    Path("c").write_bytes(b"the cat sat on the mat\n" * 200)
    [found] = objects(run("eval", "-m", "char", "-m", "byte", "--compare", "--json", "c").out)
    assert found["texts"] == 5
    assert found["low"] < found["difference"] < found["high"]
    ran = run("eval", "-m", "char", "-m", "byte", "--compare", stdin="ÜÜ\n".encode())
    assert ran.err.startswith(b"no interval: there is only one unit, a text or a block of its lines\n")
    assert b"\nWarning: unknown to the model: 2 of 3 tokens; the commonest: U+00DC LATIN CAPITAL " in ran.err
    [short] = objects(run("eval", "-m", "char", "-m", "byte", "--compare", "--json", "a").out)
    assert (short["texts"], short["low"], short["high"]) == (1, None, None)


@pytest.mark.parametrize("option", ["--classify", "--compare"])
def test_nothing_to_compare(option: str, run: tiny.Program) -> None:
    """EV-14: of stdin too, which each model reads."""
    ran = run("eval", "-m", "char", "-m", "byte", option, stdin=b"")
    assert (ran.code, ran.error) == (4, "Error: stdin: no tokens to score")
    files = run("eval", "-m", "char", "-m", "byte", option, "-", stdin=b"the cat\n" * 400)
    Path("-file").write_bytes(b"the cat\n" * 400)
    assert files.out.replace(b"\t-\n", b"\t./-file\n") == run(
        "eval", "-m", "char", "-m", "byte", option, "./-file"
    ).out  # fmt: skip


OF_TEXTS = "nats bits tokens oov chars bytes words perplexity perplexity_without_oov bits_per_char bits_per_byte"
OF_TEXTS += " bits_per_byte_se byte_perplexity word_perplexity"

ADAPTED = "adapted_perplexity adapted_bits_per_char adapted_bits_per_byte"

KEYS = [
    ("a", f"file {OF_TEXTS}"),
    ("a b", f"total {OF_TEXTS}"),
    ("a --adapt weights", f"file {OF_TEXTS} {ADAPTED}"),
    ("a -m byte --classify", f"file model margin {OF_TEXTS}"),
    ("--lines a", f"file line {OF_TEXTS} text"),
    ("--records a", f"file line {OF_TEXTS} text"),
    ("--tsv 1 a", f"file line {OF_TEXTS} text"),
    ("--csv 1 a", f"file line {OF_TEXTS} text"),
    ("--lines --carry a", f"file line {OF_TEXTS} text"),
    ("--lines --no-end --reference b a", f"file line {OF_TEXTS} percentile text"),
    ("--lines -m byte --classify a", f"file line model margin {OF_TEXTS} text"),
    ("-m byte --compare a", "model other bits_per_byte other_bits_per_byte difference low high texts"),
    ("--by word a", "file line index offset nats bits tokens oov perplexity text"),
    ("--by token a", "file logprobs"),
    ("--by token --lines a", "file line logprobs"),
    ("--by token -f text,rank=r a", "text r"),
    ("--jsonl t j", f"file line {OF_TEXTS} text"),
]


@pytest.mark.parametrize(("options", "keys"), KEYS)
def test_keys(options: str, keys: str, run: tiny.Program) -> None:
    """CL-19: the keys of the last object, in order; no object has NaN or infinity (see `objects`)."""
    Path("j").write_bytes(b'{"t": ""}\n')
    found = objects(run("eval", "-m", "char", "--json", *options.split()).out)
    assert " ".join(found[-1]) == keys
    assert not any(isinstance(value, float) and not math.isfinite(value) for each in found for value in each.values())
