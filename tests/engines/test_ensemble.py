"""Several models whose probabilities are averaged."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import charrnn
from charrnn.engines.dynamic import DynamicEngine
from charrnn.engines.ensemble import Ensemble
from charrnn.engines.numpy.inference import NumpyInference
from charrnn.engines.reference import ReferenceEngine
from tests import tiny

MODELS = {
    "a": tiny.drawn(tiny.char(), "lstm", (9, 9), seed=1),
    "b": tiny.drawn(tiny.char(), "gru", (12,), seed=2),
    "c": tiny.drawn(tiny.char(), "mgu", (7,), seed=3),
    "records": tiny.drawn(tiny.char(), seed=4, separator=b"\n"),
    "others": tiny.drawn(tiny.char("abc"), seed=5),
}
TEXT = b"the cat sat on the mat.\nand so on, \xc3\xa9\n"


@pytest.fixture(autouse=True)
def _models(tmp_path: Path) -> None:
    for name, model in MODELS.items():
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        tiny.saved(tmp_path / "checkpoints" / name / "model.safetensors", model)


def test_the_mean_of_probabilities() -> None:
    """By the reference engine: three models, `<s>` inside, the state carried over two calls."""
    chosen = [MODELS[name] for name in "abc"]
    V = chosen[0].architecture.vocabulary
    ids = np.random.default_rng(1).integers(0, V, (3, 14))
    ids[:, 0] = ids[1, 5] = V
    ensemble = Ensemble([NumpyInference(each.architecture, each.weights) for each in chosen])
    state = ensemble.zero_state(3)
    begun, state = ensemble.score(ids[:, :6], state)
    rest, state = ensemble.score(ids[:, 6:], state)
    alone = []
    for each in chosen:
        engine = ReferenceEngine(each.architecture, each.weights)
        alone.append(engine.score(ids, engine.zero_state(3))[0])
    true = np.where(ids == V, 0, -np.log(np.exp(-np.stack(alone)).mean(axis=0)))
    assert np.allclose(np.concatenate((begun, rest), axis=1), true, rtol=1e-5, atol=1e-7)
    ln_p, after = ensemble.predict(ids, ensemble.zero_state(3))
    assert ln_p.dtype == np.float32
    assert np.allclose(np.exp(ln_p[ids < V]).sum(axis=1), 1, rtol=1e-5)
    assert np.allclose(np.take_along_axis(ln_p, np.where(ids == V, 0, ids)[..., None], 2)[..., 0], -true, rtol=1e-5)
    assert not ln_p[ids == V].any()
    for layer, other in zip(after, state, strict=True):
        assert np.allclose(layer, other, atol=1e-6)
    logits, _ = ensemble.step(ids[:, 0], ensemble.zero_state(3))
    assert np.allclose(np.exp(logits).sum(axis=1), 1)
    assert np.allclose(-logits[np.arange(3), ids[:, 1]], true[:, 1], rtol=1e-5)


def test_states_are_cut_by_their_arrays() -> None:
    """Of models that keep different numbers of them, an ensemble among them; one that learns makes all learn."""
    a, b = (NumpyInference(MODELS[name].architecture, MODELS[name].weights) for name in "ab")
    inner = Ensemble([a, b])
    outer = Ensemble([inner, a])
    ids = np.array([[a.vocabulary, 1, 2, 3]])
    expected = Ensemble([a, b, a])
    assert not outer.adaptive
    assert outer.fresh() is outer
    nats, after = outer.score(ids, outer.zero_state(1))
    assert len(after) == len(expected.zero_state(1))
    parts = [inner.score(ids, inner.zero_state(1))[0], a.score(ids, a.zero_state(1))[0]]
    assert np.allclose(np.exp(-nats[0, 1:]), np.exp(-np.stack(parts)).mean(axis=0)[0, 1:])
    learning = DynamicEngine(MODELS["a"].architecture, MODELS["a"].weights)
    both = Ensemble([learning, b])
    text = np.concatenate([[a.vocabulary], np.arange(90) % 7])[None]
    first, _ = both.score(text, both.zero_state(1))
    assert both.adaptive
    assert not np.array_equal(both.score(text, both.zero_state(1))[0], first)
    assert np.array_equal(both.fresh().score(text, both.zero_state(1))[0], first)


def nats(run: tiny.Program, *models: str) -> float:
    flags = [word for name in models for word in ("-m", name)]
    return float(json.loads(run("eval", *flags, "--json", stdin=TEXT).out)["nats"])


def test_eval(run: tiny.Program) -> None:
    """A model beside itself is itself; the order is of no account; of two the mean is better than the worse."""
    a, b, both = nats(run, "a"), nats(run, "b"), nats(run, "a", "b")
    assert nats(run, "a", "a") == pytest.approx(a, rel=1e-9)
    assert nats(run, "b", "a") == pytest.approx(both, rel=1e-12)
    assert both < max(a, b)
    assert both < (a + b) / 2  # Jensen
    lines = run("eval", "-m", "a", "-m", "b", "--lines", stdin=TEXT).out.split(b"\n")
    assert sum(int(line.split(b"\t")[1]) for line in lines[:-1]) == len(TEXT.decode())


def test_sample(run: tiny.Program) -> None:
    """The same seed, the same text, whatever stands beside it; and what is written is likely under the mean."""
    flags = ["-m", "a", "-m", "b", "--seed", "3", "--length", "40"]
    one = run("sample", *flags)
    assert one.code == 0
    assert len(one.out.decode().removesuffix("\n")) == 40
    texts = [json.loads(line) for line in run("sample", *flags, "-n", "3", "--json").out.splitlines()]
    assert texts[0]["text"] == one.out.decode().removesuffix("\n")
    assert run("sample", "-m", "a", "--seed", "3", "--length", "40").out != one.out


def test_what_is_drawn_has_the_mean_odds() -> None:
    """Chi-squared of first tokens of 4,000 texts, 0.1 % of luck."""
    model = charrnn.load("a", "b")
    texts = list(model.samples(4000, length=1, temp=1.0, seed=11))
    engines = [ReferenceEngine(MODELS[name].architecture, MODELS[name].weights) for name in "ab"]
    probabilities = np.zeros(MODELS["a"].architecture.vocabulary)
    for engine in engines:
        logits, _ = engine.step(np.array([engine.vocabulary]), engine.zero_state(1))
        probabilities += np.exp(logits[0]) / np.exp(logits[0]).sum() / 2
    probabilities[model.tokenizer.unknown] = 0
    probabilities /= probabilities.sum()
    counts = np.zeros(len(probabilities))
    for text in texts:
        counts[model.tokenizer.encode(text.encode())[0]] += 1
    expected = 4000 * probabilities
    often = expected > 5
    chi_squared = ((counts - expected)[often] ** 2 / expected[often]).sum()
    freedom = often.sum() - 1
    assert chi_squared < freedom + 3.1 * math.sqrt(2 * freedom) + 5


def test_the_library() -> None:
    one, two, both = charrnn.load("a"), charrnn.load("b"), charrnn.load("a", "b")
    score = both.score(TEXT)
    assert score.tokens == one.score(TEXT).tokens
    assert score.nats < max(one.score(TEXT).nats, two.score(TEXT).nats)


@pytest.mark.parametrize("command", ["eval", "sample"])
@pytest.mark.parametrize("other", ["others", "records"])
def test_other_symbols_are_refused(command: str, other: str, run: tiny.Program) -> None:
    ran = run(command, "-m", "a", "-m", other, stdin=b"a")
    assert ran.code == 2
    assert "cannot be used together: they have different vocabularies" in ran.error


def test_one_that_is_missing(run: tiny.Program) -> None:
    ran = run("eval", "-m", "a", "-m", "nowhere", stdin=b"a")
    assert ran.code == 3
    assert "no model 'nowhere'" in ran.error


@pytest.mark.parametrize("value", [math.nan, math.inf, 3e38])
def test_one_that_is_not_finite(value: float, run: tiny.Program, tmp_path: Path) -> None:
    """Spoils them all, and says so."""
    bad = tiny.poisoned(tmp_path / "bad", tiny.drawn(tiny.char(), seed=7), value)
    for command in (["eval"], ["sample", "--seed", "1"]):
        ran = run(*command, "-m", "a", "-m", bad, stdin=TEXT)
        assert ran.code in ((5, 0) if value == 3e38 else (5,))


def test_one_learns_alone(run: tiny.Program) -> None:
    ran = run("eval", "-m", "a", "-m", "b", "--adapt", "weights", stdin=b"a")
    assert ran.code == 2
    assert "--adapt learns with one model, and --model names several" in ran.error
