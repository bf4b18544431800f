"""Every engine against the float64 reference, and the reference against arithmetic done by hand."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from charrnn.engines import reference as oracle
from charrnn.engines import select as devices
from charrnn.engines.base import Array, InferenceEngine, State, take_rows
from charrnn.engines.native import lib as core
from charrnn.engines.native.inference import NativeInference
from charrnn.engines.numpy import inference as fast
from charrnn.engines.numpy.inference import NumpyInference
from charrnn.engines.reference import ReferenceEngine
from charrnn.engines.select import inference_engine, resolve
from charrnn.engines.torch.inference import TorchInference
from charrnn.errors import UsageError
from charrnn.machine import available_cpus
from charrnn.network.architecture import Architecture
from tests.engines.models import CELLS, USUAL, drawn

V = 5
SIZES = [(1,), (7,), (33,), (7, 7), (7, 5)]
MODELS = [
    Architecture(cell, vocabulary=V, hidden=hidden, embedding=4, activation=activation)
    for (cell, activation), hidden in product(CELLS, SIZES)
    if cell in USUAL or hidden in ((33,), (7, 5))
]
TWO_LEVELS = [
    Architecture("gru", V, (33,), 4, clusters=bytes([0, 2, 0, 1, 2])),
    Architecture("lstm", V, (7, 5), 4, clusters=bytes([1, 3, 2, 1, 3])),
]
"""Heads with clusters of rare tokens; the second has nothing else."""
cuda = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors this small gain nothing from more, and wait long for them on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def name(value: object) -> str | None:
    if isinstance(value, Architecture):
        clusters = f"-{value.num_clusters}-clusters" if value.clusters else ""
        return f"{value.cell}-{value.activation}-{'x'.join(map(str, value.hidden))}{clusters}"
    return None


def drawn_state(architecture: Architecture, B: int, seed: int = 1) -> State:
    random = np.random.default_rng(seed)
    return tuple(
        random.standard_normal((architecture.num_states, B, H)).astype(np.float32) for H in architecture.hidden
    )


def drawn_ids(B: int, T: int, starts: float = 0.2, seed: int = 2) -> Array:
    random = np.random.default_rng(seed)
    return np.where(random.random((B, T)) < starts, V, random.integers(0, V, (B, T)))


def distance(value: Array, truth: Array) -> float:
    """Of the norms; of nothing, nothing."""
    assert value.shape == truth.shape
    return float(np.linalg.norm(value - truth)) / max(float(np.linalg.norm(truth)), 1e-30)


class Truth(NamedTuple):
    """What the reference computes: by `score`, `predict` and `step`."""

    nats: Array
    after: State
    ln_p: Array
    logits: Array
    stepped: State


@cache
def truth_of(architecture: Architecture, B: int, T: int) -> Truth:
    """Once for all engines: the reference takes its time."""
    engine, state, ids = (
        ReferenceEngine(architecture, drawn(architecture)),
        drawn_state(architecture, B),
        drawn_ids(B, T),
    )
    return Truth(*engine.score(ids, state), engine.predict(ids, state)[0], *engine.step(ids[:, 0], state))


def assert_same_scores(
    engine: InferenceEngine, architecture: Architecture, B: int, T: int, closeness: float = 1e-5
) -> None:
    truth = truth_of(architecture, B, T)
    state, ids = take_rows(drawn_state(architecture, B), range(B)), drawn_ids(B, T)  # as a batch is gathered
    copies = [layer.copy() for layer in state]
    nats, after = engine.score(ids, state)
    assert nats.dtype == np.float64
    assert (nats[ids == V] == 0).all()
    assert distance(nats, truth.nats) < closeness
    ln_p, predicted = engine.predict(ids, state)
    assert ln_p.dtype == np.float32
    assert (ln_p[ids == V] == 0).all()
    assert distance(ln_p, truth.ln_p) < closeness
    of_ids = np.take_along_axis(ln_p, np.where(ids == V, 0, ids)[..., None], axis=2)[..., 0]
    assert np.allclose(of_ids, -nats, rtol=3e-7, atol=3e-7)  # float32 rounding
    for value, other in zip(predicted, after, strict=True):
        assert np.array_equal(value, other)
    logits, stepped = engine.step(ids[:, 0], state)
    assert distance(logits, truth.logits) < closeness
    for value, true in zip((*after, *stepped), (*truth.after, *truth.stepped), strict=True):
        assert distance(value, true) < closeness
    for layer, copy in zip(state, copies, strict=True):
        assert np.array_equal(layer, copy), "an engine changed the state it was handed"


@pytest.mark.parametrize("architecture", MODELS + TWO_LEVELS, ids=name)
@pytest.mark.parametrize(("B", "T"), [(1, 1), (3, 1), (1, 9), (3, 9)])
def test_numpy_equals_reference(architecture: Architecture, B: int, T: int) -> None:
    assert_same_scores(NumpyInference(architecture, drawn(architecture)), architecture, B, T)


@pytest.mark.skipif(core.library() is None, reason="the compiled core was not built here")
@pytest.mark.parametrize("architecture", MODELS + TWO_LEVELS, ids=name)
@pytest.mark.parametrize(("B", "T"), [(1, 1), (3, 1), (1, 9), (3, 9), (2, 600)])
def test_native_equals_reference(architecture: Architecture, B: int, T: int) -> None:
    """The last is read in several pieces."""
    if T > 9 and (architecture.clusters or architecture.hidden == (33,) or architecture.cell not in USUAL):
        T = 9  # the reference takes its time
    for threads in (1, 2):
        assert_same_scores(NativeInference(architecture, drawn(architecture), threads), architecture, B, T)


@pytest.mark.skipif(core.library() is None, reason="the compiled core was not built here")
@pytest.mark.parametrize("vocabulary", [40, 3000])
def test_native_equals_numpy_with_clusters(vocabulary: int) -> None:
    """Of more rows than the core scores at a time; a cluster is of one token, another no target at all."""
    clusters = np.random.default_rng(4).choice([0, 2, 3, 4], vocabulary, p=[0.2, 0.2, 0.3, 0.3]).astype(np.uint8)
    clusters[17] = 1
    architecture = Architecture("gru", vocabulary, (33, 20), 4, clusters=clusters.tobytes())
    weights, ids = drawn(architecture), np.random.default_rng(5).integers(0, vocabulary + 1, (7, 150))
    ids[clusters[np.minimum(ids, vocabulary - 1)] == 4] = 17
    truth, ids[:, 0] = NumpyInference(architecture, weights), vocabulary
    nats, after = truth.score(ids, truth.zero_state(7))
    few, (ln_p, _) = ids[:3, :40], truth.predict(ids[:3, :40], truth.zero_state(3))
    assert np.allclose(np.exp(ln_p[few != vocabulary].astype(float)).sum(axis=1), 1, atol=1e-5)
    for threads in (1, 3):
        engine = NativeInference(architecture, weights, threads)
        found, state = engine.score(ids, engine.zero_state(7))
        assert distance(found, nats) < 1e-6
        assert all(distance(one, other) < 1e-6 for one, other in zip(state, after, strict=True))
        predicted, _ = engine.predict(few, engine.zero_state(3))
        assert distance(predicted, ln_p) < 1e-6
        targets = np.where(few == vocabulary, 0, few)[..., None]
        of_ids = np.take_along_axis(predicted, targets, axis=2)[..., 0]
        assert np.array_equal(of_ids, -engine.score(few, engine.zero_state(3))[0].astype(np.float32))
        logits, _ = engine.step(ids[:, -1], state)
        assert distance(logits, truth.step(ids[:, -1], after)[0]) < 1e-6


@pytest.mark.parametrize("device", ["cpu", cuda])
@pytest.mark.parametrize("architecture", MODELS + TWO_LEVELS, ids=name)
@pytest.mark.parametrize(("B", "T"), [(1, 1), (3, 9)])
def test_torch_equals_reference(architecture: Architecture, B: int, T: int, device: str) -> None:
    closeness = 1e-5 if device == "cpu" else 3e-5  # a GPU's tanh is of 21 bits or so
    assert_same_scores(TorchInference(architecture, drawn(architecture), device), architecture, B, T, closeness)


@pytest.mark.parametrize(
    "architecture",
    [model for model in MODELS if model.cell in ("rnn", "gru", "lstm") and model.activation != "sigmoid"],
    ids=name,
)
def test_layers_of_torch_get_arrays_that_lie_row_by_row(
    architecture: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On CUDA they refuse others, and rows of a batch that were gathered lie column by column."""
    seen: list[bool] = []
    for kind in (torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM):

        def forward(self: Any, x: Any, state: Any, run: Any = kind.forward) -> Any:
            seen.extend(each.is_contiguous() for each in (state if isinstance(state, tuple) else (state,)))
            return run(self, x, state)

        monkeypatch.setattr(kind, "forward", forward)
    engine = TorchInference(architecture, drawn(architecture), "cpu")
    for ids in (drawn_ids(3, 9), drawn_ids(3, 9, starts=0)):
        _, after = engine.score(ids, take_rows(drawn_state(architecture, 5), [4, 0, 2]))
        engine.score(ids, take_rows(after, [2, 1, 0]))
    assert len(seen) >= 4
    assert all(seen)


@pytest.mark.parametrize("architecture", MODELS[3:5] + MODELS[-2:] + TWO_LEVELS, ids=name)
def test_numpy_without_a_table_and_in_small_blocks(architecture: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a vocabulary of a million tokens takes, forced upon a small one."""
    monkeypatch.setattr(fast, "TABLE", 0)
    monkeypatch.setattr(fast, "BLOCK", 7)
    assert_same_scores(NumpyInference(architecture, drawn(architecture)), architecture, 3, 9)


def test_another_models_scores_differ() -> None:
    """Negative control: the comparison above sees one weight changed by a thousandth."""
    architecture = MODELS[-1]
    weights = drawn(architecture)
    weights["layers.1.bias_hh"][0] += np.float32(1e-3)
    with pytest.raises(AssertionError):
        assert_same_scores(NumpyInference(architecture, weights), architecture, 3, 9)


ENGINES = [ReferenceEngine, NumpyInference, TorchInference]


@pytest.mark.parametrize("engine_type", ENGINES)
@pytest.mark.parametrize("architecture", MODELS[2::5] + MODELS[-2:] + TWO_LEVELS, ids=name)
def test_steps_equal_score(engine_type: type, architecture: Architecture) -> None:
    engine: InferenceEngine = engine_type(architecture, drawn(architecture))
    ids = drawn_ids(3, 9)
    ids[:, 0] = V
    nats, after = engine.score(ids, engine.zero_state(3))
    state, stepped = engine.zero_state(3), np.zeros(ids.shape)
    for t in range(8):
        logits, state = engine.step(ids[:, t], state)
        read = ids[:, t + 1] != V
        chosen = np.array([-oracle.log_softmax(row.astype(np.float64)) for row in logits])
        stepped[read, t + 1] = chosen[read, ids[read, t + 1]]
    _, state = engine.step(ids[:, 8], state)
    assert distance(stepped, nats) < 1e-6
    assert all(distance(one, other) < 1e-6 for one, other in zip(state, after, strict=True))


@pytest.mark.parametrize("architecture", MODELS + TWO_LEVELS, ids=name)
def test_bos_resets_the_state(architecture: Architecture) -> None:
    engine = NumpyInference(architecture, drawn(architecture))
    ids = np.array([[1, 2, V, 3, 4], [V, 1, V, 3, 4]])
    nats, after = engine.score(ids, drawn_state(architecture, 2))
    fresh, fresh_after = engine.score(ids[:, 2:], engine.zero_state(2))
    assert np.array_equal(nats[0, 2:], nats[1, 2:])
    assert np.allclose(nats[:, 2:], fresh, rtol=1e-6)
    assert not np.allclose(nats[0, :2], nats[1, :2])
    for one, other in zip(after, fresh_after, strict=True):
        assert np.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("architecture", [model for model in MODELS if model.hidden == (7, 5)], ids=name)
def test_ev03_chunks_do_not_change_scores(architecture: Architecture) -> None:
    """EV-03: chunks of 1, 7, 64 and 4096, alone or beside 63 others: every token once, to 1e-6."""
    N = 200
    engine = NumpyInference(architecture, drawn(architecture))
    ids = drawn_ids(64, N, starts=0.01)
    whole, _ = engine.score(ids, drawn_state(architecture, 64))
    for chunk in (1, 7, 64, 4096):
        state, pieces = tuple(layer[:, :1] for layer in drawn_state(architecture, 64)), []
        for t in range(0, N, chunk):
            nats, state = engine.score(ids[:1, t : t + chunk], state)
            pieces.append(nats)
        alone = np.concatenate(pieces, axis=1)
        assert alone.shape == (1, N)
        assert distance(alone, whole[:1]) < 1e-6
        assert math.isclose(alone.sum(), whole[0].sum(), rel_tol=1e-6)


@pytest.mark.parametrize("engine_type", ENGINES)
@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_ev01_all_logits_zero_cost_ln_v(engine_type: type, cell: str, activation: str) -> None:
    """EV-01: with V = 65 each token costs ln 65, whatever the text."""
    architecture = Architecture(cell, vocabulary=65, hidden=(6,), embedding=3, activation=activation)
    weights = drawn(architecture)
    weights["head.weight"][:] = 0
    weights["head.bias"][:] = 0
    engine: InferenceEngine = engine_type(architecture, weights)
    ids = np.arange(130).reshape(2, 65) % 66
    nats, _ = engine.score(ids, engine.zero_state(2))
    assert np.allclose(nats[ids != 65], math.log(65), rtol=1e-7, atol=0)
    assert (nats[ids == 65] == 0).all()


@pytest.mark.parametrize(("cell", "activation"), CELLS)
@pytest.mark.parametrize("hidden", [(1,), (7,), (33, 33), (100,), (256,)], ids=str)
@pytest.mark.parametrize("table", [True, False])
def test_a_step_is_the_same_bits_in_every_batch(
    cell: str, activation: str, hidden: tuple[int, ...], table: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not table:
        monkeypatch.setattr(fast, "TABLE", 0)
    clusters = bytes([0, 2, 0, 1, 2]) if cell == "gru" else b""
    architecture = Architecture(cell, V, hidden, embedding=9, activation=activation, clusters=clusters)
    engine = NumpyInference(architecture, drawn(architecture, scale=0.2))
    state, ids = drawn_state(architecture, 64), drawn_ids(64, 1)[:, 0]
    logits, after = engine.step(ids, state)
    for rows in (slice(0, 1), slice(17, 18), slice(63, 64), slice(5, 8)):
        part, part_after = engine.step(ids[rows], tuple(layer[:, rows] for layer in state))
        assert np.array_equal(part, logits[rows])
        for one, whole in zip(part_after, after, strict=True):
            assert np.array_equal(one, whole[:, rows])


@pytest.mark.parametrize("engine_type", [NumpyInference, TorchInference])
@pytest.mark.parametrize("huge", [1e38, math.inf, math.nan])
@pytest.mark.parametrize("clusters", [b"", bytes([0, 2, 0, 1, 2])], ids=["one level", "two levels"])
def test_huge_weights_warn_nobody(engine_type: type, huge: float, clusters: bytes) -> None:
    """Callers look at what comes out; warnings are errors in these tests."""
    architecture = Architecture("gru", vocabulary=V, hidden=(7,), embedding=4, clusters=clusters)
    weights = {key: np.full_like(value, huge) for key, value in drawn(architecture).items()}
    engine: InferenceEngine = engine_type(architecture, weights)
    nats, _ = engine.score(drawn_ids(3, 9, starts=0), engine.zero_state(3))
    logits, _ = engine.step(np.zeros(3, np.int64), engine.zero_state(3))
    assert huge == 1e38 or not np.isfinite(nats).all()
    assert logits.shape == (3, V)


def test_saturated_gates_are_exact() -> None:
    """exp overflows where a gate is shut: the gate is then 0, not a NaN."""
    architecture = Architecture("lstm", vocabulary=V, hidden=(3,), embedding=2)
    weights = {key: value * 300 for key, value in drawn(architecture).items()}
    weights["head.weight"] /= 300
    weights["head.bias"] /= 300
    ids, engine = drawn_ids(3, 9), NumpyInference(architecture, weights)
    nats, _ = engine.score(ids, engine.zero_state(3))
    truth = ReferenceEngine(architecture, weights)
    assert distance(nats, truth.score(ids, truth.zero_state(3))[0]) < 1e-5


@pytest.mark.parametrize("wrong", [-1, V + 1])
def test_an_id_out_of_range_is_refused(wrong: int) -> None:
    for engine in (NumpyInference(MODELS[0], drawn(MODELS[0])), TorchInference(MODELS[0], drawn(MODELS[0]))):
        with pytest.raises(ValueError, match="out of range"):
            engine.step(np.array([0, wrong]), engine.zero_state(2))
        for read in (engine.score, engine.predict):
            with pytest.raises(ValueError, match="out of range"):
                read(np.array([[0, min(wrong, 0) or 2 * V + 1]]), engine.zero_state(1))


@pytest.mark.parametrize("architecture", MODELS + TWO_LEVELS, ids=name)
def test_a_token_that_ends_a_text_is_scored_and_bos_read_in_its_place(architecture: Architecture) -> None:
    """As if `<s>` stood after it: in every engine, in any place of a call, and as its last id."""
    V = architecture.vocabulary
    weights, plain = drawn(architecture), np.random.default_rng(1).integers(0, V, (2, 12))
    ends = np.zeros(plain.shape, bool)
    ends[0, [0, 4, 5]] = ends[1, [7, 11]] = True
    engines: list[InferenceEngine] = [NumpyInference(architecture, weights), TorchInference(architecture, weights)]
    if core.is_fast():
        engines.append(NativeInference(architecture, weights, 2))
    for engine in engines:
        for row in range(2):
            places = np.flatnonzero(ends[row]) + 1
            spread = np.concatenate([[V], np.insert(plain[row], places, V)])[None]
            marked = np.concatenate([[V], plain[row] + (V + 1) * ends[row]])[None]
            scored = spread[0] != V
            nats, state = engine.score(spread, engine.zero_state(1))
            found, after = engine.score(marked, engine.zero_state(1))
            assert np.allclose(found[0, 1:], nats[0, scored], atol=1e-5)
            ln_p, _ = engine.predict(spread, engine.zero_state(1))
            assert np.allclose(engine.predict(marked, engine.zero_state(1))[0][0, 1:], ln_p[0, scored], atol=1e-5)
            for one, other in zip(state, after, strict=True):
                assert np.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("kind", ["native", "numpy", "torch"])
def test_calls_from_several_threads_take_turns(kind: str) -> None:
    """They share an engine's memory, and come out as if they were alone."""
    if kind == "native" and core.library() is None:
        pytest.skip("the compiled core was not built here")
    architecture = Architecture("gru", V, (33, 20), 4)
    engine = inference_engine(resolve(engine=kind), architecture, drawn(architecture))
    calls = [(B, T, seed) for seed, (B, T) in enumerate([(1, 90), (3, 9), (2, 40), (4, 70)] * 5)]

    def found(call: tuple[int, int, int]) -> list[Array]:
        B, T, seed = call
        ids, state = drawn_ids(B, T, seed=seed), engine.zero_state(B)
        nats, after = engine.score(ids, state)
        return [nats, engine.predict(ids, state)[0], engine.step(ids[:, 0], state)[0], *after]

    expected = [found(call) for call in calls]
    with ThreadPoolExecutor(4) as pool:
        for values, true in zip(pool.map(found, calls), expected, strict=True):
            assert all(np.array_equal(value, other) for value, other in zip(values, true, strict=True))


def test_an_engine_that_does_not_learn_stays_itself() -> None:
    engine = NumpyInference(MODELS[0], drawn(MODELS[0]))
    assert not engine.adaptive
    assert engine.fresh() is engine


def test_an_engine_is_chosen_by_name() -> None:
    architecture = MODELS[0]
    weights = drawn(architecture)
    kinds: dict[str, type] = {
        "numpy": NumpyInference,
        "torch": TorchInference,
        "auto": NativeInference if core.is_fast() else NumpyInference,
    }
    for asked, kind in kinds.items():
        spec = resolve(engine=asked)
        assert isinstance(inference_engine(spec, architecture, weights), kind)
        assert inference_engine(spec, architecture, weights).name == spec.engine


def test_a_spec_is_resolved_once() -> None:
    """All that decides what runs a model, with nothing left open; and what scores it while it trains."""
    spec = resolve(threads=3, training=True)
    assert (spec.device, spec.precision, spec.threads, spec.reason) == ("cpu", "float32", 3, "asked for")
    assert spec.engine == ("native" if core.is_fast() else "torch")
    assert resolve().threads == available_cpus()
    trained = resolve(engine="torch", precision="bfloat16", threads=2, training=True)
    assert (trained.engine, trained.precision) == ("torch", "bfloat16")
    scoring = trained.for_scoring()
    assert (scoring.engine, scoring.precision) == ("native" if core.is_fast() else "numpy", "float32")
    assert (scoring.device, scoring.threads) == ("cpu", 2)
    with pytest.raises(UsageError, match="the engine is numpy on cpu, which has float32"):
        resolve(engine="numpy", precision="bfloat16")


def test_reference_equals_arithmetic_by_hand() -> None:
    """One GRU unit and one LSTM unit, worked out with math.exp and math.tanh."""

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    column = np.array([[0.1], [0.2], [0.3], [0.4]])
    flat, x, h, c = column[:, 0], np.array([2.0]), np.array([0.5]), np.array([-0.25])
    r, z = sigmoid(0.1 * 2 + 0.1 + 0.05 + 0.1), sigmoid(0.2 * 2 + 0.2 + 0.1 + 0.2)
    n = math.tanh(0.3 * 2 + 0.3 + r * (0.15 + 0.3))
    gru = oracle.gru(column[:3], column[:3], flat[:3], flat[:3], x, h)
    assert math.isclose(gru[0], (1 - z) * n + z * 0.5, rel_tol=1e-14)
    i, f, g, o = (w * 2 + w + w * 0.5 + w for w in (0.1, 0.2, 0.3, 0.4))
    new_c = sigmoid(f) * -0.25 + sigmoid(i) * math.tanh(g)
    new_h, lstm_c = oracle.lstm(column, column, flat, flat, x, h, c)
    assert math.isclose(lstm_c[0], new_c, rel_tol=1e-14)
    assert math.isclose(new_h[0], sigmoid(o) * math.tanh(new_c), rel_tol=1e-14)
    rnn = oracle.rnn(column[:1], column[:1], flat[:1], flat[:1], x, h, "sigmoid")
    assert math.isclose(rnn[0], sigmoid(0.1 * 2 + 0.1 + 0.05 + 0.1), rel_tol=1e-14)


def test_the_device_is_chosen_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """RS-03: the best there is; what is not there is an error."""
    assert devices.choose_device("cpu") == ("cpu", "asked for")
    monkeypatch.setattr(devices, "has_driver", lambda: False)
    assert devices.choose_device("auto") == ("cpu", "this machine has no driver for a GPU")
    monkeypatch.setattr(devices, "has_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert devices.choose_device("auto") == ("cpu", "this PyTorch was built without CUDA")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert devices.choose_device("auto") == ("cpu", "PyTorch finds no GPU")
    with pytest.raises(UsageError, match=r"device cuda:1: no such device here; there is cpu$"):
        devices.choose_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU number {number}")
    assert devices.choose_device("auto") == ("cuda:0", "GPU number 0")
    assert devices.choose_device("cuda:1") == ("cuda:1", "GPU number 1")
    with pytest.raises(UsageError, match=r"there is cpu, cuda:0, cuda:1$"):
        devices.choose_device("cuda:2")
