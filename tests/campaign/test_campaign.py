"""A part of each campaign, which `make campaign` runs whole."""

import pytest

from tests.campaign import kills, mutants
from tests.campaign.workers import Trial, run_trials


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("trial", "count", "memory"),
    [
        pytest.param(mutants.trial, 1000, mutants.MAX_MEMORY, id="mutants"),
        pytest.param(kills.trial, 12, kills.MAX_MEMORY, id="kills"),
    ],
)
def test_ck_04_ck_09_ck_12_a_part_of_the_campaign(trial: Trial, count: int, memory: int) -> None:
    """CK-04, CK-09, CK-12, CK-23: whatever is wrong with a file, whenever a training is killed."""
    counts, failures = run_trials(trial, 2, range(count), jobs=2, max_memory=memory)
    assert counts.total() == count
    assert not failures, "\n".join(failures[:3])
