"""A day's budget lasts for the day, and goes to whom it is worth most."""

from collections import deque
from typing import Any

import numpy as np
import pytest

from models.engagement.aims import EXPLORED
from models.engagement.pacing import FREE, LEAST_BIDS, MOST_BIDS, Bid, Pace, Price, allowed_cents
from models.engagement.policy import NEWCOMER, Moment, SignalPolicy, nudge
from models.engagement.signals import Offer, Shelf, SignalThresholds
from models.engagement.silence import Left, Silence
from models.experiments.targeting import EVERYBODY, NOBODY, TARGETED, Effects, Targeting
from models.schema import DAY_US, SESSION_FEATURES

HOUR_US = DAY_US // 24
BUDGET = 480_000_000


def spent_by_hour(budget, at, worth, cents, by_price):
    """What visitors get who come one after the other, hundredths by hour of the day, and what that earns."""
    spent, earned, by_hour = 0, 0.0, np.zeros(24)
    bids: deque[Bid] = deque(maxlen=MOST_BIDS)
    for at_us, one, costs in zip(at.tolist(), worth.tolist(), cents.tolist(), strict=True):
        if spent + costs > allowed_cents(budget, at_us):
            continue
        price = Pace(lambda: bids, budget, spent, at_us).price().of_a_cent if by_price else 0.0
        bids.append(Bid(at_us, one, costs))
        if one > price:
            spent, earned = spent + costs, earned + one * costs
            by_hour[at_us * 24 // DAY_US] += costs
    return by_hour, earned


def visitors(n, seed):
    """Instants, two thirds of them in the second half of the day, what a cent earns with each, and each one's cents."""
    rng = np.random.default_rng(seed)
    at = np.sort(rng.integers(0, DAY_US, n))
    at = np.where(rng.random(n) < 1 / 6, (at + DAY_US // 2) % DAY_US, at)
    return np.sort(at), rng.exponential(0.02, n) - 0.005, rng.integers(100, 900, n)


@pytest.mark.parametrize("by_price", [False, True])
@pytest.mark.parametrize("n_visitors", [600, 5_000])
def test_a_budget_is_spent_evenly_over_the_day_and_never_overspent(n_visitors, by_price):
    at, worth, cents = visitors(n_visitors, n_visitors)
    by_hour, _ = spent_by_hour(100_000, at, np.abs(worth), cents, by_price)
    assert 0.97 * 100_000 <= by_hour.sum() <= 100_000
    quarters = by_hour.reshape(8, 3).sum(axis=1)
    assert np.abs(quarters / quarters.mean() - 1).max() <= 0.2


@pytest.mark.parametrize("seed", range(5))
def test_a_budget_that_binds_earns_more_by_its_price_than_with_whoever_comes_first(seed):
    at, worth, cents = visitors(3_000, seed)
    _, first = spent_by_hour(150_000, at, worth, cents, by_price=False)
    _, priced = spent_by_hour(150_000, at, worth, cents, by_price=True)
    best = np.argsort(-worth)  # all of the day known
    most = (worth * cents)[best][np.cumsum(cents[best]) <= 150_000].sum()
    assert priced > 1.8 * first
    assert priced > 0.9 * most


def test_a_budget_that_does_not_bind_costs_nothing():
    at, worth, cents = visitors(600, 3)
    assert spent_by_hour(100 * 600 * 500, at, worth, cents, True)[0].sum() == cents[worth > 0].sum()


def test_few_bids_have_no_price():
    bids = [Bid(k, 0.1, 100) for k in range(LEAST_BIDS)]
    assert Pace(lambda: bids[1:], 100, 100, HOUR_US).price() == FREE
    assert Pace(lambda: bids, 100, 100, HOUR_US).price() == Price(0.1, 0.0)


def test_what_nobody_wanted_in_the_morning_is_there_in_the_evening():
    assert allowed_cents(1_000, DAY_US - 1) == 1_000


def test_a_budget_below_nothing_is_refused():
    with pytest.raises(ValueError, match="0 or more, got -1"):
        allowed_cents(-1, 0)


class Same:
    """Trees that say the same of everybody."""

    def __init__(self, effect):
        self.effect = effect

    def predict(self, rows, num_threads):
        return np.full(len(rows), self.effect)


def asked(verdict, effect, price, holdout_share=0.0):
    """Decision about a visitor with a cart of 40, of which ten percent can be promised: 4, worth `effect`."""
    trees: Any = Same(effect)
    aim = Targeting(verdict, "", Effects(trees, trees, 0.5), {}, {}, [], None)
    bids = [Bid(HOUR_US - 1_000_000, one, 1_000) for one in [1.0] * 8 + [price] * 12]  # all a second ago
    for_eight = allowed_cents(BUDGET, HOUR_US) - 8_500 * 900  # a second, for a quarter of an hour
    pace = None if price is None else Pace(lambda: bids, BUDGET, for_eight, HOUR_US)
    policy = SignalPolicy(
        SignalThresholds(min_score_discount=0.0), signal_types=("offer_discount",), holdout_share=holdout_share
    )
    shelf = Shelf(offers=[Offer("ten", 4_000, percent=10.0)], cart_cents=4_000)
    silent, features = Silence(300.0, Left("cart", ["a"])), np.zeros(len(SESSION_FEATURES), np.float32)
    moment, found = Moment("shop", "v1", HOUR_US, 0), {"offer_discount": aim}
    return nudge(0.5, None, features, shelf, policy, NEWCOMER, moment, silent, found, pace=pace)


@pytest.mark.parametrize(
    ("verdict", "effect", "price", "p_sent"),
    [
        (EVERYBODY, 2.0, 0.004, 1.0),  # 2 for 4 is .005 a cent
        (EVERYBODY, 2.0, 0.006, 0.4 * EXPLORED),
        (TARGETED, 2.0, 0.006, 0.4 * EXPLORED),
        (EVERYBODY, -1.0, None, 1.0),  # nobody can be told apart, and there is no budget
        (NOBODY, 2.0, 0.001, 0.0),
        ("not enough data", 2.0, 0.006, 1.0),  # first come, first served
    ],
)
def test_a_discount_goes_to_whom_it_is_worth_more_than_its_cents_cost(verdict, effect, price, p_sent):
    found = asked(verdict, effect, price)
    assert found.deals[0].p_sent == p_sent
    assert found.deals[0].arm == ("sent" if p_sent == 1.0 else "passed")
    knows = price is not None and verdict in (EVERYBODY, TARGETED)
    assert found.bid == (Bid(HOUR_US, effect / 400, 400) if knows else None)


def test_who_is_held_out_is_judged_at_the_price_and_bids_for_nothing():
    dear, cheap = (asked(EVERYBODY, 2.0, price, holdout_share=1.0) for price in (0.006, 0.004))
    assert dear.bid is None
    assert dear.signal["type"] == "no_action"
    assert cheap.bid is None
    assert cheap.withheld == "held_out"
