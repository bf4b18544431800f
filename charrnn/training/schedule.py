"""The learning rate from the first step to the last."""

import math
from dataclasses import dataclass

WARM_UP = 0.03
"""The part of a run in which the learning rate rises to its peak."""


@dataclass(frozen=True)
class ScheduleProgress:
    """How much of a run is over at each of its steps, from 0 to 1.

    A run with a time budget may find the machine slower or faster than measured; `revise` then changes the pace from
    that step on, without a jump, so that the progress is still 1 at the end.

    Attributes:
        steps: the last step.
        breakpoints: (step, progress) pairs at which the last step was changed; the last hundred of them.
    """

    steps: int
    breakpoints: tuple[tuple[int, float], ...] = ()

    def progress(self, step: int) -> float:
        """Return the part of the run that is over before a step."""
        begin, done = self.breakpoints[-1] if self.breakpoints else (0, 0.0)
        if step >= self.steps:
            return 1.0
        return done + (1 - done) * (step - begin) / (self.steps - begin)

    def revise(self, step: int, steps: int) -> "ScheduleProgress":
        """Return the same progress up to `step`, and from there on one that ends at `steps`."""
        return ScheduleProgress(max(steps, step), (*self.breakpoints[-99:], (step, self.progress(step))))


def learning_rate(schedule: str, peak: float, progress: float) -> float:
    """Return the learning rate at a point of the run: a linear warm-up, then a decay to zero.

    Linear to zero as in Defazio et al. 2023 and Bergsma et al. 2025; cosine as in Loshchilov & Hutter 2017.

    Args:
        schedule: "linear", "cosine" or "constant" (no decay).
        peak: the rate after the warm-up.
        progress: from 0 to 1.
    """
    if progress < WARM_UP:
        return peak * (progress + 1e-3) / (WARM_UP + 1e-3)
    done = (progress - WARM_UP) / (1 - WARM_UP)
    if schedule == "cosine":
        return peak * (1 + math.cos(math.pi * done)) / 2
    return peak * (1 - done) if schedule == "linear" else peak
