"""The temperature that a finished model is given."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from charrnn.__main__ import main
from charrnn.checkpoint import format as checkpoint
from charrnn.engines.base import Array, InferenceEngine, State
from charrnn.engines.native import lib as core
from charrnn.engines.native.inference import NativeInference
from charrnn.engines.numpy.inference import NumpyInference
from charrnn.engines.torch.inference import TorchInference
from charrnn.network.architecture import Architecture
from charrnn.network.head import HeadLayout
from charrnn.training.evaluation import evaluate_streams
from charrnn.training.temperature import MAX_TEMPERATURE, MIN_FIT_TOKENS, _Measuring, fit_temperature, scale_head
from tests import tiny
from tests.trainings import arguments, dataset_of, tensors

needs_core = pytest.mark.skipif(core.library() is None, reason="the compiled core was not built here")

LETTERS = b"abcdefgh"
PROBABILITIES = np.array([0.4, 0.2, 0.12, 0.1, 0.08, 0.05, 0.03, 0.02])


def text(tokens: int) -> bytes:
    """Return letters drawn with those probabilities."""
    return bytes(np.random.default_rng(5).choice(list(LETTERS), tokens, p=PROBABILITIES).tolist())


def fitted(sharpness: float, tokens: int = 20_000) -> float:
    """Return the temperature of a model that knows the probabilities, all logits times `sharpness`."""
    split = dataset_of(text(tokens), fraction=0.5)
    model = tiny.unigram(
        split.tokenizer,
        {LETTERS[n : n + 1]: sharpness * math.log(PROBABILITIES[n]) for n in range(8)},
    )
    model.weights["head.bias"][split.tokenizer.unknown] = -1e3
    engine = NumpyInference(model.architecture, model.weights)
    return fit_temperature(engine, model.architecture, split, 5000, lambda tokens: None)


@pytest.mark.parametrize("sharpness", [0.7, 0.95, 1.0, 1.1, 1.6, 2.3])
def test_it_is_what_the_model_lacks(sharpness: float) -> None:
    assert fitted(sharpness) == pytest.approx(sharpness, rel=0.08)


class Watched(NumpyInference):
    """An engine that counts what it reads, and how much it is to return at a time."""

    read = most = 0

    def predict(self, ids: Array, state: State) -> tuple[Array, State]:
        self.read += int((ids != self.vocabulary).sum())
        self.most = max(self.most, ids.size * self.vocabulary)
        return super().predict(ids, state)


@pytest.mark.parametrize("clusters", [b"", bytes([0, 1, 1, 2, 2, 0, 1, 2, 2])], ids=["one level", "two levels"])
@pytest.mark.parametrize("scale", [30.0, 1e3, 1e37])
def test_a_model_that_has_diverged_is_finished(scale: float, clusters: bytes) -> None:
    """Though whole clusters have no probability that a float32 holds, or scores are not finite."""
    split = dataset_of(text(4000), fraction=0.5)
    model = tiny.drawn(split.tokenizer, clusters=clusters)
    weights = {name: scale * weight if "head" in name else weight for name, weight in model.weights.items()}
    engine = NumpyInference(model.architecture, weights)
    temperature = fit_temperature(engine, model.architecture, split, 1500, lambda tokens: None)
    assert 1 / MAX_TEMPERATURE <= temperature <= MAX_TEMPERATURE


@pytest.mark.parametrize("engine", [Watched, pytest.param(NativeInference, marks=needs_core), TorchInference])
@pytest.mark.parametrize("clusters", [b"", bytes([0, 1, 1, 2, 2, 0, 1, 2, 2])], ids=["one level", "two levels"])
@pytest.mark.parametrize("scale", [0.5, 1.5, 4.0])
def test_it_has_the_lowest_loss_whatever_the_engine(
    engine: Callable[..., InferenceEngine], scale: float, clusters: bytes
) -> None:
    """Of all temperatures, found in one reading; and those in their neighbourhood have hardly more."""
    split = dataset_of(text(4000), fraction=0.5)
    model = tiny.drawn(split.tokenizer, clusters=clusters)
    architecture = model.architecture
    weights = {name: scale * weight if "head" in name else weight for name, weight in model.weights.items()}
    reading = engine(architecture, weights, **({"threads": 1} if engine is NativeInference else {}))
    best = fit_temperature(reading, architecture, split, 1500, lambda tokens: None)

    def loss(temperature: float) -> float:
        scaled = NumpyInference(architecture, scale_head(weights, temperature))
        return evaluate_streams(scaled, split, 1500, lambda tokens: None).nats

    near = best * np.exp(np.linspace(-0.01, 0.01, 21))  # in steps of 1/1000
    inside = near[(near >= 1 / MAX_TEMPERATURE) & (near <= MAX_TEMPERATURE)]
    assert min(inside, key=loss) == pytest.approx(best, rel=2e-3)
    assert loss(best) <= min(map(loss, np.exp(np.linspace(-1, 1, 21)))) * (1 + 1e-6)
    if isinstance(reading, Watched):
        assert reading.read == 1500


def test_a_large_vocabulary_takes_little_memory() -> None:
    architecture = Architecture("rnn", 100_000, (1,), 1)
    weights = {name: np.zeros(shape, np.float32) for name, shape in architecture.shapes().items()}
    engine = Watched(architecture, weights)
    nats, _ = _Measuring(engine, HeadLayout.of(architecture)).score(np.full((3, 50), 7), engine.zero_state(3))
    assert nats == pytest.approx(math.log(100_000))
    assert engine.read == 150
    assert engine.most <= 1 << 22


def test_it_has_bounds() -> None:
    """A model that is sure of everything gets the highest temperature there is."""
    assert fitted(20.0) == pytest.approx(MAX_TEMPERATURE)


def test_few_tokens_leave_it_at_1() -> None:
    assert fitted(2.0, 2 * MIN_FIT_TOKENS - 2) == 1.0


def test_a_finished_model_has_it(tmp_path: Path) -> None:
    """The best model's logits are divided by it, and its metrics are of the saved model; resuming changes no byte."""
    corpus = tmp_path / "text"
    corpus.write_bytes(text(12_000))
    out = tmp_path / "run"
    more = ["--hidden", "16", "--lr", "0.05", "--dropout", "0", "--patience", "0", "--schedule", "constant"]
    assert main([*arguments(corpus, out, *more, steps=300)]) == 0
    [done] = [
        event
        for line in (out / "metrics.jsonl").read_text().splitlines()
        if (event := json.loads(line))["event"] == "done"
    ]
    temperature = done["temperature"]
    assert temperature != 1
    if done["best"] == 300:
        last, best = (
            checkpoint.read(out / "last.safetensors").weights,
            checkpoint.read(out / "model.safetensors").weights,
        )
        assert np.allclose(best["head.weight"] * temperature, last["head.weight"], rtol=1e-6)
        assert np.array_equal(best["embedding"], last["embedding"])
    before = (out / "model.safetensors").read_bytes()
    assert main(["train", "--resume", "--out", str(out)]) == 0
    assert (out / "model.safetensors").read_bytes() == before
    assert tensors(out / "model.safetensors")
