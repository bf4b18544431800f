"""The learning rate from the first step to the last."""

import math
from dataclasses import dataclass

WARM_UP = 0.03
"""The share of a run in which the rate rises to its highest."""


@dataclass(frozen=True)
class ScheduleProgress:
    """How far a run has come, from 0 to 1, at each of its steps.

    A run planned by time may find the machine slower or faster than planned; `revise` bends the
    course at that step, without a jump, so that it still ends at 1.

    Attributes:
        steps: the run's last step.
        bends: (step, progress) pairs, where earlier plans gave way to the present one.
    """

    steps: int
    breakpoints: tuple[tuple[int, float], ...] = ()

    def progress(self, step: int) -> float:
        """The share of the run that is over before the step."""
        begin, done = self.breakpoints[-1] if self.breakpoints else (0, 0.0)
        if step >= self.steps:
            return 1.0
        return done + (1 - done) * (step - begin) / (self.steps - begin)

    def revise(self, step: int, steps: int) -> "ScheduleProgress":
        """The same course up to `step`, ending at `steps` from there on."""
        return ScheduleProgress(max(steps, step), (*self.breakpoints, (step, self.progress(step))))


def learning_rate(schedule: str, highest: float, progress: float) -> float:
    """The rate at a point of the run: a linear warm-up, then a fall to zero.

    Linear to zero as in Defazio et al. 2023 and Bergsma et al. 2025; cosine as in Loshchilov &
    Hutter 2017.

    Args:
        schedule: "linear", "cosine" or "constant" (no fall).
        highest: the rate after the warm-up.
        progress: from 0 to 1.
    """
    if progress < WARM_UP:
        return highest * (progress + 1e-3) / (WARM_UP + 1e-3)
    done = (progress - WARM_UP) / (1 - WARM_UP)
    if schedule == "cosine":
        return highest * (1 + math.cos(math.pi * done)) / 2
    return highest * (1 - done) if schedule == "linear" else highest
