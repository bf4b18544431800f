"""Decisions while training: to end in time and where the text ends, and whether a bad evaluation can be won back."""

from typing import Any

from charrnn.training.autoconfig import tokens_per_step
from charrnn.training.budget import usable_seconds
from charrnn.training.plan import Plan
from charrnn.training.resume import TrainerState
from charrnn.training.schedule import learning_rate

MAX_ANNEALING_GAIN = 0.15
"""Nats per token by which the loss may fall while the learning rate decays from its peak to zero (Tiny Shakespeare:
0.1)."""

REALIGN_TOLERANCE, REALIGN_EPOCHS = 0.1, 0.5
"""In epochs. The rows of a stream are realigned if they would end farther from the text's end than the first: once,
the second before the last step. A realignment costs the state, and tokens that are skipped or read twice (eight in two
epochs of Tiny Shakespeare: 0.008 nats); not ending where the text ends costs more (0.015)."""


class StepTimer:
    """How long steps take: since the last `mark`, and in all."""

    def __init__(self) -> None:
        self.seconds, self.steps = 0.0, 0  # since the last mark
        self._all_seconds, self._all_steps = 0.0, 0  # until the last mark

    def add(self, seconds: float) -> None:
        """Count one more step."""
        self.seconds += seconds
        self.steps += 1

    def rate(self) -> float:
        """Return steps a second since the last mark."""
        return self.steps / max(1e-9, self.seconds)

    def mark(self) -> float:
        """Begin anew; return the seconds that a step is expected to take: those of all steps, and with a quarter of the
        weight those since the last mark, so that a slow moment is not taken for a slow machine."""
        recent = self.seconds / self.steps
        self._all_seconds += self.seconds
        self._all_steps += self.steps
        self.seconds, self.steps = 0.0, 0
        return (recent + 3 * self._all_seconds / self._all_steps) / 4


def replan(
    plan: Plan, state: TrainerState, elapsed: float, step_seconds: float, steps_per_epoch: int
) -> dict[str, Any]:
    """Return what keeps the time budget, as an entry of `TrainerState.replans`: another last step, a realignment, both;
    empty if the present schedule does, nearly.

    The speed of a machine goes up and down, and early in a run there is time for that to even out: as long as much is
    left, only what would miss the end by a quarter of it is changed. Where steps take longer than was measured, so will
    scoring.

    Args:
        elapsed: seconds since the training began. step_seconds: those that a step is expected to take.
        steps_per_epoch: of a stream; 0: records, whose rows need not be realigned.
    """
    assert plan.config.time is not None
    last, left = state.schedule.steps, state.schedule.steps - state.step
    slowdown = max(1.0, step_seconds * plan.chars_per_second / tokens_per_step(plan.config))
    final = plan.final_eval_seconds * slowdown
    reserved = final + plan.eval_seconds * slowdown * left / last
    usable = usable_seconds(plan.config.time, final) - elapsed - reserved
    affordable = max(1, int(usable / step_seconds))
    tolerance = max(0.02 * last, 0.25 * left)
    too_slow = affordable < left - tolerance
    too_fast = affordable > left + tolerance and not plan.has_step_limit
    entry: dict[str, Any] = {}
    if too_slow or too_fast:
        last = entry["steps"] = state.step + affordable
    is_near = last - state.step <= REALIGN_EPOCHS * steps_per_epoch
    if is_near and abs(last - state.end) > REALIGN_TOLERANCE * steps_per_epoch:
        entry["realign"] = True
    return {"step": state.step, **entry} if entry else {}


def expected_annealing_gain(schedule: str, progress: float) -> float:
    """Return the nats per token by which the loss may still fall just because the learning rate decays.

    Args:
        schedule: as `learning_rate` takes it. progress: the part of the run that is over, from 0 to 1.
    """
    now, last = (learning_rate(schedule, 1.0, each) for each in (progress, 1.0))
    return MAX_ANNEALING_GAIN * max(0.0, now - last)
