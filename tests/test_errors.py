"""What a message says was probably meant."""

import time

import pytest

from charrnn.errors import did_you_mean, nearest

OPTIONS = {
    "train": "cell hidden time tokenizer records jsonl val resume out seed dry-run json layers embedding vocab-size"
    " batch seq-len optimizer lr schedule dropout weight-drop weight-decay clip epochs steps patience eval-every"
    " sample-every separator counts tsv errors auto-resume overwrite save-every config device engine precision threads",
    "sample": "model temp length num prompt stop unique novel rank seed json top-k top-p min-p precision exclude"
    " prompt-file lines echo unknown fields separator",
    "eval": "model lines jsonl fields json tsv errors adapt window streams device engine precision",
}


@pytest.mark.parametrize(
    ("command", "word", "meant"),
    [
        ("train", "hiden", "hidden"),
        ("train", "vocab", "vocab-size"),
        ("train", "batch-size", "batch"),
        ("train", "seq_length", "seq-len"),
        ("train", "eopchs", "epochs"),
        ("train", "Hidden", "hidden"),
        ("train", "output", "out"),
        ("train", "jsonlines", "jsonl"),
        ("train", "metric", None),
        ("train", "from", None),
        ("train", "", None),
        ("sample", "html", None),
        ("sample", "len", "length"),
        ("sample", "topk", "top-k"),
        ("sample", "uniq", "unique"),
        ("sample", "not-in", None),
        ("sample", "x" * 100_000, None),
        ("eval", "sreams", "streams"),
        ("eval", "records", None),
        ("eval", "counts", None),
        ("eval", "by", None),
    ],
)
def test_only_what_is_likely(command: str, word: str, meant: str | None) -> None:
    """CL-15."""
    assert nearest(word, OPTIONS[command].split()) == meant


@pytest.mark.parametrize(("word", "meant"), [("nat", "nats"), ("foo", None), ("OOV", "oov"), ("ovo", "oov")])
def test_swapped_and_missing_letters(word: str, meant: str | None) -> None:
    assert nearest(word, ("nats", "oov", "chars")) == meant


def test_how_it_is_written() -> None:
    assert did_you_mean("gur", ["lstm", "gru"]) == "; did you mean 'gru'?"
    assert did_you_mean("gur", iter(["lstm", "gru"]), lambda word: f"--{word}") == "; did you mean --gru?"
    assert did_you_mean("xyz", ["lstm", "gru"]) == did_you_mean("gur", []) == ""


def test_many_words_take_no_time() -> None:
    begin = time.monotonic()
    nearest("a" * 30 + "b" * 30, [f"{'ab' * 30}{number}" for number in range(1000)])
    assert time.monotonic() - begin < 10
