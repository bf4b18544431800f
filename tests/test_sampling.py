"""Logits to ids: the distribution, the draws from it, and texts that come out the same in any company."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tiny

from charrnn.checkpoint import Checkpoint
from charrnn.config import SampleConfig
from charrnn.draws import Purpose, generator
from charrnn.engines import ENDS, NEVER, inference
from charrnn.engines.stepping import choose, distribution
from charrnn.errors import NonFiniteError, UsageError
from charrnn.sampling import Part, automaton_of, read_prompt, write_texts
from charrnn.tokenizers import ByteTokenizer, encode_prompt

CHI_SQUARED = {1: 10.83, 2: 13.82, 4: 18.47, 9: 27.88}
"""What chance exceeds once in a thousand times, by degrees of freedom."""


def spread(logits: list[float], banned: int | None = None, **controls: Any) -> list[float]:
    never = None if banned is None else np.arange(len(logits))[None] == banned
    found: list[float] = distribution(np.array([logits], np.float32), SampleConfig(**controls), never)[0].tolist()
    return found


def drawn(probabilities: list[float], count: int = 10_000) -> list[int]:
    """How often each is drawn."""
    uniforms = generator(5, Purpose.SAMPLE, 0).random(count)
    ids = choose(np.tile(probabilities, (count, 1)), uniforms)
    counts: list[int] = np.bincount(ids, minlength=len(probabilities)).tolist()
    return counts


def chi_squared(counts: list[int], probabilities: list[float]) -> float:
    expected = np.array(probabilities) * sum(counts)
    return float(((np.array(counts) - expected) ** 2 / expected).sum())


def write(model: Checkpoint, *, prompt: bytes = b"", seed: int = 7, stop: bytes = b"", **controls: Any) -> list[bytes]:
    """The texts, which must come whole and in order, without a character cut."""
    texts = [b""] * controls.get("num", 1)
    finished: list[int] = []
    for part in parts(model, prompt=prompt, seed=seed, stop=stop, **controls):
        assert part.index == len(finished)
        texts[part.index] += part.data
        if part.finished:
            finished.append(part.index)
    assert finished == list(range(len(texts)))
    return texts


def parts(
    model: Checkpoint, *, prompt: bytes = b"", seed: int = 7, stop: bytes = b"", **controls: Any
) -> Iterator[Part]:
    engine, ids = inference(model.architecture, model.weights), encode_prompt(model.tokenizer, prompt)
    return write_texts(engine, model.tokenizer, ids, SampleConfig(**controls), seed=seed, stop=stop)


@pytest.mark.parametrize("temp", [0, 1e-8, 1e-300])
@pytest.mark.parametrize(
    ("logits", "likeliest"), [([1, 3, 2], 1), ([2, 1, 2], 0), ([0, 5, 5, 5], 1), ([-3e38, 3e38], 1)]
)
def test_temperature_zero_takes_the_likeliest(temp: float, logits: list[float], likeliest: int) -> None:
    """NU-04: and the lowest id among equals."""
    found = spread(logits, temp=temp)
    assert found == [float(n == likeliest) for n in range(len(logits))]


def test_a_huge_temperature_is_a_fair_die() -> None:
    """NU-04."""
    found = spread([0, 1, -5, 9, 2], temp=1e8)
    assert found == pytest.approx([0.2] * 5, rel=1e-6)
    assert chi_squared(drawn(found), [0.2] * 5) < CHI_SQUARED[4]


def test_temperature_one_gives_the_odds_themselves() -> None:
    """NU-07."""
    odds = [0.5, 0.25, 0.125, 0.1, 0.025]
    found = spread([math.log(p) for p in odds])
    assert found == pytest.approx(odds, rel=1e-6)
    assert chi_squared(drawn(found), odds) < CHI_SQUARED[4]
    assert chi_squared(drawn(found), [0.45, 0.3, 0.125, 0.1, 0.025]) > CHI_SQUARED[4]  # the test can fail
    assert spread([math.log(p) for p in odds], temp=0.5)[0] == pytest.approx(0.25 / sum(p * p for p in odds), rel=1e-6)


@pytest.mark.parametrize(
    ("controls", "kept"),
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"top_k": 1}, {1}),
        ({"top_k": 3}, {1, 0, 3}),
        ({"top_k": 5}, {0, 1, 2, 3, 4}),
        ({"top_k": 10**9}, {0, 1, 2, 3, 4}),  # NU-05: more than there are
        ({"top_p": 1e-9}, {1}),
        ({"top_p": 0.39}, {1}),
        ({"top_p": 0.41}, {1, 0}),
        ({"top_p": 0.71}, {1, 0, 3}),
        ({"top_p": 0.999}, {0, 1, 2, 3, 4}),
        ({"min_p": 0.24}, {0, 1, 2, 3}),
        ({"min_p": 0.26}, {0, 1, 3}),
        ({"min_p": 1.0}, {1}),
        ({"top_k": 3, "top_p": 0.75}, {1, 0}),  # of what top-k keeps, 0.9 in all
        ({"top_p": 0.95, "min_p": 0.6}, {1, 0}),
        ({"top_k": 2, "temp": 1e8}, {1, 0}),
        ({"min_p": 0.5, "temp": 1e8}, {0, 1, 2, 3, 4}),
    ],
)
def test_what_can_be_drawn(controls: dict[str, Any], kept: set[int]) -> None:
    """NU-07: the support is exact and keeps its proportions."""
    odds = [0.3, 0.4, 0.1, 0.195, 0.005]
    found = spread([math.log(p) for p in odds], **controls)
    assert {n for n, p in enumerate(found) if p > 0} == kept
    assert sum(found) == pytest.approx(1)
    if "temp" not in controls:
        assert [found[n] for n in kept] == pytest.approx([odds[n] / sum(odds[n] for n in kept) for n in kept])
    counts = drawn(found, 1000)
    assert {n for n, count in enumerate(counts) if count} <= kept


@pytest.mark.parametrize("controls", [{"top_k": 1}, {"top_p": 0.1}])
def test_among_equals_the_lower_id_is_kept(controls: dict[str, Any]) -> None:
    """NU-05."""
    assert spread([1, 2, 2, 2], **controls) == [0, 1, 0, 0]


@pytest.mark.parametrize("controls", [{}, {"temp": 0}, {"temp": 1e8}, {"top_k": 2}, {"top_p": 0.5}, {"min_p": 0.1}])
def test_what_is_banned_is_never_drawn(controls: dict[str, Any]) -> None:
    found = spread([1, 9, 1], banned=1, **controls)
    assert found[1] == 0
    assert sum(found) == pytest.approx(1)


def test_choosing_at_the_borders() -> None:
    odds = np.array([[0, 0.25, 0, 0.75, 0]])
    for uniform, expected in [(0, 1), (0.2499, 1), (0.25, 3), (np.nextafter(1, 0), 3)]:
        assert choose(odds, np.array([uniform])).tolist() == [expected]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("temp", [0.0, 1.0])
def test_logits_that_are_not_finite(value: float, temp: float) -> None:
    """NU-06."""
    with pytest.raises(NonFiniteError):
        spread([1, value, 2], temp=temp)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temp": math.nan}, {"temp": math.inf}, {"temp": -0.1}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_p": math.nan},
        {"top_k": -1}, {"min_p": -0.1}, {"min_p": 1.5}, {"length": -1}, {"num": 0}, {"seed": -1}, {"seed": 2**63},
        {"unknown": "maybe"}, {"prompt": "a", "prompt_file": "b"},
    ],
    ids=str,
)  # fmt: skip
def test_controls_out_of_range(wrong: dict[str, Any]) -> None:
    """NU-05."""
    with pytest.raises(UsageError):
        SampleConfig(**wrong)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_text_is_the_same_in_any_company(cell: str) -> None:
    """CL-26: the first of 3, or of 70 in two batches, is the one alone, to the last bit."""
    model = tiny.drawn(tiny.char(), cell, (12, 8))
    [alone] = write(model, prompt=b"the ", length=300)
    three, seventy = (write(model, prompt=b"the ", length=300, num=num) for num in (3, 70))
    assert three[0] == alone
    assert seventy[:3] == three
    assert len(set(seventy)) == 70
    assert write(model, prompt=b"the ", length=300, seed=8) != [alone]
    assert write(model, prompt=b"the ", length=100)[0] == alone.decode()[:100].encode()


def test_rows_are_exact() -> None:
    """CL-26: logits and state of a row do not depend on the rows beside it."""
    model = tiny.drawn(tiny.char(), "lstm", (33, 17))
    engine = inference(model.architecture, model.weights)
    ids = np.arange(70) % 20
    state = engine.zero_state(70)
    single = [engine.zero_state(1) for _ in ids]
    for symbol in (model.architecture.start, 3, 5, 8):
        logits, state = engine.step((ids + symbol) % (model.architecture.start + 1), state)
        for row in (0, 1, 2, 69):
            alone, single[row] = engine.step(
                (ids[row : row + 1] + symbol) % (model.architecture.start + 1), single[row]
            )
            assert alone[0].tobytes() == logits[row].tobytes()


def test_texts_that_end_early_do_not_disturb_others() -> None:
    model = tiny.drawn(tiny.char())
    plain = write(model, length=200, num=70)
    stopped = write(model, length=200, num=70, stop=b"a")
    assert stopped == [text.partition(b"a")[0] for text in plain]
    assert len({len(text) for text in stopped}) > 5


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (b"", b"abcabdabcabe" * 2),
        (b"\n", b"abcabdabcabe" * 2),
        (b"a", b""),
        (b"abd", b"abc"),
        (b"abe", b"abcabdabc"),
        (b"bcabe", b"abcabda"),
        (b"ea", b"abcabdabcab"),
        (b"eb", b"abcabdabcabe" * 2),
        (b"abcabdabcabeabcabdabcabe!", b"abcabdabcabe" * 2),
        (b"abcabdabcabeabcabdabcabe", b""),
    ],
)
def test_a_text_ends_before_its_stop_string(stop: bytes, expected: bytes) -> None:
    """What may be its beginning is held back, and let go of when it is not."""
    model = tiny.reciting(ByteTokenizer(), b"abcabdabcabe")
    assert write(model, length=24, stop=stop) == [expected]
    assert write(model, length=24, stop=stop, num=3) == [expected] * 3


def test_symbols_are_counted() -> None:
    model = tiny.reciting(tiny.char(), "日é.".encode())
    *_, last = parts(model, length=8)
    assert (last.symbols, last.finished) == (8, True)
    *_, last = parts(model, length=8, stop=b".")
    assert last.symbols == 3


@pytest.mark.parametrize("length", range(1, 13))
def test_no_character_is_cut(length: int) -> None:
    """CL-27: but for the last, where the length cuts it."""
    text = "é日😀aé日".encode()
    model = tiny.reciting(ByteTokenizer(), text)
    found = list(parts(model, length=length))
    assert b"".join(part.data for part in found) == text[:length]
    for part in found[:-1]:
        part.data.decode()


def test_a_long_prompt_is_read_as_if_written() -> None:
    """IN-14: by chunks, to the same state as symbol by symbol."""
    model = tiny.drawn(tiny.char(), "lstm")
    engine = inference(model.architecture, model.weights)
    prompt = model.tokenizer.encode(b"the cat sat. " * 700)
    logits, state = engine.step(np.array([model.architecture.start]), engine.zero_state(1))
    for symbol in prompt:
        logits, state = engine.step(np.array([symbol]), state)
    found, after = read_prompt(engine, prompt)
    assert found == pytest.approx(logits, rel=1e-4, abs=1e-5)
    for layer, expected in zip(after, state, strict=True):
        assert layer == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_no_prompt_starts_from_nothing() -> None:
    """IN-14."""
    model = tiny.unigram(tiny.char("ab"), {b"a": 3})
    assert write(model, temp=0, length=3) == [b"aaa"]
    assert write(model, length=0, num=2) == [b"", b""]


def test_unknown_is_never_written() -> None:
    model = tiny.unigram(tiny.char("ab"))
    assert model.tokenizer.unknown is not None
    model.weights["head.bias"][model.tokenizer.unknown] = 30
    assert write(model, length=200)[0].strip(b"ab") == b""
    assert write(model, length=20, temp=0) == [b"a" * 20]


@pytest.mark.parametrize("end", [(), (0,), (1, 2), (1, 1), (0, 1, 0, 2), (1, 1, 2, 1, 1), (2, 0, 2, 0, 2, 1)], ids=str)
def test_the_automaton_finds_the_end(end: tuple[int, ...]) -> None:
    """As looking at all that is written does, after every symbol."""
    automaton = automaton_of(4, 3, end)
    assert (automaton[:, 3] == NEVER).all()
    draws = np.random.default_rng(0)
    for _ in range(200 if end else 1):
        state, text = 0, []
        for symbol in draws.integers(0, 3, 300).tolist():
            text.append(symbol)
            state = automaton[state, symbol]
            ended = bool(end) and tuple(text[-len(end) :]) == end
            assert (state == ENDS) == ended
            if ended:
                break
    assert ended or not end or len(end) > 5
