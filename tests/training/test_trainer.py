"""Training: what a run learns, refuses, reports and leaves behind."""

import itertools
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.__main__ import main
from charrnn.checkpoint import format as checkpoint
from charrnn.config.train import TrainConfig
from charrnn.dataset.batches import Batch
from charrnn.engines.arrays import gradient_views
from charrnn.engines.base import Array
from charrnn.engines.native.training import NativeTraining
from charrnn.engines.torch.model import LanguageModel
from charrnn.network.architecture import Architecture
from charrnn.training.learner import Learner, training_spec
from tests.trainings import snapshot

TEXT = b"the quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs\n" * 12
SMALL = [
    "--hidden",
    "8",
    "--embedding",
    "4",
    "--batch",
    "4",
    "--seq-len",
    "8",
    "--eval-every",
    "10",
    "--save-every",
    "10",
    "--sample-every",
    "0",
]

LARGE = 1e6


@pytest.fixture(autouse=True)
def _corpus(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_bytes(TEXT)


def events(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(out, "metrics.jsonl").read_bytes().split(b"\n") if line]


def train(*options: str, out: str = "run") -> int:
    return main(["train", "corpus.txt", "--out", out, *SMALL, *options])


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_nu_09_overfits_200_bytes(cell: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """NU-09: perplexity below 1.1 on its training text."""
    Path("short.txt").write_bytes((b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ" * 4)[:200])
    options = [
        "--steps",
        "350",
        "--hidden",
        "48",
        "--lr",
        "0.01",
        "--val",
        "0",
        "--seq-len",
        "25",
        "--batch",
        "1",
        "-q",
        "--threads",
        "1",
    ]
    assert main(["train", "short.txt", "--out", "run", "--cell", cell, *options]) == 0
    capfdbinary.readouterr()
    assert main(["eval", "-m", "run", "short.txt", "-f", "perplexity"]) == 0
    assert float(capfdbinary.readouterr().out) < 1.1


def gradients(model: NativeTraining | LanguageModel) -> list[Array]:
    """Those that `forward_backward` has left, in place."""
    return [*gradient_views(np.asarray(model.gradients), model.architecture.shapes()).values()]


def after_learning(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any, float], float]) -> None:
    """Let every model's loss be another, and its gradients too."""
    for kind in (NativeTraining, LanguageModel):

        def forward_backward(
            model: Any, *given: Any, forward_backward: Any = kind.forward_backward
        ) -> tuple[float, Any]:
            loss, state = forward_backward(model, *given)
            return change(model, loss), state

        monkeypatch.setattr(kind, "forward_backward", forward_backward)


def break_step(
    monkeypatch: pytest.MonkeyPatch, step: int, broken: Callable[[Any, float], float]
) -> list[dict[str, bytes]]:
    """A step's loss is another; returns what the run's folder held when it was."""
    taken, before = itertools.count(1), []

    def one_broken(model: Any, loss: float) -> float:
        if next(taken) != step:
            return loss
        before.append(snapshot(Path("run")))
        return broken(model, loss)

    after_learning(monkeypatch, one_broken)
    return before


def infinite_gradient(model: Any, loss: float) -> float:
    gradients(model)[0].flat[3] = np.inf
    return loss


@pytest.mark.parametrize(("step", "engine"), [(10, "auto"), (14, "torch"), (20, "auto")])
@pytest.mark.parametrize(
    ("broken", "loss"),
    [
        pytest.param(lambda model, loss: math.inf, "inf", id="infinite loss"),
        pytest.param(lambda model, loss: math.nan, "nan", id="loss is NaN"),
        pytest.param(lambda model, loss: loss + 1e4, r"1000\d(\.\d+)?", id="loss without a perplexity"),
        pytest.param(infinite_gradient, r"[0-9]\.\d+", id="gradient"),
    ],
)
def test_nu_02_stops_at_the_very_step(
    step: int,
    engine: str,
    broken: Callable[[Any, Any], Any],
    loss: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """NU-01, NU-02: whether or not it is a step that is logged; no file is written any more."""
    before = break_step(monkeypatch, step, broken)
    assert train("--steps", "40", "-q", "--engine", engine) == 5
    message = capfd.readouterr().err
    assert message.count("\n") == 1
    metrics = rf"step {step}: loss {loss}, gradient norm \S+ at learning rate 0\.0\d+: not finite"
    assert re.match(f"Error: {metrics}", message), message
    assert message.endswith("the last good checkpoint is in 'run'; a lower --lr or --clip may help\n")
    assert snapshot(Path("run")) == before[0]
    assert checkpoint.read("run/last.safetensors").info["step"] == (step - 1) // 10 * 10


@pytest.mark.parametrize("options", [[], ["--cell", "lstm"], ["--cell", "rnn-relu", "--clip", "0"]], ids=str)
def test_nu_01_a_wild_learning_rate_is_caught(options: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """NU-01: --lr 1e8 ends with 5, and nothing bad is on disk."""
    assert train("--steps", "60", "--lr", "1e8", "-q", *options) == 5
    assert "not finite" in capfd.readouterr().err
    stored = checkpoint.read("run/last.safetensors")
    assert all(np.isfinite(weight).all() for weight in stored.weights.values())


@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize(("clip", "applied"), [(1.0, 1.0), (1e-3, 1e-3), (0.0, None)])
def test_nu_03_large_gradients_are_clipped(
    clip: float, applied: float | None, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NU-03: the norm applied is at most --clip; the norm before is what is logged. 0 clips nothing."""

    def enlarge(model: Any, loss: float) -> float:
        for gradient in gradients(model):
            gradient *= LARGE
        return loss

    after_learning(monkeypatch, enlarge)
    config = TrainConfig(hidden=(8,), batch=2, seq_len=4, lr=0.5, clip=clip, optimizer="sgd", engine=engine)
    learner = Learner(Architecture("gru", 5, (8,), 4), config, training_spec(config, device="cpu"))
    before = learner.weights()
    result = learner.step(Batch(np.array([[5, 1, 2, 3]] * 2), np.array([[1, 2, 3, 4]] * 2)), 0, 0.5)
    after = learner.weights()
    norm = math.sqrt(sum(float(((after[name] - before[name]).astype(float) ** 2).sum()) for name in before)) / 0.5
    assert result.gradient_norm > LARGE / 10
    assert norm == pytest.approx(result.gradient_norm if applied is None else applied, rel=1e-3)


@pytest.mark.parametrize("tokenizer", ["char", "byte"])
def test_ev_17_closing_figures_are_evals(tokenizer: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """EV-17: the printed validation loss is what `eval` says of the same text."""
    assert train("--steps", "40", "--tokenizer", tokenizer, "--json", "-q") == 0
    done = json.loads(capfdbinary.readouterr().out.split(b"\n")[-2])
    Path("held-out.txt").write_bytes(TEXT[int(len(TEXT) * 0.9) :])
    assert main(["eval", "-m", "run", "--json", "held-out.txt"]) == 0
    row = json.loads(capfdbinary.readouterr().out)
    for name in ("nats", "tokens", "perplexity", "bits_per_char", "bits_per_byte"):
        assert row[name] == pytest.approx(done[name], rel=1e-6)
    assert done["carried"] == pytest.approx(row["nats"] / row["tokens"], rel=1e-6)
    assert main(["eval", "-m", "run", "--json", "--window", "256", "held-out.txt"]) == 0
    row = json.loads(capfdbinary.readouterr().out)
    assert done["window_256"] == pytest.approx(row["nats"] / row["tokens"], rel=1e-6)


def test_ev_20_vocabulary_is_of_the_training_part() -> None:
    """EV-20: what occurs in the validation part alone is unknown."""
    Path("corpus.txt").write_bytes(b"ab" * 450 + b"z" * 100)
    assert train("--steps", "5", "-q") == 0
    model = checkpoint.read("run/model.safetensors")
    assert bytes(model.tokenizer.table.astype(np.uint8)) == b"ab"
    assert events("run")[-1]["oov"] == 100


@pytest.mark.parametrize(
    ("data", "options", "parts"),
    [
        (b"", [], ["no text"]),
        (b"x", [], ["1 character", "2", "--val"]),
        (TEXT, ["--batch", "100", "--seq-len", "100"], ["918", "10,000", "--batch", "--seq-len"]),
        (b"abcdefgh", ["--batch", "2", "--seq-len", "4", "--val", "0.2"], ["6", "8", "--batch"]),
    ],
)
def test_in_10_too_short_a_text(
    data: bytes, options: list[str], parts: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """IN-10: what there is, what is needed, and the option to lower."""
    Path("corpus.txt").write_bytes(data)
    assert main(["train", "corpus.txt", "--steps", "1", *options]) == 4
    message = capfd.readouterr().err
    assert message.startswith("Error: ")
    assert message.count("\n") == 1
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (b"ab", ["--val", "0.5"]),
        (b"a", ["--val", "0"]),
        (b"abcdefgh", ["--batch", "2", "--seq-len", "4", "--val", "0"]),
    ],
)
def test_in_10_the_shortest_texts_train(data: bytes, options: list[str]) -> None:
    """IN-10: the minimum case."""
    Path("corpus.txt").write_bytes(data)
    assert main(["train", "corpus.txt", "--out", "run", "--steps", "3", "--hidden", "4", "-q", *options]) == 0


def test_in_11_one_repeated_character(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """IN-11: perplexity goes to 1 and the sample is that character."""
    Path("corpus.txt").write_bytes(b"a" * 400)
    assert train("--steps", "150", "--lr", "0.05", "-q") == 0
    assert events("run")[-1]["perplexity"] < 1.05
    capfdbinary.readouterr()
    assert main(["sample", "-m", "run", "-l", "20", "--seed", "1", "-q"]) == 0
    assert capfdbinary.readouterr().out == b"a" * 20


@pytest.mark.parametrize(
    "text",
    [
        "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏" * 20,
        "🙂🙃👩\u200d👩\u200d👧 🇨🇭 " * 40,
        "one\r\ntwo\r\n\r\n" * 60,
    ],
    ids=["chinese", "emoji", "crlf"],
)
def test_any_script_trains_samples_and_evaluates(text: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """IN-08 for CRLF: nothing is rewritten anywhere."""
    Path("corpus.txt").write_bytes(text.encode())
    assert train("--steps", "60", "--lr", "0.03", "-q") == 0
    capfdbinary.readouterr()
    assert main(["sample", "-m", "run", "-l", "60", "--temp", "0.5", "--seed", "3", "-q"]) == 0
    written = capfdbinary.readouterr().out.decode()
    assert set(written) <= set(text)
    assert main(["eval", "-m", "run", "corpus.txt", "--json"]) == 0
    row = json.loads(capfdbinary.readouterr().out)
    assert row["chars"] == row["tokens"] == len(text)
    assert row["bytes"] == len(text.encode())
    assert row["perplexity"] < len(set(text))


def test_files_are_texts_of_their_own(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Several files, a folder and --val: each text is read from `<s>`."""
    for number in range(9):
        Path(f"part-{number}.txt").write_bytes(TEXT[: 90 + number])
    Path("val.txt").write_bytes(TEXT[:200])
    assert main(["train", "part-*.txt", "--val", "val.txt", "--out", "run", "--steps", "20", *SMALL, "-q"]) == 0
    assert events("run")[-1]["tokens"] == 200


def test_rs_03_a_device_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    """RS-03: exit 2, naming what there is."""
    assert train("--steps", "1", "--device", "cuda:99") == 2
    assert "there is cpu" in capfd.readouterr().err


def test_patience_ends_a_run_that_no_longer_improves() -> None:
    """The saved model is the best, not the last."""
    Path("corpus.txt").write_bytes(b"ab" * 300 + bytes(range(32, 122)) * 1)
    assert train("--steps", "400", "--patience", "2", "--lr", "0.05", "-q") == 0
    done = events("run")[-1]
    assert done["reason"] == "patience"
    assert done["best"] < done["step"] < 400
    assert checkpoint.read("run/model.safetensors").info["step"] == done["best"]


def test_step_events_have_what_they_promise() -> None:
    """The keys of docs/events.md."""
    assert train("--steps", "20", "-q") == 0
    seen = {event["event"]: set(event) for event in events("run")}
    assert set(seen) == {"plan", "step", "eval", "save", "done"}
    assert {"loss", "perplexity", "learning_rate", "gradient_norm", "chars_per_second"} <= seen["step"]
    assert {"nats", "tokens", "perplexity", "bits_per_char", "bits_per_byte", "best"} <= seen["eval"] & seen["done"]
    assert {"model", "reason", "carried", "window_256"} <= seen["done"]
    assert all({"step", "epoch", "seconds"} <= keys for keys in seen.values())
