"""Young decisions count as far as their rewards can have been seen: no profile looks bad for having been dealt lately."""

import numpy as np
import pytest

from models.bandit import delay
from models.bandit.memory import Decided, Memory, Rewarded

WINDOW_S = 3600.0


def test_delays_are_learned_from_decisions_that_are_younger_than_the_longest_delays() -> None:
    rng, n = np.random.default_rng(1), 20_000
    age_s, delay_s = rng.uniform(0, 300, n), rng.exponential(60, n)
    seen = delay_s < age_s
    known = delay.fit(delay_s[seen], np.ones(seen.sum()), age_s[seen], WINDOW_S)
    told = delay.share_seen(known, np.array([10.0, 30.0, 100.0, 250.0]))
    true = 1 - np.exp(-np.array([10.0, 30.0, 100.0, 250.0]) / 60)
    # What comes later than any age is the prior's: known up to a factor.
    np.testing.assert_allclose(told / told[-1], true / true[-1], atol=0.03)
    assert 0.5 < told[-1] < 1


def test_profiles_that_earn_the_same_are_told_the_same_however_young_their_decisions_are() -> None:
    rng, n, p = np.random.default_rng(2), 20_000, 0.2
    age_s = np.concatenate((rng.uniform(100, 300, n), rng.uniform(0, 60, n)))
    delay_s = rng.exponential(60, 2 * n)
    rewarded = (rng.random(2 * n) < p) & (delay_s < age_s)
    known = delay.fit(delay_s[rewarded], np.ones(rewarded.sum()), age_s[rewarded], WINDOW_S)
    trials = delay.share_seen(known, age_s)
    old, young = (rewarded[half].sum() / trials[half].sum() for half in (slice(0, n), slice(n, 2 * n)))
    assert young == pytest.approx(old, rel=0.05)
    assert rewarded[n:].mean() < 0.5 * rewarded[:n].mean()  # as it would look without the correction


def test_without_rewards_the_prior_stands_and_a_window_that_is_over_has_shown_everything() -> None:
    known = delay.fit(np.zeros(0), np.zeros(0), np.zeros(0), WINDOW_S)
    told = delay.share_seen(known, np.array([-5.0, 0.0, 60.0, WINDOW_S, 1e9]))
    assert told.tolist() == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0], abs=0.02)


S = 1_000_000
DEALT = [Decided(k, k * S, "ab"[k % 2], ("app", "desktop")[k // 2 % 2]) for k in range(8)]


def test_a_decision_is_worth_its_best_event_and_a_stretch_read_again_takes_its_own_place() -> None:
    kept = Memory()
    for _ in range(2):
        kept.keep(0, DEALT[:4], [Rewarded(1, 20 * S, 1.0), Rewarded(1, 9 * S, 0.5), Rewarded(1, 30 * S, 0.5)])
        kept.keep(1, DEALT[4:], [Rewarded(6, 40 * S, 0.5), Rewarded(77, 40 * S, 1.0)])
    found = kept.outcomes(("a", "b"), 5_000 * S, WINDOW_S)
    assert found.total.tolist() == [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0]
    assert found.n.tolist() == [1.0] * 8
    assert found.stretch.tolist() == [0] * 4 + [1] * 4
    assert [found.contexts[c] for c in found.context] == [one.context for one in DEALT]
    young = kept.outcomes(("a", "b"), 10 * S, WINDOW_S)
    assert (np.diff(young.n) < 0).all()  # the later, the less of a trial
    assert young.n.max() < 0.5


def test_what_is_no_arm_any_more_and_what_was_forgotten_counts_no_more() -> None:
    kept = Memory()
    kept.keep(0, DEALT[:4], [])
    kept.keep(1, DEALT[4:], [])
    assert len(kept.outcomes(("b",), 5_000 * S, WINDOW_S).n) == 4
    kept.forget(1)
    assert (kept.knows(0), kept.knows(1)) == (False, True)
    assert len(kept.outcomes(("a", "b"), 5_000 * S, WINDOW_S).n) == 4
    assert len(Memory().outcomes(("a", "b"), 0, WINDOW_S).n) == 0
