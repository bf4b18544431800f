"""Runs that must end in time, on machines whose speed changes: simulated, with the program's own decisions."""

from collections.abc import Callable

import numpy as np
import pytest

from charrnn.config.train import TrainConfig
from charrnn.network.architecture import Architecture
from charrnn.training.budget import ScoringPlan, affordable_steps
from charrnn.training.plan import Plan
from charrnn.training.replanning import StepTimer, replan
from charrnn.training.resume import TrainerState
from charrnn.training.schedule import ScheduleProgress

TOKENS, BUDGET, BEGIN, EVAL, FINAL = 1024, 60.0, 3.0, 0.1, 2.5
"""Tokens of a step; seconds: of the run, until its first step, of an evaluation, of its end."""


def simulate(step_seconds: Callable[[float], float], measured: float) -> tuple[int, float]:
    """Return how often a run is planned anew, and when it ends.

    Args:
        step_seconds: what a step takes at a moment. measured: what it took when the run was planned.
    """
    config = TrainConfig(batch=16, seq_len=64, hidden=(8,), time=BUDGET, lr=0.01)
    scoring = ScoringPlan(20, 1000, 1000, 20 * EVAL, FINAL)
    steps = affordable_steps(config, scoring, BEGIN, TOKENS / measured)
    architecture = Architecture("gru", 5, (8,), 8)
    plan = Plan(config, architecture, 1000, 20 * EVAL, FINAL, False, TOKENS / measured)
    state, timer, every = TrainerState(ScheduleProgress(steps), steps), StepTimer(), steps // 20
    now, count = BEGIN, 0
    while state.step < (last := state.schedule.steps):
        is_evaluated = state.step and state.step % every == 0
        now += EVAL if is_evaluated else 0
        if is_evaluated or (state.step and last - state.step < every and state.step % (every // 10) == 0):
            entry = replan(plan, state, now, timer.mark(), 0)
            if "steps" in entry:
                state.record(entry)
                state.follow(entry)
                count += 1
        if state.step < state.schedule.steps:
            seconds = step_seconds(now)
            timer.add(seconds)
            now += seconds
            state.step += 1
    return count, now + FINAL


def drift(seed: int, spread: float, remembered: float) -> Callable[[float], float]:
    """Return the seconds of a step on a machine whose speed wanders around its mean; a new value every 0.1 s."""
    random, values = np.random.default_rng(seed), [0.0]
    for _ in range(2000):
        values.append(remembered * values[-1] + spread * (1 - remembered**2) ** 0.5 * random.standard_normal())
    return lambda now: float(0.018 * np.exp(values[int(10 * now)]))


@pytest.mark.parametrize("off", [0.87, 1.0, 1.15])
def test_a_steady_machine_needs_no_other_plan(off: float) -> None:
    """Or one, where the speed was measured a seventh too high or too low."""
    count, end = simulate(lambda now: 0.018, 0.018 * off)
    assert count <= (off != 1)
    assert 56 <= end <= 60


@pytest.mark.parametrize("seed", range(5))
def test_slow_moments_are_not_a_slow_machine(seed: int) -> None:
    """A speed that goes up and down within seconds, by 8 %, or within half a minute, by 20 %."""
    count, end = simulate(drift(seed, 0.08, 0.9), 0.018)
    assert count <= 1
    assert 56 <= end <= 60
    count, end = simulate(drift(seed, 0.2, 0.99), 0.018)
    assert count <= 4
    assert 55 <= end <= 60


@pytest.mark.parametrize("when", [10, 30, 45, 52])
@pytest.mark.parametrize("factor", [0.5, 2, 4])
def test_what_stays_is_followed(factor: float, when: float) -> None:
    """Another program comes, or goes; the run ends in time."""
    count, end = simulate(lambda now: 0.018 * (factor if now > when else 1), 0.018)
    assert 1 <= count <= 6
    assert 54 <= end <= 60.5
