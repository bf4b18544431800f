"""The vocabulary of what is trained on, ids, and how much was encoded."""

from pathlib import Path

import numpy as np
import pytest

from charrnn.corpus.documents import no_progress
from charrnn.dataset.encode import grow_vocabulary
from charrnn.dataset.id_cache import IdCache
from charrnn.dataset.prepare import PrepareOptions, prepare, training_splits
from charrnn.dataset.split import WholeSplit
from charrnn.errors import InputError
from charrnn.tokenizers.char import CharTokenizer
from tests.trainings import corpus_of, dataset_of


def test_ev_20_the_vocabulary_is_of_the_training_part() -> None:
    """EV-20: what stands in the validation part alone is unknown there, and no token of the model."""
    made = dataset_of(b"abcdefgh" + "ΩΩ".encode(), fraction=0.2)
    assert made.tokenizer.size == 8 + 1
    assert made.val.ids.tolist() == [made.tokenizer.unknown] * 2
    assert (made.val_counts.unknowns, made.train_counts.unknowns) == (2, 0)
    given = prepare(corpus_of(b"abc"), corpus_of(b"axx"), PrepareOptions(val_fraction=0.5))
    assert (len(given.train), len(given.val), given.val_counts.unknowns) == (3, 3, 2)


def test_ev_20_records() -> None:
    """EV-20: the vocabulary is that of the records to train on; the separator is always known."""
    text = "".join(f"{chr(0x100 + n)}\n" for n in range(50)).encode()
    made = dataset_of(text, separator=b"\n", fraction=0.2)
    assert made.tokenizer.size == 40 + 1 + 1
    assert made.val_counts.unknowns == 10
    assert made.train_counts.unknowns == 0
    rare = dataset_of(b"aaaa|bbbb|aabb", separator=b"|", fraction=0, vocab_size=2)
    assert rare.tokenizer.newline is None
    assert rare.train_counts.unknowns == 6
    assert rare.tokenizer.encode(b"|").tolist() == [1]
    assert rare.tokenizer.decode([1]) == b"|"


def test_a_vocabulary_grows_by_what_is_trained_on() -> None:
    """What it knew stays; what stands in the validation part alone is not added."""
    known = CharTokenizer.from_text(np.array([ord(char) for char in "xyz"], np.uint32))

    def added(text: str, fraction: float, separator: bytes = b"") -> str:
        corpus, options = corpus_of(text.encode(), separator=separator), PrepareOptions(val_fraction=fraction)
        split = training_splits(corpus, None, options)[0]
        chars = set(map(chr, grow_vocabulary(known, *split, "strict", no_progress).table.tolist()))
        assert set("xyz") <= chars
        return "".join(sorted(chars - set("xyz")))

    assert added("abcdefghΩΩ", 0.2) == "abcdefgh"
    assert len(added("".join(f"{chr(0x100 + n)}\n" for n in range(50)), 0.2, b"\n")) == 40 + 1
    corpus = corpus_of(b"xxyyzzxy")
    assert grow_vocabulary(known, corpus, WholeSplit(corpus, train=True), "strict", no_progress) is known


def test_the_smallest_type_that_holds_every_id(tmp_path: Path) -> None:
    """IN-19: uint8, uint16, uint32 by the vocabulary."""
    for count, dtype in ((100, np.uint8), (255, np.uint8), (256, np.uint16), (66_000, np.uint32)):
        text = "".join(map(chr, range(0x10000, 0x10000 + count))).encode()
        made = prepare(corpus_of(text), None, PrepareOptions(val_fraction=0), cache=IdCache(tmp_path))
        assert made.train.ids.dtype == dtype
        assert made.train.ids.tolist() == list(range(count))


def test_counts() -> None:
    made = dataset_of("\ufeffTür auf\r\n".encode(), b"zu\xff", fraction=0, errors="replace")
    counts = made.train_counts
    assert (counts.chars, counts.words, counts.replaced) == (12, 3, 1)
    assert len(made.val) == 0
    assert made.train.starts.tolist() == [0, 9]


def test_invalid_utf_8_is_refused_with_its_place() -> None:
    """IN-03: of the whole text, wherever it is split."""
    for fraction in (0, 0.1, 0.5):
        with pytest.raises(InputError, match=r"^'text 1': invalid UTF-8 at byte 2 \(line 1\)"):
            dataset_of(b"fine", b"zu\xff", fraction=fraction)
    assert len(dataset_of(b"zu\xff", tokenizer="byte", fraction=0).train) == 3
