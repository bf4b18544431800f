"""Sampling by the compiled core: that it draws what the reference's probabilities say, to the bit what the draws
decide, and the same whatever the company, the threads and the pauses."""

import math
from typing import Any

import numpy as np
import pytest

from charrnn.config.sample import SampleConfig
from charrnn.engines.base import END, FORBIDDEN, Array, InferenceEngine, Sampler, TokenDFA
from charrnn.engines.native import lib as core
from charrnn.engines.reference import ReferenceEngine
from charrnn.engines.select import inference_engine, resolve
from charrnn.errors import NonFiniteError, UsageError
from charrnn.generation.constraints import end_distance, token_dfa
from charrnn.generation.generate import generate
from charrnn.generation.prompts import read_prefix
from charrnn.generation.sampling import StepSampler, distribution, inverse_cdf, make_sampler
from charrnn.network.architecture import Architecture
from charrnn.rng import RngStream, generator
from tests import tiny
from tests.engines.models import drawn, requested
from tests.engines.native.computed import V, large, native

pytestmark = pytest.mark.skipif(core.library() is None, reason="the compiled core was not built here")

# 0.6180339: with odds that are all equal no number of them makes up this share
CONTROLS: list[dict[str, Any]] = [
    {}, {"temp": 0.5}, {"temp": 3.0}, {"temp": 1e8}, {"temp": 0.0}, {"top_k": 1}, {"top_k": 3}, {"top_k": 10**9},
    {"top_p": 0.6180339}, {"top_p": 1e-9}, {"top_p": 0.999}, {"min_p": 0.2}, {"min_p": 1.0},
    {"temp": 0.8, "top_k": 7, "top_p": 0.9, "min_p": 0.05},
]  # fmt: skip

ANYTHING = np.zeros((1, V), np.int32)


def written(sampler: Sampler, seconds: float = 1.0) -> dict[int, list[int]]:
    """All that a sampler writes, by text; a text's last token must be marked as the last."""
    texts: dict[int, list[int]] = {}
    done: set[int] = set()
    while len((part := sampler.advance(seconds)).ids):
        for text, token, last in zip(part.texts.tolist(), part.ids.tolist(), part.last.tolist(), strict=True):
            assert text not in done
            texts.setdefault(text, []).append(token)
            if last:
                done.add(text)
    assert done == set(texts)
    return texts


def first_symbols(logits: Array, count: int, *, dfa: Array | None = None, **controls: Any) -> Array:
    """Of so many texts that begin with these logits (V,)."""
    size = len(logits)
    engine = native(Architecture("rnn", size, (1,), 1))
    sampler = make_sampler(
        engine,
        requested(
            (logits[None], engine.zero_state(1)),
            SampleConfig(length=1, num=count, **controls),
            seed=9,
            dfa=np.zeros((1, size), np.int32) if dfa is None else dfa,
            batch_size=64,
        ),
    )
    texts = written(sampler)
    assert list(texts) == list(range(count))
    return np.array([token for [token] in texts.values()])


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


def a_model(clusters: bytes = b"") -> tuple[InferenceEngine, ReferenceEngine]:
    architecture = Architecture("gru", V, (33,), embedding=9, clusters=clusters)
    weights = drawn(architecture, scale=0.5)
    engine = inference_engine(resolve(engine="native"), architecture, weights)
    return engine, ReferenceEngine(architecture, weights)


@pytest.mark.parametrize(
    ("controls", "clusters"),
    [*((controls, b"") for controls in CONTROLS), ({}, bytes(token % 4 for token in range(V)))],
    ids=str,
)
def test_draws_have_the_references_odds(controls: dict[str, Any], clusters: bytes) -> None:
    """Chi-squared, of texts' first tokens and of the second ones after the commonest first."""
    engine, reference = a_model(clusters)
    config = SampleConfig(length=2, num=20_000, **controls)
    prompt = np.array([3, 1, 4])
    sampler = make_sampler(engine, requested(read_prefix(engine, prompt), config, seed=4, dfa=ANYTHING, batch_size=64))
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
    """Every token is the one that Philox and the cumulative probabilities give, unless the uniform is within 1e-5 of a
    boundary; with ties, logits that overflow, and tokens that may not be drawn."""
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
        dfa = np.where(never, FORBIDDEN, 0)[None].astype(np.int32)
        probabilities = distribution(logits[None], config, never[None])
        ids = first_symbols(logits, count, dfa=dfa, **controls)
        expected = inverse_cdf(np.repeat(probabilities, count, axis=0), uniforms)
        assert (probabilities[0, ids] > 0).all()
        borders = np.abs(np.cumsum(probabilities[0])[None] - uniforms[:, None]).min(axis=1)  # (count,)
        assert np.array_equal(ids[borders > 1e-5], expected[borders > 1e-5])
        different += len(set(ids))
    assert different > len(spreads) or size == 1 or config.temp == 0 or config.top_k == 1 or config.top_p < 0.1


def test_every_draw_is_philoxs() -> None:
    """A fair die of many sides shows the draws themselves, at all places of all texts."""
    size = 1 << 16
    architecture = Architecture("rnn", size, (1,), 1)
    weights = {name: np.zeros(shape, np.float32) for name, shape in architecture.shapes().items()}
    engine = inference_engine(resolve(engine="native"), architecture, weights)
    sampler = make_sampler(
        engine,
        requested(
            read_prefix(engine, np.zeros(0, np.int64)),
            SampleConfig(length=11, num=5),
            seed=2**63 - 1,
            dfa=np.zeros((1, size), np.int32),
            batch_size=2,
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
    dfa = token_dfa(size, 0, (5,))

    def texts(threads: int, batch: int, seconds: float = 1.0, num: int = 70) -> dict[int, list[int]]:
        engine = native(architecture, threads)
        config = SampleConfig(length=50, num=num, temp=0.9, top_p=0.95, min_p=0.001)
        first = read_prefix(engine, np.array([7, 8]))
        return written(make_sampler(engine, requested(first, config, seed=3, dfa=dfa, batch_size=batch)), seconds)

    expected = texts(1, 1)
    assert {len(text) for text in expected.values()} > {50}  # some end early, with what ends a record
    assert all((text[-1] == 5) == (len(text) < 50) for text in expected.values() if text[49:] != [5])
    for threads, batch, seconds in ((1, 64, 1.0), (2, 64, 0.0), (2, 1, 0.0), (3, 2, 1.0), (2, 100, 0.001)):
        assert texts(threads, batch, seconds) == expected
    assert texts(2, 64, num=3) == {text: expected[text] for text in range(3)}


def test_it_writes_what_numpy_writes() -> None:
    """20,000 tokens of a fixed set, by both engines: every cell, every control, records and streams."""
    total = 0
    for cell in ("rnn", "lstm", "gru"):
        model = tiny.drawn(tiny.char(), cell, (20, 12), separator=b"\n")
        for number, controls in enumerate(CONTROLS):
            separator = b"\n" if number % 2 else b""
            config = SampleConfig(length=400, num=2, **controls)
            both = []
            for name in ("native", "numpy"):
                engine = tiny.engine_of(model, name, "float32")  # in int8 the core alone draws
                ids = model.tokenizer.encode(b"the ")
                parts = list(generate(engine, model.tokenizer, [ids], config, seed=number, separator=separator))
                both.append({text: b"".join(part.data for part in parts if part.index == text) for text in (0, 1)})
            assert both[0] == both[1]
            total += sum(len(text) for text in both[0].values())
    assert total > 20_000


def test_an_automaton_decides_what_may_be_written() -> None:
    """Numbers: a sign or none, digits, a point, digits, the end. Every text is one."""
    chars = "+-.0123456789;"
    table = np.full((4, len(chars)), FORBIDDEN, np.int32)
    digits = slice(3, 13)
    table[0, :2] = 1
    table[0, digits] = table[1, digits] = table[2, digits] = 2
    table[2, 2] = 3
    table[3, digits] = 3
    table[2:, 13] = END
    engine = native(Architecture("gru", len(chars), (20,), 5))
    first = read_prefix(engine, np.zeros(0, np.int64))
    config = SampleConfig(length=500, num=300)
    texts = written(make_sampler(engine, requested(first, config, seed=1, dfa=table, batch_size=64)))
    assert len(texts) == 300
    lengths = set()
    for ids in texts.values():
        text = "".join(chars[token] for token in ids)
        assert text[-1] == ";"
        float(text[:-1])
        lengths.add(len(text))
    assert len(lengths) > 5
    other = StepSampler(engine, requested(first, config, seed=1, dfa=table, batch_size=64))  # by steps
    assert written(other) == texts


def test_a_text_can_be_finished() -> None:
    """No more of it is written; the others come out as if nothing had been."""
    engine = native(large())
    first, dfa = read_prefix(engine, np.array([7])), np.zeros((1, 70), np.int32)
    config = SampleConfig(length=40, num=9)
    whole = written(make_sampler(engine, requested(first, config, seed=3, dfa=dfa, batch_size=4)))
    sampler = make_sampler(engine, requested(first, config, seed=3, dfa=dfa, batch_size=4))
    part = sampler.advance(0)
    assert set(part.texts.tolist()) == {0, 1, 2, 3}
    for text in (1, 3):
        sampler.finish(text)
    sampler.finish(77)  # which there is not
    texts: dict[int, list[int]] = {}
    while len(part.ids):
        for text, token in zip(part.texts.tolist(), part.ids.tolist(), strict=True):
            texts.setdefault(text, []).append(token)
        part = sampler.advance(0)
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
    engine = inference_engine(resolve(engine="native"), architecture, weights)
    first = np.zeros((1, V), np.float32), engine.zero_state(1)
    with pytest.raises(NonFiniteError):
        make_sampler(engine, requested(first, SampleConfig(), seed=1, dfa=ANYTHING, batch_size=1)).advance(1)


def test_nats_are_those_of_scoring() -> None:
    """To the last bit, whatever the controls and the automaton make of the draws; and by steps to rounding."""
    engine = native(large())
    prompt, size = np.array([7, 3]), engine.vocabulary
    dfa = token_dfa(size, 0, (5,))
    for number, controls in enumerate(CONTROLS):
        config = SampleConfig(length=30, num=5, **controls)
        request = requested(read_prefix(engine, prompt), config, seed=number, dfa=dfa, batch_size=4, with_nats=True)
        for sampler, tolerance in ((make_sampler(engine, request), 0.0), (StepSampler(engine, request), 1e-5)):
            tokens = sampler.advance(60)
            for text in range(5):
                ids = tokens.ids[tokens.texts == text]
                read = np.concatenate([[size], prompt, ids])[None]
                nats, _ = engine.score(read, engine.zero_state(1))
                found = tokens.nats[tokens.texts == text]
                assert found.dtype == np.float64
                assert np.abs(found - nats[0, 3:]).max() <= tolerance
    without = make_sampler(engine, requested(read_prefix(engine, prompt), config, seed=1, dfa=dfa, batch_size=4))
    assert np.isnan(without.advance(0).nats).all()


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_several_prompts(cell: str) -> None:
    """Text t is that of the prompt t // per_prompt, the same as if all texts were that prompt's; and begins in its
    state of the automaton."""
    engine = native(large(cell, 2), threads=2)
    prompts = [np.array([7, 8]), np.array([1]), np.array([30, 30, 9])]
    first = [read_prefix(engine, prompt) for prompt in prompts]
    together = (
        np.concatenate([logits for logits, _ in first]),
        tuple(np.concatenate(layers, axis=1) for layers in zip(*(state for _, state in first), strict=True)),
    )
    size = engine.vocabulary
    table = np.zeros((2, size), np.int32)  # state 1 wants the token 11 first
    table[1] = FORBIDDEN
    table[1, 11] = 0
    starts = np.array([0, 1, 0], np.int32)
    config = SampleConfig(length=20, num=4, temp=0.9)
    request = requested(together, config, seed=8, dfa=table, batch_size=5, dfa_start=starts)
    texts = written(make_sampler(engine, request))
    assert written(StepSampler(engine, request)) == texts
    assert len(texts) == 12
    assert all(ids[0] == 11 for text, ids in texts.items() if text // 4 == 1)
    for prompt in range(3):
        alone = requested(
            first[prompt], SampleConfig(length=20, num=12, temp=0.9), seed=8, dfa=table, batch_size=64,
            dfa_start=starts[prompt : prompt + 1],
        )  # fmt: skip
        expected = written(make_sampler(engine, alone))
        assert all(texts[text] == expected[text] for text in texts if text // 4 == prompt)

    endless = requested(together, config, seed=8, dfa=table, batch_size=5, dfa_start=starts, per_prompt=None)
    for sampler in (make_sampler(engine, endless), StepSampler(engine, endless)):
        found: dict[int, list[int]] = {}
        while len(found) < 12:
            part = sampler.advance(0.0)
            for text, token in zip(part.texts.tolist(), part.ids.tolist(), strict=True):
                found.setdefault(text, []).append(token)
        assert all(ids[0] == 11 for text, ids in found.items() if text % 3 == 1)
        assert all(found[text] == texts[text][: len(found[text])] for text in (0, 3, 7, 8, 11) if text // 4 == text % 3)


def test_texts_end_within_their_length() -> None:
    """Where the automaton knows how far its end is: no token is drawn after which it could not be reached. Else, and
    where it cannot be reached at all, they are cut."""
    engine = native(large())
    size = engine.vocabulary
    table = np.zeros((5, size), np.int32)  # three of the tokens below 20 one after another end a text; 50 leads astray
    table[:3, :20] = np.array([1, 2, END])[:, None]
    table[:3, 50] = 3
    table[3], table[4] = 3, 4
    distance = end_distance(table)
    assert distance.tolist() == [3, 2, 1, *[2**31 - 1] * 2]
    first = read_prefix(engine, np.array([7]))
    config = SampleConfig(length=12, num=200)
    cut = written(make_sampler(engine, requested(first, config, seed=5, dfa=table, batch_size=64)))
    assert any(max(ids[-3:]) >= 20 for ids in cut.values())
    request = requested(first, config, seed=5, dfa=TokenDFA(table, distance), batch_size=64)
    texts = written(make_sampler(engine, request))
    assert all(max(ids[-3:]) < 20 and len(ids) <= 12 and 50 not in ids for ids in texts.values())
    assert written(StepSampler(engine, request)) == texts
    assert len({len(ids) for ids in texts.values()}) > 1
    for length, start in ((2, 0), (12, 4)):  # too few tokens; no end
        config = SampleConfig(length=length, num=20)
        request = requested(
            first, config, seed=5, dfa=TokenDFA(table, distance), batch_size=64, dfa_start=np.array([start])
        )
        texts = written(make_sampler(engine, request))
        assert all(len(ids) == length for ids in texts.values())
        assert written(StepSampler(engine, request)) == texts


def test_a_far_limit_changes_nothing() -> None:
    """Of texts that would end anyway."""
    engine = native(large())
    table = np.zeros((1, engine.vocabulary), np.int32)
    table[0, :30] = END
    first, config = read_prefix(engine, np.array([7])), SampleConfig(length=500, num=50)
    requests = [
        requested(first, config, seed=5, dfa=TokenDFA(table, distance), batch_size=64)
        for distance in (None, end_distance(table))
    ]
    texts = [written(make_sampler(engine, request)) for request in requests]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        (np.zeros(V), "shape"), (np.full((1, V), 1), "does not have"), (np.full((1, V), -3), "does not have"),
        (np.full((1, V), FORBIDDEN), "nothing is allowed"),
    ],
    ids=["shape", "beyond", "below", "never"],
)  # fmt: skip
def test_an_automaton_that_cannot_be(table: Array, wrong: str) -> None:
    """The core itself would read beyond its table."""
    with pytest.raises(ValueError, match=wrong):
        TokenDFA(table)


def test_an_automaton_that_is_too_large() -> None:
    with pytest.raises(UsageError, match="more than 67,108,864 transitions"):
        TokenDFA(np.broadcast_to(np.int32(0), (1 << 14, (1 << 12) + 1)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"dfa_start": np.array([1])}, {"dfa_start": np.array([0, 0])}, {"per_prompt": 0}, {"batch_size": 0},
        {"dfa": np.zeros((1, V + 1))}, {"rows": 2}, {"rows": 0},
    ],
    ids=str,
)  # fmt: skip
def test_a_request_that_does_not_fit(wrong: dict[str, Any]) -> None:
    engine = native(Architecture("gru", V, (7,), embedding=4))
    first = np.zeros((1, V), np.float32), engine.zero_state(wrong.get("rows", 1))
    call = {"config": SampleConfig(), "seed": 1, "dfa": ANYTHING, "batch_size": 1, **wrong}
    call.pop("rows", None)
    with pytest.raises(ValueError, match=r"."):
        make_sampler(engine, requested(first, **call))


def test_a_request_for_another_model() -> None:
    engine = native(Architecture("gru", V, (7,), embedding=4))
    for size, state in ((V + 1, engine.zero_state(1)), (V, (np.zeros((1, 1, 8), np.float32),))):
        first = np.zeros((1, size), np.float32), state
        with pytest.raises(ValueError, match="shape"):
            engine.sampler(requested(first, SampleConfig(), seed=1, dfa=np.zeros((1, size), np.int32), batch_size=1))
