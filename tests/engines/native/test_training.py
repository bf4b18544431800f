"""The compiled core: its gradients, and that its results do not depend on threads, neighbours or the processor.

What it shares with the other engines is tested beside them, in test_engines.py.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from charrnn.engines.base import Array, Optimizer, OptimizerParams, TrainingEngine
from charrnn.engines.native import lib as core
from charrnn.engines.native.inference import NativeInference
from charrnn.engines.native.lib import PRECISIONS
from charrnn.engines.native.training import NativeTraining
from charrnn.engines.numpy.inference import NumpyInference
from charrnn.engines.select import choose_engine
from charrnn.engines.torch.model import LanguageModel
from charrnn.errors import UsageError
from charrnn.network.architecture import Architecture
from charrnn.network.dropout import Masks, dropout_masks, weight_masks
from tests.engines.models import CELLS, USUAL, drawn
from tests.engines.native.computed import (
    V,
    digest,
    gradients_of,
    ids_of,
    large,
    learnt,
    made,
    native,
    optimized,
    setting_of,
)  # fmt: skip

pytestmark = pytest.mark.skipif(core.library() is None, reason="the compiled core was not built here")

BOTH = ("float32", "bfloat16")
"""What models are trained in; in int8 there is inference alone, whose instruction sets are in test_int8.py."""


def truly_learnt(architecture: Architecture, ids: Array, targets: Array, masks: bool) -> tuple[float, dict[str, Array]]:
    """The same by torch's own layers, in float64."""
    setting = setting_of(architecture, len(ids), masks)
    model = LanguageModel(architecture).double()
    model.load_weights(drawn(architecture, scale=0.2))
    state = tuple(torch.from_numpy(layer).double().requires_grad_() for layer in setting.state)
    given = None if setting.masks is None else [torch.from_numpy(mask).double() for mask in setting.masks]
    features, after = model.outputs(torch.from_numpy(ids), state, given)
    loss = model.loss(features, torch.from_numpy(targets))
    for layer, slope in zip(after, setting.after, strict=True):
        loss = loss + (layer * torch.from_numpy(slope)).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    grad = {f"state {number}": layer.grad for number, layer in enumerate(state)}
    grad |= {key: weight.grad for key, weight in model.named_weights().items()}
    return float(loss.detach()), {key: slope.numpy() for key, slope in grad.items() if slope is not None}


def assert_near(found: dict[str, Array], true: dict[str, Array]) -> None:
    """Norm-wise. A bias's gradient is a sum that may nearly cancel: it is measured by the largest of them."""
    assert set(found) == set(true)
    biases = max(float(np.linalg.norm(slope)) for key, slope in true.items() if "bias" in key)
    for key, slope in true.items():
        norm = max(float(np.linalg.norm(slope)), biases if "bias" in key else 1e-30)
        error = float(np.linalg.norm(found[key] - slope)) / norm
        assert error < 1e-5, f"{key}: {error}"


HIDDEN = ((1,), (7,), (33,), (100,), (16, 16), (7, 33, 5))
BATCHES = ((1, 1), (3, 1), (1, 9), (3, 9), (17, 5))


def settings(cell: int) -> list[tuple[tuple[int, ...], int, int, float]]:
    """Return every size of layers with every batch; texts start inside by turns, another way for the next cell."""
    return [
        (hidden, B, T, 0.2 * ((number + cell) % 2)) for number, (hidden, (B, T)) in enumerate(product(HIDDEN, BATCHES))
    ]


FEW = [
    *(((33,), 1, 9, 0.2), ((100,), 17, 5, 0.2), ((16, 16), 1, 1, 0.0)),
    *(((7, 33, 5), 3, 9, 0.2), ((7, 33, 5), 3, 9, 0.0)),
]


@pytest.mark.parametrize(
    ("cell", "activation", "hidden", "B", "T", "starts"),
    [
        (*cell, *setting)
        for number, cell in enumerate(CELLS)
        for setting in (settings(number) if cell[0] in USUAL else FEW)
    ],
    ids=str,
)
def test_gradients_equal_those_in_float64(
    cell: str, activation: str, hidden: tuple[int, ...], B: int, T: int, starts: float
) -> None:
    """Of weights, biases, embedding and carried state, with `<s>` inside; test_model.py holds the torch engine's in
    float64 against the reference."""
    architecture = Architecture(cell, V, hidden, embedding=9, activation=activation)
    ids, targets = ids_of(B, T, starts)
    masks = B == 3
    loss, grad = learnt(made(architecture, 2), ids, targets, masks)
    true_cost, true = truly_learnt(architecture, ids, targets, masks)
    assert loss == pytest.approx(true_cost, rel=1e-5, abs=1e-5)
    assert_near(grad, true)


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("vocabulary", [1, 2, 16, 65, 5000])
def test_gradients_with_any_vocabulary(vocabulary: int, masks: bool) -> None:
    """A large one needs products only for the ids that are read."""
    architecture = Architecture("gru", vocabulary, (33,), embedding=9)
    ids, targets = ids_of(3, 9, 0.1, vocabulary)
    loss, grad = learnt(made(architecture), ids, targets, masks)
    true_cost, true = truly_learnt(architecture, ids, targets, masks)
    assert loss == pytest.approx(true_cost, rel=1e-5, abs=1e-5)
    assert_near(grad, true)


@pytest.mark.parametrize("vocabulary", [9, 1500])
def test_gradients_of_a_head_of_two_levels(vocabulary: int) -> None:
    """Its clusters are in no order; one has a single token, and another no target."""
    random = np.random.default_rng(3)
    clusters = random.choice([0, 2, 3], vocabulary).astype(np.uint8)
    clusters[:4] = 1, 2, 3, 0
    architecture = Architecture("gru", vocabulary, (33, 20), embedding=9, clusters=clusters.tobytes())
    ids, targets = ids_of(7, 40, 0.1, vocabulary)
    targets[clusters[targets] == 3] = 0
    loss, grad = learnt(made(architecture, 2), ids, targets, masks=True)
    true_cost, true = truly_learnt(architecture, ids, targets, masks=True)
    assert loss == pytest.approx(true_cost, rel=1e-5)
    assert_near(grad, true)


def test_a_wrong_gradient_is_seen() -> None:
    """Negative control: one reset fewer."""
    architecture = Architecture("lstm", V, (33,), embedding=9)
    ids, targets = ids_of(3, 9, 0.0)
    _, true = truly_learnt(architecture, ids, targets, masks=False)
    ids[1, 4] = V
    _, grad = learnt(made(architecture), ids, targets, masks=False)
    with pytest.raises(AssertionError, match=":"):
        assert_near(grad, true)


def test_no_weights_change_and_nothing_is_learnt_twice() -> None:
    architecture = Architecture("gru", V, (8,), embedding=4)
    model = made(architecture)
    before = model.weights()
    ids, targets = ids_of(2, 3, 0.0)
    model.forward_backward(ids, targets, model.zero_state(2))
    assert all(np.array_equal(before[key], weight) for key, weight in model.weights().items())
    with pytest.raises(RuntimeError, match="no forward pass"):  # the gates have become their gradients
        model.backward(np.zeros((3, 2, 8), np.float32))


@pytest.mark.parametrize("engine", [NativeTraining, LanguageModel])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "gru-v1"])
def test_dropped_weights_are_as_zeros_for_a_step(cell: str, engine: Callable[[Architecture], TrainingEngine]) -> None:
    """The step is one of the model whose weights are multiplied by the masks; they themselves stay."""
    architecture = Architecture(cell, V, (8, 8), embedding=4)
    whole, masked = engine(architecture), engine(architecture)
    weights = drawn(architecture, scale=0.3)
    whole.load_weights(weights)
    masks = weight_masks(architecture, 0.4, seed=1, step=0)
    masked.load_weights(weights | {name: weights[name] * mask for name, mask in masks.items()})
    ids, targets = ids_of(2, 3, 0.1)
    loss, _ = whole.forward_backward(ids, targets, whole.zero_state(2), Masks(weights=masks))
    expected, _ = masked.forward_backward(ids, targets, masked.zero_state(2))
    assert float(loss) == float(expected)
    found, true = gradients_of(whole), gradients_of(masked)
    for name, slope in true.items():
        assert np.array_equal(found[name], slope * masks[name] if name in masks else slope), name
    assert all(np.array_equal(weights[name], weight) for name, weight in whole.weights().items())


@pytest.mark.parametrize("engine", [NativeTraining, LanguageModel])
def test_gradients_lie_in_one_piece(engine: Callable[[Architecture], TrainingEngine]) -> None:
    """(G + 2,): all gradients in the order of the weights, the loss, and a number that is the caller's. What is written
    there is what the optimizer uses, as after an all-reduce."""
    architecture = Architecture("gru", V, (8, 5), embedding=4)
    halves, whole = engine(architecture), engine(architecture)
    for model in (halves, whole):
        model.load_weights(drawn(architecture, scale=0.3))
    ids, targets = ids_of(4, 6, 0.1)
    optimizers = [model.make_optimizer(OptimizerParams("adamw")) for model in (halves, whole)]
    summed = np.zeros(architecture.num_parameters + 2)
    for rows in (slice(0, 2), slice(2, 4)):
        assert halves.gradients.shape == (architecture.num_parameters + 2,)
        halves.gradients[-1] = 1
        loss, _ = halves.forward_backward(ids[rows], targets[rows], halves.zero_state(2))
        found = np.asarray(halves.gradients).astype(np.float64)
        assert found[-2] == np.float32(float(loss))
        assert found[-1] == 1
        summed += found
    loss, _ = whole.forward_backward(ids, targets, whole.zero_state(4))
    true = np.asarray(whole.gradients).astype(np.float64)
    assert np.allclose(summed[:-1] / 2, true[:-1], rtol=1e-4, atol=1e-7)
    halves.gradients[:] = whole.gradients
    norms = [float(optimizer.gradient_norm()) for optimizer in optimizers]
    assert norms[0] == norms[1] == pytest.approx(float(np.linalg.norm(true[:-2])), rel=1e-5)
    for optimizer in optimizers:
        optimizer.step(0.01, 1.0)
    for name, weight in halves.weights().items():
        assert np.array_equal(weight, whole.weights()[name])


@pytest.mark.parametrize("engine", [NativeTraining, LanguageModel])
@pytest.mark.parametrize("name", ["adamw", "adam", "rmsprop", "sgd"])
def test_an_optimizer_goes_on_from_its_state(name: str, engine: Callable[[Architecture], TrainingEngine]) -> None:
    """And refuses one from which a tensor is missing or wrong, which it names."""
    architecture = Architecture("gru", V, (8,), embedding=4)
    first = engine(architecture)
    first.load_weights(drawn(architecture, scale=0.3))
    optimizer = first.make_optimizer(OptimizerParams(name, 0.1))
    assert optimizer.state_dict() == {}
    optimizer.load_state_dict({})  # of a run that has made no step
    read = ids_of(2, 6, 0.1)

    def step(model: TrainingEngine, optimizer: Optimizer) -> None:
        model.forward_backward(*read, model.zero_state(2))
        optimizer.gradient_norm()
        optimizer.step(0.01, 1.0)

    step(first, optimizer)
    second = engine(architecture)
    second.load_weights(first.weights())
    other = second.make_optimizer(OptimizerParams(name, 0.1))
    state = optimizer.state_dict()
    other.load_state_dict(state)
    for model, its in ((first, optimizer), (second, other)):
        step(model, its)
    for key, weight in first.weights().items():
        assert np.array_equal(weight, second.weights()[key])
    assert not other.overflowed()
    for key in state["head.bias"]:
        without = {weight: dict(tensors) for weight, tensors in state.items()}
        right = state["head.bias"][key]
        for wrong, message in (
            (np.zeros(V + 1, np.float32), rf"float32 of shape \({V + 1},\)"),
            (np.zeros(1, np.float32), r"float32 of shape \(1,\)"),  # which NumPy would broadcast
            (right.astype(np.float64), "float64 of shape"),
            (np.full_like(right, np.nan), "numbers that it cannot have"),
            (np.full_like(right, -1), "" if key in ("exp_avg", "momentum_buffer") else "numbers that it cannot have"),
            (np.full_like(right, 1.5), "not whole" if key == "step" else ""),
        ):
            without["head.bias"][key] = wrong
            if message:
                with pytest.raises(ValueError, match=rf"head\.bias\.{key} .*{message}|counts of steps .*{message}"):
                    other.load_state_dict(without)
        del without["head.bias"][key]
        with pytest.raises(ValueError, match=rf"no head\.bias\.{key}"):
            other.load_state_dict(without)
    with pytest.raises(ValueError, match="no embedding"):
        other.load_state_dict({"head.bias": state["head.bias"]})


@pytest.mark.parametrize("engine", [NativeTraining, LanguageModel])
def test_weights_that_do_not_fit_are_refused(engine: Callable[[Architecture], TrainingEngine]) -> None:
    model = engine(Architecture("gru", V, (8,), embedding=4))
    weights = model.weights()
    for wrong in ({"head.bias": np.zeros(V + 1, np.float32)}, {"other": np.zeros(1, np.float32)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            model.load_weights({**weights, **wrong})
    with pytest.raises(ValueError, match="embedding"):
        model.load_weights({name: weight for name, weight in weights.items() if name != "embedding"})


@pytest.mark.parametrize("engine", [NativeTraining, LanguageModel])
def test_weights_are_whole_again_after_a_failure(engine: Callable[[Architecture], TrainingEngine]) -> None:
    """Though they were masked when it came."""
    architecture = Architecture("gru", V, (8,), embedding=4)
    model = engine(architecture)
    model.load_weights(drawn(architecture))
    masks = Masks(weights=weight_masks(architecture, 0.4, seed=1, step=0))
    ids, targets = ids_of(2, 3, 0.0)
    with pytest.raises((ValueError, IndexError, RuntimeError)):
        model.forward_backward(ids, targets[:1], model.zero_state(2), masks)
    for name, weight in drawn(architecture).items():
        assert np.array_equal(weight, model.weights()[name])


def test_gradients_are_replaced() -> None:
    """Not added to what an earlier step has left, whatever was read there."""
    architecture = Architecture("lstm", 5000, (8, 8), embedding=4)
    fresh, used = made(architecture), made(architecture)
    for B, masks in ((7, True), (2, False), (2, True)):
        random = dropout_masks(architecture, 0.5, seed=1, step=0, first_row=0, rows=B) if masks else None
        used.forward_backward(*ids_of(B, 5, 0.1, 5000, seed=B), used.zero_state(B), Masks(random))
    for model in (fresh, used):
        model.forward_backward(*ids_of(3, 9, 0.1, 5000), model.zero_state(3))
    for name, slope in fresh.grads.items():
        assert np.array_equal(slope, used.grads[name]), name


# --- the same bits everywhere ----------------------------------------------------------------------


@pytest.mark.parametrize("vocabulary", [1, 5, 4096, 4099])
def test_adamw_is_pytorchs_in_float64(vocabulary: int) -> None:
    architecture = Architecture("lstm", vocabulary, (7, 33), embedding=3)
    exact = LanguageModel(architecture).double()
    exact.load_weights(drawn(architecture, scale=0.2))
    ours, norms = optimized(made(architecture, 2))
    true, true_norms = optimized(exact)
    assert norms == pytest.approx(true_norms, rel=1e-6)
    start = drawn(architecture, scale=0.2)
    for name, weight in ours.items():
        assert np.linalg.norm(weight - true[name]) < 1e-5 * np.linalg.norm(true[name] - start[name])


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512", "avx512bf16", "neon", "neonbf16"])
def test_every_instruction_set_gives_the_same_bits(isa: str) -> None:
    """Scores, states, logits, gradients and texts; of bfloat16 where no processor's own sums round as they like."""
    if isa not in core.instruction_sets():
        pytest.skip(f"this machine does not run {isa}, or the core was built without it")
    precisions = BOTH[: 1 if core.instruction_set().endswith("bf16") else 2]
    script = (
        "from tests.engines.native import computed; from charrnn.engines.native import lib as core;"
        f"print(core.instruction_set(), *(computed.digest(2, each) for each in {precisions!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "CHARRNN_ISA": isa},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert done.stdout.split() == [isa, *(digest(1, each) for each in precisions)]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_every_number_of_threads_gives_the_same_bits(threads: int, precision: str) -> None:
    assert digest(threads, precision) == digest(1, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn", "gru-v1", "mingru", "lstm-peephole"])
def test_a_row_does_not_depend_on_its_neighbours(cell: str, layers: int, precision: str) -> None:
    """EV-07: bit for bit, whatever the batch, the row's place in it, the threads and the cuts."""
    architecture = large(cell, layers)
    ids = ids_of(70, 31, 0.05, 70)[0]
    together, state = native(architecture, 2, precision).score(ids, native(architecture).zero_state(70))
    for rows in ([0], [69], [3, 1], list(range(40, 63))):
        engine = native(architecture, 1, precision)
        first, before = engine.score(ids[rows][:, :20], engine.zero_state(len(rows)))
        second, after = engine.score(ids[rows][:, 20:], before)
        assert np.array_equal(np.hstack((first, second)), together[rows])
        assert all(np.array_equal(a, b[:, rows]) for a, b in zip(after, state, strict=True))


@pytest.mark.parametrize("cell", ["lstm", "mgu", "minlstm"])
def test_stepping_equals_scoring(cell: str) -> None:
    """Bit for bit: the state that `step` leaves is the one that `score` does."""
    architecture = large(cell, 2)
    engine, ids = native(architecture, 2), ids_of(3, 9, 0.2, 70)[0]
    _, scored = engine.score(ids, engine.zero_state(3))
    state = engine.zero_state(3)
    for column in ids.T:
        _, state = engine.step(column, state)
    assert all(np.array_equal(a, b) for a, b in zip(scored, state, strict=True))


@pytest.mark.parametrize("vocabulary", [60_000])
def test_without_a_table(vocabulary: int) -> None:
    """A vocabulary too large for one table of drives scores as the reference does."""
    architecture = Architecture("gru", vocabulary, (100,), embedding=8)
    weights = drawn(architecture, scale=0.2)
    ids = ids_of(2, 6, 0.2, vocabulary)[0]
    engine, other = NativeInference(architecture, weights, 2), NumpyInference(architecture, weights)
    nats, _ = engine.score(ids, engine.zero_state(2))
    expected, _ = other.score(ids, other.zero_state(2))
    assert np.allclose(nats, expected, rtol=1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, 1e30])
def test_numbers_that_are_not_finite_are_not_hidden(value: float, precision: str) -> None:
    architecture = Architecture("gru", V, (20,), embedding=4)
    weights = drawn(architecture)
    weights["head.weight"][3, 7] = value
    engine = NativeInference(architecture, weights, 1, precision)
    nats, _ = engine.score(np.array([[V, 1, 3]]), engine.zero_state(1))
    assert not (np.isfinite(nats[0, 1:]) & (nats[0, 1:] < 1e4)).all()


def test_the_processors_own_settings_come_back() -> None:
    """Numbers next to zero count as zero inside the core alone."""
    architecture = Architecture("gru", V, (20,), embedding=4)
    tiny = np.float32(1e-40)
    for _ in range(3):
        native(architecture, 2).score(np.array([[V, 1]]), native(architecture).zero_state(1))
        assert tiny * np.float32(0.5) > 0


def test_a_forked_process_has_threads_of_its_own() -> None:
    """A pool does not survive a fork; the core makes another."""
    script = (
        "import os\nfrom tests.engines.native.computed import digest as cached\n"
        "digest = cached.__wrapped__\n"
        "first = digest(2)\n"
        "pid = os.fork()\n"
        "if not pid: os._exit(digest(2) != first)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "assert digest(2) == first\n"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=Path(__file__).parents[3], timeout=240, check=True
    )


# --- bfloat16 -----------------------------------------------------------------------------------------


def rounded(x: Array) -> Array:
    """The nearest bfloat16, ties to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    nearest = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32)
    return nearest.view(np.float32).astype(np.float64)


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


@pytest.mark.parametrize("hidden", [1, 7, 33, 100])
def test_bfloat16_rounds_what_products_multiply(hidden: int) -> None:
    """And nothing else: a GRU in float64 whose products have rounded operands scores the same to 1e-5."""
    architecture = Architecture("gru", V, (hidden,), embedding=9)
    weights = {name: weight.astype(np.float64) for name, weight in drawn(architecture, scale=0.5).items()}
    W, U, b, d = (weights[f"layers.0.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    ids, h, expected = ids_of(1, 30, 0.0)[0][0], np.zeros(hidden), []
    for token in ids:
        logits = rounded(weights["head.weight"]) @ rounded(h) + weights["head.bias"]
        expected.append(np.log(np.exp(logits).sum()) - logits[token])
        ih = rounded(W) @ rounded(weights["embedding"][token]) + b
        hh = rounded(U) @ rounded(h) + d
        r, z = (sigmoid(ih[gate * hidden :][:hidden] + hh[gate * hidden :][:hidden]) for gate in (0, 1))
        n = np.tanh(ih[2 * hidden :] + r * hh[2 * hidden :])
        h = (1 - z) * n + z * h
    engine = NativeInference(architecture, weights, 2, "bfloat16")
    nats, _ = engine.score(ids[None], engine.zero_state(1))
    # a state that is a hair from the middle between two bfloat16 may be rounded the other way: 1/256 of it
    assert np.abs(nats[0] - expected).max() < 1e-3
    assert np.median(np.abs(nats[0] - expected)) < 1e-5


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn", "gru-v1", "mgu", "mingru", "lstm-peephole"])
def test_bfloat16_is_near_float32(cell: str) -> None:
    """Scores on average to 1e-3 nats, gradients norm-wise to 2 %, or 10 % where errors are never gated; and it
    is another arithmetic."""
    architecture = Architecture(cell, V, (33, 100), embedding=9)
    ids, weights = ids_of(3, 200, 0.1)[0], drawn(architecture, scale=0.1)
    engines = [NativeInference(architecture, weights, 1, name) for name in BOTH]
    nats = [engine.score(ids, engine.zero_state(3))[0] for engine in engines]
    assert 0 < abs(nats[0].mean() - nats[1].mean()) < 1e-3
    exact, near = (learnt(made(architecture, 1, name), *ids_of(3, 9, 0.2), masks=False)[1] for name in BOTH)
    for name, slope in exact.items():
        assert 0 < np.linalg.norm(near[name] - slope) < (0.1 if cell == "rnn" else 0.02) * np.linalg.norm(slope), name


# --- choosing it --------------------------------------------------------------------------------------


def test_it_is_chosen_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARRNN_ISA", core.instruction_set())
    assert choose_engine("auto", "cpu") == choose_engine("auto", "cpu", training=True) == "native"
    assert choose_engine("auto", "cuda") == "torch"
    assert choose_engine("numpy", "cpu") == "numpy"
    for engine in ("native", "numpy"):
        with pytest.raises(UsageError, match=f"engine {engine} runs on the CPU"):
            choose_engine(engine, "cuda:1")


def test_it_is_missed_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "_load", lambda: (None, "was not built"))
    assert (choose_engine("auto", "cpu"), choose_engine("auto", "cpu", training=True)) == ("numpy", "torch")
    with pytest.raises(UsageError, match="engine native: the compiled core was not built"):
        choose_engine("native", "cpu")
