"""Sampling by the compiled core: that it draws what the reference's probabilities say, to the bit what the draws
decide, and the same whatever the company, the threads and the pauses."""

import math
from typing import Any

import numpy as np
import pytest

from charrnn.config.sample import SampleConfig
from charrnn.engines.base import END, FORBIDDEN, Array, GenerationRequest, InferenceEngine, Sampler
from charrnn.engines.native import lib as core
from charrnn.engines.reference import ReferenceEngine
from charrnn.engines.select import inference_engine
from charrnn.errors import NonFiniteError
from charrnn.generation.constraints import token_dfa
from charrnn.generation.generate import generate
from charrnn.generation.sampling import StepSampler, distribution, inverse_cdf, sampler_of
from charrnn.network.architecture import Architecture
from charrnn.rng import RngStream, generator
from charrnn.scoring.batching import read_prefix
from tests import tiny
from tests.engines.native.test_training import V, large, native
from tests.engines.test_engines import drawn

pytestmark = pytest.mark.skipif(core.library() is None, reason="the compiled core was not built here")

# 0.6180339: with odds that are all equal no number of them makes up this share
CONTROLS: list[dict[str, Any]] = [
    {}, {"temp": 0.5}, {"temp": 3.0}, {"temp": 1e8}, {"temp": 0.0}, {"top_k": 1}, {"top_k": 3}, {"top_k": 10**9},
    {"top_p": 0.6180339}, {"top_p": 1e-9}, {"top_p": 0.999}, {"min_p": 0.2}, {"min_p": 1.0},
    {"temp": 0.8, "top_k": 7, "top_p": 0.9, "min_p": 0.05},
]  # fmt: skip

ANYTHING = np.zeros((1, V), np.int32)


def written(sampler: Sampler, seconds: float = 1.0) -> dict[int, list[int]]:
    """All that a sampler writes, by text; a text's last symbol must be told, and be the last."""
    texts: dict[int, list[int]] = {}
    done: set[int] = set()
    while len((part := sampler.write(seconds)).ids):
        for text, symbol, last in zip(part.texts.tolist(), part.ids.tolist(), part.last.tolist(), strict=True):
            assert text not in done
            texts.setdefault(text, []).append(symbol)
            if last:
                done.add(text)
    assert done == set(texts)
    return texts


def first_symbols(logits: Array, count: int, *, automaton: Array | None = None, **controls: Any) -> Array:
    """Of so many texts that begin with these logits (V,)."""
    size = len(logits)
    engine = native(Architecture("rnn", size, (1,), 1))
    sampler = sampler_of(
        engine,
        GenerationRequest(
            logits[None],
            engine.zero_state(1),
            SampleConfig(length=1, num=count, **controls),
            seed=9,
            automaton=np.zeros((1, size), np.int32) if automaton is None else automaton,
            batch=64,
        ),
    )
    texts = written(sampler)
    assert list(texts) == list(range(count))
    return np.array([symbol for [symbol] in texts.values()])


def surprise(counts: Array, probabilities: Array) -> float:
    """How far chi-squared is beyond what chance exceeds once in a thousand times, as their quotient.

    Symbols expected less than 5 times count as one. The quantile is Wilson & Hilferty's (1931).
    """
    assert counts[probabilities == 0].sum() == 0, "what cannot be drawn was"
    expected = probabilities * counts.sum()
    rare = expected < 5
    pairs = [*zip(counts[~rare], expected[~rare], strict=True)]
    if expected[rare].sum() > 0:
        pairs.append((counts[rare].sum(), max(expected[rare].sum(), 1)))
    freedom = max(1, len(pairs) - 1)
    quantile = freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3
    return float(sum((count - mean) ** 2 / mean for count, mean in pairs) / quantile)


def a_model() -> tuple[InferenceEngine, ReferenceEngine]:
    architecture = Architecture("gru", V, (33,), embedding=9)
    weights = drawn(architecture, scale=0.5)
    return inference_engine(architecture, weights, name="native"), ReferenceEngine(architecture, weights)


@pytest.mark.parametrize("controls", CONTROLS, ids=str)
def test_draws_have_the_references_odds(controls: dict[str, Any]) -> None:
    """Chi-squared, of texts' first symbols and of the second ones after the commonest first."""
    engine, reference = a_model()
    config = SampleConfig(length=2, num=20_000, **controls)
    prompt = np.array([3, 1, 4])
    sampler = sampler_of(
        engine, GenerationRequest(*read_prefix(engine, prompt), config, seed=4, automaton=ANYTHING, batch=64)
    )
    texts = np.array(list(written(sampler).values()))
    logits, state = read_prefix(reference, prompt)
    first = distribution(logits, config)[0]
    assert surprise(np.bincount(texts[:, 0], minlength=V), first) < 1
    commonest = int(first.argmax())
    logits, _ = reference.step(np.array([commonest]), state)
    after = texts[texts[:, 0] == commonest, 1]
    assert len(after) > 500
    assert surprise(np.bincount(after, minlength=V), distribution(logits, config)[0]) < 1


def test_wrong_odds_are_seen() -> None:
    """Negative control: a temperature 10 % off, over the same number of draws."""
    _, reference = a_model()
    logits, _ = read_prefix(reference, np.array([3, 1, 4]))
    ids = first_symbols(logits[0].astype(np.float32), 20_000, temp=0.9)
    assert surprise(np.bincount(ids, minlength=V), distribution(logits, SampleConfig())[0]) > 1


@pytest.mark.parametrize("controls", CONTROLS, ids=str)
@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 65, 3000])
def test_draws_are_those_of_the_inverse_distribution(size: int, controls: dict[str, Any]) -> None:
    """Every symbol is the one that Philox and the cumulated odds decide, unless the uniform is within 1e-5 of a
    boundary; with ties, logits that overflow, and symbols that may not be drawn."""
    random = np.random.default_rng(size)
    config, count = SampleConfig(**controls), 40
    uniforms = np.array([generator(9, RngStream.SAMPLE, text).random() for text in range(count)])
    spreads = [
        random.normal(0, 3, size),
        random.normal(0, 40, size),
        np.round(random.normal(0, 1, size)),
        np.zeros(size),
        np.where(random.random(size) < 0.3, 3e38, -3e38),
    ]
    different = 0
    for logits in np.array(spreads, np.float32):
        never = random.random(size) < 0.3
        never[random.integers(size)] = False
        automaton = np.where(never, FORBIDDEN, 0)[None].astype(np.int32)
        odds = distribution(logits[None], config, never[None])
        ids = first_symbols(logits, count, automaton=automaton, **controls)
        expected = inverse_cdf(np.repeat(odds, count, axis=0), uniforms)
        assert (odds[0, ids] > 0).all()
        borders = np.abs(np.cumsum(odds[0])[None] - uniforms[:, None]).min(axis=1)  # (count,)
        assert np.array_equal(ids[borders > 1e-5], expected[borders > 1e-5])
        different += len(set(ids))
    assert different > len(spreads) or size == 1 or config.temp == 0 or config.top_k == 1 or config.top_p < 0.1


def test_every_draw_is_philoxs() -> None:
    """A fair die of many sides shows the draws themselves, at all places of all texts."""
    size = 1 << 16
    architecture = Architecture("rnn", size, (1,), 1)
    weights = {name: np.zeros(shape, np.float32) for name, shape in architecture.shapes().items()}
    engine = inference_engine(architecture, weights, name="native")
    sampler = sampler_of(
        engine,
        GenerationRequest(
            *read_prefix(engine, np.zeros(0, np.int64)),
            SampleConfig(length=11, num=5),
            seed=2**63 - 1,
            automaton=np.zeros((1, size), np.int32),
            batch=2,
        ),
    )
    for text, ids in written(sampler).items():
        uniforms = generator(2**63 - 1, RngStream.SAMPLE, text).random(11)
        assert ids == np.floor(uniforms * size).astype(int).tolist()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_a_text_is_the_same_in_any_company(cell: str, layers: int) -> None:
    """CL-26: to the byte, alone or among 64, by one thread or several, at once or with pauses."""
    architecture = large(cell, layers)
    size = architecture.vocabulary
    automaton = token_dfa(size, 0, (5,))

    def texts(threads: int, batch: int, seconds: float = 1.0, num: int = 70) -> dict[int, list[int]]:
        engine = native(architecture, threads)
        config = SampleConfig(length=50, num=num, temp=0.9, top_p=0.95, min_p=0.001)
        first = read_prefix(engine, np.array([7, 8]))
        return written(
            sampler_of(engine, GenerationRequest(*first, config, seed=3, automaton=automaton, batch=batch)), seconds
        )

    expected = texts(1, 1)
    assert {len(text) for text in expected.values()} > {50}  # some end early, with what ends a record
    assert all((text[-1] == 5) == (len(text) < 50) for text in expected.values() if text[49:] != [5])
    for threads, batch, seconds in ((1, 64, 1.0), (2, 64, 0.0), (2, 1, 0.0), (3, 2, 1.0), (2, 100, 0.001)):
        assert texts(threads, batch, seconds) == expected
    assert texts(2, 64, num=3) == {text: expected[text] for text in range(3)}


def test_it_writes_what_numpy_writes() -> None:
    """20,000 symbols of a fixed set, by both engines: every cell, every control, records and streams."""
    total = 0
    for cell in ("rnn", "lstm", "gru"):
        model = tiny.drawn(tiny.char(), cell, (20, 12), separator=b"\n")
        for number, controls in enumerate(CONTROLS):
            separator = b"\n" if number % 2 else b""
            config = SampleConfig(length=400, num=2, **controls)
            both = []
            for name in ("native", "numpy"):
                engine = inference_engine(model.architecture, model.weights, name=name)
                ids = model.tokenizer.encode(b"the ")
                parts = list(generate(engine, model.tokenizer, ids, config, seed=number, separator=separator))
                both.append({text: b"".join(part.data for part in parts if part.index == text) for text in (0, 1)})
            assert both[0] == both[1]
            total += sum(len(text) for text in both[0].values())
    assert total > 20_000


def test_an_automaton_decides_what_may_be_written() -> None:
    """Numbers: a sign or none, digits, a point, digits, the end. Every text is one."""
    symbols = "+-.0123456789;"
    table = np.full((4, len(symbols)), FORBIDDEN, np.int32)
    digits = slice(3, 13)
    table[0, :2] = 1
    table[0, digits] = table[1, digits] = table[2, digits] = 2
    table[2, 2] = 3
    table[3, digits] = 3
    table[2:, 13] = END
    engine = native(Architecture("gru", len(symbols), (20,), 5))
    first = read_prefix(engine, np.zeros(0, np.int64))
    config = SampleConfig(length=500, num=300)
    texts = written(sampler_of(engine, GenerationRequest(*first, config, seed=1, automaton=table, batch=64)))
    assert len(texts) == 300
    lengths = set()
    for ids in texts.values():
        text = "".join(symbols[symbol] for symbol in ids)
        assert text[-1] == ";"
        float(text[:-1])
        lengths.add(len(text))
    assert len(lengths) > 5
    other = StepSampler(engine, GenerationRequest(*first, config, seed=1, automaton=table, batch=64))  # by steps
    assert written(other) == texts


def test_a_text_can_be_finished() -> None:
    """No more of it is written; the others come out as if nothing had been."""
    engine = native(large())
    first, automaton = read_prefix(engine, np.array([7])), np.zeros((1, 70), np.int32)
    config = SampleConfig(length=40, num=9)
    whole = written(sampler_of(engine, GenerationRequest(*first, config, seed=3, automaton=automaton, batch=4)))
    sampler = sampler_of(engine, GenerationRequest(*first, config, seed=3, automaton=automaton, batch=4))
    part = sampler.write(0)
    assert set(part.texts.tolist()) == {0, 1, 2, 3}
    for text in (1, 3):
        sampler.finish(text)
    sampler.finish(77)
    texts: dict[int, list[int]] = {}
    while len(part.ids):
        for text, symbol in zip(part.texts.tolist(), part.ids.tolist(), strict=True):
            texts.setdefault(text, []).append(symbol)
        part = sampler.write(0)
    assert {text for text in texts if len(texts[text]) < 40} == {1, 3}
    assert all(texts[text] == whole[text][: len(texts[text])] for text in whole)


def test_texts_of_one_symbol_fill_any_room() -> None:
    """Many more texts than a call has room for."""
    assert np.bincount(first_symbols(np.zeros(4, np.float32), 50_000)).min() > 12_000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite(value: float) -> None:
    """NU-06: whether in the first logits or after a step."""
    logits = np.zeros(20, np.float32)
    logits[17] = value
    for temp in (0.0, 1.0):
        with pytest.raises(NonFiniteError):
            first_symbols(logits, 1, temp=temp)
    architecture = Architecture("gru", V, (20,), embedding=4)
    weights = drawn(architecture)
    weights["head.bias"][7] = value
    engine = inference_engine(architecture, weights, name="native")
    first = np.zeros((1, V), np.float32), engine.zero_state(1)
    with pytest.raises(NonFiniteError):
        sampler_of(engine, GenerationRequest(*first, SampleConfig(), seed=1, automaton=ANYTHING, batch=1)).write(1)


@pytest.mark.parametrize(
    ("automaton", "wrong"),
    [
        (np.zeros((1, V + 1)), "shape"), (np.full((1, V), 1), "out of itself"), (np.full((1, V), -3), "out of itself"),
        (np.full((1, V), FORBIDDEN), "nothing is drawn"),
    ],
    ids=["shape", "beyond", "below", "never"],
)  # fmt: skip
def test_an_automaton_that_cannot_be(automaton: Array, wrong: str) -> None:
    """The core itself would read beyond its table."""
    engine = native(Architecture("gru", V, (7,), embedding=4))
    first = np.zeros((1, V), np.float32), engine.zero_state(1)
    with pytest.raises(AssertionError, match=wrong):
        sampler_of(engine, GenerationRequest(*first, SampleConfig(), seed=1, automaton=automaton, batch=1))
