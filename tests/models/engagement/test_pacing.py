"""A day's budget lasts for the day."""

import numpy as np
import pytest

from models.engagement.pacing import allowed_cents
from models.schema import DAY_US


@pytest.mark.parametrize("n_visitors", [600, 5_000])
def test_a_budget_is_spent_evenly_over_the_day_and_never_overspent(n_visitors):
    rng = np.random.default_rng(n_visitors)
    budget, spent, by_hour = 100_000, 0, np.zeros(24)
    for at_us in np.sort(rng.integers(0, DAY_US, n_visitors)).tolist():
        cents = int(rng.integers(100, 900))  # two to twenty times what there is
        if spent + cents <= allowed_cents(budget, at_us):
            spent += cents
            by_hour[at_us * 24 // DAY_US] += cents
    assert 0.97 * budget <= spent <= budget
    quarters = by_hour.reshape(8, 3).sum(axis=1)
    assert np.abs(quarters / quarters.mean() - 1).max() <= 0.2


def test_what_nobody_wanted_in_the_morning_is_there_in_the_evening():
    assert allowed_cents(1_000, DAY_US - 1) == 1_000


def test_a_budget_below_nothing_is_refused():
    with pytest.raises(ValueError, match="0 or more, got -1"):
        allowed_cents(-1, 0)
