"""Which number of threads trains fastest just now: other programs come and go."""

import statistics
from collections.abc import Callable

TRIAL_STEPS = 3
"""Steps with each number of threads in a trial."""

SECONDS_BETWEEN = 5.0
"""Between two trials, at least."""

STEPS_BETWEEN = 60
"""For each step of a trial, at least: trials cost little where the other numbers are slower."""

ADVANTAGE = 1.05
"""How much faster another number must be to be taken."""


class ThreadTrial:
    """Now and then some steps with other numbers of threads, the fastest of which the next ones take.

    Args:
        threads: at first.
        most: that are tried; the others are 1, 2, 4, ...
        set_num_threads: is told how many the next step is to use. No result may depend on it.
    """

    def __init__(self, threads: int, most: int, set_num_threads: Callable[[int], None]) -> None:
        self.threads, self._set = threads, set_num_threads
        self.counts = sorted({1 << power for power in range(most.bit_length())} | {threads, most})
        self._queue: list[int] = []  # of a trial, the threads of the steps that are left
        self._seconds: dict[int, list[float]] = {}
        self._steps, self._total = 0, 0.0  # since the last trial

    def add(self, seconds: float) -> None:
        """Go on after a step that took so long."""
        if len(self.counts) == 1:
            return
        if self._queue:
            self._seconds.setdefault(self._queue.pop(0), []).append(seconds)
            if not self._queue:
                self._finish()
        else:
            self._steps, self._total = self._steps + 1, self._total + seconds
            trial = self.counts * TRIAL_STEPS  # in turns, so that a burst of work elsewhere meets all of them
            if self._total < SECONDS_BETWEEN or self._steps < STEPS_BETWEEN * len(trial):
                return
            self._queue, self._seconds, self._steps, self._total = trial, {}, 0, 0.0
        self._set(self._queue[0] if self._queue else self.threads)

    def _finish(self) -> None:
        usual = {count: statistics.median(seconds) for count, seconds in self._seconds.items()}
        best = min(usual, key=lambda count: usual[count])
        if usual[best] * ADVANTAGE < usual[self.threads]:
            self.threads = best
