"""The simulated shop: same seed same shop, events that any partner could have sent, and causes that can be found again."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.events.rules import event_problem, frame_problems
from models.schema import EVENT_COLUMNS, EVENT_TYPES, INTENTS, ITEM_EVENT_TYPES, SESSION_IDLE_S, SIGNAL_TYPES, EventType, Intent
from models.simulator import (
    Causes,
    ShopConfig,
    Simulation,
    Visit,
    effective_causes,
    ending_at,
    open_shop,
    p_click,
    p_next_item,
    p_purchase_with_signal,
    respond,
    simulate,
    to_public,
)

SMALL = ShopConfig(n_users=400, n_days=3, seed=11)
HALF_DISCOUNTS = tuple({"no_action": 0.5, "offer_discount": 0.5}.get(name, 0.0) for name in SIGNAL_TYPES)


@pytest.fixture(scope="module")
def small() -> Simulation:
    return simulate(SMALL)


@pytest.fixture(scope="module")
def large() -> Simulation:
    return simulate(ShopConfig(n_users=4000, n_days=7, seed=3))


def sessions(shop: Simulation) -> pd.DataFrame:
    """One row per session: whether it bought, its length, the intent and signal of its last event."""
    together = shop.events.assign(
        intent=shop.truth["intent"], signal=shop.truth["signal"], bought=shop.events["event_type"] == "purchase"
    )
    by = together.groupby("session_id", sort=False)
    return by.agg(bought=("bought", "any"), n=("bought", "size"), intent=("intent", "first"), signal=("signal", "last"))


def test_same_seed_gives_the_same_shop_and_another_seed_another(small: Simulation) -> None:
    again, other = simulate(SMALL), simulate(replace(SMALL, seed=12))
    pd.testing.assert_frame_equal(small.events, again.events)
    pd.testing.assert_frame_equal(small.truth, again.truth)
    assert not set(small.events["event_id"]) & set(other.events["event_id"])
    assert set(other.events["item_id"].dropna()) & set(small.events["item_id"].dropna())


def test_two_seeds_are_two_samples_of_one_catalogue() -> None:
    prices = [
        simulate(replace(SMALL, seed=seed)).events.query("event_type == 'item_view'").groupby("item_id")["price"].first()
        for seed in (1, 2)
    ]
    both = pd.concat(prices, axis=1, join="inner")
    assert len(both) > 50
    assert (both.iloc[:, 0] == both.iloc[:, 1]).all()


def test_events_are_valid_in_time_order_and_inside_the_period(small: Simulation) -> None:
    events = small.events
    assert tuple(events.columns) == EVENT_COLUMNS
    assert set(frame_problems(events, SMALL.end_us)) == {None}
    assert events["event_id"].is_unique
    assert events["occurred_at_us"].is_monotonic_increasing
    assert events["occurred_at_us"].between(SMALL.start_us, SMALL.end_us - 1).all()
    assert (events["occurred_at_us"] % 1000 == 0).all()
    assert events["user_id"].nunique() > 0.95 * SMALL.n_users


def test_public_form_is_what_the_events_door_accepts(small: Simulation) -> None:
    public = list(to_public(small.events.head(500), small.timezones[:500]))
    assert [event_problem(event, SMALL.end_us) for event in public] == [None] * 500
    assert all(None not in event.values() for event in public)
    assert {tuple(event["context"]) for event in public} == {("device", "timezone", "referrer")}


def test_truth_stands_beside_each_event(small: Simulation) -> None:
    assert small.truth["event_id"].equals(small.events["event_id"])
    assert set(small.truth["intent"]) == set(INTENTS)
    assert set(small.truth["signal"]) == {"no_action"}
    assert small.truth["p_purchase"].between(0, 1).all()


def test_a_session_is_one_visit_of_one_visitor_without_an_idle_half_hour(small: Simulation) -> None:
    by = small.events.groupby("session_id")
    assert by["user_id"].nunique().max() == 1
    assert by["device"].nunique().max() == 1
    assert by["occurred_at_us"].diff().max() < SESSION_IDLE_S * 1_000_000
    ordered = small.events.sort_values(["user_id", "occurred_at_us"], kind="stable")
    changes = (ordered["session_id"] != ordered["session_id"].shift()) | (ordered["user_id"] != ordered["user_id"].shift())
    assert changes.sum() == ordered["session_id"].nunique(), "sessions of a visitor overlap"


def test_measures_stand_only_where_they_are_measured(small: Simulation) -> None:
    events = small.events
    about_item = events["event_type"].isin([EVENT_TYPES[t] for t in ITEM_EVENT_TYPES])
    assert events.loc[about_item, "item_id"].notna().all()
    assert events.loc[events["query_length"].notna(), "event_type"].isin(["search", "search_refine"]).all()
    assert events.loc[events["zoom_level"].notna(), "event_type"].eq("item_engagement").all()
    assert events.loc[events["cursor_distance_px"].notna(), "device"].eq("desktop").all()
    assert set(EVENT_TYPES) <= set(simulate(replace(SMALL, n_users=1500)).events["event_type"])


def test_a_purchase_follows_a_checkout_and_was_put_in_the_cart(large: Simulation) -> None:
    events = large.events.sort_values(["session_id", "occurred_at_us"], kind="stable")
    before = events.groupby("session_id")["event_type"].shift()
    assert set(before[events["event_type"] == "purchase"]) == {"checkout_view", "purchase"}
    kinds = {kind: set(zip(rows["session_id"], rows["item_id"], strict=True)) for kind, rows in events.groupby("event_type")}
    assert kinds["purchase"] <= kinds["add_to_cart"]


def test_shares_and_lengths_are_those_of_a_shop(large: Simulation) -> None:
    table = sessions(large)
    assert 0.03 < table["bought"].mean() < 0.08
    assert 8 < table["n"].mean() < 12.5
    assert table["n"].quantile(0.99) > 4 * table["n"].mean()
    share = table["intent"].value_counts(normalize=True)
    expected = dict(zip(INTENTS, ShopConfig().p_intent, strict=True))
    assert share.to_dict() == pytest.approx(expected, abs=0.04)
    bought = table.groupby("intent")["bought"].mean()
    assert bought["intent_to_purchase"] > 2 * bought["exploratory"]


def test_intent_may_change_inside_a_session(large: Simulation) -> None:
    n_intents = large.truth.groupby(large.events["session_id"])["intent"].nunique()
    assert 0.05 < (n_intents > 1).mean() < 0.35


def test_stated_purchase_probabilities_are_calibrated(large: Simulation) -> None:
    undecided = large.truth[large.truth["p_purchase"] < 1]
    expected = undecided["p_purchase"].sum()
    decided = sessions(large)["bought"].sum()
    spread = np.sqrt((undecided["p_purchase"] * (1 - undecided["p_purchase"])).sum())
    assert abs(decided - expected) < 4 * spread + 0.03 * expected  # a few visits are cut, or buy twice


@pytest.mark.parametrize("has_effect", [True, False])
def test_a_randomised_trial_finds_the_effect_of_discounts_or_none(has_effect: bool) -> None:
    causes = Causes(signal=tuple((1.2 * (name == "offer_discount"),) * 4 for name in SIGNAL_TYPES))
    shop = simulate(
        ShopConfig(n_users=3000, n_days=10, seed=5, p_signals=HALF_DISCOUNTS, causes=causes, discount_has_effect=has_effect)
    )
    table = sessions(shop).query("n > 3")
    treated, control = table[table["signal"] == "offer_discount"]["bought"], table[table["signal"] == "no_action"]["bought"]
    uplift = treated.mean() - control.mean()
    error = np.sqrt(treated.var() / len(treated) + control.var() / len(control))
    if has_effect:
        assert uplift > 4 * error
    else:
        assert abs(uplift) < 3 * error


def test_signal_effect_is_recovered_as_the_stated_log_odds() -> None:
    n = 200_000
    p = p_purchase_with_signal(0.05, Intent.COMPARATIVE, SIGNAL_TYPES.index("recommend_product"), Causes())
    rate = respond(np.full(n, p), np.random.default_rng(1)).mean()
    found = np.log(rate / (1 - rate)) - np.log(0.05 / 0.95)
    assert found == pytest.approx(Causes().signal[SIGNAL_TYPES.index("recommend_product")][Intent.COMPARATIVE], abs=0.05)


def test_discounts_work_by_price_sensitivity() -> None:
    p = p_purchase_with_signal(0.05, Intent.COMPARATIVE, SIGNAL_TYPES.index("offer_discount"), Causes(), [0.0, 1.0, 2.0])
    assert p[0] == pytest.approx(0.05)
    assert p[0] < p[1] < p[2]


def test_without_influence_intents_share_causes_and_associations() -> None:
    config = ShopConfig(intent_has_influence=False)
    causes = effective_causes(config)
    assert len(set(causes.intent)) == 1
    assert all(len(set(row)) == 1 for row in causes.signal)
    items = open_shop(config, np.random.default_rng(0)).catalogue
    favourites = np.array([0, 1, 2])
    same = [p_next_item(config, items, 5, intent, favourites) for intent in range(len(INTENTS))]
    np.testing.assert_allclose(same, np.tile(same[0], (len(INTENTS), 1)))


def test_comparers_see_substitutes_and_buyers_complements() -> None:
    config = ShopConfig()
    items = open_shop(config, np.random.default_rng(0)).catalogue
    chances = np.array([p_next_item(config, items, 5, intent, np.array([0, 1, 2])) for intent in range(len(INTENTS))])
    assert chances[:, items.substitutes[5]].sum(axis=1).argmax() == Intent.COMPARATIVE
    assert chances[:, items.complements[5]].sum(axis=1).argmax() == Intent.INTENT_TO_PURCHASE
    assert (items.category[items.substitutes] == items.category[:, None]).all()
    assert (items.category[items.complements] != items.category[:, None]).all()
    assert (items.substitutes != np.arange(config.n_items)[:, None]).all()


def test_a_live_visit_is_the_same_walk_and_heeds_a_signal() -> None:
    rng = np.random.default_rng(9)
    shop = open_shop(SMALL, rng)
    visit = Visit(shop, user=3, at_us=SMALL.start_us, rng=rng)
    seen = visit.advance(2)
    assert len(seen) == 2 or visit.ended
    visit.send("recommend_product", item=17)
    rest = visit.advance()
    assert visit.ended
    assert (rest["signal"] == SIGNAL_TYPES.index("recommend_product")).all()
    events = visit.event_array(np.concatenate([seen, rest]))
    assert (np.diff(events["occurred_at_us"]) > 0).all()
    assert events["event_type"].max() < len(EVENT_TYPES)
    with pytest.raises(ValueError, match="signal must be one of"):
        visit.send("shout")


def test_live_visits_convert_like_the_simulation(large: Simulation) -> None:
    rng = np.random.default_rng(4)
    shop = open_shop(ShopConfig(n_users=2000), rng)
    bought = 0
    for user in range(2000):
        visit = Visit(shop, user=user, at_us=0, rng=rng)
        visit.advance()
        bought += visit.n_purchases > 0
    expected = sessions(large)["bought"].mean()
    assert bought / 2000 == pytest.approx(expected, abs=0.02)


def test_the_period_can_end_now() -> None:
    now_us = 1_790_000_000_123_456
    shop = simulate(ending_at(replace(SMALL, n_users=50), now_us))
    assert shop.events["occurred_at_us"].max() < now_us


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_users": 0}, "n_users must be at least 1, got 0"),
        ({"n_days": 0}, "n_days must be at least 1"),
        ({"n_items": 10}, "n_items must be at least twice"),
        ({"p_intent": (0.5, 0.5, 0.5, 0.5)}, "p_intent must be 4 probabilities"),
        ({"p_switch": 1.5}, "p_switch must be from 0 to 1, got 1.5"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_impossible_shops_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShopConfig(**wrong)


def test_impossible_codes_are_refused() -> None:
    with pytest.raises(ValueError, match="signal codes must be in 0 to 5, got 6 to 6"):
        p_purchase_with_signal(0.1, 0, 6, Causes())


def test_a_list_that_suits_the_intent_is_clicked_more_than_one_that_does_not() -> None:
    config = ShopConfig()
    items = open_shop(config, np.random.default_rng(0)).catalogue
    p_next = p_next_item(config, items, 5, Intent.COMPARATIVE, np.array([0, 1, 2]))
    substitutes, complements = np.unique(items.substitutes[5]), np.unique(items.complements[5])
    assert p_click(p_next, substitutes).sum() > 3 * p_click(p_next, complements).sum()
    with pytest.raises(ValueError, match="shown twice"):
        p_click(p_next, np.array([1, 1]))


def test_a_shop_of_one_visitor_for_one_day_works() -> None:
    shop = simulate(ShopConfig(n_users=1, n_days=1, n_items=2, n_categories=1))
    assert len(shop.events) == len(shop.truth) > 0
    assert shop.events["event_type"].isin([t.name.lower() for t in EventType]).all()
