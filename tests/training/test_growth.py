"""The weights of a model whose vocabulary grows."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from charrnn.checkpoint.format import Checkpoint
from charrnn.network.architecture import Architecture
from charrnn.network.head import HeadLayout
from charrnn.training.growth import NOISE, grow, grown_clusters
from tests import tiny


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_rows_are_matched_by_character(cell: str) -> None:
    """Old rows are moved, not changed, `<unk>` and `<s>` among them; new ones are near the mean of the old."""
    old, new = tiny.char("bdf\n"), tiny.char("abcdefg\n")
    model = tiny.drawn(old, cell)
    extended = grow(model, new, seed=3)
    assert {name: array.shape for name, array in extended.items()} == replace(
        model.architecture, vocabulary=new.size
    ).shapes()
    for name, before in model.weights.items():
        after = extended[name]
        assert after.dtype == np.float32
        if name.startswith("layers."):
            assert after is before
            continue
        for char in "bdf\n":
            one, other = old.encode(char.encode())[0], new.encode(char.encode())[0]
            assert (after[other] == before[one]).all()
        assert (after[new.unknown] == before[old.unknown]).all()
        known = before[: len(old.table)]
        fresh = after[new.encode(b"aceg")]
        assert np.abs(fresh - known.mean(axis=0)).max() < 6 * NOISE * known.std(axis=0).max()
        assert len(np.unique(fresh, axis=0)) == 4  # each another
    assert (extended["embedding"][new.size] == model.weights["embedding"][old.size]).all()
    again = grow(model, new, seed=3)
    assert all((again[name] == extended[name]).all() for name in extended)
    assert (grow(model, new, seed=4)["embedding"] != extended["embedding"]).any()


def test_what_the_model_read_as_unknown() -> None:
    """One that has been trained with rare characters left out has learnt of `<unk>` what new characters are like."""
    old, new = tiny.char("bd\n"), tiny.char("abd\n")
    model = tiny.drawn(old)
    model.weights["embedding"][old.unknown] = 100
    assert grow(model, new, 0)["embedding"][1].max() < 10
    model.info["plan"] = {"config": {"vocab_size": 3}}
    assert grow(model, new, 0)["embedding"][1].min() > 90


@pytest.mark.parametrize("tokenizer", [tiny.pieces(), tiny.char()], ids=["sentencepiece", "char"])
def test_what_is_known_already_stays_as_it_is(tokenizer: Any) -> None:
    model = tiny.drawn(tokenizer)
    assert grow(model, tokenizer, 0) == model.weights  # the same arrays


def test_the_grown_model_reads_old_text_as_before() -> None:
    """Logits of old characters are the same to the last bit; only what new ones might take is missing."""
    old, new = tiny.char("abc\n"), tiny.char("abcxyz\n")
    model = tiny.drawn(old)
    extended = Checkpoint(Architecture("gru", new.size, (12,), 6), new, grow(model, new, 0))
    text, found = b"abcabc\ncab\n", []
    for each in (model, extended):
        engine = tiny.engine_of(each, "numpy")
        ids, state, logits = each.tokenizer.encode(text), engine.zero_state(1), []
        for token in ids:
            out, state = engine.step(np.array([token], np.int64), state)
            logits.append(out[0][each.tokenizer.encode(b"abc\n")])
        found.append(np.array(logits))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("clusters", "joined"), [((1, 0, 0, 1, 0), "bd"), ((2, 1, 0, 2, 2), "f\n")])
def test_new_characters_join_the_cluster_of_the_unknown(clusters: tuple[int, ...], joined: str) -> None:
    """All other rows of the head stay what they were, those of clusters too, wherever they are now.

    Args:
        clusters: of \\n, b, d, f and `<unk>`. joined: the characters of `<unk>`'s.
    """
    old, new = tiny.char("bdf\n"), tiny.char("abcdefg\n")
    small = Architecture("gru", old.size, (12,), 6, clusters=bytes(clusters))
    random = np.random.default_rng(2)
    weights = {name: random.standard_normal(shape).astype(np.float32) for name, shape in small.shapes().items()}
    model = Checkpoint(small, old, weights)
    large = replace(small, vocabulary=new.size, clusters=grown_clusters(model, new))
    extended = grow(model, new, seed=3)
    assert {name: array.shape for name, array in extended.items()} == large.shapes()
    before, after = HeadLayout.of(small), HeadLayout.of(large)
    assert set(after.level_of[new.encode(b"aceg")]) == {clusters[-1]}
    for name in ("head.weight", "head.bias"):
        assert (extended[name][after.entries] == weights[name][before.entries]).all()
        for char in "bdf\n":
            one, other = old.encode(char.encode())[0], new.encode(char.encode())[0]
            assert after.level_of[other] == before.level_of[one]
            assert (extended[name][after.row_of[other]] == weights[name][before.row_of[one]]).all()
        assert (extended[name][after.row_of[-1]] == weights[name][before.row_of[-1]]).all()
        like = weights[name][before.row_of[old.encode(joined.encode())]]
        fresh = extended[name][after.row_of[new.encode(b"aceg")]]
        assert np.abs(fresh - like.mean(axis=0)).max() < 6 * NOISE * like.std(axis=0).max()
