"""A threshold that was planted in a log is the one that is suggested."""

import numpy as np
import pytest

from models.engagement.threshold_value import suggest

HELD = 0.3


def planted(seed, threshold, n=6_000, gain=0.35, cost=6.0):
    """Score, money and who was held back, where a signal pays from a score on, and costs money below it.

    Who buys pays 40. Above the threshold a signal makes visitors buy more often; below, it only takes something off the price.
    """
    rng = np.random.default_rng(seed)
    score, held = rng.random(n), rng.random(n) < HELD
    p = 0.2 + 0.2 * score + gain * (score >= threshold) * ~held
    money = (rng.random(n) < p) * (40.0 - cost * ~held)
    return score, money, held


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("seed", range(3))
def test_the_interval_of_the_suggestion_holds_the_planted_threshold(seed, threshold):
    score, money, held = planted(seed, threshold)
    found = suggest(score, money, held, HELD, np.random.default_rng(seed))
    assert found.threshold_low <= threshold + 0.05  # candidates are every twentieth of the visitors
    assert found.threshold_high >= threshold - 0.05
    assert found.threshold_low is not None
    assert found.threshold_high is not None
    assert found.threshold_high - found.threshold_low < 0.75
    # Above t it brings (0.2 + 0.2 s + 0.35) * 34 - (0.2 + 0.2 s) * 40 for each score s.
    worth = (1 - threshold) * (0.55 * 34 - 0.2 * 40 - 0.2 * 6 * (1 + threshold) / 2)
    assert found.value_low <= worth <= found.value_high


def test_the_interval_holds_it_about_as_often_as_it_says():
    """Of 60 logs, in all but a few; 95 % of the draws are meant."""
    inside = 0
    for seed in range(100, 160):
        score, money, held = planted(seed, 0.6, n=3_000)
        found = suggest(score, money, held, HELD, np.random.default_rng(seed))
        if found.threshold_low is not None and found.threshold_high is not None:
            inside += found.threshold_low - 0.05 <= 0.6 <= found.threshold_high + 0.05
    assert inside >= 52


def test_a_signal_that_only_costs_is_left_out_at_every_threshold():
    score, money, held = planted(1, 2.0, n=20_000)
    found = suggest(score, money, held, HELD, np.random.default_rng(0))
    assert found.threshold is None
    assert found.sentence.startswith("it loses money at every threshold")
