"""The learning rate: up, then down to zero; and the course of a run whose end moves."""

import itertools

import pytest

from charrnn.training.schedule import WARM_UP, ScheduleProgress, learning_rate

SCHEDULES = ("linear", "cosine", "constant")


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_rises_then_falls(schedule: str) -> None:
    rates = [learning_rate(schedule, 0.5, step / 1000) for step in range(1001)]
    top = round(1000 * WARM_UP)
    rising, falling = rates[: top + 1], rates[top:]
    assert 0 < rates[0] < 0.5 / 10
    assert all(a < b for a, b in itertools.pairwise(rising))
    assert max(rates) == pytest.approx(0.5, rel=1e-3)
    if schedule == "constant":
        assert set(falling) == {0.5}
    else:
        assert all(a > b for a, b in itertools.pairwise(falling))
        assert rates[-1] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "progress", "rate"),
    [
        ("linear", WARM_UP, 1.0),
        ("linear", WARM_UP + (1 - WARM_UP) / 4, 0.75),
        ("linear", WARM_UP + (1 - WARM_UP) / 2, 0.5),
        ("cosine", WARM_UP + (1 - WARM_UP) / 2, 0.5),
        ("cosine", WARM_UP + (1 - WARM_UP) / 3, 0.75),
        ("constant", 1.0, 1.0),
    ],
)
def test_rates(schedule: str, progress: float, rate: float) -> None:
    assert learning_rate(schedule, 1.0, progress) == pytest.approx(rate)


def test_a_course_goes_from_0_to_1() -> None:
    assert [ScheduleProgress(4).progress(step) for step in range(6)] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    assert ScheduleProgress(1).progress(0) == 0.0
    assert ScheduleProgress(1).progress(1) == 1.0


@pytest.mark.parametrize("breakpoints", [[(40, 60)], [(40, 200)], [(40, 60), (50, 90), (80, 81)], [(0, 10)]])
def test_a_bent_course_has_no_jump_and_ends_at_1(breakpoints: list[tuple[int, int]]) -> None:
    course = ScheduleProgress(100)
    for step, steps in breakpoints:
        bent = course.revise(step, steps)
        assert bent.progress(step) == course.progress(step)
        course = bent
    begin, steps = breakpoints[-1]
    values = [course.progress(step) for step in range(begin, steps + 1)]
    assert values[-1] == 1.0
    assert all(a < b for a, b in itertools.pairwise(values))
    if steps > begin + 2:  # as fast as before within a straight piece
        assert values[1] - values[0] == pytest.approx(values[2] - values[1])


def test_a_course_never_ends_before_where_it_is() -> None:
    assert ScheduleProgress(100).revise(50, 10).steps == 50
    assert ScheduleProgress(100).revise(50, 10).progress(50) == 1.0
