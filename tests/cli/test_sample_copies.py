"""`charrnn sample --no-repeat` and `--max-copy`: what is printed does neither; and what `-v` says is copied."""

import dataclasses
from pathlib import Path

import pytest

import charrnn
from charrnn.config.train import TrainConfig
from charrnn.corpus.corpus import Corpus
from charrnn.errors import UsageError
from charrnn.generation import generate as generation
from charrnn.runs.run_dir import RunDir
from tests import tiny
from tests.cli import evals

TEXT = b"the cat sat on the mat, and the dog ran at the cat.\n"


@pytest.fixture(autouse=True)
def _models(monkeypatch: pytest.MonkeyPatch) -> None:
    """`poem` writes its text over and over, with slips; `bare` has no run; `names` has records."""
    monkeypatch.setattr(generation, "CHUNK_SECONDS", 0.0)  # little more is drawn than is wanted
    model = tiny.reciting(tiny.char(TEXT.decode()), TEXT, 7.0)
    info = {"step": 3, "corpus_sha256": Corpus.from_texts([("", TEXT)]).sha256}
    for name, each in {
        "poem": dataclasses.replace(model, info=info),
        "bare": model,
        "names": dataclasses.replace(model, separator=b"\n"),
    }.items():
        folder = Path("checkpoints", name)
        folder.mkdir(parents=True)
        tiny.saved(folder / "model.safetensors", each)
    Path("poem.txt").write_bytes(TEXT)
    RunDir(Path("checkpoints", "poem")).save_config(TrainConfig(corpus=("poem.txt",)))


def longest_copy(text: bytes) -> int:
    return max((n for n in range(1, 99) for at in range(len(text) - n + 1) if text[at : at + n] in TEXT), default=0)


POEM = ("sample", "-m", "poem", "--seed", "5", "-l", "300")


def test_no_longer_stretch_is_printed(run: tiny.Program) -> None:
    plain = run(*POEM).out
    assert longest_copy(plain) > 30
    ran = run(*POEM, "--max-copy", "9", "--no-repeat", "12")
    assert (ran.code, ran.err) == (0, b"")
    assert longest_copy(ran.out) == 9
    assert len({ran.out[at : at + 12] for at in range(289)}) == 289
    assert len({plain[at : at + 12] for at in range(289)}) < 289
    model = charrnn.load("poem")
    assert model.sample(length=300, seed=5, max_copy=9, no_repeat=12).encode() == ran.out
    many = list(model.samples(3, length=300, seed=5, max_copy=9, no_repeat=12))
    assert many[0].encode() == ran.out
    for more in (("--max-copy", "1000"), ("--no-repeat", "301")):
        assert run(*POEM, *more).out == plain


def test_where_nothing_may_follow_is_a_stop(run: tiny.Program) -> None:
    rows = evals.objects(run(*POEM, "--no-repeat", "1", "--json", "-n", "2").out)
    assert {row["finish_reason"] for row in rows} == {"stop"}
    assert all(len(set(row["text"])) == len(row["text"]) == row["tokens"] for row in rows)
    scored = charrnn.load("poem").score(rows[0]["text"])
    assert rows[0]["nats"] == pytest.approx(scored.nats, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["-m", "names", "--max-copy", "9"], "--max-copy needs a model of text that has no records; --exclude FILE"),
        (["-m", "bare", "--max-copy", "9"], "--max-copy needs the text that the model was trained on: cannot read"),
        (["-m", "bare", "--max-copy", "9"], "; --exclude FILE takes a list in its place"),
        (["-m", "poem", "--max-copy", "9"], "--max-copy needs the text that the model was trained on: it has changed"),
        (["-m", "poem", "--max-copy", "-1"], "--max-copy must be a whole number, 0 or more, not '-1'"),
        (["-m", "poem", "--no-repeat", "x"], "--no-repeat must be a whole number, 0 or more, not 'x'"),
        (["-m", "poem", "--match", "a+", "--no-repeat", "3"], "--match and --no-repeat cannot be used together with"),
        (["-m", "poem", "--match", "a+", "--max-copy", "3"], "--match and --max-copy cannot be used together with"),
    ],
    ids=str,
)
def test_refusals(arguments: list[str], complaint: str, run: tiny.Program) -> None:
    Path("poem.txt").write_bytes(TEXT + b"new\n")
    ran = run("sample", "--seed", "1", *arguments)
    assert ran.code == 2
    assert complaint in ran.error


def test_a_pattern_that_any_beginning_matches(run: tiny.Program) -> None:
    ran = run(*POEM, "--match", "[^.]*", "--no-repeat", "4", "--max-copy", "9", "-n", "9", "--separator", "|")
    texts = ran.out.split(b"|")[:-1]
    assert (ran.code, len(texts)) == (0, 9)
    assert not any(b"." in text or longest_copy(text) > 9 for text in texts)


def test_a_model_in_memory_has_no_corpus() -> None:
    model = charrnn.load("poem")
    built = charrnn.Model(model.engine, model.tokenizer)
    with pytest.raises(UsageError, match="max_copy needs a model that was read from the folder of its run"):
        built.samples(1, max_copy=3)


def test_several_models(run: tiny.Program) -> None:
    """The texts of all of them."""
    folder = Path("checkpoints", "other")
    folder.mkdir()
    other = b"fast rats hand on the mat"
    model = tiny.reciting(tiny.char(TEXT.decode()), TEXT, 7.0)
    info = {"corpus_sha256": Corpus.from_texts([("", other)]).sha256}
    tiny.saved(folder / "model.safetensors", dataclasses.replace(model, info=info))
    Path("other.txt").write_bytes(other)
    RunDir(folder).save_config(TrainConfig(corpus=("other.txt",)))
    text = run(*POEM, "-m", "other", "--max-copy", "3").out
    assert not any(text[at : at + 4] in TEXT or text[at : at + 4] in other for at in range(297))


def test_what_is_copied_is_said(run: tiny.Program) -> None:
    """With -v, of models of text alone; where it is not known, why."""
    saying = "% of the characters lie in stretches of 30 and more that stand in the training text\n"
    copied = run(*POEM, "-v", "-n", "2", "--temp", "0").err.decode()
    assert copied.endswith("100.0" + saying)
    assert run(*POEM, "-v", "--max-copy", "29").err.decode().endswith("0.0" + saying)
    assert "stand in" not in run(*POEM).err.decode()
    assert "stand in" not in run("sample", "-m", "names", "-v", "-l", "9").err.decode()
    Path("poem.txt").unlink()
    ran = run(*POEM, "-v")
    assert (ran.code, ran.out) == (0, run(*POEM).out)
    assert b"how much is copied from the training text is not known: " in ran.err
