"""Products in int8: the compiled core against the same arithmetic in NumPy, bit for bit, and how near both are to
float32."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from charrnn.engines.base import Array
from charrnn.engines.native import lib as core
from charrnn.engines.native.inference import NativeInference
from charrnn.engines.numpy.inference import NumpyInference
from charrnn.engines.numpy.int8 import MAX_INT8, Int8Matrix, quantize
from charrnn.network.architecture import Architecture
from tests.engines.models import CELLS, drawn
from tests.engines.native.computed import digest

ISAS = ["baseline", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16", "neon", "neondot", "neonbf16"]

needs_core = pytest.mark.skipif(core.library() is None, reason="the compiled core was not built here")

SIZES: list[tuple[int, tuple[int, ...], int]] = [
    (1, (1,), 1), (1, (2,), 3), (5, (7, 7), 1), (5, (33, 5), 2), (70, (100,), 13), (131, (67, 67), 5),
    (3, (1100,), 1), (17, (200, 130), 29),
]  # fmt: skip
"""Vocabularies, hidden sizes, and rows; 1100 units need more than float32 to be exact in NumPy."""


def by_hand(weights: dict[str, Array], layers: int, rows: list[Array]) -> tuple[list[Array], Array]:
    """A step of a ReLU network whose embedding is zero, in int8: its states and its logits."""
    after: list[Array] = []
    for layer, h in enumerate(rows):
        ih, hh, b, d = (weights[f"layers.{layer}.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        start = np.broadcast_to(b + d, h.shape)
        if layer:
            start = Int8Matrix(ih).multiply(after[-1]) + start
        after.append(np.maximum(Int8Matrix(hh).multiply(h) + start, np.float32(0)))
    features = after[0]
    if layers > 1:
        same = after[0].shape == after[1].shape
        features = after[0] + after[1] if same else np.hstack(after)
    return after, Int8Matrix(weights["head.weight"]).multiply(features) + weights["head.bias"]


def assert_equal_to_numpy(threads: int) -> None:
    """Three steps of each network, from states of all magnitudes, one of them zero."""
    for vocabulary, hidden, B in SIZES:
        architecture = Architecture("rnn", vocabulary, hidden, 3, activation="relu")
        weights = drawn(architecture)
        weights["embedding"][:] = 0
        for layer, H in enumerate(hidden):
            weights[f"layers.{layer}.weight_hh"] *= np.float32(2 / np.sqrt(H))
            weights[f"layers.{layer}.weight_hh"][-1] = 0
        engine = NativeInference(architecture, weights, threads, "int8")
        random = np.random.default_rng(3)
        magnitudes = 10.0 ** random.integers(-3, 3, (B, 1)) * (np.arange(B)[:, None] != 1)
        rows = [(random.standard_normal((B, H)) * magnitudes).astype(np.float32) for H in hidden]
        state = tuple(h[None] for h in rows)
        for _ in range(3):
            logits, state = engine.step(np.zeros(B, np.int64), state)
            rows, expected = by_hand(weights, len(hidden), rows)
            for h, true in zip(state, rows, strict=True):
                assert np.array_equal(h[0], true), (vocabulary, hidden, B)
            assert np.array_equal(logits, expected), (vocabulary, hidden, B)


@needs_core
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_products_equal_numpys(threads: int) -> None:
    assert_equal_to_numpy(threads)


@needs_core
@pytest.mark.parametrize("isa", ISAS)
def test_every_instruction_set_gives_the_same_bits(isa: str) -> None:
    """Of products with one gate NumPy's, and of all cells those that this process gets."""
    if isa not in core.instruction_sets():
        pytest.skip(f"this machine does not run {isa}, or the core was built without it")
    script = (
        "from tests.engines.native import test_int8; from charrnn.engines.native import lib as core;"
        "test_int8.assert_equal_to_numpy(2); print(core.instruction_set(), test_int8.digest(2, 'int8'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "CHARRNN_ISA": isa},
        cwd=Path(__file__).parents[3],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == ([isa, digest(1, "int8")], "")


def test_numbers_are_rounded_to_the_nearest() -> None:
    rows = np.array([[127, 1.5, 2.5, -0.4], [0, 0, 0, 0], [1e-31, 0, 0, 0], [0.25, -0.5, 0, 0]], np.float32)
    scales, numbers = quantize(rows)
    assert scales.tolist() == [1, 0, 0, np.float32(0.5) / MAX_INT8]
    assert numbers.tolist() == [[127, 2, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0], [64, -127, 0, 0]]
    random = np.random.default_rng(0).standard_normal((9, 50)).astype(np.float32)
    scales, numbers = quantize(random)
    assert (np.abs(numbers).max(axis=1) == MAX_INT8).all()
    assert np.abs(scales[:, None] * numbers - random).max() <= scales.max() * 0.5001


ENGINES = [pytest.param("native", marks=needs_core), "numpy"]


def engine_of(name: str, architecture: Architecture, precision: str) -> NativeInference | NumpyInference:
    weights = drawn(architecture, scale=0.1)
    weights["head.weight"] *= np.float32(5)
    if name == "numpy":
        return NumpyInference(architecture, weights, precision)
    return NativeInference(architecture, weights, 2, precision)


def divergence(p: Array, q: Array) -> float:
    """Mean KL of log-probabilities (B, T, V), in bits."""
    exact, near = p.astype(np.float64), q.astype(np.float64)
    return float((np.exp(exact) * (exact - near)).sum(axis=-1).mean() / np.log(2))


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_models_are_near_float32(name: str, cell: str, activation: str) -> None:
    """And another arithmetic. The state of a cell without a gate is fed back whole."""
    architecture = Architecture(cell, 11, (64, 100), 9, activation=activation)
    ids = np.random.default_rng(1).integers(0, 12, (3, 60))
    exact, near = (engine_of(name, architecture, precision) for precision in ("float32", "int8"))
    expected, _ = exact.predict(ids, exact.zero_state(3))
    found, _ = near.predict(ids, near.zero_state(3))
    assert np.exp(expected).max(axis=-1).mean() > 0.2  # they are sure of something
    assert 0 < divergence(expected, found) < 0.002


@needs_core
@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_numpy_and_the_core_have_the_same_arithmetic(cell: str, activation: str) -> None:
    """But for exp and tanh, whose last bits may move a number to the next integer."""
    architecture = Architecture(cell, 11, (64, 100), 9, activation=activation)
    ids = np.random.default_rng(1).integers(0, 12, (3, 60))
    core_int8, numpy_int8 = (engine_of(name, architecture, "int8") for name in ("native", "numpy"))
    one, _ = core_int8.score(ids, core_int8.zero_state(3))
    other, _ = numpy_int8.score(ids, numpy_int8.zero_state(3))
    assert np.median(np.abs(one - other)) < 1e-4
    single = [numpy_int8.step(ids[row : row + 1, 0], numpy_int8.zero_state(1))[0] for row in range(3)]
    assert np.array_equal(np.concatenate(single), numpy_int8.step(ids[:, 0], numpy_int8.zero_state(3))[0])


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_state_that_is_not_finite_is_not_hidden(name: str, value: float) -> None:
    architecture = Architecture("lstm", 11, (20, 20), 9)
    engine = engine_of(name, architecture, "int8")
    state = engine.zero_state(2)
    state[0][0, 1, 3] = value
    with np.errstate(all="ignore"):
        logits, _ = engine.step(np.array([1, 2]), state)
    assert np.isfinite(logits[0]).all()
    assert not np.isfinite(logits[1]).any()


@pytest.mark.parametrize("name", ENGINES)
def test_a_head_of_two_levels(name: str) -> None:
    """Its log-probabilities are those of its targets, and near float32's."""
    architecture = Architecture("gru", 11, (64,), 9, clusters=bytes([0, 1, 2, 0, 1, 1, 2, 0, 0, 2, 2]))
    ids = np.random.default_rng(1).integers(0, 11, (3, 60))
    exact, near = (engine_of(name, architecture, precision) for precision in ("float32", "int8"))
    expected, _ = exact.predict(ids, exact.zero_state(3))
    found, _ = near.predict(ids, near.zero_state(3))
    assert 0 < divergence(expected, found) < 0.002
    assert np.allclose(np.exp(found.astype(np.float64)).sum(axis=2), 1)
    nats, _ = near.score(ids, near.zero_state(3))
    assert np.allclose(np.take_along_axis(found, ids[..., None], 2)[..., 0], -nats, rtol=1e-5, atol=1e-6)


@needs_core
def test_a_vocabulary_without_a_table_reads_float32() -> None:
    """The first layer's input is exact whether or not a table of it is made."""
    large, small = (Architecture("lstm", vocabulary, (128,), 8) for vocabulary in (33_000, 9))
    weights = drawn(large, scale=0.2)
    few = {key: weight[:9] if key.startswith("head") else weight for key, weight in weights.items()}
    few["embedding"] = weights["embedding"][[*range(9), -1]]
    ids = np.random.default_rng(1).integers(0, 9, (2, 7))
    states = []
    for architecture, parts in ((large, weights), (small, few)):
        engine = NativeInference(architecture, parts, 2, "int8")
        states.append(engine.score(ids, engine.zero_state(2))[1])
    assert np.array_equal(states[0][0], states[1][0])
