"""How fast this machine trains and scores, measured before a plan is made, with models that are thrown away."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from charrnn.config.train import TrainConfig
from charrnn.dataset.batches import Loader, batch_loader
from charrnn.dataset.dataset import Dataset
from charrnn.engines.select import EngineSpec, inference_engine
from charrnn.network.architecture import Architecture
from charrnn.training.distributed import ALONE, World
from charrnn.training.evaluation import VAL_STREAMS
from charrnn.training.learner import Learner
from charrnn.training.memory import memory_errors

TRAINING_SECONDS, TRAINING_SHARE = 0.5, 0.01
"""Seconds of training steps measured for each number of threads; of a short run this share of its time."""

TURN = 3
"""Steps after which the next number of threads is measured."""

MAX_TURN_STEPS = 200
"""Steps measured for each number of threads, at most."""

SCORING_SECONDS = 0.1
"""Seconds of scoring that are measured."""


@dataclass(frozen=True)
class ScoringSpeed:
    """Tokens scored a second: of one text alone, and of `VAL_STREAMS` pieces side by side."""

    alone: float
    streams: float


class SpeedMeter:
    """Measures the speed of models with a dataset.

    Args:
        dataset: what they train on. spec: what runs them.
        check: called now and then; may raise to end the measurement.
        world: the processes that train together. Process 0 has the meter; those of the others `assist` it.
    """

    def __init__(
        self, dataset: Dataset, spec: EngineSpec, check: Callable[[], None] = lambda: None, world: World = ALONE
    ) -> None:
        self.dataset, self.spec, self.check, self.world = dataset, spec, check, world
        self._learner: Learner | None = None

    def training(self, config: TrainConfig, architecture: Architecture, threads: Sequence[int]) -> dict[int, float]:
        """Return the tokens a second that training takes with each number of threads.

        They take turns, so that a busy machine is equally unfair to all. A model of the same sizes is used again.

        Args:
            config: complete but for what does not change the speed.
        """
        with memory_errors(architecture, config), self.world.ask(config, architecture, threads):
            return self.assist(config, architecture, threads)

    def assist(self, config: TrainConfig, architecture: Architecture, threads: Sequence[int]) -> dict[int, float]:
        """Take the steps that `training` measures: every process takes part in each."""
        learner = self._learner
        if learner is None or (learner.architecture, learner.config.batch) != (architecture, config.batch):
            learner = self._learner = Learner(architecture, config, self.spec, self.world)
        learner.config = config
        loader = batch_loader(
            self.dataset, batch=config.batch, seq_len=config.seq_len, seed=config.seed, rows=learner.rows
        )
        seconds: dict[int, list[float]] = {count: [] for count in threads}
        max_steps = MAX_TURN_STEPS * len(threads)
        enough = len(threads) * min(TRAINING_SECONDS, TRAINING_SHARE * (config.time or math.inf))
        begin, step = time.monotonic(), 0
        while step < max_steps and (
            step < 2 * TURN * len(threads) or self.world.broadcast(time.monotonic() - begin <= enough)
        ):
            for count in threads:
                learner.set_num_threads(count)
                seconds[count] += self._turn(learner, loader, step, 2 * max_steps)
                step += TURN
        usual = {count: float(np.median(each[1:])) for count, each in seconds.items()}  # slow moments do not count
        return {count: loader.batch_size * loader.seq_len / each for count, each in usual.items()}

    def _turn(self, learner: Learner, loader: Loader, first: int, steps: int) -> list[float]:
        """Take some steps, with a learning rate that changes next to nothing; return the seconds of each."""
        seconds = []
        for step in range(first, first + TURN):
            self.check()
            begin = time.monotonic()
            learner.step(loader.batch(step, steps), step, 1e-6)
            seconds.append(time.monotonic() - begin)
        begin = time.monotonic()
        learner.synchronize()  # a GPU is still at work
        waited = (time.monotonic() - begin) / TURN
        return [each + waited for each in seconds]

    def scoring(self, architecture: Architecture) -> ScoringSpeed:
        """Return how fast a model of these sizes scores."""
        weights = {name: np.zeros(shape, np.float32) for name, shape in architecture.shapes().items()}
        engine = inference_engine(self.spec.for_scoring(), architecture, weights)

        def speed(rows: int, length: int) -> float:
            ids = np.zeros((rows, length), np.int64)
            seconds: list[float] = []
            while len(seconds) < 3 or (len(seconds) < 30 and sum(seconds) < SCORING_SECONDS):
                begin = time.monotonic()
                engine.score(ids, engine.zero_state(rows))
                seconds.append(time.monotonic() - begin)
            return rows * length / max(1e-6, float(np.median(seconds[1:])))

        return ScoringSpeed(speed(1, 512), speed(VAL_STREAMS, 32))
