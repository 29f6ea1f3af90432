"""Propensities are exact, decisions repeat, and the better profile is found and found again."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.arrays import Floats
from models.bandit import thompson as profile_bandit
from models.bandit.best_arm import Kind, p_best, with_floor
from models.bandit.thompson import BanditParams, Outcomes, choose, last_change, snapshot

PROFILES = ("a", "b", "c")


def outcomes(n: Sequence[Sequence[float]], total: Sequence[Sequence[float]], contexts: tuple[str, ...] = ("",)) -> Outcomes:
    """Stretches of one context each, or one stretch with several contexts."""
    shape = (-1, 1, len(n[0])) if len(contexts) == 1 else (1, len(contexts), len(n[0]))
    counts, sums = np.array(n, dtype=float).reshape(shape), np.array(total, dtype=float).reshape(shape)
    return Outcomes(PROFILES[: len(n[0])], contexts, counts, sums, sums)


@pytest.mark.parametrize(
    ("kind", "a", "b"),
    [
        ("beta", [3, 5, 1], [50, 60, 2]),
        ("beta", [3000, 3050, 1], [50_000, 50_000, 1]),
        ("beta", [1e6, 1e3, 1.2], [1e7, 1e4, 9]),
        ("normal", [1.0, 1.1, -3.0], [0.1, 0.5, 9.0]),
    ],
)
def test_the_probability_of_being_best_is_that_of_sampling(kind: Kind, a: list[float], b: list[float]) -> None:
    rng, n = np.random.default_rng(0), 200_000
    draws = (rng.beta if kind == "beta" else rng.normal)(a, b, size=(n, len(a)))
    sampled = np.bincount(draws.argmax(axis=1), minlength=len(a)) / n
    found = p_best(kind, np.array(a, dtype=float), np.array(b, dtype=float))
    assert np.abs(found - sampled).max() < 4 * 0.5 / np.sqrt(n)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1)), min_size=1, max_size=16),
    st.sampled_from(["beta", "normal"]),
    st.floats(0, 1 / 16),
)
def test_propensities_sum_to_one_and_none_is_below_the_floor(arms: list[tuple[int, float]], kind: Kind, floor: float) -> None:
    n = np.array([[[float(count) for count, _ in arms]]])
    total = n * [[[rate for _, rate in arms]]]
    seen = Outcomes(tuple(f"p{k}" for k in range(len(arms))), ("",), n, total, total)
    p: Floats = np.array(snapshot(1, seen, BanditParams(kind=kind, floor=floor)).rows[""].p)
    assert p.sum() == pytest.approx(1, abs=1e-9)
    assert p.min() >= floor - 1e-12


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 16), st.integers(0, 17), st.floats(0, 0.5))
def test_profiles_on_trial_are_dealt_as_told_whatever_they_earned_and_the_others_keep_the_floor(
    n_kept: int, n_tried: int, trial: float
) -> None:
    k, params = n_kept + n_tried, BanditParams(trial=trial)
    n = np.full((1, 1, k), 500.0)
    total = n * np.linspace(0.1, 0.9, k)  # those on trial are the best
    names = tuple(f"p{place}" for place in range(k))
    now = snapshot(1, Outcomes(names, ("",), n, total, total), params, names[n_kept:])
    p: Floats = np.array(now.rows[""].p)
    assert p.sum() == pytest.approx(1, abs=1e-9)
    assert p.min() >= params.floor - 1e-12
    assert p[n_kept:] == pytest.approx([max(min(trial, 0.5 / max(n_tried, 1)), params.floor)] * n_tried)
    alone = (
        snapshot(1, Outcomes(names[:n_kept], ("",), *(part[:, :, :n_kept] for part in (n, total, total))), params).rows[""].p
    )
    assert np.argmax(p[:n_kept]) == np.argmax(alone)


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
@pytest.mark.parametrize("kind", ["beta", "normal"])
def test_a_new_profile_is_not_dealt_more_than_the_known_ones_before_its_first_outcome(kind: Kind, rate: float) -> None:
    """Outcomes come an hour late: until then nobody can see that a new profile is bad."""
    n = [[2_000.0, 2_000.0, 0.0]]
    now = snapshot(1, outcomes(n, [[2_000 * rate, 2_000 * rate, 0.0]]), BanditParams(kind=kind)).rows[""]
    assert 0.01 <= now.p[2] <= 0.5
    mean = np.array(now.a) / (np.array(now.a) + np.array(now.b)) if kind == "beta" else np.array(now.a)
    assert mean[2] == pytest.approx(rate, abs=0.001)


@pytest.mark.parametrize("kind", ["beta", "normal"])
def test_where_nothing_is_known_every_profile_is_dealt_alike(kind: Kind) -> None:
    for seen in (outcomes([[0, 0, 0]], [[0, 0, 0]]), outcomes([[40, 40, 40]], [[0, 0, 0]])):
        assert snapshot(1, seen, BanditParams(kind=kind)).rows[""].p == pytest.approx([1 / 3] * 3)


def test_a_context_in_which_nobody_bought_yet_is_not_sure_of_anything() -> None:
    seen = outcomes([[400, 400], [3, 3]], [[44, 40], [0, 0]], ("app", "desktop"))
    now = snapshot(1, seen, BanditParams(kind="normal", context="device", sharpness=1.0))
    assert now.rows["desktop"].b[0] == pytest.approx(now.rows[""].b[0] * (402 / 203) ** 0.5, rel=0.01)
    assert max(now.rows["desktop"].p) < 0.8


def test_a_thin_context_leans_on_the_whole_and_a_thick_one_stands_on_its_own() -> None:
    n = [[1000, 1000], [2, 2], [10_000, 10_000]]
    total = [[200, 100], [0, 1], [1000, 2000]]
    params = BanditParams(context="device", surprise=float("inf"))
    rows = snapshot(1, outcomes(n, total, ("desktop", "tablet", "mobile")), params).rows
    mean = {name: np.array(row.a) / (np.array(row.a) + np.array(row.b)) for name, row in rows.items()}
    assert np.abs(mean["tablet"] - mean[""]).max() < 0.01
    assert mean["mobile"][1] > 0.19
    assert mean["desktop"][0] > mean["desktop"][1]
    unknown = choose(snapshot(1, outcomes(n, total, ("desktop", "tablet", "mobile")), params), "watch", "d-1")
    assert unknown.propensity in rows[""].p


def test_outcomes_that_stay_the_same_are_no_change() -> None:
    rng = np.random.default_rng(3)
    n = rng.multinomial(200, [0.9, 0.05, 0.05], size=100).astype(float)
    total = rng.binomial(n.astype(int), [0.1, 0.08, 0.05]).astype(float)
    assert last_change(n, total, total, BanditParams()) == 0


def test_the_bandit_follows_a_switched_truth() -> None:
    rng, k = np.random.default_rng(1), 25
    n, total = np.zeros((2 * k, 1, 2)), np.zeros((2 * k, 1, 2))
    for stretch in range(2 * k):
        rates = [0.15, 0.05] if stretch < k else [0.05, 0.15]
        now = snapshot(stretch, Outcomes(("a", "b"), ("",), n[:stretch], total[:stretch], total[:stretch]))
        n[stretch, 0] = rng.multinomial(200, now.rows[""].p)
        total[stretch, 0] = rng.binomial(n[stretch, 0].astype(int), rates)
        if stretch == k - 1:
            assert now.rows[""].p[0] > 0.95
    assert n[k + 5 : k + 10, 0, 1].sum() > 700  # of the decisions 1,000 to 2,000 after the switch
    assert now.rows[""].p[1] > 0.95


@pytest.mark.parametrize(("a", "b"), [([np.nan, 1.0], [1.0, 1.0]), ([1.0, 1.0], [0.0, 1.0]), ([0.0, 1.0], [1.0, 1.0])])
def test_posteriors_that_are_none_are_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        p_best("beta", np.array(a), np.array(b))


def test_a_floor_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot each"):
        with_floor(np.full(4, 0.25), 0.3)
    with pytest.raises(ValueError, match="floor"):
        BanditParams(floor=-0.1)
    with pytest.raises(ValueError, match="trial"):
        BanditParams(trial=0.6)
