"""Records that match: as probable as freely drawn ones that do."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

from charrnn.config.sample import SamplingParams
from charrnn.engines.base import FORBIDDEN
from charrnn.generation import rejection
from charrnn.generation.generate import TextChunk, generate, joined
from charrnn.generation.match import match_dfa
from charrnn.model import Model
from tests import tiny
from tests.generation.test_match import ENGINES, model_of

COUNT = 800


def chi_squared(found: Counter[str], expected: dict[str, float]) -> float:
    """Pearson's, of probabilities."""
    total = sum(expected.values())
    counts = {text: sum(found.values()) * weight / total for text, weight in expected.items()}
    assert not found.keys() - counts.keys()
    return sum((found[text] - count) ** 2 / count for text, count in counts.items())


def dice(logits: Mapping[bytes, float] | None = None, engine: str = "auto") -> Model:
    """A model of records for which every token has the same probability everywhere, or the logits that it is given."""
    return model_of(replace(tiny.unigram(tiny.char("abc\n"), logits), separator=b"\n"), engine=engine)


def params(**options: Any) -> SamplingParams:
    return SamplingParams(seed=1, **options)


def test_texts_are_as_likely_as_those_drawn_freely() -> None:
    """By the exact probabilities; what masking draws, each branch as likely as its first token, is another thing.
    NumPy draws the same ones."""
    model, slow = (dice({b"a": 1.0, b"c": 0.5}, engine=engine) for engine in ("auto", "numpy"))
    weight = {"a": np.e, "b": 1.0, "c": np.sqrt(np.e), "\n": 1.0}
    total = sum(weight.values())

    def likelihood(text: str) -> float:
        return float(np.prod([weight[char] / total for char in text + "\n"]))

    for pattern, texts in {
        "aa|b": ["aa", "b"],
        "(ab|ba)c{0,2}": [first + "c" * n for first in ("ab", "ba") for n in range(3)],
        "ca(b|aa)": ["cab", "caaa"],  # it begins in one way only
        "c?": ["", "c"],
    }.items():
        drawn = list(model.samples(COUNT, match=pattern, seed=1))
        assert list(slow.samples(60, match=pattern, seed=1)) == drawn[:60]
        found = Counter(drawn)
        assert chi_squared(found, {text: likelihood(text) for text in texts}) < 20.5, pattern
    masked = {"aa": weight["a"], "b": weight["b"]}
    assert chi_squared(Counter(model.samples(COUNT, match="aa|b", seed=1)), masked) > 30


@pytest.mark.parametrize("engine", ENGINES)
def test_rare_ones_are_drawn_all_the_same(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step by step, after so many in vain; others than before, and never a text twice for its random numbers."""
    model = dice({b"c": -12.0}, engine=engine)
    monkeypatch.setattr(rejection, "MAX_REJECTED", 20)
    monkeypatch.setattr(rejection, "MAX_TOKENS", 0)
    found = list(model.samples(50, match="[ab]{3}c[ab]{5,}", seed=1))
    assert len(set(found)) == 50
    assert all(re.fullmatch("[ab]{3}c[ab]{5,}", text) for text in found)
    some = list(model.samples(40, match="(a|b{7})[ab]{4}", seed=1))  # some freely, then step by step
    assert all(re.fullmatch("(a|b{7})[ab]{4}", text) for text in some)
    assert list(model.samples(3, match="(a|b{7})[ab]{4}", seed=1)) == some[:3]
    assert model.sample(match="[ab]{2}c", temp=0) == "aac"  # greedily it would never end so


def test_bad_luck_does_not_end_free_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """One text in some thousand matches. Step by step they would go on until it happens to, hundreds of tokens long."""
    texts = list(dice().samples(20, match=".*abcab", seed=1))
    assert all(text.endswith("abcab") for text in texts)
    assert max(map(len, texts)) < 50
    monkeypatch.setattr(rejection, "MAX_TOKENS", 0)
    monkeypatch.setattr(rejection, "_PATIENCE", 1)
    assert max(map(len, dice().samples(20, match=".*abcab", seed=1))) > 200


@pytest.mark.parametrize("engine", ENGINES)
def test_why_texts_are_rejected(engine: str) -> None:
    """They end where they leave the pattern, at a length that is too short for them, or by their own end too early;
    what has been drawn for them does not count."""
    model = dice(engine=engine)
    texts = list(model.samples(300, match="[ab]{2,}", length=4, seed=1))
    assert {len(text) for text in texts} == {2, 3}
    chunks = joined(model.generate("", params(match="[ab]{2,}", num=50), with_nats=True))
    for number, chunk in enumerate(chunks):
        assert (chunk.index, chunk.finish_reason, chunk.tokens) == (number, "end", len(chunk.data) + 1)
        assert chunk.nats == pytest.approx(chunk.tokens * np.log(model.tokenizer.size))


def test_prompts_are_answered_in_order_or_by_turns() -> None:
    """The first as if alone, others with random numbers of their own; with what is printed of them."""
    model = dice()

    def drawn(prompts: Sequence[str], num: int, most: int = 9) -> list[tuple[int, int, str]]:
        chunks = joined(model.generate(prompts, params(match="[ab]{2,}", num=num)))
        return [(chunk.prompt, chunk.index, chunk.data.decode()) for chunk, _ in zip(chunks, range(most), strict=False)]

    several = drawn(["a", "ba", "a"], 3)
    assert [(prompt, index) for prompt, index, _ in several] == [(p, n) for p in range(3) for n in range(3)]
    assert several[:3] == drawn(["a"], 3)
    assert [text for *_, text in several[:3]] != [text for *_, text in several[6:]]
    assert all(text.startswith(["a", "ba", "a"][prompt]) for prompt, _, text in several)
    turns = drawn(["a", "ba", "a"], 0)
    assert sorted(turns) == several
    assert [(prompt, index) for prompt, index, _ in turns] == [(p, n) for n in range(3) for p in range(3)]


def test_many_prompts_draw_little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has texts on the way, which take memory where prompts take turns, and are thrown away otherwise."""
    sizes: list[int] = []

    def spied(*given: Any, **options: Any) -> Iterator[TextChunk]:
        sizes.append(options["batch_size"])
        return generate(*given, **options)

    monkeypatch.setattr(rejection, "generate", spied)
    texts = [*dice().generate(["a"] * 100, params(match="[ab]+"))]
    by_turns = dice().generate(["a"] * 100, params(match="[ab]+", num=0))
    assert [text.data for text in islice(by_turns, 100)] == [text.data for text in texts]
    assert sizes == [8] * 100 + [1] * 100


def test_what_begins_in_one_way_is_not_waited_for() -> None:
    """Up to the first choice nothing is drawn in vain: of 10,000 draws that would be one in 4**5."""
    match = match_dfa(tiny.char("abc\n"), "abcab[ab]+", b"\n", 0)
    free = rejection._free(match.of_prompt(0), None)
    state, path = int(free.starts[0]), []
    for _ in range(5):
        (allowed,) = np.nonzero(free.dfa.next[state] != FORBIDDEN)
        path.append(int(allowed[0]))
        assert len(allowed) == 1
        state = int(free.dfa.next[state, path[-1]])
    assert bytes(tiny.char("abc\n").decode(np.array(path))) == b"abcab"
    assert not free.ends(np.array(path), 0)
