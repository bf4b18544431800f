"""Texts drawn in int8 and scored in float32."""

from typing import Any

import numpy as np
import pytest

from charrnn.config.sample import SampleConfig
from charrnn.engines.base import END, NOTHING, Array, Ids, InferenceEngine, State, take_rows
from charrnn.engines.drawing import DrawingEngine
from charrnn.engines.ensemble import Ensemble
from charrnn.engines.native import lib as core
from charrnn.engines.native.inference import NativeInference
from charrnn.engines.numpy.inference import NumpyInference
from charrnn.engines.select import ensemble_engine
from charrnn.errors import NonFiniteError
from charrnn.generation.sampling import make_sampler
from charrnn.network.architecture import Architecture
from tests.engines.models import drawn, requested

pytestmark = pytest.mark.skipif(not core.is_fast(), reason="the compiled core is not what is taken here")

V = 11
LSTM = Architecture("lstm", V, (33, 20), 9)


def engine_of(precision: str) -> InferenceEngine:
    return ensemble_engine([(LSTM, drawn(LSTM))], precision=precision)


def texts_of(
    engine: InferenceEngine, first: InferenceEngine, *, with_nats: bool, batch_size: int, seconds: float
) -> dict[int, list[tuple[int, float]]]:
    """The tokens and nats of 40 texts after two prompts, which `first` has read: each third is cut short from outside;
    no token comes twice in one, so that those of the second prompt are stuck; an id ends those of the first."""
    _, state = first.score(np.array([[V, 3, 1], [V, 5, 5]]), first.zero_state(2))
    logits, state = first.step(np.array([2, 7]), state)
    dfa = np.array([[0] * V, [1] * V], np.int32)
    dfa[0, 4] = END
    config = SampleConfig(length=50, num=20, no_repeat=1)
    request = requested(
        (logits, state), config, seed=6, dfa=dfa, dfa_start=np.arange(2), batch_size=batch_size, with_nats=with_nats
    )
    sampler = make_sampler(engine, request)
    found: dict[int, list[tuple[int, float]]] = {}
    while len((sampled := sampler.advance(seconds)).ids):
        for text, token, nats in zip(*(part.tolist() for part in sampled[:3]), strict=True):
            found.setdefault(text, []).append((token, nats))
        for text in set(sampled.texts.tolist()):
            if text % 3 == 0 and len(found[text]) > 5:
                sampler.finish(text)
    return {text: tokens[:6] if text % 3 == 0 else tokens for text, tokens in found.items()}


def test_texts_are_int8s_and_their_nats_float32s() -> None:
    """To the last bit, whatever is drawn side by side, and wherever it is interrupted."""
    exact, auto = engine_of("float32"), engine_of("auto")
    assert isinstance(auto, DrawingEngine)
    expected = texts_of(engine_of("int8"), exact, with_nats=False, batch_size=3, seconds=0)
    assert expected != texts_of(exact, exact, with_nats=False, batch_size=3, seconds=0)
    found = texts_of(auto, exact, with_nats=True, batch_size=3, seconds=0)
    assert found == texts_of(auto, exact, with_nats=True, batch_size=40, seconds=0.02)
    unscored = texts_of(auto, exact, with_nats=False, batch_size=7, seconds=0)
    ids = {text: [token for token, _ in tokens] for text, tokens in found.items()}
    for other in (expected, unscored):
        assert ids == {text: [token for token, _ in tokens] for text, tokens in other.items()}
    assert all(np.isnan(nats) for tokens in unscored.values() for _, nats in tokens)
    assert len({len(tokens) for tokens in ids.values()}) > 5
    assert any(tokens[-1] == NOTHING for tokens in ids.values())
    _, state = exact.score(np.array([[V, 3, 1, 2], [V, 5, 5, 7]]), exact.zero_state(2))
    for text, tokens in found.items():
        read = [token for token, _ in tokens if token != NOTHING]
        nats, _ = exact.score(np.array([read]), take_rows(state, [text // 20]))
        assert [nats for token, nats in tokens if token != NOTHING] == nats[0].tolist()
        assert all(nats == 0 for token, nats in tokens if token == NOTHING)


@pytest.mark.parametrize("options", [{"temp": 0.0}, {"top_k": 1}, {"temp": 0.01}])
def test_where_the_likeliest_is_taken_it_is_what_float32_says(options: dict[str, Any]) -> None:
    """NU-04: the likeliest token of float32, and next to none of int8's that is another."""
    exact, auto, rounded = (engine_of(name) for name in ("float32", "auto", "int8"))
    _, state = exact.score(np.arange(V)[:, None], exact.zero_state(V))  # V prompts of a token
    first = exact.step(np.arange(V), state)
    config = SampleConfig(length=30, **options)
    request = requested(first, config, seed=1, dfa=np.array([[0] * V]), batch_size=V, with_nats=True)

    def drawn_by(engine: InferenceEngine) -> list[int]:
        return list(make_sampler(engine, request).advance(10).ids)

    assert drawn_by(auto) == drawn_by(exact)
    assert drawn_by(auto) != drawn_by(rounded)


def test_scores_that_are_not_finite_are_refused() -> None:
    """NU-06: though int8 can draw."""

    class Overflowing(NumpyInference):
        def score(self, ids: Ids, state: State) -> tuple[Array, State]:
            nats, state = super().score(ids, state)
            return nats + np.inf, state

    auto = DrawingEngine(Overflowing(LSTM, drawn(LSTM)), lambda: engine_of("int8"))
    first = auto.step(np.array([V]), auto.zero_state(1))
    config, dfa = SampleConfig(length=9), np.array([[0] * V])
    sampler = make_sampler(auto, requested(first, config, seed=1, dfa=dfa, batch_size=1, with_nats=True))
    with pytest.raises(NonFiniteError):
        sampler.advance(1)


def test_it_scores_as_float32() -> None:
    exact, auto = engine_of("float32"), engine_of("auto")
    ids = np.random.default_rng(0).integers(0, V + 1, (3, 9))

    def values(engine: InferenceEngine) -> list[Array]:
        nats, after = engine.score(ids, engine.zero_state(3))
        return [nats, engine.predict(ids, engine.zero_state(3))[0], engine.step(ids[:, 0], after)[0], *after]

    for one, other in zip(values(exact), values(auto), strict=True):
        assert np.array_equal(one, other)


def test_where_nothing_is_drawn_in_int8() -> None:
    """Several models, another engine, and a precision that was asked for."""
    model = (LSTM, drawn(LSTM))
    assert isinstance(ensemble_engine([model, model]), Ensemble)
    assert isinstance(ensemble_engine([model], precision="float32"), NativeInference)
    assert ensemble_engine([model], engine="numpy").name == "numpy"
