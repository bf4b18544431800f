"""Trials of recipes: the same text for the same steps, one thing changed.

    python benchmarks/recipe.py tinyshakespeare.txt benchmarks/trials.txt --results results.jsonl

Each line of the trials is one, `name=value` for what is not the default: any option of `charrnn train`, such as
`cell=gru seq-len=32 lr=0.006`, and those of `Extras`. Trials that are in the results are not made again.
"""

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from charrnn.machine import configure_threading

configure_threading()

import torch  # noqa: E402
from experiment import experiment  # noqa: E402

from charrnn.config.options import param_types, parse  # noqa: E402
from charrnn.config.train import TrainConfig  # noqa: E402
from charrnn.corpus.reader import read_corpus  # noqa: E402
from charrnn.corpus.sources import resolve_sources  # noqa: E402
from charrnn.dataset.batches import Batch  # noqa: E402
from charrnn.dataset.dataset import Dataset  # noqa: E402
from charrnn.dataset.prepare import PrepareOptions, prepare  # noqa: E402
from charrnn.engines import base as optimizers  # noqa: E402
from charrnn.engines.base import Array  # noqa: E402
from charrnn.engines.native.training import NativeTraining  # noqa: E402
from charrnn.engines.select import ensemble_engine  # noqa: E402
from charrnn.engines.torch.optimizer import as_parameters  # noqa: E402
from charrnn.runs.events import Event, StepEvent  # noqa: E402
from charrnn.training.evaluation import evaluate_exact  # noqa: E402
from charrnn.training.learner import Learner, StepResult  # noqa: E402

BETA1, BETA2 = optimizers.BETAS


@dataclass(frozen=True)
class Extras:
    """What is no option of `charrnn train`.

    Attributes:
        beta1, beta2: of AdamW. table, head: multipliers of the learning rate of embedding and head.
        deviation: of the input table's first numbers, as a multiple of the usual.
        average: of an exponential moving average of the weights, scored besides.
        muon: the rate of orthogonalised momentum for recurrent matrices, gate by gate (Jordan et al. 2024); 0: AdamW.
        soap: the rate of Adam in the eigenbasis of what recurrent matrices read (Vyas et al. 2024, one-sided).
    """

    beta1: float = BETA1
    beta2: float = BETA2
    table: float = optimizers.LR_MULTIPLIERS["embedding"]
    head: float = optimizers.LR_MULTIPLIERS["head.weight"]
    deviation: float = 1.0
    average: float = 0.0
    muon: float = 0.0
    soap: float = 0.0


class Muon:
    """Momentum whose singular values are made equal, by five steps of Newton and Schulz."""

    def __init__(self, gates: int) -> None:
        self.gates = gates
        self.mean: Any = 0.0

    def step(self, gradient: torch.Tensor) -> torch.Tensor:
        """The direction to go in, the gradient's shape."""
        self.mean = 0.95 * self.mean + 0.05 * gradient
        return torch.cat([self._orthogonal(gate) for gate in (0.05 * gradient + 0.95 * self.mean).chunk(self.gates)])

    def _orthogonal(self, gate: torch.Tensor) -> torch.Tensor:
        x = gate / (gate.norm() + 1e-7)
        for _ in range(5):
            a = x @ x.T
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        return torch.as_tensor(x)


class Soap:
    """Adam, in a basis in which what the matrix reads is uncorrelated; the basis is renewed every ten steps."""

    def __init__(self) -> None:
        self.steps = 0
        self.mean: Any = 0.0
        self.square: Any = 0.0
        self.covariance: Any = 0.0
        self.basis: Any = None

    def step(self, gradient: torch.Tensor) -> torch.Tensor:
        """See `Muon.step`."""
        self.covariance = 0.95 * self.covariance + 0.05 * gradient.T @ gradient
        if self.basis is None:
            self.basis = torch.linalg.eigh(self.covariance)[1]
        elif self.steps % 10 == 0:
            self.basis = torch.linalg.qr(self.covariance @ self.basis)[0]
        self.steps += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.99 * self.square + 0.01 * (gradient @ self.basis) ** 2
        mean, square = self.mean / (1 - 0.9**self.steps), self.square / (1 - 0.99**self.steps)
        step: torch.Tensor = (mean @ self.basis) / (square.sqrt() + 1e-8) @ self.basis.T
        return step


class RecipeLearner(Learner):
    """A learner with `extras`, an attribute that `experiment` sets."""

    extras: Extras

    def init_output_bias(self, ids: Array) -> None:
        super().init_output_bias(ids)
        assert isinstance(self.model, NativeTraining)
        self.named = as_parameters(self.model.parameters, self.model.grads)
        matrices = [name for name in self.named if name.endswith("weight_hh")]
        self.others: dict[str, Muon | Soap] = {}
        if self.extras.muon or self.extras.soap:
            self.others = {name: Muon(self.architecture.num_gates) if self.extras.muon else Soap() for name in matrices}
        with torch.no_grad():
            self.named["embedding"].mul_(self.extras.deviation)
        self.averages = {name: weight.detach().clone() for name, weight in self.named.items()}

    def step(self, batch: Batch, step: int, lr: float) -> StepResult:
        config, extras = self.config, self.extras
        assert config.lr is not None
        before = {name: self.named[name].detach().clone() for name in self.others}
        result = super().step(batch, step, lr)
        with torch.no_grad():
            for name, other in self.others.items():
                gradient = self.named[name].grad
                assert gradient is not None
                other_lr = (extras.muon or extras.soap) * lr / config.lr
                scale = min(1.0, config.clip / result.gradient_norm)
                self.named[name].copy_(before[name] - other_lr * other.step(scale * gradient))
            if extras.average:
                for name, average in self.averages.items():
                    average.lerp_(self.named[name], 1 - min(extras.average, (1 + step) / (10 + step)))
        return result


def run(dataset: Dataset, options: dict[str, Any], extras: Extras) -> dict[str, Any]:
    """A trial: nats per token of the validation text, its state carried, at the temperature that suits it and at 1;
    and of the last steps."""
    optimizers.BETAS = (extras.beta1, extras.beta2)
    optimizers.LR_MULTIPLIERS = {"embedding": extras.table, "head.weight": extras.head}
    events: list[Event] = []
    done, learner = experiment(TrainConfig(**options), dataset, RecipeLearner, [events.append], extras=extras)
    steps = [event for event in events if isinstance(event, StepEvent)]

    def score(weights: Mapping[str, Array]) -> float:
        engine = ensemble_engine([(learner.architecture, weights)])
        return float(evaluate_exact(engine, dataset, len(dataset.val), "strict", lambda tokens: None)["carried"])

    results = {
        "carried": done.carried,
        "temperature": done.temperature,
        "untempered": score(learner.weights()),
        "trained": math.fsum(step.loss for step in steps[-200:]) / len(steps[-200:]),
    }
    if extras.average:
        results["averaged"] = score({name: average.numpy() for name, average in learner.averages.items()})
    return {**results, "seconds": steps[-1].seconds - steps[0].seconds}


def main() -> None:
    """Make the trials that have no result, and append theirs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("trials", type=argparse.FileType(), help="a file of trials, or - for stdin")
    parser.add_argument("--results", type=Path, default=Path("results.jsonl"))
    arguments = parser.parse_args()
    lines = [line.replace("-", "_").split() for line in arguments.trials if line.strip()]
    trials = [dict(word.split("=", 1) for word in line) for line in lines]
    results = arguments.results.read_text().splitlines() if arguments.results.exists() else []
    made = [json.loads(line)["trial"] for line in results]
    dataset = prepare(read_corpus(resolve_sources([arguments.corpus])), None, PrepareOptions())
    own = {each.name for each in fields(Extras)}
    for trial in trials:
        if trial in made:
            continue
        options = {k: parse(param_types(TrainConfig)[k], v, k) for k, v in trial.items() if k not in own}
        extras = Extras(**{name: float(value) for name, value in trial.items() if name in own})
        line = json.dumps({"trial": trial, **run(dataset, options, extras)})
        print(line, flush=True)
        with arguments.results.open("a") as file:
            print(line, file=file)


if __name__ == "__main__":
    main()
