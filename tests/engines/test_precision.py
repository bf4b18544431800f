"""Products in fewer bits: which engine has what, and that PyTorch trains as well in 16 bits as in 32. On the processor;
a GPU runs the same lines."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from charrnn.__main__ import main
from charrnn.config.train import TrainConfig
from charrnn.dataset.batches import Batch
from charrnn.engines.base import Array, OptimizerParams
from charrnn.engines.select import choose_precision
from charrnn.engines.torch.inference import TorchInference
from charrnn.engines.torch.model import LanguageModel
from charrnn.engines.torch.optimizer import TorchOptimizer
from charrnn.errors import NonFiniteError, UsageError
from charrnn.network.architecture import Architecture
from charrnn.network.init import initial_weights
from charrnn.training import learner as learning
from charrnn.training.learner import Learner, training_spec

CELLS = ["rnn", "lstm", "gru", "mgu"]
SIXTEEN = ["bfloat16", "float16"]


@pytest.mark.parametrize(
    ("engine", "device", "training", "auto", "others"),
    [
        ("native", "cpu", True, "float32", {"bfloat16"}),
        ("native", "cpu", False, "float32", {"bfloat16", "int8"}),
        ("numpy", "cpu", False, "float32", {"int8"}),
        ("torch", "cpu", True, "float32", {"bfloat16", "float16"}),
        ("torch", "cuda:0", True, "tf32", {"float32", "float16"}),
        ("torch", "cuda:0", False, "float32", {"tf32", "float16"}),
    ],
)
def test_who_has_what(engine: str, device: str, training: bool, auto: str, others: set[str]) -> None:
    assert choose_precision("auto", engine, device, training=training) == auto
    for name in ("float32", "tf32", "bfloat16", "float16", "int8"):
        if name in others | {auto}:
            assert choose_precision(name, engine, device, training=training) == name
        else:
            with pytest.raises(UsageError, match=f"precision {name}: the engine is {engine} on {device}, which has"):
                choose_precision(name, engine, device, training=training)


def chunk_of(B: int, T: int, V: int, seed: int = 0) -> Batch:
    """Most tokens follow from the one before."""
    random = np.random.default_rng(seed)
    ids = (np.arange(T + 1) * 3 + random.integers(0, V, (B, 1))) % V
    ids = np.where(random.random(ids.shape) < 0.1, random.integers(0, V, ids.shape), ids)
    inputs, targets = ids[:, :-1].copy(), ids[:, 1:].copy()
    inputs[0, T // 2] = V
    return Batch(inputs, targets)


def gradients(cell: str, precision: str) -> dict[str, Array]:
    model = LanguageModel(Architecture(cell, 11, (33, 20), 9), precision).to("cpu")
    model.load_weights(initial_weights(model.architecture, 3))
    chunk = chunk_of(3, 12, 11)
    _, state = model.forward_backward(chunk.inputs, chunk.targets, model.zero_state(3))
    assert all(layer.dtype == torch.float32 for layer in state)
    optimizer = TorchOptimizer(model.named_weights(), OptimizerParams("adamw"), model.scaler)
    optimizer.gradient_norm()  # takes the scale away
    return {name: weight.grad.numpy() for name, weight in model.named_weights().items() if weight.grad is not None}


@pytest.mark.parametrize("precision", SIXTEEN)
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_near(cell: str, precision: str) -> None:
    exact, near = gradients(cell, "float32"), gradients(cell, precision)
    assert set(exact) == set(near)
    for name, slope in exact.items():
        assert near[name].dtype == np.float32
        error = np.linalg.norm(near[name] - slope) / np.linalg.norm(slope)
        assert 0 < error < {"bfloat16": 0.05, "float16": 0.01}[precision], name


def test_tf32_is_set_for_a_while() -> None:
    """What it means is CUDA's affair; here that forward and backward run under it, and nothing else."""
    seen: list[tuple[bool, bool]] = []

    def record(*given: Any) -> None:
        seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    for precision, expected in (("tf32", True), ("float32", False)):
        seen.clear()
        model = LanguageModel(Architecture("gru", 11, (8,), 4), precision).to("cpu")
        model.load_weights(initial_weights(model.architecture, 3))
        model.layers[0].register_forward_hook(record)
        model.embedding.register_hook(record)  # type: ignore[no-untyped-call]
        chunk = chunk_of(2, 5, 11)
        model.forward_backward(chunk.inputs, chunk.targets, model.zero_state(2))
        assert seen == [(expected, expected)] * 2
        assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def trained(cell: str, precision: str, steps: int = 90) -> tuple[list[float], Learner]:
    config = TrainConfig(
        cell=cell,
        batch=8,
        seq_len=24,
        hidden=(32,),
        lr=0.01,
        engine="torch",
        precision=precision,
        dropout=0.1,
        threads=1,
    )
    learner = Learner(Architecture(cell, 11, (32,), 16), config, training_spec(config, device="cpu"))
    return [learner.step(chunk_of(8, 24, 11, step), step, 0.01).loss for step in range(steps)], learner


@pytest.mark.parametrize(("cell", "precision"), [("gru", "float16"), ("lstm", "bfloat16")])
def test_losses_agree(cell: str, precision: str) -> None:
    """After as many steps as take the loss to a third, within 2 %."""
    exact, near = (np.mean(trained(cell, name)[0][-20:]) for name in ("float32", precision))
    assert exact < np.log(11) / 2.5
    assert near == pytest.approx(exact, rel=0.02)


def test_a_scale_that_is_too_large_is_got_over() -> None:
    """float16's gradients overflow: nothing is learnt, the scale is halved, and it goes on."""
    _, learner = trained("gru", "float16", 1)
    assert isinstance(learner.optimizer, TorchOptimizer)
    scaler = learner.optimizer.scaler
    scaler.update(2.0**31)
    before = learner.weights()
    result = learner.step(chunk_of(8, 24, 11), 1, 0.01)
    assert np.isfinite([result.loss, result.gradient_norm]).all()
    assert all(np.array_equal(weight, before[name]) for name, weight in learner.weights().items())
    assert scaler.get_scale() == 2.0**30
    for step in range(2, 20):
        learner.step(chunk_of(8, 24, 11), step, 0.01)
    assert scaler.get_scale() < 2.0**30
    assert any((weight != before[name]).any() for name, weight in learner.weights().items())


def test_a_scale_that_is_none_is_the_end() -> None:
    """Where no scale helps, the gradients themselves are not finite."""
    _, learner = trained("gru", "float16", 1)
    weights = learner.weights()
    weights["head.weight"][0, 0] = np.nan
    learner.model.load_weights(weights)
    with pytest.raises(NonFiniteError, match="step 2: loss nan"):
        learner.step(chunk_of(8, 24, 11), 1, 0.01)


def test_a_gpu_is_asked_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was not finite in between is found before weights are handed out."""
    _, learner = trained("gru", "float32", 1)
    monkeypatch.setattr(learner, "_is_synchronous", False)
    first = learner.synchronize()
    result = [learner.step(chunk_of(8, 24, 11, step), step, 0.01) for step in range(1, learning.MAX_PENDING)]
    assert all(step == first for step in result)
    assert learner.step(chunk_of(8, 24, 11, 16), 16, 0.01) != first
    learner.weights()
    weights = learner.weights()
    weights["head.bias"][0] = np.inf
    learner.model.load_weights(weights)
    for step in range(17, 20):
        learner.step(chunk_of(8, 24, 11, step), step, 0.01)
    with pytest.raises(NonFiniteError, match="step 18: loss"):
        learner.weights()


@pytest.fixture
def _corpus(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_bytes(b"pack my box with five dozen liquor jugs\n" * 40)


OPTIONS = ["--engine", "torch", "--hidden", "16", "--batch", "4", "--seq-len", "16", "--eval-every", "10", "-q"]


@pytest.mark.usefixtures("_corpus")
def test_scores_in_16_bits(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["train", "corpus.txt", *OPTIONS, "--steps", "40", "--out", "run"]) == 0
    found = {}
    for precision in ("float32", *SIXTEEN):
        capfdbinary.readouterr()
        options = ["--engine", "torch", "--precision", precision, "-f", "perplexity"]
        assert main(["eval", "-m", "run", *options, "corpus.txt"]) == 0
        found[precision] = float(capfdbinary.readouterr().out)
    for precision in SIXTEEN:
        assert found[precision] != found["float32"]
        assert found[precision] == pytest.approx(found["float32"], rel=0.01)


def test_scores_with_an_engine() -> None:
    architecture = Architecture("lstm", 11, (20,), 9)
    weights = initial_weights(architecture, 1)
    ids = chunk_of(3, 30, 11).inputs
    exact, near = (TorchInference(architecture, weights, "cpu", kind) for kind in ("float32", "bfloat16"))
    nats, state = exact.score(ids, exact.zero_state(3))
    others, after = near.score(ids, near.zero_state(3))
    assert 0 < np.abs(nats - others).max() < 0.05
    assert all(layer.dtype == np.float32 for layer in after)
    assert np.allclose(state[0], after[0], atol=0.05)
    logits, _ = near.step(ids[:, 0], near.zero_state(3))
    assert logits.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "value"), [("growth_interval", np.array(2000.0)), ("_growth_tracker", np.array(1 << 40))]
)
def test_a_scaler_that_cannot_be(name: str, value: Array) -> None:
    """PyTorch's raises a TypeError or RuntimeError, in the middle of a step."""
    optimizer = TorchOptimizer({"weight": torch.nn.Parameter(torch.zeros(2))}, OptimizerParams("adamw"), SCALING)
    state = {"scaler": {key: np.array(each) for key, each in SCALING.state_dict().items()}}
    optimizer.load_state_dict(state)
    state["scaler"][name] = value
    with pytest.raises(ValueError, match="scaler"):
        optimizer.load_state_dict(state)


SCALING = torch.amp.GradScaler("cpu", enabled=True)
