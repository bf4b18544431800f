"""Texts that are new: which draws they are, by each engine that samples on the CPU."""

import gzip
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from charrnn.checkpoint.format import Checkpoint
from charrnn.config.sample import SampleConfig
from charrnn.engines.native import lib as core
from charrnn.generation import generate as generation
from charrnn.generation import novelty
from charrnn.generation.generate import TextChunk, generate, joined
from charrnn.generation.novelty import Novelty, generate_new, lines_of
from tests import tiny

ENGINES = ["numpy", *(["native"] if core.library() else [])]

DICE = tiny.unigram(tiny.char("ab\n"), {b"\n": 1.0})
"""Records of a and b, mostly short."""


@pytest.fixture(autouse=True)
def _few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw little more than is wanted."""
    monkeypatch.setattr(generation, "CHUNK_SECONDS", 0.0)


def new_texts(
    engine: str, *prompts: bytes, model: Checkpoint = DICE, seed: int = 5, novelty: Novelty, echo: bool = False,
    **controls: Any,
) -> Iterator[TextChunk]:  # fmt: skip
    ids = [model.tokenizer.encode(prompt) for prompt in prompts or (b"",)]
    return generate_new(
        tiny.engine_of(model, engine), model.tokenizer, ids, SampleConfig(**controls), seed=seed, novelty=novelty,
        echoes=prompts if echo else (), separator=b"\n",
    )  # fmt: skip


def draws(num: int, seed: int = 5, **controls: Any) -> list[bytes]:
    params = SampleConfig(num=num, **controls)
    ids = [DICE.tokenizer.encode(b"")]
    chunks = generate(tiny.engine_of(DICE), DICE.tokenizer, ids, params, seed=seed, separator=b"\n")
    return [text.data for text in joined(chunks)]


def test_what_is_new() -> None:
    long = b"x" * 1000
    plain, unique = Novelty([b"a", long]), Novelty([b"a", long], unique=True)
    for texts in (plain, unique):
        assert [texts.take(text) for text in (b"a", long, long + b"y", b"", b"ab")] == [False, False, True, True, True]
    assert all(plain.take(text) for text in (b"", b"ab", long + b"y"))
    assert not any(unique.take(text) for text in (b"", b"ab", long + b"y"))


@pytest.mark.parametrize("engine", ENGINES)
def test_draws_are_those_without_it(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that are new, in the order drawn, whatever stands side by side; `index` is the number of the draw."""
    known = [b"", b"a", b"bb"]
    first: dict[bytes, int] = {}
    for number, text in enumerate(draws(2000)):
        if text not in known:
            first.setdefault(text, number)
    for size in (1, 3, 64):
        monkeypatch.setattr(generation, "BATCH_SIZE", size)
        found = list(new_texts(engine, novelty=Novelty(known, unique=True), num=40))
        assert [(each.data, each.index) for each in found] == list(first.items())[:40]
        assert all(each.finished for each in found)
    endless = new_texts(engine, novelty=Novelty(known, unique=True), num=0)
    assert [each.data for each in islice(endless, 40)] == list(first)[:40]


@pytest.mark.parametrize("num", [5, 0])
def test_there_is_an_end_of_new_texts(num: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many draws in a row without one, not before."""
    monkeypatch.setattr(novelty, "MAX_DRAWS", 30)
    found = list(new_texts("auto", novelty=Novelty([b"b"], unique=True), num=num, length=1))
    assert [each.data for each in found] == list(dict.fromkeys(text for text in draws(30, length=1) if text != b"b"))
    texts = draws(4000)
    gaps = [n for n, text in enumerate(texts) if text == b"bab"]
    assert gaps[0] > 30
    known = set(texts) - {b"bab"}
    assert [*new_texts("auto", novelty=Novelty(known), num=1)] == []
    monkeypatch.setattr(novelty, "MAX_DRAWS", gaps[0] + 1)
    [only] = new_texts("auto", novelty=Novelty(known), num=1)
    assert (only.data, only.index) == (b"bab", gaps[0])


def test_draws_that_do_not_match_count_too() -> None:
    """Twenty as one: where few texts match, and all of these are known, there is an end nevertheless."""
    known = [TextChunk(0, b"a", 1, "end", rejected=rejected) for rejected in (0, 19, 20, 60, 400)]
    for text, draws in zip(known, (30, 30, 15, 8, 2), strict=True):
        drawn = iter([text] * 40)
        assert [*novelty._new(drawn, 0, 30, lambda text: False)] == []
        assert len(list(drawn)) == 40 - draws
    new = replace(known[-1], data=b"b")
    drawn = iter([known[-1], new, known[-1], new])
    assert [*novelty._new(drawn, 2, 30, lambda text: text is new)] == [new, new]


def test_greedy_texts_are_all_the_same() -> None:
    """So one that is not new is the last draw."""
    assert [each.data for each in new_texts("auto", novelty=Novelty(), num=3, temp=0, length=4)] == [b""] * 3
    assert [each.data for each in new_texts("auto", novelty=Novelty(unique=True), num=3, temp=0, length=4)] == [b""]
    both = new_texts("auto", b"a", b"b", novelty=Novelty(unique=True), echo=True, num=0, temp=0, length=4)
    assert [each.prompt for each in both] == [0, 1]


def test_prompts_are_answered_in_order() -> None:
    """The first as alone, others with numbers of their own; no text twice among all of them; with its prompt, where
    that is part of it."""
    alone = list(new_texts("auto", b"a", novelty=Novelty(unique=True), num=9))
    found = list(new_texts("auto", b"a", b"a", b"b", novelty=Novelty(unique=True), num=9))
    assert [each.prompt for each in found] == [0] * 9 + [1] * 9 + [2] * 9
    assert found[:9] == alone
    assert len({each.data for each in found}) == 27
    free = [each.data for each in new_texts("auto", b"a", b"a", novelty=Novelty(), num=9)]
    assert free[:9] != free[9:]
    apart = list(new_texts("auto", b"a", b"b", novelty=Novelty([b"bab"], unique=True), echo=True, num=9))
    assert {each.data for each in apart[:9]} & {each.data for each in apart[9:]}
    assert b"ab" not in {each.data for each in apart[9:]}


def test_lines_of_a_file(tmp_path: Path) -> None:
    data = "\ufeffann\r\nbob\n\n é \nlast".encode()
    lines = [b"ann\r", b"ann", b"bob", b"", " é ".encode(), b"last"]
    (tmp_path / "a.txt").write_bytes(data)
    (tmp_path / "a.gz").write_bytes(gzip.compress(data))
    for name in ("a.txt", "a.gz"):
        assert list(lines_of(str(tmp_path / name))) == lines
