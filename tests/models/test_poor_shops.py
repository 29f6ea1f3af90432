"""Shops without carts, purchases, categories or with one event type learn what they can and name the rest; odd histories."""

from typing import Any

import numpy as np
import pytest

from models.associations import from_log
from models.events.touches import History, history_of
from models.goal_prior import HEURISTIC_GOALS
from models.inference import examples
from models.inference.examples import Log
from models.item_ranking import Asked
from models.known import Known
from models.live_session import cut
from models.model_set import ModelSet
from models.questions import rest_of_session
from models.questions.later import Later
from models.recommend import Recommendation, Who, recommend
from models.replay import replay
from models.schema import EVENT_TYPES, GOALS, N_INTENTS, N_RECENT_EVENTS, EventType
from models.simulator import ShopConfig, simulate
from models.tuning import goal_fit
from models.tuning.goal_fit import GoalParams
from models.weight_profile import STATIC

LITTLE = GoalParams(at_most=150, n_others=20, l2_slopes=(None,), powers=(0.5,), n_steps=10)
POOR: dict[str, Any] = {
    "no carts": lambda frame: frame[~frame["event_type"].isin(["add_to_cart", "remove_from_cart", "cart_view"])],
    "no purchases": lambda frame: frame[frame["event_type"] != "purchase"],
    "no categories": lambda frame: frame.assign(category=None),
    "one event type": lambda frame: frame[frame["event_type"] == "item_view"],
}


def shop(name: str) -> Log:
    frame = POOR[name](simulate(ShopConfig(n_users=150, n_days=5, n_items=60, n_categories=6, sessions_per_day=0.5)).events)
    frame = frame.reset_index(drop=True)
    return examples.read_log(frame.assign(seq=np.arange(len(frame))))[0]


@pytest.mark.parametrize("name", POOR)
def test_it_learns_what_it_can_and_names_the_rest(name: str) -> None:
    log = shop(name)
    middle_us = int(np.quantile(log.started_us, 0.5))
    store = from_log.built(log.before(middle_us), {})
    missing = {kind for code, kind in enumerate(EVENT_TYPES) if not (log.events["event_type"] == code).any()}
    assert missing <= set(store.untouched())
    later = Later(log.since(middle_us), np.full((len(log.since(middle_us).events), N_INTENTS), 0.25), log)
    models, rng = ModelSet(associations=store), np.random.default_rng(0)
    asked = rest_of_session.prefixes(later.log.events, later.log.starts, 2_000, rng)
    asks = replay(models, later, asked.first, asked.last)
    weights = STATIC._replace(goals=goal_fit.learn(asks, later, asked, LITTLE, rng))
    views = asked.kind == GOALS.index("view")
    wanted = asked.item[views][:, None]
    for goal in GOALS:  # also where nobody ever reached it
        lists = asks.answers(weights, goal=goal)
        assert (lists[:, 0] >= 0).all()
    both = asks.answers(weights), asks.popular()
    learned, popular = ((lists[asked.prefix[views]] == wanted).any(axis=1).mean() for lists in both)
    assert learned > popular


@pytest.fixture(scope="module")
def served() -> tuple[ModelSet, Log]:
    log = shop("no purchases")
    return ModelSet(associations=from_log.built(log, {}), weights=HEURISTIC_GOALS), log


def asked(served: tuple[ModelSet, Log], history: History) -> list[str]:
    return answered(served, Known(history=history)).ranking.item_ids


def answered(served: tuple[ModelSet, Log], known: Known, is_moved: bool = False) -> Recommendation:
    models, log = served
    first = int(np.flatnonzero(log.starts)[-1])
    session = cut(log.events[first : first + 1], log.item_ids, log.categories)._replace(is_moved=is_moved)
    told = recommend(Asked(goal="purchase", limit=100), session, models, known, Who("u", "d"), 0, variant="dynamic")
    assert np.isfinite(told.ranking.scores).all()
    return told


def test_what_had_to_be_done_about_a_history_or_a_clock_is_named(served: tuple[ModelSet, Log]) -> None:
    log, before_us = served[1], int(served[1].started_us[-1]) - 1
    item = log.item_ids[0]
    some = history_of([item], [int(EventType.ITEM_VIEW)], [before_us])
    always = {"intent_by_rules", "filled_with_popular"}

    def named(known: Known, is_moved: bool = False) -> set[str]:
        return set(answered(served, known, is_moved).degraded) - always

    assert named(Known(history=some)) == set()
    most = history_of([item] * N_RECENT_EVENTS, [int(EventType.ITEM_VIEW)] * N_RECENT_EVENTS, [before_us] * N_RECENT_EVENTS)
    assert named(Known(history=most)) == {"history_cut"}
    assert named(Known(history=some), is_moved=True) == {"clock_ahead"}
    gone = np.array([other != item for other in log.item_ids])
    without = Known(history=some, allowed=lambda _: gone)
    assert named(without) == {"items_gone"}
    assert item not in answered(served, without).ranking.item_ids


def test_a_history_above_the_bound_is_taken_as_it_comes(served: tuple[ModelSet, Log]) -> None:
    item, n = served[1].item_ids[0], 3 * N_RECENT_EVENTS
    before_us = int(served[1].started_us[-1]) - 1
    assert item in asked(served, history_of([item] * n, [int(EventType.ADD_TO_CART)] * n, [before_us] * n))


def test_an_item_that_is_gone_comes_back_to_whoever_met_it_until_a_catalogue_says_so(served: tuple[ModelSet, Log]) -> None:
    before_us = int(served[1].started_us[-1]) - 1
    assert "gone" in asked(served, history_of(["gone"], [int(EventType.ADD_TO_CART)], [before_us]))


def test_a_clock_ahead_counts_as_now(served: tuple[ModelSet, Log]) -> None:
    """What comes after the session's beginning is the session's own: it is no history, and breaks nothing."""
    ahead = 2**62
    assert asked(served, history_of(["x"], [int(EventType.ADD_TO_CART)], [ahead])) == asked(served, history_of([], [], []))
