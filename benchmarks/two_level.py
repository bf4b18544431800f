"""What a head of two levels gains with a large vocabulary, and what it costs.

    python benchmarks/two_level.py FILE [--pieces 8000] [--time 60s] [--steps N] [--seeds 3] [--share X]

FILE as characters and as sentencepiece pieces; the plan of `charrnn train --time` says what is trained, with the head
that it chooses and with one softmax: characters trained a second, the two taking turns (the ratio is the median over
turns), and nats per token of the validation text, its state carried, after as many steps and after as much time.
`--share`: of the text, what the tokens of the first level are to have.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

from charrnn.config.params import Duration
from charrnn.config.train import TrainConfig
from charrnn.corpus.reader import read_corpus
from charrnn.corpus.sources import resolve_sources
from charrnn.dataset.batches import batch_loader
from charrnn.dataset.dataset import Dataset
from charrnn.dataset.prepare import PrepareOptions, prepare
from charrnn.network.architecture import Architecture
from charrnn.training import clusters
from charrnn.training import plan as planning
from charrnn.training.learner import Learner, training_spec
from charrnn.training.session import TrainingSession

TURN = 4
"""Steps of each head before the other's."""


@contextmanager
def one_softmax() -> Iterator[None]:
    """Within the block plans choose no clusters."""
    with mock.patch.object(planning, "choose_clusters", return_value=b""):
        yield


def speeds(
    architecture: Architecture, config: TrainConfig, dataset: Dataset, turns: int
) -> tuple[list[float], list[float]]:
    """Tokens a second with the head of an architecture and with one softmax, turn by turn."""
    found: tuple[list[float], list[float]] = ([], [])
    spec = training_spec(config, device="cpu")
    learners = [Learner(each, config, spec) for each in (architecture, replace(architecture, clusters=b""))]
    loader = batch_loader(dataset, batch=config.batch, seq_len=config.seq_len, seed=config.seed)
    for turn in range(turns + 1):
        for learner, rates in zip(learners, found, strict=True):
            learner.set_num_threads(config.threads or spec.threads)
            begin = time.perf_counter()
            for step in range(turn * TURN, (turn + 1) * TURN):
                learner.step(loader.batch(step, (turns + 1) * TURN), step, 1e-6)
            if turn:  # the first is slower
                rates.append(TURN * loader.batch_size * loader.seq_len / (time.perf_counter() - begin))
    return found


def loss(config: TrainConfig, dataset: Dataset, steps: int, seeds: int) -> float:
    """Mean over seeds of the nats per token of the best of ten evaluated models."""
    found = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            every = max(1, steps // 10)
            changed = replace(
                config, steps=steps, seed=seed, out=folder, eval_every=every, save_every=0, sample_every=0
            )
            done = TrainingSession(changed, text=dataset).run()
            assert done.carried is not None
            found.append(done.carried)
    return statistics.mean(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--pieces", type=int, default=8000)
    parser.add_argument("--time", type=Duration().parse, default=60.0)
    parser.add_argument("--steps", type=int, help="in place of those of the plan")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--share", type=float, default=clusters.MIN_SHARE)
    options = parser.parse_args()
    clusters.MIN_SHARE = options.share
    print("| tokens | vocabulary | first level + clusters | model | chars/s | one softmax | ratio |", end="")
    print(" steps | nats per token | one softmax | in equal time |\n" + "|---" * 11 + "|", flush=True)
    corpus = read_corpus(resolve_sources([options.file]))
    for name, size in (("characters", None), ("pieces", options.pieces)):
        tokenizer = "char" if size is None else "sentencepiece"
        dataset = prepare(corpus, None, PrepareOptions(tokenizer, vocab_size=size))
        asked = TrainConfig(time=options.time)
        spec = training_spec(asked, device="cpu")
        plan = planning.make_plan(asked, dataset, spec=spec, elapsed=lambda: 0.0)
        config = replace(plan.config, time=None, device="cpu")
        sizes = [plan.architecture.clusters.count(each) for each in range(plan.architecture.num_clusters + 1)]
        two, one = speeds(plan.architecture, config, dataset, options.turns)
        ratio = statistics.median(a / b for a, b in zip(two, one, strict=True))
        steps = options.steps or config.steps
        assert steps is not None
        chars = dataset.train_counts.chars / len(dataset.train)
        ours = loss(config, dataset, steps, options.seeds)
        with one_softmax():
            full = loss(config, dataset, steps, options.seeds)
            short = loss(config, dataset, round(steps / ratio), options.seeds)
        print(
            f"| {name} | {dataset.tokenizer.size:,} | {' + '.join(map(str, sizes))}"
            f" | {config.cell} {'+'.join(map(str, plan.architecture.hidden))}"
            f" | {chars * statistics.median(two) / 1e3:.1f}k | {chars * statistics.median(one) / 1e3:.1f}k"
            f" | {ratio:.2f} | {steps:,} | {ours:.4f} | {full:.4f} | {short:.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
