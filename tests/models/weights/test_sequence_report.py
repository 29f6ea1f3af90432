"""Sequences as people read them: intervals that hold the truth as often as they say."""

import json

import numpy as np

from models.schema import EVENT_TYPES, EventType
from models.weights import markov, sequence_report
from models.weights.markov import BUY, Chain

VIEW, CART = int(EventType.ITEM_VIEW), int(EventType.ADD_TO_CART)
P_CART, P_BUY = 0.4, 0.3  # of a view, that a cart follows; of a cart, that a purchase does


def log_of(n: int, rng: np.random.Generator) -> Chain:
    """Sessions that view, maybe put into the cart, maybe buy."""
    types, starts = [], []
    for cart, bought in rng.random((n, 2)) < (P_CART, P_BUY):
        session = [VIEW, *[CART] * int(cart), *[BUY] * int(cart and bought)]
        types += session
        starts += [k == 0 for k in range(len(session))]
    return markov.estimate(np.array(types), np.array(starts))


def test_every_action_and_the_strongest_pairs_are_told_with_bounds_around_them() -> None:
    chain = log_of(8_000, np.random.default_rng(1))
    found = sequence_report.table(chain, 8_000, np.random.default_rng(0), at_most=2)
    assert [row["event_type"] for row in found["actions"]] == list(EVENT_TYPES)
    cart = found["actions"][CART]
    assert 0.9 < cart["low"] < cart["removal_effect"] < cart["high"] < 1
    assert cart["n"] == int(chain.n[CART])
    (pair, *_) = found["pairs"]
    assert (pair["before"], pair["last"]) == ("item_view", "add_to_cart")
    assert pair["low"] < pair["lift"] < pair["high"]
    assert pair["low"] < 1 / P_CART < pair["high"]  # a cart takes a session from 0.4 * 0.3 to 0.3
    assert json.loads(json.dumps(found)) == found


def test_lifts_of_many_chains_are_those_of_each() -> None:
    chains = [log_of(n, np.random.default_rng(n)) for n in (50, 500)]
    found = sequence_report.lifts_of(chains)
    np.testing.assert_allclose(found, np.stack([markov.lifts(one) for one in chains]), rtol=1e-4)


def test_the_same_log_and_seed_give_the_same_bounds_and_a_longer_log_narrower_ones() -> None:
    def width(n: int) -> float:
        table = sequence_report.table(log_of(n, np.random.default_rng(2)), n, np.random.default_rng(0), at_most=1)
        return float(table["pairs"][0]["high"] - table["pairs"][0]["low"])

    assert width(400) == width(400) > 2 * width(6_400)


def test_the_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng, held = np.random.default_rng(3), 0
    for _ in range(60):
        chain = log_of(4_000, rng)
        draws = [markov.p_purchase(sequence_report.drawn(chain, rng))[CART] for _ in range(60)]
        low, high = np.quantile(draws, [0.025, 0.975])
        held += int(low < P_BUY < high)
    assert 52 <= held <= 59
