"""Whether a signal may be sent now: hours, caps, groups."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.engagement.policy import (
    MINUTE_US,
    NEWCOMER,
    Moment,
    SignalPolicy,
    Standing,
    after_signal,
    is_held_out,
    is_quiet,
    nudge,
    withheld_because,
)
from models.engagement.signals import Shelf, SignalThresholds
from models.schema import SESSION_FEATURES

ALL = SignalPolicy(holdout_share=0.0)
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


def at(hour: float, offset_min: int = 0, day: int = 100, user: str = "p1") -> Moment:
    return Moment("shop", user, int(day * DAY_US + hour * HOUR_US), offset_min)


@pytest.mark.parametrize(
    ("begin", "end", "quiet_hours"),
    [
        (22 * 60, 7 * 60, {22, 23, 0, 1, 2, 3, 4, 5, 6}),
        (13 * 60, 15 * 60, {13, 14}),
        (0, 60, {0}),
        (60, 60, set()),
        (None, None, set()),
    ],
)
@pytest.mark.parametrize("offset_min", [0, 60, 330, 840, -600])
def test_quiet_hours_on_the_users_clock(begin: int | None, end: int | None, quiet_hours: set[int], offset_min: int) -> None:
    policy = SignalPolicy(quiet_from_min=begin, quiet_to_min=end)
    quiet = {hour for hour in range(24) if is_quiet(policy, at(hour).now_us - offset_min * MINUTE_US, offset_min)}
    assert quiet == quiet_hours


def test_cool_down_ends_to_the_microsecond() -> None:
    policy = SignalPolicy(cool_down_s=60, holdout_share=0.0)
    standing = after_signal(NEWCOMER, at(12), held_out=False)
    for later_us, reason in ((0, "cool_down"), (59_999_999, "cool_down"), (60_000_000, None), (-5, "cool_down")):
        assert withheld_because(policy, standing, at(12)._replace(now_us=at(12).now_us + later_us)) == reason


def test_the_cap_counts_days_of_the_users_clock() -> None:
    policy = SignalPolicy(max_per_day=2, cool_down_s=0, holdout_share=0.0)
    standing = NEWCOMER
    for hour in (20, 21):
        assert withheld_because(policy, standing, at(hour, 120)) is None
        standing = after_signal(standing, at(hour, 120), held_out=False)
    assert withheld_because(policy, standing, at(21.5, 120)) == "frequency_cap"  # 23:30 there
    assert withheld_because(policy, standing, at(22, 120)) is None  # past midnight there
    assert withheld_because(policy, standing, at(22, 0)) == "frequency_cap"  # who changes clocks gains nothing
    assert withheld_because(policy, standing, at(22, -600)) == "frequency_cap"


def test_nothing_is_sent_where_the_cap_is_none() -> None:
    assert withheld_because(SignalPolicy(max_per_day=0, holdout_share=0.0), NEWCOMER, at(12)) == "frequency_cap"


@given(st.lists(st.integers(0, 3 * 24 * 60), max_size=20), st.integers(-720, 840))
def test_no_more_than_the_cap_in_any_day(minutes: list[int], offset_min: int) -> None:
    policy = SignalPolicy(max_per_day=3, cool_down_s=0, holdout_share=0.0)
    standing, days = NEWCOMER, []
    for minute in sorted(minutes):
        moment = Moment("shop", "p1", minute * MINUTE_US, offset_min)
        if withheld_because(policy, standing, moment) is None:
            standing = after_signal(standing, moment, held_out=False)
            days.append((minute + offset_min) // 1440)
    wanted = [(minute + offset_min) // 1440 for minute in minutes]
    assert {day: days.count(day) for day in wanted} == {day: min(3, wanted.count(day)) for day in wanted}


def test_the_hold_out_group_is_sticky_and_of_the_right_size() -> None:
    users = [f"p{n}" for n in range(5_000)]

    def group(share: float, salt: str = "1", partner: str = "shop") -> set[str]:
        policy = SignalPolicy(holdout_share=share, holdout_salt=salt)
        return {user for user in users if is_held_out(policy, partner, user)}

    assert (group(0.0), group(1.0)) == (set(), set(users))
    tenth = group(0.1)
    assert tenth < group(0.3)
    assert len(tenth) == pytest.approx(500, abs=4 * 21)
    for dealt_anew in (group(0.1, salt="2"), group(0.1, partner="other")):
        assert len(tenth & dealt_anew) == pytest.approx(50, abs=4 * 7)


def test_held_out_is_only_said_where_a_signal_would_have_been_sent() -> None:
    policy = SignalPolicy(holdout_share=1.0, cool_down_s=60)
    assert withheld_because(policy, NEWCOMER, at(12)) == "held_out"
    standing = after_signal(NEWCOMER, at(12), held_out=True)
    assert withheld_because(policy, standing, at(12.01)) == "cool_down"  # as it is for who was sent one
    assert standing.sequence == 0


def test_no_action_is_never_withheld() -> None:
    quiet = SignalPolicy(max_per_day=0)
    features = np.zeros(len(SESSION_FEATURES), dtype=np.float32)
    assert nudge(0.9, None, features, Shelf(), quiet, NEWCOMER, at(12))[:3] == ({"type": "no_action", "payload": {}}, None, ())
    found = nudge(0.9, None, features, Shelf(["a"]), quiet, NEWCOMER, at(12))
    assert (found.signal["type"], found.withheld) == ("recommend_product", "frequency_cap")


def test_the_same_moment_gets_the_same_answer() -> None:
    policy, standing = SignalPolicy(), Standing(2, at(3).now_us, 100, 1)
    assert {withheld_because(policy, standing, at(12, user="p7")) for _ in range(5)} in ({None}, {"held_out"})


@pytest.mark.parametrize(
    "bad",
    [
        {"signal_types": ("no_action",)},
        {"max_per_day": -1},
        {"cool_down_s": 31 * 86_400},
        {"quiet_from_min": 5},
        {"quiet_from_min": 5, "quiet_to_min": 1440},
        {"holdout_share": float("nan")},
        {"holdout_salt": ""},
        {"max_cause_age_s": 0},
        {"max_discount_cents": -1},
    ],
)
def test_a_policy_out_of_range_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        SignalPolicy(**bad)  # type: ignore[arg-type]


def kinds_of(scores: list[float], dead_band: float, minutes: float = 1.0) -> list[str]:
    """Signals that scores call for, one after the other, each told of the one before."""
    policy = SignalPolicy(SignalThresholds(min_score_product=0.1, dead_band=dead_band), holdout_share=0.0)
    standing, quiet, found = NEWCOMER, np.zeros(len(SESSION_FEATURES), dtype=np.float32), []
    for n, score in enumerate(scores):
        moment = at(8 + n * minutes / 60)
        chosen = nudge(score, None, quiet, Shelf(product_ids=["sku"]), policy, standing, moment).signal["type"]
        standing = standing._replace(chosen=chosen, chosen_at_us=moment.now_us)
        found.append(chosen)
    return found


def test_within_the_dead_band_a_signal_goes_on_and_none_begins() -> None:
    on, off = "recommend_product", "no_action"
    assert kinds_of([0.09, 0.1, 0.09, 0.081, 0.079, 0.09, 0.1], 0.2) == [off, on, on, on, off, off, on]
    assert kinds_of([0.1, 0.09], 0.2, minutes=31) == [on, off]  # another session begins anew
    assert kinds_of([0.1, 0.0999], 0.0) == [on, off]


def test_noise_around_a_threshold_does_not_flip_it() -> None:
    scores = (0.1 + np.random.default_rng(1).normal(0.0, 0.003, 500)).tolist()
    flips = [sum(a != b for a, b in itertools.pairwise(kinds_of(scores, band))) for band in (0.0, 0.2)]
    assert flips[0] > 200
    assert flips[1] <= 1
