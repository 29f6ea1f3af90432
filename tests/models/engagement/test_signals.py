import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.engagement.signals import Offer, Shelf, SignalThresholds, choose, discount_of
from models.schema import NEXT_ACTIONS, SESSION_FEATURES, SIGNAL_TYPES

DEFAULT = SignalThresholds()
TWO = Offer("two", 5_000, amount_cents=200)
FULL = Shelf(["p1"], ["c1"], ["k1"], [TWO], 5_000)


def session(**values: float) -> np.ndarray:
    features = np.zeros(len(SESSION_FEATURES), dtype=np.float32)
    for name, value in values.items():
        features[SESSION_FEATURES.index(name)] = value
    return features


def next_action(leave: float = 0.0, purchase: float = 0.0) -> np.ndarray:
    p = np.zeros(len(NEXT_ACTIONS))
    p[NEXT_ACTIONS.index("leave")], p[NEXT_ACTIONS.index("purchase")] = leave, purchase
    p[0] = 1 - leave - purchase
    return p


@pytest.mark.parametrize(
    ("engagement", "p_next", "features", "expected"),
    [
        (0.0, next_action(), session(), "no_action"),
        (0.5, next_action(), session(), "recommend_product"),
        (0.2, next_action(), session(n_review_read=1, n_spec_compare=1), "recommend_content"),
        (0.5, next_action(leave=0.7), session(cart_size=1), "offer_discount"),
        (0.2, next_action(leave=0.7), session(cart_size=1), "start_workflow"),
        (0.9, next_action(leave=0.1, purchase=0.8), session(cart_size=1), "recommend_product"),
        (0.5, None, session(cart_size=1), "recommend_product"),
        (0.5, next_action(leave=0.9), session(n_search_refine=4), "proactive_support"),
        (0.5, next_action(leave=0.9), session(n_checkout_view=3, cart_size=1), "proactive_support"),
        (0.5, next_action(), session(n_checkout_view=3, n_purchase=1), "recommend_product"),
    ],
)
def test_first_rule_that_holds_wins(engagement, p_next, features, expected):
    signal = choose(engagement, p_next, features, DEFAULT, FULL)
    assert signal["type"] == expected


def test_payload_names_at_most_the_agreed_number_of_items():
    thresholds = SignalThresholds(max_items=2)
    shelf = Shelf(["a", "b", "c"], cart_ids=["x", "y", "z"], offers=[TWO._replace(terms={"code": "TWO"})], cart_cents=900)
    assert choose(0.5, None, session(), thresholds, shelf)["payload"] == {"item_ids": ["a", "b"]}
    discount = choose(0.5, next_action(leave=0.7), session(cart_size=3), thresholds, shelf)
    expected = {"reason": "cart_at_risk", "offer_id": "two", "amount": 2.0, "code": "TWO", "cart_item_ids": ["x", "y"]}
    assert discount["payload"] == expected


def test_payload_tells_what_the_catalogue_knows():
    shelf = Shelf(["a", "b"], details={"a": {"title": "Anvil", "price": 9.5}})
    payload = choose(0.5, None, session(), DEFAULT, shelf)["payload"]
    assert payload == {"item_ids": ["a", "b"], "items": [{"item_id": "a", "title": "Anvil", "price": 9.5}, {"item_id": "b"}]}


def test_nothing_to_recommend_means_no_action():
    assert choose(0.9, None, session(n_review_read=5), DEFAULT, Shelf()) == {"type": "no_action", "payload": {}}


def test_without_an_offer_that_can_be_paid_a_cart_is_reminded_of():
    shelf = Shelf(cart_ids=["k1"], offers=[TWO._replace(left_cents=199)], cart_cents=5_000)
    signal = choose(0.5, next_action(leave=0.7), session(cart_size=1), DEFAULT, shelf)
    fields = {"cart_item_ids": ["k1"], "n_items": 1, "cart_value": 50.0}
    assert signal == {"type": "start_workflow", "payload": {"workflow": "cart_reminder", "fields": fields}}


def test_partner_thresholds_decide():
    assert choose(0.5, None, session(), SignalThresholds(min_score_product=0.6), FULL)["type"] == "no_action"
    stuck = session(n_search_refine=4)
    assert choose(0.5, None, stuck, SignalThresholds(min_score_support=0.6), FULL)["type"] == "recommend_product"


def test_a_signal_that_is_not_allowed_makes_room_for_the_next_rule():
    leaving = (0.5, next_action(leave=0.7), session(cart_size=1), DEFAULT, FULL)
    assert choose(*leaving, allowed=["start_workflow", "recommend_product"])["type"] == "start_workflow"
    assert choose(*leaving, allowed=["recommend_product"])["type"] == "recommend_product"
    assert choose(*leaving, allowed=[])["type"] == "no_action"


@pytest.mark.parametrize(
    ("offer", "cents"),
    [
        (Offer("o", 5_050, percent=10.0), 505),
        (Offer("o", 5_050, percent=10.0, left_cents=504), None),
        (Offer("o", 500, amount_cents=700), 500),  # a cart never costs less than nothing
        (Offer("o", None, amount_cents=700), 700),
        (Offer("o", 0, amount_cents=700), None),  # holds for nothing in the cart
        (Offer("o", 5_000), None),  # nothing is granted
        (Offer("o", 5_000, percent=0.0), None),
    ],
)
def test_what_an_offer_comes_to(offer, cents):
    found = discount_of([offer])
    assert (None if found is None else found.cents) == cents


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 5), st.integers(0, 5))
def test_signal_is_always_a_known_one(engagement, leave, cart, refines):
    features = session(cart_size=cart, n_search_refine=refines)
    assert choose(engagement, next_action(leave), features, DEFAULT, FULL)["type"] in SIGNAL_TYPES


@given(st.integers(0, 10_000), st.integers(0, 1_000), st.floats(0, 100) | st.none(), st.integers(0, 5_000))
def test_a_discount_is_within_budget_and_cart(base, left, percent, amount):
    found = discount_of([Offer("o", base, percent, amount, left)])
    assert found is None or 0 < found.cents <= min(left, base)


@pytest.mark.parametrize("bad", [{"min_p_leave": 1.5}, {"min_score_product": float("nan")}, {"max_items": 0}])
def test_thresholds_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="out of range"):
        SignalThresholds(**bad)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="engagement"):
        choose(1.1, None, session(), DEFAULT, FULL)
    with pytest.raises(ValueError, match="shape"):
        choose(0.5, np.zeros(2), session(), DEFAULT, FULL)
