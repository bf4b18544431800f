"""Where a run is: what a checkpoint keeps besides weights, so that the run can go on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from charrnn.training.schedule import Course


@dataclass
class Progress:
    """All of a run that is not weights. Stored in every resumable checkpoint.

    Attributes:
        step: steps taken.
        course: of the learning rate.
        end: the step at which the rows come to the text's end: the last one, or near it.
        evaluated: the step that was evaluated last; -1 before any.
        sampled: the step at which a sample was last shown.
        best: nats per symbol of the best evaluation, at best_step.
        stale: evaluations since the best one that a lower rate will not make up for.
        reason: why training ended: "steps", "patience"; "" while it has not.
    """

    course: Course
    end: int
    step: int = 0
    evaluated: int = -1
    sampled: int = -1
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    reason: str = ""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Progress":
        """Read what `asdict` made."""
        course = values["course"]
        bends = tuple((int(step), float(progress)) for step, progress in course["bends"])
        return cls(**{**values, "course": Course(int(course["steps"]), bends)})
