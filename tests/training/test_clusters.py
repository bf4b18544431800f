"""Heads of two levels: which tokens are rare, and runs whose models have one."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.__main__ import main
from charrnn.checkpoint import format as checkpoint
from charrnn.config.train import TrainConfig
from charrnn.model import Model
from charrnn.network.architecture import Architecture
from charrnn.runs.events import DoneEvent, PlanEvent, StepEvent
from charrnn.training.clusters import (
    COUNTED_TOKENS,
    MIN_SHARE,
    MIN_VOCABULARY,
    WORTH,
    cheapest_clusters,
    token_counts,
)
from charrnn.training.learner import Learner, training_spec
from charrnn.training.session import TrainingSession
from tests.trainings import SMALL, dataset_of, tensors, train

SYMBOLS = 1500
TEXT = "".join(
    chr(0x4E00 + min(rank, SYMBOLS))
    for rank in (*range(SYMBOLS), *np.random.default_rng(1).zipf(1.3, 8000))
)  # fmt: skip
"""Characters whose frequencies are about those of words."""


def zipf(vocabulary: int) -> np.ndarray[Any, Any]:
    """How often tokens occur, in no order."""
    counts = 1_000_000 // np.arange(1, vocabulary + 1)
    return np.random.default_rng(3).permutation(counts)


@pytest.mark.parametrize("vocabulary", [MIN_VOCABULARY, 3000, 8000, 100_000])
def test_rare_tokens_are_in_clusters(vocabulary: int) -> None:
    """The first level has most of the text, each cluster rarer tokens than the one before it, and all cost little."""
    counts = zipf(vocabulary)
    clusters = np.frombuffer(cheapest_clusters(counts), np.uint8)
    assert Architecture("gru", vocabulary, (8,), 8, clusters=clusters.tobytes()).num_clusters > 0
    levels = [counts[clusters == level] for level in range(clusters.max() + 1)]
    assert all(one.min() >= other.max() for one, other in pairwise(levels))
    shares = [level.sum() / counts.sum() for level in levels]
    assert shares[0] >= MIN_SHARE
    logits = len(levels[0]) + sum(share * len(level) for share, level in zip(shares[1:], levels[1:], strict=True))
    assert logits <= WORTH * vocabulary


@pytest.mark.parametrize(
    "counts", [zipf(MIN_VOCABULARY - 1), np.full(5000, 7), np.zeros(5000, np.int64)], ids=["few", "alike", "no text"]
)
def test_else_the_head_is_one_softmax(counts: np.ndarray[Any, Any]) -> None:
    assert cheapest_clusters(counts) == b""


def run(out: str, corpus: str = "text.txt", **options: Any) -> tuple[DoneEvent, PlanEvent | None]:
    """Train for some steps; what is passed counts as given."""
    given: dict[str, Any] = {"out": out, "device": "cpu", "threads": 1, "corpus": (corpus,), **options}
    if not {"resume", "init_from"} & options.keys():
        given = {**SMALL, "steps": 12, **given}
    events: list[Any] = []
    done = TrainingSession(TrainConfig(**given), given=frozenset(given), callbacks=[events.append]).run()
    return done, next((event for event in events if isinstance(event, PlanEvent)), None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text, and the run `whole` of it."""
    folder = tmp_path_factory.mktemp("clusters")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    run(str(folder / "whole"), str(folder / "text.txt"))
    return folder


def test_of_a_long_text_pieces_from_all_over_it_count() -> None:
    """Of a text whose second half is another one, not the first alone."""
    ids = np.repeat(np.arange(4, dtype=np.uint16), COUNTED_TOKENS)
    counts = token_counts(ids, 5)
    assert counts.sum() == COUNTED_TOKENS
    assert counts[:4].min() > 0.9 * counts[:4].max()
    assert np.array_equal(token_counts(ids[-COUNTED_TOKENS:], 5), [0, 0, 0, COUNTED_TOKENS, 0])


def test_a_new_model_has_the_frequencies_of_its_text() -> None:
    dataset = dataset_of(TEXT.encode())
    clusters = cheapest_clusters(np.bincount(dataset.train.ids, minlength=dataset.tokenizer.size))
    architecture = Architecture("gru", dataset.tokenizer.size, (8,), 8, clusters=clusters)
    config = TrainConfig(**SMALL)
    learner = Learner(architecture, config, training_spec(config, device="cpu"))
    learner.init_output_bias(dataset.train.ids)
    batch = dataset.train.ids[:400].astype(np.int64).reshape(8, 50)
    weights = {name: 0 * weight if name == "head.weight" else weight for name, weight in learner.weights().items()}
    learner.model.load_weights(weights)
    loss, _ = learner.model.forward_backward(batch, batch, learner.model.zero_state(8))
    counts = np.bincount(dataset.train.ids, minlength=dataset.tokenizer.size) + 0.5
    assert float(loss) == pytest.approx(-np.log(counts / counts.sum())[batch].mean(), rel=1e-5)


def test_a_run_of_two_levels(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The plan says so and `show` does; what it scores at the end is what `eval` finds, and texts have the figures that
    scoring them gives."""
    monkeypatch.chdir(folder)
    done, plan = run("run")
    model = Model.load("run")
    rare = sum(map(bool, model.architecture.clusters))
    assert rare > 1000
    assert plan is not None
    assert any(reason.startswith("head of two levels") for reason in plan.reasons)
    assert checkpoint.to_bytes(checkpoint.read("run/model.safetensors")) == Path("whole/model.safetensors").read_bytes()
    held_out = Path("held-out.txt")
    held_out.write_text(TEXT[len(TEXT) * 9 // 10 :], encoding="utf-8")
    assert model.score(held_out.read_text(encoding="utf-8")).bits_per_char == pytest.approx(
        done.bits_per_char, rel=1e-3
    )
    capfd.readouterr()
    assert main(["show", "run"]) == 0
    assert (
        f"head            two levels: {model.architecture.vocabulary - rare:,} tokens, and clusters of "
        in capfd.readouterr().out
    )
    assert main(["sample", "-m", "run", "-n", "3", "-l", "40", "--seed", "1", "--json"]) == 0
    for line in capfd.readouterr().out.splitlines():
        text = json.loads(line)
        assert text["nats"] == pytest.approx(model.score(text["text"]).nats, rel=1e-5)


def test_a_run_of_two_levels_is_resumed_exactly(tmp_path: Path) -> None:
    dataset = dataset_of(TEXT.encode())
    straight = train(tmp_path / "straight", dataset=dataset, steps=12)
    first = train(tmp_path / "cut", dataset=dataset, steps=12, stop_at=(StepEvent, 7))
    assert first.interrupted
    rest = train(tmp_path / "cut", dataset=dataset, steps=12, resume=True)
    assert {**first.losses, **rest.losses} == straight.losses
    assert checkpoint.read(tmp_path / "cut" / "last.safetensors").architecture.clusters
    one, other = (tensors(tmp_path / name / "last.safetensors") for name in ("cut", "straight"))
    assert one == other


@pytest.mark.parametrize("new", ["", "abcdefgh"])
def test_fine_tuning_keeps_the_head(new: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the text: new characters join the cluster of `<unk>`."""
    monkeypatch.chdir(folder)
    Path("new.txt").write_text((TEXT[-300:] + new) * 4, encoding="utf-8")
    run(f"tuned{new}", "new.txt", init_from="whole", steps=3)
    old, tuned = (checkpoint.read(f"{name}/model.safetensors") for name in ("whole", f"tuned{new}"))
    assert tuned.tokenizer.size == old.tokenizer.size + len(new)
    before, after = (
        dict(zip(each.tokenizer.table.tolist(), each.architecture.clusters, strict=False)) for each in (old, tuned)
    )
    assert {point: after[point] for point in before} == before
    assert {after[ord(char)] for char in new} <= {tuned.architecture.clusters[-1]}
    assert tuned.architecture.clusters[-1] == old.architecture.clusters[-1] == old.architecture.num_clusters
