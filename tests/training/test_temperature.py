"""The temperature that a finished model is given."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from charrnn.__main__ import main
from charrnn.checkpoint import format as checkpoint
from charrnn.engines.numpy.inference import NumpyInference
from charrnn.training.evaluation import evaluate_streams
from charrnn.training.temperature import MAX_FITS, MIN_FIT_TOKENS, fit_temperature, scale_head
from tests import tiny
from tests.trainings import arguments, dataset_of, tensors

LETTERS = b"abcdefgh"
PROBABILITIES = np.array([0.4, 0.2, 0.12, 0.1, 0.08, 0.05, 0.03, 0.02])


def text(tokens: int) -> bytes:
    """Return letters drawn with those probabilities."""
    return bytes(np.random.default_rng(5).choice(list(LETTERS), tokens, p=PROBABILITIES).tolist())


def fitted(sharpness: float, tokens: int = 20_000) -> tuple[float, list[float]]:
    """Return the temperature of a model that knows the probabilities, all logits times `sharpness`; and those tried."""
    split = dataset_of(text(tokens), fraction=0.5)
    model = tiny.unigram(
        split.tokenizer,
        {LETTERS[n : n + 1]: sharpness * math.log(PROBABILITIES[n]) for n in range(8)},
    )
    model.weights["head.bias"][split.tokenizer.unknown] = -1e3
    tried = []

    def engine(weights: dict[str, np.ndarray]) -> NumpyInference:
        tried.append(model.weights["head.bias"][0] / weights["head.bias"][0])
        return NumpyInference(model.architecture, weights)

    best = fit_temperature(engine, model.weights, split, 5000, lambda tokens: None)  # type: ignore[arg-type]

    def loss(temperature: float) -> float:
        engine = NumpyInference(model.architecture, scale_head(model.weights, temperature))
        return evaluate_streams(engine, split, 5000, lambda tokens: None).nats

    if tried:
        assert loss(best) < 1.0005 * min(map(loss, np.exp(np.linspace(-1, 1, 201))))
    return best, tried


@pytest.mark.parametrize("sharpness", [0.7, 0.95, 1.0, 1.1, 1.6, 2.3])
def test_it_is_what_the_model_lacks(sharpness: float) -> None:
    temperature, tried = fitted(sharpness)
    assert temperature == pytest.approx(sharpness, rel=0.08)
    assert 3 <= len(tried) <= MAX_FITS


def test_it_has_bounds() -> None:
    """A model that is sure of everything gets the highest temperature there is."""
    assert fitted(20.0)[0] == pytest.approx(math.e)


def test_few_tokens_leave_it_at_1() -> None:
    assert fitted(2.0, 2 * MIN_FIT_TOKENS - 2) == (1.0, [])


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
