"""Visits at a moment, and what comes of them with a signal and without."""

from dataclasses import replace

import numpy as np

from benchmarks.crossroads import Prices, reached, revenues, standing
from models.schema import SIGNAL_TYPES, EventType
from models.simulator import Causes, ShopConfig, Visit, open_shop

OFFER = SIGNAL_TYPES.index("offer_discount")
EAGER = replace(Causes(), signal=tuple((6.0 if name == "offer_discount" else 0.0,) * 4 for name in SIGNAL_TYPES))
CONFIG = ShopConfig(n_users=2_000, seed=3, causes=EAGER)


def test_visits_stop_with_a_full_cart_and_nothing_bought() -> None:
    shop = open_shop(CONFIG, np.random.default_rng(1))
    found = reached(shop, np.arange(2_000), np.full(2_000, CONFIG.start_us), 4, np.random.default_rng(2))
    n = len(found.at.visits)
    lengths = np.diff(found.first)
    assert 200 < n < 1_000
    assert found.first[0] == 0
    assert found.first[-1] == len(found.rows)
    assert (lengths >= 4).all()
    assert (lengths == found.at.visits["n_events"]).all()
    assert (found.at.visits["n_cart"] > 0).all()
    assert not (found.rows["event_type"] == EventType.PURCHASE).any()
    last = found.rows["event_type"][found.first[1:] - 1]
    assert (last[lengths > 4] == EventType.ADD_TO_CART).all()  # later than the fourth event the cart has just been filled


def test_a_signal_moves_what_the_rest_of_a_visit_brings_and_nothing_is_written_to() -> None:
    shop = open_shop(CONFIG, np.random.default_rng(1))
    found = reached(shop, np.arange(2_000), np.full(2_000, CONFIG.start_us), 4, np.random.default_rng(2))
    before = found.at.visits.copy()
    n = len(before)
    without, with_it = (revenues(shop, found.at, np.full(n, s), 20, np.random.default_rng(3)) for s in (0, OFFER))
    assert without.shape == (n, 20)
    assert (found.at.visits == before).all()
    assert with_it.mean() > 1.5 * without.mean()
    again = revenues(shop, found.at, np.full(n, 0), 20, np.random.default_rng(3))
    assert (again == without).all()


def test_a_visit_that_stands_still_is_the_visit_that_would_go_on() -> None:
    """Walked on from a copy, a visit brings on average what it brings by itself."""
    shop, rng = open_shop(CONFIG, np.random.default_rng(1)), np.random.default_rng(5)
    visits = [Visit(shop, user, CONFIG.start_us, rng) for user in range(2_000)]
    for visit in visits:
        visit.advance(3)
    here = [visit for visit in visits if not visit.ended]
    expected = revenues(shop, standing([visit.state for visit in here]), np.zeros(len(here), np.int64), 50, rng)
    bought = [visit.advance() for visit in here]
    paid = np.array([shop.catalogue.price[rows["item"][rows["event_type"] == EventType.PURCHASE]].sum() for rows in bought])
    error = paid.std() / np.sqrt(len(paid))
    assert abs(paid.mean() - expected.mean()) < 4 * error


def test_money_of_the_shop() -> None:
    prices = Prices(margin_rate=0.4, discount_rate=0.1, signal_costs=(0.0, 0.0, 0.0, 0.5, 2.0, 0.1))
    assert prices.earned(np.array([100.0, 100.0, 0.0]), np.array([0, OFFER, 4])).round(6).tolist() == [40.0, 29.5, -2.0]
