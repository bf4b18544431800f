"""The number of threads follows what is fastest just now, at little cost, and changes no result."""

from collections.abc import Callable

import numpy as np
import pytest

from charrnn.config.train import TrainConfig
from charrnn.dataset.batches import Batch
from charrnn.engines.select import EngineSpec
from charrnn.network.architecture import Architecture
from charrnn.training import thread_trial
from charrnn.training.learner import Learner
from charrnn.training.thread_trial import ThreadTrial
from tests.scoring.models import needs_core


def used(threads: int, seconds: Callable[[int, int], float], steps: int, *, most: int | None = None) -> list[int]:
    """The threads of each step, given how long a step takes with so many."""
    now = [threads]
    trial = ThreadTrial(threads, most or threads, lambda count: now.__setitem__(0, count))
    found = []
    for step in range(steps):
        found.append(now[0])
        trial.add(seconds(step, now[0]))
    return found


def test_the_fastest_is_taken_for_as_long_as_it_is() -> None:
    """Four threads; from step 4,000 to 12,000 a program beside makes more than one slow."""
    found = used(4, lambda step, count: 0.1 * count if 4000 <= step < 12000 else 0.1 / count, 20000)
    assert set(found[:500]) == {4}
    assert found[4000 + 1500] == 1
    assert found[12000 + 1500] == 4
    usual = [1 if 4000 + 1500 <= step < 12000 else 4 for step in range(20000)]
    tried = [step for step in range(20000) if found[step] != usual[step] and not 4000 <= step % 8000 < 5500]
    assert 0 < len(tried) < 0.02 * 20000
    assert {found[step] for step in tried} == {1, 2, 4}


def test_what_is_not_clearly_faster_is_not_taken() -> None:
    found = used(2, lambda step, count: 0.1 if count == 2 else 0.097, 5000)
    assert found.count(1) < 50


def test_more_than_were_planned_are_taken_once_they_are_faster() -> None:
    """A program beside made one thread the fastest when the run was planned, and ends at step 1,000."""
    found = used(1, lambda step, count: 0.1 * count if step < 1000 else 0.1 / count, 4000, most=3)
    assert set(found[:300]) == {1}
    assert found[1000 + 1500] == 3
    assert set(found) == {1, 2, 3}


def test_a_trial_waits_for_its_time() -> None:
    """However short the steps; and one thread has nothing to try."""
    assert set(used(2, lambda step, count: 1e-3, 4900)) == {2}
    assert set(used(1, lambda step, count: 1.0, 1000)) == {1}


@needs_core
def test_results_do_not_depend_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, though the threads change every few steps."""
    monkeypatch.setattr(thread_trial, "SECONDS_BETWEEN", 0)
    monkeypatch.setattr(thread_trial, "STEPS_BETWEEN", 0)
    architecture = Architecture("gru", 11, (70, 40), 16)
    config = TrainConfig(cell="gru", batch=5, seq_len=7, hidden=(70, 40), lr=0.01, dropout=0.2, threads=3)
    learners = [Learner(architecture, config, EngineSpec("native", "cpu", "float32", count, "")) for count in (3, 1)]
    counts: list[int] = []
    engine = learners[0].model

    def set_num_threads(count: int) -> None:
        counts.append(count)
        engine.set_num_threads(count)

    learners[0]._trial = ThreadTrial(3, 3, set_num_threads)
    random = np.random.default_rng(1)
    for step in range(30):
        batch = Batch(*random.integers(0, 11, (2, 5, 7)))
        for learner in learners:
            learner.step(batch, step, 0.01)
    assert set(counts) == {1, 2, 3}
    one, other = (learner.weights() | learner.state_dict() for learner in learners)
    assert all(np.array_equal(one[name], other[name]) for name in one)
