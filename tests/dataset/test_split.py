"""Which side of a corpus is trained on: the beginning of a text, or records chosen by their hashes."""

import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.config.train import RANDOM_SPLIT, TrainConfig
from charrnn.corpus.documents import no_progress
from charrnn.dataset.prepare import PrepareOptions, prepare
from charrnn.dataset.split import RecordSplit
from charrnn.errors import InputError
from charrnn.tokenizers.byte import ByteTokenizer
from charrnn.training.ingest import Corpora, make_dataset
from tests.corpus.test_records import cut, records_of, separators, texts
from tests.trainings import corpus_of, dataset_of

seeds = st.integers(0, 9)

NAMES = b"".join(b"name%d\n" % (n * n) for n in range(200))


# --- texts -----------------------------------------------------------------------------------------------


def test_tiny_shakespeare_is_split_as_nanogpt_splits_it(shared: Path) -> None:
    data = (shared / "tinyshakespeare.txt").read_bytes()
    made = dataset_of(data)
    n = len(data.decode())
    assert (len(made.train), len(made.val)) == (int(n * 0.9), n - int(n * 0.9)) == (1_003_854, 111_540)
    assert b"".join(made.val_texts) == data[1_003_854:]
    assert made.tokenizer.size == 65 + 1  # and <unk>


@pytest.mark.parametrize("tokenizer", ["char", "byte"])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("texts", [["ein Tür", "漢字かな", "x", "🎵🎵"], ["漢字" * 7], ["a" * 19, "é"]])
def test_splits_lose_nothing(tokenizer: str, fraction: float, texts: list[str]) -> None:
    made = dataset_of(*(text.encode() for text in texts), tokenizer=tokenizer, fraction=fraction)
    data = "".join(texts) if tokenizer == "char" else "".join(texts).encode()
    middle = int(len(data) * (1 - fraction))
    assert (len(made.train), len(made.val)) == (middle, len(data) - middle)
    rest = data[middle:]
    assert b"".join(made.val_texts) == (rest.encode() if isinstance(rest, str) else rest)
    assert made.train_end == (data[:middle].encode() if isinstance(data, str) else data[:middle])
    assert made.train_counts.bytes + made.val_counts.bytes == len("".join(texts).encode())


@pytest.mark.parametrize(
    ("data", "fraction", "had", "needed"),
    [(b"x", 0.1, 1, 2), ("é".encode(), 0.1, 1, 2), (b"x" * 9, 0.9, 9, 11), (b"xyz", 0.75, 3, 4)],
)
def test_in_10_too_little_to_split(data: bytes, fraction: float, had: int, needed: int) -> None:
    """IN-10: the count had, the count needed, the flag to lower; and what is said to suffice does."""
    with pytest.raises(InputError, match=f"has {had} characters?, and val {fraction} needs {needed},"):
        dataset_of(data, fraction=fraction)
    unit = data[: len(data) // had]
    made = dataset_of(unit * needed, fraction=fraction)
    assert (len(made.train), len(made.val)) == (1, needed - 1)
    assert len(dataset_of(unit, fraction=0.0).train) == 1


# --- records ---------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    held=st.lists(texts, min_size=1, max_size=3), separator=separators, size=st.integers(1, 9), seed=st.integers(0, 9)
)
def test_records_are_chosen_whole(held: list[bytes], separator: bytes, size: int, seed: int) -> None:
    """Wherever the texts are cut, and each on one side alone."""
    corpus = corpus_of(*held, separator=separator)
    found = [b"".join(document.chunks()) for document in corpus.documents]
    records = [record for text in found for record in records_of(text, separator)]
    assert corpus.stats.records.sum() == len(records)
    chosen = np.random.default_rng(seed).random(len(records)) < 0.5
    if not records:
        return
    split = RecordSplit(corpus, chosen)
    sides = [b"", b""]
    for number, text in enumerate(found):
        cut_chunk = split.cut(number)
        for chunk in cut(text, size):
            sides = [side + part for side, part in zip(sides, cut_chunk(chunk), strict=True)]
    for side, wanted in zip(sides, (chosen, ~chosen), strict=True):
        assert side == b"".join(record for record, keep in zip(records, wanted, strict=True) if keep)


@pytest.mark.parametrize("tokenizer", ["char", "byte", "sentencepiece"])
@pytest.mark.parametrize("separator", [b"\n", b"\n\n"])
def test_records_are_held_out_wherever_they_stand(tokenizer: str, separator: bytes) -> None:
    text = NAMES.replace(b"\n", separator)
    made = dataset_of(text, tokenizer=tokenizer, separator=separator, split_seed=5)
    parts = {}
    for name, stream in (("train", made.train), ("val", made.val)):
        assert stream.records
        parts[name] = [made.tokenizer.decode(ids) for ids in stream.texts()]
        assert all(record.endswith(separator) and record.count(separator) == 1 for record in parts[name])
    assert len(parts["val"]) == 20
    assert sorted(parts["train"] + parts["val"]) == sorted(records_of(text, separator))
    assert b"".join(made.val_texts) == b"".join(parts["val"])
    again = dataset_of(text, tokenizer=tokenizer, separator=separator, split_seed=5)
    assert np.array_equal(again.val.ids, made.val.ids)
    other = dataset_of(text, tokenizer=tokenizer, separator=separator, split_seed=6)
    assert b"".join(other.val_texts) != b"".join(made.val_texts)
    assert parts["val"] != records_of(text, separator)[-20:]


def test_records_of_several_texts() -> None:
    """A record ends with its text; a byte order mark is that of a text, not of a record."""
    for seed in range(8):
        text = (b"a\naa", "\ufeffaaa\naaaa\n".encode(), b"aaaaa")
        made = dataset_of(*text, separator=b"\n", fraction=0.4, split_seed=seed)
        both = sorted(made.tokenizer.decode(ids) for ids in (*made.train.texts(), *made.val.texts()))
        assert both == sorted(b"a" * n + b"\n" for n in range(1, 6))
        assert len(made.val.starts) == 2


def sides_of(text: bytes, **options: Any) -> tuple[Counter[bytes], Counter[bytes]]:
    """The records to train on, and those to validate on."""
    made = dataset_of(text, tokenizer="byte", separator=b"\n", **options)
    decode = made.tokenizer.decode
    return Counter(map(decode, made.train.texts())), Counter(map(decode, made.val.texts()))


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(1, 9), min_size=2, max_size=40),
    fraction=st.sampled_from([0.01, 0.1, 0.5, 0.9]),
    split_seed=st.sampled_from([0, 1, 2**63 - 1]),
    order=st.randoms(use_true_random=False),
)
def test_equal_records_are_on_one_side(
    counts: list[int], fraction: float, split_seed: int, order: random.Random
) -> None:
    """Whatever their order; the shares are as near to those asked for as that allows, and neither side is empty."""
    records = [b"%d\n" % number for number, count in enumerate(counts) for _ in range(count)]
    train, val = sides_of(b"".join(records), fraction=fraction, split_seed=split_seed)
    assert train + val == Counter(records)
    assert train
    assert val
    assert not train.keys() & val.keys()
    asked = max(1, min(round(len(records) * fraction), len(records) - 1))
    possible = [count for count in counts if count <= asked]
    assert val.total() <= asked + max(possible, default=max(counts))
    assert val.total() >= min(asked, math.ceil(sum(possible) / 2)) - max(possible, default=0)
    order.shuffle(records)
    assert sides_of(b"".join(records), fraction=fraction, split_seed=split_seed) == (train, val)


def test_common_records_are_trained_on() -> None:
    """A record that is most of the corpus is not held out, nor are all others for it."""
    text = b"most\n" * 900 + NAMES[: NAMES.index(b"name10000")]
    for split_seed in range(20):
        train, val = sides_of(text, split_seed=split_seed)
        assert (train[b"most\n"], len(train), val.total()) == (900, 51, 50)


def test_every_record_is_as_likely_to_be_held_out() -> None:
    """Over many keys, and for each of them a tenth of the records."""
    held_out = Counter[bytes]()
    for split_seed in range(400):
        val = sides_of(NAMES, split_seed=split_seed)[1]
        assert val.total() == 20
        held_out += val
    assert len(held_out) == 200
    assert 15 < min(held_out.values()) < 40 < max(held_out.values()) < 75  # 40 with a deviation of 6


def test_records_of_earlier_versions_are_held_out_at_random() -> None:
    """So that their runs can be resumed."""
    config = TrainConfig(records=True, split_seed=RANDOM_SPLIT, seed=3, val=0.25)
    corpus = corpus_of(b"a\nb\nc\nd\ne\nf\ng\nh\n", separator=b"\n")
    made = make_dataset(
        Corpora(corpus), config, None, spool=None, progress=no_progress, note=lambda message, level: None
    )
    assert b"".join(made.val_texts) == b"a\nh\n"


def test_records_that_are_all_equal() -> None:
    with pytest.raises(InputError, match=r"^all 3 records are equal, so that none can be held out; val 0 "):
        dataset_of(b"one\none\none", separator=b"\n")
    assert len(dataset_of(b"one\none\none", separator=b"\n", fraction=0).train) == 12


def test_too_few_records() -> None:
    """IN-10."""
    with pytest.raises(InputError, match=r"has 1 record, and val 0.1 needs 2,"):
        dataset_of(b"alone\n", separator=b"\n")
    made = dataset_of(b"one\ntwo\n", separator=b"\n")
    assert (len(made.train.starts), len(made.val.starts)) == (1, 1)
    assert len(dataset_of(b"alone", separator=b"\n", fraction=0).train) == 6


def test_weights_are_of_the_records_to_train_on() -> None:
    corpus = corpus_of(b"a\nb\nc\nd\n", separator=b"\n", weights=[1, 20, 300, 4000])
    made = prepare(corpus, None, PrepareOptions("byte", val_fraction=0.25, split_seed=1))
    assert made.train.weights is not None
    catalog = {b"a\n": 1, b"b\n": 20, b"c\n": 300, b"d\n": 4000}
    read = [ByteTokenizer().decode(ids) for ids in made.train.texts()]
    assert [catalog[record] for record in read] == made.train.weights.tolist()
    assert len(made.val.starts) == 1
    assert made.val.weights is None
