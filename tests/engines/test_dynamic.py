"""Dynamic evaluation: the engine against its formula worked out once more, and `charrnn eval --adapt weights`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from charrnn.engines.base import Array
from charrnn.engines.dynamic import SEGMENT, DynamicEngine
from charrnn.engines.native import lib
from charrnn.engines.numpy.inference import NumpyInference
from charrnn.engines.reference import ReferenceEngine
from charrnn.engines.torch.model import LanguageModel
from charrnn.network.architecture import Architecture
from tests import tiny

V = 7
ARCHITECTURES = [
    Architecture("lstm", V, (12,), 5),
    Architecture("gru", V, (9, 6), 5, clusters=bytes([0, 2, 0, 1, 2, 2, 0])),
    Architecture("mgu", V, (8,), 4),
]


def drawn(architecture: Architecture) -> dict[str, Array]:
    random = np.random.default_rng(3)
    return {
        key: (0.4 * random.standard_normal(shape)).astype(np.float32) for key, shape in architecture.shapes().items()
    }


def name(value: object) -> str | None:
    return value.cell if isinstance(value, Architecture) else None


def gradient(architecture: Architecture, weights: dict[str, Array], ids: Array, state: list[Array]) -> dict[str, Array]:
    """Of the mean cost of ids (N,), no `<s>` among them, given the state (S, 1, H) before; float64."""
    model = LanguageModel(architecture).double()
    model.load_weights(weights)
    before = tuple(torch.tensor(layer, dtype=torch.float64) for layer in state)
    outputs, _ = model.outputs(torch.tensor(ids[None, :-1]), before)
    first = model.features([layer[0] for layer in before])[:, None]
    features = torch.cat((first, outputs), dim=1)
    nn.functional.cross_entropy(model.head(features)[0], torch.tensor(ids)).backward()  # type: ignore[no-untyped-call]
    named = model.named_weights()
    zero = {key: np.zeros(value.shape) for key, value in weights.items()}
    return zero | {key: each.grad.numpy() for key, each in named.items() if each.grad is not None}


@pytest.mark.parametrize("core", [True, False], ids=["core", "torch"])
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=name)
def test_it_follows_the_formula(architecture: Architecture, core: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equations 2 to 5 of the paper on four segments, the mean squares being those so far: by the reference engine and
    float64 gradients; with the core or, where there is none, PyTorch."""
    if not core:
        monkeypatch.setattr(lib, "is_fast", lambda: False)
    rate, decay, memory = 0.01, 4e-3, 0.999
    ids = np.random.default_rng(1).integers(0, V, 4 * SEGMENT)
    trained = {key: value.astype(np.float64) for key, value in drawn(architecture).items()}
    weights = dict(trained)
    mean_squares = {key: np.zeros(value.shape) for key, value in trained.items()}
    state = [np.zeros((architecture.num_states, 1, H)) for H in architecture.hidden]
    true = []
    for number in range(4):
        part = ids[number * SEGMENT : (number + 1) * SEGMENT]
        nats, after = ReferenceEngine(architecture, weights).score(part[None], tuple(state))
        grad = gradient(architecture, weights, part, state)
        roots = {}
        for key, slope in grad.items():
            mean_squares[key] = memory * mean_squares[key] + (1 - memory) * slope**2
            roots[key] = np.sqrt(mean_squares[key] / (1 - memory ** (number + 1)))
        usual = np.concatenate([root.ravel() for root in roots.values()]).mean()
        weights = {
            key: value
            + np.minimum(1, decay * roots[key] / usual) * (trained[key] - value)
            - rate * grad[key] / (roots[key] + 1e-8)
            for key, value in weights.items()
        }
        true.append(nats[0])
        state = [*after]
    engine = DynamicEngine(architecture, drawn(architecture), rate=rate)
    nats, _ = engine.score(ids[None], engine.zero_state(1))
    assert np.allclose(nats[0], np.concatenate(true), rtol=0, atol=2e-4)
    static, _ = NumpyInference(architecture, drawn(architecture)).score(ids[None], engine.zero_state(1))
    assert np.allclose(nats[0, :SEGMENT], static[0, :SEGMENT], rtol=1e-5)
    assert np.abs(nats[0, SEGMENT:] - static[0, SEGMENT:]).max() > 0.05


def test_no_symbol_is_known_before_it_is_scored() -> None:
    """What comes later changes no cost, within a segment and beyond."""
    architecture = ARCHITECTURES[0]
    ids = np.random.default_rng(2).integers(0, V, (1, 5 * SEGMENT))

    def nats(ids: Array) -> Array:
        engine = DynamicEngine(architecture, drawn(architecture))
        found: Array = engine.score(ids, engine.zero_state(1))[0][0]
        return found

    before = nats(ids)
    for place in (3, 3 * SEGMENT - 1, 3 * SEGMENT):
        other = ids.copy()
        other[0, place:] = (other[0, place:] + 1) % V
        assert np.array_equal(nats(other)[:place], before[:place])
        assert not np.allclose(nats(other)[place:], before[place:])


def test_at_rate_zero_nothing_changes() -> None:
    architecture = ARCHITECTURES[0]
    ids = np.where(np.arange(150) % 40 == 0, V, np.arange(150) ** 2 % V)[None]
    engine, static = (
        DynamicEngine(architecture, drawn(architecture), rate=0.0),
        NumpyInference(architecture, drawn(architecture)),
    )
    state = engine.zero_state(1)
    nats, after = engine.score(ids, state)
    true, true_after = static.score(ids, state)
    assert np.allclose(nats, true, rtol=1e-5)
    assert (nats[ids == V] == 0).all()
    assert np.allclose(after[0], true_after[0], atol=1e-5)


def test_starts_alone_teach_nothing() -> None:
    engine = DynamicEngine(ARCHITECTURES[0], drawn(ARCHITECTURES[0]))
    nats, _ = engine.score(np.full((1, 70), V), engine.zero_state(1))
    assert not nats.any()
    assert engine.segments == 0


def test_it_can_begin_afresh() -> None:
    """As it was before it read anything, however often; and what it predicts is what it scores with."""
    architecture = ARCHITECTURES[0]
    ids = np.where(np.arange(100) % 40 == 0, V, np.arange(100) ** 2 % V)[None]
    engine = DynamicEngine(architecture, drawn(architecture))
    assert engine.adaptive
    state = engine.zero_state(1)
    nats, _ = engine.score(ids, state)
    assert not np.array_equal(engine.score(ids, state)[0], nats)  # it has learnt
    assert np.array_equal(engine.fresh().score(ids, state)[0], nats)
    ln_p, _ = engine.fresh().predict(ids, state)
    places = np.flatnonzero(ids[0] < V)
    assert np.allclose(ln_p[0, places, ids[0, places]], -nats[0, places], rtol=3e-7, atol=3e-7)
    assert not ln_p[ids == V].any()


def test_a_step_teaches_nothing() -> None:
    """Of any number of rows; its logits are those that a static engine has."""
    architecture = ARCHITECTURES[0]
    engine, static = DynamicEngine(architecture, drawn(architecture)), NumpyInference(architecture, drawn(architecture))
    ids = np.array([V, 1, 2])
    for _ in range(2):
        logits, after = engine.step(ids, engine.zero_state(3))
        true, true_after = static.step(ids, engine.zero_state(3))
        assert np.allclose(logits, true, atol=1e-5)
        assert np.allclose(after[0], true_after[0], atol=1e-5)
    assert engine.segments == 0


@pytest.mark.parametrize("call", ["score", "predict"])
def test_it_reads_one_row(call: str) -> None:
    engine = DynamicEngine(ARCHITECTURES[0], drawn(ARCHITECTURES[0]))
    with pytest.raises(ValueError, match="one at a time"):
        getattr(engine, call)(np.zeros((2, 3), np.int64), engine.zero_state(2))


@pytest.fixture
def _models(tmp_path: Path) -> None:
    """A model of texts, and one of records, with weights at random."""
    for name, separator in (("char", b""), ("records", b"\n")):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        model = tiny.drawn(tiny.char(), separator=separator)
        tiny.saved(tmp_path / "checkpoints" / name / "model.safetensors", model)


TEXT = b"the cat sat on the mat\n" * 60


@pytest.mark.usefixtures("_models")
@pytest.mark.parametrize("more", [["-m", "char"], ["-m", "char", "--window", "100"], ["-m", "records"]], ids=" ".join)
def test_it_stands_beside_the_static_figure(more: list[str], run: tiny.Program) -> None:
    """And is lower where a text repeats itself; a row of several is the one that the text has alone."""
    Path("a").write_bytes(TEXT)
    Path("b").write_bytes(TEXT[:300][::-1])
    static = [line.split(b"\t") for line in run("eval", *more, "a", "b").out.splitlines()]
    both = [line.split(b"\t") for line in run("eval", *more, "--adapt", "weights", "a", "b").out.splitlines()]
    assert [row[:5] + row[8:] for row in both] == static
    for row in both:
        assert float(row[5]) < 0.9 * float(row[0])
        assert float(row[6]) < float(row[1])
        assert float(row[7]) < float(row[2])
    assert run("eval", *more, "--adapt", "weights", "b").out.split(b"\t") == [*both[1][:8], b"b\n"]
    values = json.loads(run("eval", *more, "--adapt", "weights", "--json", stdin=TEXT).out)
    assert values["file"] == "-"
    assert values["tokens"] == len(TEXT)
    assert f"{values['perplexity']:.6f} {values['adapted_perplexity']:.6f}".encode() == b" ".join(
        [both[0][0], both[0][5]]
    )
    fields = "bits_per_char,adapted_bits_per_char"
    number = run("eval", *more, "--adapt", "weights", "-f", fields, stdin=TEXT)
    assert number.out == b"%s\t%s\n" % (both[0][1], both[0][6])


@pytest.mark.usefixtures("_models")
def test_on_a_terminal() -> None:
    Path("a").write_bytes(TEXT)
    ran = tiny.on_terminal("eval", "-m", "char", "--adapt", "weights", "a")
    assert ran.code == 0
    assert b"adapted" in ran.out


@pytest.mark.usefixtures("_models")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--adapt", "weights", "--lines"], "--adapt and --lines cannot be used together"),
        (["--adapt", "weights", "--streams", "2"], "--streams and --adapt cannot be used together"),
        (["--adapt", "both"], "--adapt must be weights, not 'both'"),
        (["--dynamic"], "--dynamic is now --adapt weights"),
    ],
    ids=str,
)
def test_usage(arguments: list[str], complaint: str, run: tiny.Program) -> None:
    ran = run("eval", "-m", "char", *arguments, stdin=b"a")
    assert ran.code == 2
    assert complaint in ran.error


@pytest.mark.usefixtures("_models")
def test_nothing_to_score(run: tiny.Program) -> None:
    ran = run("eval", "-m", "char", "--adapt", "weights", stdin=b"")
    assert (ran.code, ran.out) == (4, b"")
    assert "no tokens to score" in ran.error
