"""Estimators against numbers worked out by hand, and intervals that hold the truth as often as they say."""

import numpy as np
import pytest

from models.arrays import Floats
from models.bandit import off_policy, reward_model
from models.bandit.off_policy import BETTER, SAME, WORSE, Estimate, Logged, OffPolicyParams, estimate, logged, verdict
from models.statistics.metrics import Interval
from models.statistics.verdict import NOT_ENOUGH


def estimates(seen: Logged) -> dict[str, float]:
    return {name: above.sum() / below.sum() for name, (above, below) in off_policy.quotients(seen).items()}


def array(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


def test_estimators_give_what_is_worked_out_by_hand() -> None:
    reward, target, propensity = array(1, 0, 1, 0), array(0.5, 0.5, 0.25, 0.75), array(0.25, 0.5, 0.5, 0.25)
    q_logged, q_target = array(0.5, 0.5, 0.2, 0.2), array(0.4, 0.4, 0.3, 0.3)
    seen = logged(reward, target, propensity, (q_logged, q_target))
    assert seen.weight.tolist() == [2.0, 1.0, 0.5, 3.0]
    found = estimates(seen)
    assert found["ips"] == pytest.approx((2.0 + 0.5) / 4)
    assert found["snips"] == pytest.approx((2.0 + 0.5) / 6.5)
    # 0.4 + 2 * 0.5, 0.4 - 1 * 0.5, 0.3 + 0.5 * 0.8, 0.3 - 3 * 0.2
    assert found["dr"] == pytest.approx((1.4 - 0.1 + 0.7 - 0.3) / 4)
    assert off_policy.effective_size(seen.weight) == pytest.approx(6.5**2 / 14.25)


def test_weights_are_clipped_and_what_was_cut_is_told() -> None:
    seen = logged(array(1, 0), array(1, 0.5), array(0.1, 0.5), params=OffPolicyParams(clip=4))
    assert seen.weight.tolist() == [4.0, 1.0]
    assert (seen.n_clipped, seen.largest) == (1, 10.0)
    assert seen.cut == pytest.approx(6 / 11)


def test_a_policy_that_is_the_logging_one_has_the_mean_reward() -> None:
    rng = np.random.default_rng(0)
    p, reward = rng.uniform(0.1, 0.9, 50), rng.random(50)
    found = estimates(logged(reward, p, p))
    assert found == {name: pytest.approx(reward.mean()) for name in ("ips", "snips", "dr")}


def test_a_perfect_reward_model_leaves_no_variance() -> None:
    reward = array(1, 1, 0, 0)
    found = estimates(logged(reward, array(0.9, 0.1, 0.1, 0.9), array(0.1, 0.9, 0.5, 0.5), (reward, np.full(4, 0.5))))
    assert found["dr"] == 0.5


def trial(rng: np.random.Generator, n: int, rates: Floats, p: Floats) -> tuple[Floats, np.ndarray, Floats]:
    action = rng.choice(len(p), size=n, p=p)
    return (rng.random(n) < rates[action]).astype(float), action, p[action]


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng, rates, p, target = np.random.default_rng(7), array(0.3, 0.2, 0.1), array(0.6, 0.3, 0.1), array(0.1, 0.2, 0.7)
    truth, held, n_trials = float(target @ rates), np.zeros(3), 120
    for _ in range(n_trials):
        reward, action, propensity = trial(rng, 400, rates, p)
        fold = reward_model.folds(np.arange(400), 3, rng)
        q = reward_model.cross_fitted(np.zeros((400, 0)), action, 3, reward, fold)
        seen = logged(reward, target[action], propensity, (q[np.arange(400), action], q @ target))
        found = estimate(seen, np.arange(400), rng, OffPolicyParams(n_draws=100))
        held += [one.low <= truth <= one.high for one in found.intervals.values()]
    assert (held / n_trials > 0.88).all()
    assert (held / n_trials < 1).all()


def test_few_draws_make_no_interval_too_narrow() -> None:
    """Of 39 draws the first and the last are the 2.5 % and 97.5 % quantiles; between second and last but one lie 90 %."""
    rng, held, n_trials = np.random.default_rng(4), 0, 600
    for _ in range(n_trials):
        seen = logged(rng.normal(size=80), np.full(80, 0.5), np.full(80, 0.5))
        one = estimate(seen, np.arange(80), rng, OffPolicyParams(n_draws=39)).intervals["ips"]
        held += one.low <= 0 <= one.high
    assert 0.93 < held / n_trials < 0.97


def test_visitors_are_drawn_and_not_their_decisions() -> None:
    rng = np.random.default_rng(1)
    reward = np.repeat((rng.random(50) < 0.5).astype(float), 20)
    seen = logged(reward, np.ones(1000), np.ones(1000))
    apart = estimate(seen, np.arange(1000), np.random.default_rng(2)).intervals["ips"]
    together = estimate(seen, np.repeat(np.arange(50), 20), np.random.default_rng(2)).intervals["ips"]
    assert (together.high - together.low) > 3 * (apart.high - apart.low)


def test_a_paired_difference_is_surer_than_its_parts() -> None:
    rng = np.random.default_rng(3)
    reward, action, propensity = trial(rng, 2_000, array(0.2, 0.1), array(0.5, 0.5))
    ours, theirs = (logged(reward, (action == arm).astype(float), propensity) for arm in (0, 1))
    few = OffPolicyParams(n_draws=200)
    found = estimate(ours, np.arange(2_000), rng, few, baseline=theirs)
    assert verdict(found, 0.1) == BETTER
    assert verdict(estimate(theirs, np.arange(2_000), rng, few, baseline=ours), 0.2) == WORSE
    same = estimate(ours, np.arange(2_000), rng, few, baseline=ours)
    assert same.intervals["dr"] == Interval(0, 0, 0)
    assert verdict(same, 0.2) == SAME


@pytest.mark.parametrize(
    ("interval", "effective", "rewarded", "says"),
    [
        (Interval(0.02, 0.01, 0.03), 500, 100, BETTER),
        (Interval(0.02, 0.01, 0.03), 99, 100, NOT_ENOUGH),
        (Interval(0.02, 0.01, 0.03), 500, 29, NOT_ENOUGH),
        (Interval(-0.02, -0.03, -0.01), 500, 100, WORSE),
        (Interval(0.0, -0.004, 0.005), 500, 100, SAME),
        (Interval(0.0, -0.004, 0.006), 500, 100, NOT_ENOUGH),
        (Interval(float("nan"), 0.01, 0.03), 500, 100, NOT_ENOUGH),
    ],
)
def test_the_verdict_says_no_more_than_the_interval(interval: Interval, effective: float, rewarded: int, says: str) -> None:
    assert verdict(Estimate({"dr": interval}, effective, rewarded, {}), 0.1) == says


@pytest.mark.parametrize("propensity", [array(0.0), array(1.1), array(0.5, 0.5), array()])
def test_what_is_no_log_is_refused(propensity: Floats) -> None:
    with pytest.raises(ValueError, match="expected"):
        logged(array(1.0) if len(propensity) else array(), np.full(1, 0.5) if len(propensity) else array(), propensity)


def test_the_model_of_a_decision_never_saw_its_visitor() -> None:
    visitor = np.array([0, 0, 1, 1, 2, 2])
    fold = reward_model.folds(visitor, 3, np.random.default_rng(0))
    reward = array(1, 1, 0, 0, 0, 0)
    q = reward_model.cross_fitted(np.zeros((6, 0)), np.zeros(6, dtype=np.int64), 1, reward, fold)
    assert q[:2, 0].tolist() == [0.0, 0.0]
    assert (q[2:, 0] > 0).all()
