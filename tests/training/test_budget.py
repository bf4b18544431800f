"""How a time budget is shared."""

import pytest

from charrnn.training.budget import EVALUATIONS, MIN_EVALUATIONS, SAVING_SECONDS, plan_scoring, usable_seconds
from charrnn.training.temperature import FIT_COST
from charrnn.training.throughput import ScoringSpeed


@pytest.mark.parametrize("speed", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("budget", [2.0, 60.0, 3600.0])
def test_scoring_keeps_its_share(budget: float, speed: float) -> None:
    """Evaluations take 3 % of the time, the end a quarter if that is enough for all of the text, else a tenth, and what
    the temperature takes; no text is scored twice."""
    scoring = plan_scoring(budget, 100_000, 200_000, ScoringSpeed(speed / 2, speed))
    share = 0.1 if scoring.exact_tokens < 200_000 else 0.25
    assert scoring.whole_seconds == pytest.approx(200_000 * 3 / speed)
    assert (scoring.whole_seconds <= 0.25 * budget) == (scoring.exact_tokens == 200_000)
    assert MIN_EVALUATIONS <= scoring.evaluations <= EVALUATIONS
    assert 1 <= scoring.eval_tokens <= 100_000
    assert 1 <= scoring.exact_tokens <= 200_000
    assert scoring.eval_seconds <= 0.03 * budget + scoring.evaluations / speed
    assert (
        SAVING_SECONDS
        < scoring.final_eval_seconds
        <= share * budget + FIT_COST * 0.03 * budget / 4 + SAVING_SECONDS + 10 / speed
    )


@pytest.mark.parametrize(("budget", "speed"), [(None, ScoringSpeed(1e5, 1e5)), (60.0, None)])
def test_without_a_budget_or_a_text_there_is_nothing_to_share(budget: float | None, speed: ScoringSpeed | None) -> None:
    scoring = plan_scoring(budget, 70, 80, speed)
    assert (scoring.evaluations, scoring.eval_tokens, scoring.exact_tokens) == (EVALUATIONS, 70, 80)
    assert (scoring.eval_seconds, scoring.final_eval_seconds) == (0.0, SAVING_SECONDS)


@pytest.mark.parametrize(("budget", "final", "usable"), [(10.0, 0.0, 9.8), (1000.0, 5.0, 998.0), (1000.0, 0.0, 999.5)])
def test_some_seconds_are_left_over(budget: float, final: float, usable: float) -> None:
    assert usable_seconds(budget, final) == usable
