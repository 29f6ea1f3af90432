"""Propensities are exact, decisions repeat, and the better profile is found, found again, and found by context."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from models.arrays import Floats
from models.bandit import rewards
from models.bandit import thompson as profile_bandit
from models.bandit.best_arm import p_best, with_floor
from models.bandit.change import last_change
from models.bandit.thompson import BanditParams, Outcomes, choose, snapshot, value_of

PROFILES = ("a", "b", "c")


def outcomes(n: Sequence[Sequence[float]], total: Sequence[Sequence[float]], contexts: Sequence[str] = ("",)) -> Outcomes:
    """Stretches of one context each, or one stretch with several contexts; a row of trials and rewards by profile for each."""
    rows = [
        (k if len(contexts) == 1 else 0, contexts[k % len(contexts)], PROFILES[arm], n[k][arm], total[k][arm])
        for k in range(len(n))
        for arm in range(len(n[k]))
    ]
    return rewards.outcomes(rows, PROFILES[: len(n[0])])


@pytest.mark.parametrize(
    ("mean", "sd"),
    [([1.0, 1.1, -3.0], [0.1, 0.5, 9.0]), ([0.0, 0.0, 0.0], [0.01, 0.01, 3.0]), ([-2.0, -1.9, -5.0], [0.003, 0.004, 1.0])],
)
def test_the_probability_of_being_best_is_that_of_sampling(mean: list[float], sd: list[float]) -> None:
    rng, n = np.random.default_rng(0), 200_000
    sampled = np.bincount(rng.normal(mean, sd, size=(n, 3)).argmax(axis=1), minlength=3) / n
    found = p_best(np.array([mean, [5.0, 0.0, 0.0]]), np.array([sd, [0.1, 0.1, 0.1]]))
    assert np.abs(found[0] - sampled).max() < 4 * 0.5 / np.sqrt(n)
    assert found[1].tolist() == pytest.approx([1.0, 0.0, 0.0])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1)), min_size=1, max_size=16), st.floats(0, 1 / 16))
def test_propensities_sum_to_one_and_none_is_below_the_floor(arms: list[tuple[int, float]], floor: float) -> None:
    names = tuple(f"p{k}" for k in range(len(arms)))
    seen = rewards.outcomes([(0, "", name, n, n * rate) for name, (n, rate) in zip(names, arms, strict=True)], names)
    p: Floats = np.array(snapshot(1, seen, BanditParams(floor=floor)).rows[""].p)
    assert p.sum() == pytest.approx(1, abs=1e-9)
    assert p.min() >= floor - 1e-12


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 16), st.integers(0, 17), st.floats(0, 0.5))
def test_profiles_on_trial_are_dealt_as_told_whatever_they_earned_and_the_others_keep_the_floor(
    n_kept: int, n_tried: int, trial: float
) -> None:
    k, params = n_kept + n_tried, BanditParams(trial=trial)
    names = tuple(f"p{place}" for place in range(k))
    rates = np.linspace(0.1, 0.9, k)  # those on trial are the best
    rows = [(0, "", name, 500.0, 500 * rate) for name, rate in zip(names, rates, strict=True)]
    now = snapshot(1, rewards.outcomes(rows, names), params, names[n_kept:])
    p: Floats = np.array(now.rows[""].p)
    assert p.sum() == pytest.approx(1, abs=1e-9)
    assert p.min() >= params.floor - 1e-12
    assert p[n_kept:] == pytest.approx([max(min(trial, 0.5 / max(n_tried, 1)), params.floor)] * n_tried)
    assert np.argmax(p[:n_kept]) == n_kept - 1


def test_profiles_are_dealt_as_often_as_their_propensities_say_and_a_replay_repeats_each_decision() -> None:
    now = snapshot(7, outcomes([[50, 50, 50]], [[10, 14, 2]]))
    dealt = [choose(now, "", f"d-{k}") for k in range(20_000)]
    for name, p in zip(PROFILES, now.rows[""].p, strict=True):
        mine = [one for one in dealt if one.profile == name]
        assert {one.propensity for one in mine} == {p}
        assert abs(len(mine) / 20_000 - p) < 4 * np.sqrt(p * (1 - p) / 20_000)
    again = profile_bandit.from_json(profile_bandit.as_json(now))
    assert [choose(again, "", f"d-{k}") for k in range(20_000)] == dealt


def test_a_visitor_keeps_the_profile_as_long_as_its_probability_stays() -> None:
    one, other = (snapshot(version, outcomes([[0, 0]], [[0, 0]])) for version in (1, 2))
    same = sum(choose(one, "", f"d-{k}").profile == choose(other, "", f"d-{k}").profile for k in range(1_000))
    assert same == 1_000


@pytest.mark.parametrize("rate", [0.0, 0.03, 0.5, 1.0])
def test_a_new_profile_is_expected_to_be_like_the_known_ones_and_not_better(rate: float) -> None:
    now = snapshot(1, outcomes([[2_000.0, 2_000.0, 0.0]], [[2_000 * rate, 2_000 * rate, 0.0]])).rows[""]
    assert 0.01 <= now.p[2] <= 0.52
    assert expit(now.a[2]) == pytest.approx(rate, abs=0.001)


def test_a_profile_of_which_more_is_expected_is_dealt_more_until_outcomes_say_otherwise() -> None:
    expected = {"a": 1.0, "b": -1.0}
    assert snapshot(1, outcomes([[0, 0]], [[0, 0]]), expected=expected).rows[""].p[0] > 0.9
    assert snapshot(1, outcomes([[500, 500]], [[50, 200]]), expected=expected).rows[""].p[1] > 0.98


def test_where_nothing_is_known_every_profile_is_dealt_alike() -> None:
    for seen in (outcomes([[0, 0, 0]], [[0, 0, 0]]), outcomes([[40, 40, 40]], [[0, 0, 0]])):
        assert snapshot(1, seen).rows[""].p == pytest.approx([1 / 3] * 3)


BY_DEVICE = BanditParams(context=("device",), surprise=float("inf"))


def test_a_context_in_which_nobody_bought_yet_is_not_sure_of_anything() -> None:
    seen = outcomes([[400, 400], [3, 3]], [[44, 40], [0, 0]], ("app", "desktop"))
    assert max(snapshot(1, seen, BY_DEVICE).rows["desktop"].p) < 0.8


def test_a_thin_context_leans_on_the_whole_and_a_thick_one_stands_on_its_own() -> None:
    n = [[1000, 1000], [2, 2], [10_000, 10_000]]
    total = [[200, 100], [0, 1], [1000, 2000]]
    now = snapshot(1, outcomes(n, total, ("desktop", "tablet", "mobile")), BY_DEVICE)
    assert now.rows["mobile"].p[1] == now.rows["desktop"].p[0] == pytest.approx(0.99, abs=0.001)
    assert max(now.rows["tablet"].p) < 0.95
    assert expit(now.rows["mobile"].a[1]) == pytest.approx(0.2, abs=0.01)
    assert choose(now, "watch", "d-1").propensity in now.rows[""].p


def test_contexts_that_share_a_factor_learn_from_each_other() -> None:
    contexts = [f"{device}|{intent}" for device in ("app", "desktop") for intent in ("research", "exploratory", "comparative")]
    better = [[400.0, 400.0]] * 6
    total = [[40.0, 120.0] if name.startswith("app") else [120.0, 40.0] for name in contexts]
    n = [*better[:-1], [2.0, 2.0]]
    total[-1] = [0.0, 0.0]
    now = snapshot(1, outcomes(n, total, contexts), BanditParams(context=("device", "intent")))
    assert now.rows["app|research"].p[1] > 0.95
    assert now.rows["desktop|comparative"].p[0] > 0.85  # from the device's other visitors


def test_outcomes_that_stay_the_same_are_no_change() -> None:
    rng = np.random.default_rng(3)
    n = rng.multinomial(200, [0.9, 0.05, 0.05], size=100).astype(float)
    total = rng.binomial(n.astype(int), [0.1, 0.08, 0.05]).astype(float)
    assert last_change(n * [0.1, 0.08, 0.05], total, 4.0) == 0


def test_the_bandit_follows_a_switched_truth() -> None:
    rng, k = np.random.default_rng(1), 25
    n, total = np.zeros((2 * k, 2)), np.zeros((2 * k, 2))
    for stretch in range(2 * k):
        rates = [0.15, 0.05] if stretch < k else [0.05, 0.15]
        now = snapshot(stretch, outcomes(n.tolist(), total.tolist()), BanditParams(context=()))
        n[stretch] = rng.multinomial(200, now.rows[""].p)
        total[stretch] = rng.binomial(n[stretch].astype(int), rates)
        if stretch == k - 1:
            assert now.rows[""].p[0] > 0.95
    assert n[k + 5 : k + 10, 1].sum() > 700  # of the decisions 1,000 to 2,000 after the switch
    assert now.rows[""].p[1] > 0.95


@pytest.mark.parametrize(("mean", "sd"), [([np.nan, 1.0], [1.0, 1.0]), ([1.0, 1.0], [0.0, 1.0])])
def test_posteriors_that_are_none_are_refused(mean: list[float], sd: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        p_best(np.array([mean]), np.array([sd]))


def test_a_floor_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot each"):
        with_floor(np.full(4, 0.25), 0.3)
    with pytest.raises(ValueError, match="floor"):
        BanditParams(floor=-0.1)
    with pytest.raises(ValueError, match="trial"):
        BanditParams(trial=0.6)


def test_a_group_of_visitors_with_a_winner_of_its_own_is_dealt_it_and_the_others_are_dealt_theirs() -> None:
    rng, n = np.random.default_rng(0), 20_000
    names = ",".join(BanditParams().context)
    group = rng.choice(["", "members", "guests"], n)
    device = rng.choice(["mobile", "desktop"], n)
    told = [{"device": d, "hour": 12, "intent": "research", "segment": "looker"} for d in device]
    values = [value_of(names, {**one, "group": g} if g else one) for one, g in zip(told, group, strict=True)]
    contexts, code = np.unique(values, return_inverse=True)
    arm = rng.integers(0, 2, n)
    p = np.where(arm == (group == "members"), 0.2, 0.1)
    seen = Outcomes(
        ("a", "b"), tuple(contexts), np.arange(n) // 2_000, code, arm, np.ones(n), (rng.random(n) < p).astype(float)
    )
    dealt = {value: row.p for value, row in snapshot(1, seen).rows.items() if value}
    assert all(of[1] > 0.95 for value, of in dealt.items() if value.endswith("|members"))
    assert all(of[0] > 0.95 for value, of in dealt.items() if not value.endswith("|members"))
