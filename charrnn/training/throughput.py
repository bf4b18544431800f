"""How fast this machine is: measured on a model that is thrown away, before a plan is made."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from charrnn.config.train import TrainConfig
from charrnn.dataset.batches import batch_loader
from charrnn.dataset.dataset import Dataset
from charrnn.engines.select import EngineSpec, inference_engine
from charrnn.network.architecture import Architecture
from charrnn.training.evaluation import VAL_STREAMS
from charrnn.training.learner import Learner
from charrnn.training.temperature import FIT_TOKENS, MAX_FITS

EVALUATIONS = 20
"""Evaluations in a run, where the user does not say."""


_EVAL_SHARE = 0.03  # of the time, for all evaluations while training


_EXACT_SHARE = 0.10  # of the time, for the exact figures of the finished model


_ENOUGH = 20_000  # symbols of an evaluation, where there is the time


_CALIBRATION, _CALIBRATION_SHARE = 0.5, 0.01  # seconds of steps for each number of threads, or less in short runs


_TURN = 3  # steps


_SCORING = 0.1  # seconds of scoring, to know how long it takes


_SAVING = 0.3  # seconds at the end of a run


def measure_throughput(
    architecture: Architecture,
    config: TrainConfig,
    split: Dataset,
    spec: EngineSpec,
    threads: Sequence[int],
    check: Callable[[], None] = lambda: None,
) -> dict[int, float]:
    """Symbols a second that training reads here with each number of threads, measured on a learner that is
    thrown away. They take turns, so that a busy machine is equally unfair to all."""
    learner = Learner(architecture, config, spec)
    rows = batch_loader(split, batch=config.batch, seq_len=config.seq_len, seed=config.seed)
    took: dict[int, list[float]] = {count: [] for count in threads}
    begin, step = time.monotonic(), 0
    most, enough = 200 * len(threads), min(_CALIBRATION, _CALIBRATION_SHARE * (config.time or math.inf))
    while step < most:
        for count in threads:
            learner.set_num_threads(count)
            for _ in range(_TURN):
                check()
                before = time.monotonic()
                learner.step(rows.batch(step, 2 * most), step, 1e-6)
                took[count].append(time.monotonic() - before)
                step += 1
            before = time.monotonic()
            learner.synchronize()  # a GPU is still at work on what it was given
            waited = (time.monotonic() - before) / _TURN
            took[count][-_TURN:] = [each + waited for each in took[count][-_TURN:]]
        if step >= 2 * _TURN * len(threads) and time.monotonic() - begin > enough * len(threads):
            break
    usual = {count: float(np.quantile(times[1:], 0.25)) for count, times in took.items()}  # a slow moment passes
    return {count: rows.batch_size * rows.seq_len / each for count, each in usual.items()}


def usable_seconds(budget: float, end: float) -> float:
    """Of the seconds that a run may take, those that are planned for; its end, of which less is known, takes about
    `end` of them."""
    return budget - min(0.02 * budget, 0.5 + 0.3 * end)


@dataclass(frozen=True)
class ScoringPlan:
    """How the validation text is scored, and the seconds that takes."""

    evaluations: int
    eval_tokens: int
    eval_seconds: float
    exact_tokens: int
    end: float


def plan_scoring(architecture: Architecture, config: TrainConfig, split: Dataset, spec: EngineSpec) -> ScoringPlan:
    """As much scoring as its share of the time allows.

    While training rather few evaluations than ones that see too little to tell a better model.
    """
    most = min(len(split.val), config.eval_tokens)
    if config.time is None or not most:
        return ScoringPlan(EVALUATIONS, most, 0.0, split.exact_tokens, _SAVING)
    weights = {name: np.zeros(shape, np.float32) for name, shape in architecture.shapes().items()}
    engine = inference_engine(spec.for_scoring(architecture.cell), architecture, weights)

    def rate(rows: int, length: int) -> float:
        ids = np.zeros((rows, length), np.int64)
        took: list[float] = []
        while len(took) < 3 or (len(took) < 30 and sum(took) < _SCORING):
            begin = time.monotonic()
            engine.score(ids, engine.zero_state(rows))
            took.append(time.monotonic() - begin)
        return rows * length / max(1e-6, float(np.median(took[1:])))

    alone, together = rate(1, 512), rate(VAL_STREAMS, 32)
    seen = int(_EVAL_SHARE * config.time * together)
    evaluations = max(4, min(EVALUATIONS, seen // min(most, _ENOUGH)))
    eval_tokens = max(1, min(most, seen // evaluations))
    each = 1 / alone + 1 / together  # carried, then in windows
    exact_tokens = max(1, min(split.exact_tokens, int(_EXACT_SHARE * config.time / each)))
    fitting = MAX_FITS * min(eval_tokens, FIT_TOKENS) / together
    return ScoringPlan(
        evaluations,
        eval_tokens,
        evaluations * eval_tokens / together,
        exact_tokens,
        fitting + exact_tokens * each + _SAVING,
    )
