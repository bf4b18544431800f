"""Inference by the compiled core with a large vocabulary, of which few ids are read: the first layer's projection of an
id is made when it is first read."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from charrnn.config.sample import SampleConfig
from charrnn.engines.base import Array, InferenceEngine
from charrnn.engines.native import lib as core
from charrnn.engines.native.inference import NativeInference
from charrnn.engines.reference import ReferenceEngine
from charrnn.network.architecture import Architecture
from tests.engines.models import drawn, requested
from tests.engines.native.test_sampler import written
from tests.engines.test_engines import distance

pytestmark = pytest.mark.skipif(core.library() is None, reason="the compiled core was not built here")

V = 3000
B, T = 5, 40


def ids_of(seed: int, low: int = 0, high: int = V + 1) -> Array:
    return np.random.default_rng(seed).integers(low, high, (B, T))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_what_was_read_before_changes_no_bit(threads: int, precision: str) -> None:
    """Whichever rows are there already, and however many are made together."""
    architecture = Architecture("gru", V, (33,), 17)
    weights = drawn(architecture)

    def scored(engine: InferenceEngine) -> list[Array]:
        nats, state = engine.score(ids_of(1), engine.zero_state(B))
        logits, state = engine.step(ids_of(2)[:, 0], state)
        return [nats, logits, *state]

    fresh = NativeInference(architecture, weights, 1, precision)
    expected = scored(fresh)
    if precision == "float32":
        truth = ReferenceEngine(architecture, weights)
        assert distance(expected[0], truth.score(ids_of(1), truth.zero_state(B))[0]) < 1e-5
    engine = NativeInference(architecture, weights, threads, precision)
    for seed, low, high in [(3, 0, 50), (4, 0, V + 1), (5, 7, 8), (6, V, V + 1)]:
        ids = ids_of(seed, low, high)
        alone = NativeInference(architecture, weights, threads, precision)
        for begin in range(0, T, 7):
            nats, _ = engine.score(ids[:, begin : begin + 7], engine.zero_state(B))
            assert np.array_equal(nats, alone.score(ids[:, begin : begin + 7], alone.zero_state(B))[0])
    for found, true in zip(scored(engine), expected, strict=True):
        assert np.array_equal(found, true)


def test_readers_and_writers_of_several_threads_make_rows_together() -> None:
    """Scores and texts that are written meanwhile, all of an engine that has read nothing, are as alone."""
    architecture = Architecture("lstm", V, (24, 24), 20)
    weights = drawn(architecture, scale=0.1)

    def scored(engine: NativeInference, seed: int) -> object:
        return engine.score(ids_of(seed), engine.zero_state(B))[0].tobytes()

    def texts(engine: NativeInference, seed: int) -> object:
        logits, state = engine.step(np.full(1, V), engine.zero_state(1))
        config = SampleConfig(length=60, num=6)
        anything = np.zeros((1, V), np.int32)
        return written(engine.sampler(requested((logits, state), config, seed=seed, dfa=anything, batch_size=3)))

    works = [(scored, 1), (texts, 2), (scored, 3), (texts, 4), (texts, 5)]
    expected = [work(NativeInference(architecture, weights, 1), seed) for work, seed in works]
    with ThreadPoolExecutor(len(works)) as pool:
        for _ in range(5):
            engine = NativeInference(architecture, weights, 2)
            assert [*pool.map(lambda each, engine=engine: each[0](engine, each[1]), works)] == expected
