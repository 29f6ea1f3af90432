"""The uniform-random policy, estimated from another policy's log of the Open Bandit Dataset."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import off_policy, off_policy_coverage

DATA = Path(os.environ.get("ATTUNE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "open_bandit_men"


@pytest.mark.skipif(not DATA.exists(), reason="needs the Open Bandit sample, see ATTUNE_TEST_DATA")
def test_the_interval_holds_what_was_really_earned_and_a_gain_of_5_percent_cannot_be_told() -> None:
    found = off_policy.real(DATA / "bts", DATA / "random")
    assert (found["n_clicks"], found["on_policy_truth"]["n_clicks"], found["n_items"]) == (69, 46, 34)
    assert set(found["interval_holds_truth"].values()) == {True}
    assert found["verdict_on_5_percent_gain"] == "not enough data"
    assert 500 < found["estimate"]["effective_sample_size"] < 1000


def test_logs_of_a_world_are_the_same_whoever_makes_them_and_intervals_mostly_hold_its_truth() -> None:
    whole = off_policy_coverage.batch("visitors", 0, 30)
    parts = off_policy_coverage.batch("visitors", 0, 10), off_policy_coverage.batch("visitors", 10, 20)
    for one, first, second in zip(whole, *parts, strict=True):
        assert np.array_equal(one, np.concatenate((first, second)))
    assert (np.abs(whole[0]).mean(axis=0) < 0.2).all()
