"""Events without an item speak for those that they are about."""

import numpy as np
import pytest

from models.associations import from_log, indirect
from models.associations.model import AssociationStore
from models.events.encode import EventArray
from models.events.rules import event_problem
from models.inference.examples import Log
from models.item_ranking import Asked, inquire
from models.known import NOTHING_KNOWN
from models.live_session import cut
from models.model_set import ModelSet
from models.questions.later import Later
from models.replay import replay
from models.schema import EVENT_TYPES, ITEM_EVENT_TYPES, N_INTENTS, EventType
from models.weight_profile import STATIC
from tests.builders import encoded

A, B, C, D = range(4)
IDS = ["a", "b", "c", "d"]


def of(*events: tuple[str, int]) -> EventArray:
    return encoded([kind for kind, _ in events], [item for _, item in events])


def about(*events: tuple[str, int]) -> list[int]:
    starts = np.arange(len(events)) == 0
    items: list[int] = indirect.touched(of(*events), starts).events["item"].tolist()
    return items


def test_no_item_can_go_by_the_name_of_a_category() -> None:
    posing = {
        "event_id": "e",
        "user_id": "u",
        "type": "item_view",
        "item_id": indirect.anchor_of("c"),
        "ts": "2026-01-01T00:00:00Z",
    }
    problem = event_problem(posing, 2_000_000_000_000_000)
    assert problem is not None
    assert problem.pointer == "/item_id"
    assert indirect.shown(indirect.anchor_of("c")) == "c"


@pytest.mark.parametrize("kind", ["cart_view", "checkout_view"])
def test_a_view_of_the_cart_speaks_for_what_lies_in_it(kind: str) -> None:
    bought = ("add_to_cart", A), ("add_to_cart", B), ("add_to_cart", C), ("purchase", B), ("remove_from_cart", A)
    assert about(*bought, ("add_to_cart", D), (kind, -1)) == [A, B, C, B, A, D, C, D]
    assert about(("item_view", A), (kind, -1)) == [A, -1]
    assert about(("add_to_cart", A), (kind, B)) == [A, B]


def test_a_cart_is_of_its_session_and_no_larger_than_its_bound() -> None:
    many = [("add_to_cart", k) for k in range(indirect.MOST_IN_CART + 2)]
    assert about(*many, ("cart_view", -1))[len(many) :] == [*range(2, len(many))]
    two = of(("add_to_cart", A), ("cart_view", -1), ("cart_view", -1))
    found = indirect.touched(two, np.array([True, False, True]))
    assert (found.events["item"].tolist(), found.starts.tolist()) == ([A, A, -1], [True, False, True])


@pytest.mark.parametrize("kind", ["search", "search_refine", "content_view"])
def test_a_search_is_done_at_the_item_in_hand_or_before_the_first(kind: str) -> None:
    assert about((kind, -1), ("item_view", A), (kind, -1), ("item_view", B)) == [A, A, A, B]
    assert about((kind, -1)) == [-1]


def test_what_does_not_count_speaks_for_nothing() -> None:
    found = indirect.touched(of(("add_to_cart", A), ("cart_view", -1), ("search", -1)), np.arange(3) == 0, np.arange(3) < 1)
    assert found.events["item"].tolist() == [A, -1, -1]


def names_item(kind: str) -> bool:
    return EventType[kind.upper()] in ITEM_EVENT_TYPES | {EventType.SPEC_COMPARE}


def browsing() -> EventArray:
    events = of(("category_browse", -1), ("item_view", A), ("category_browse", -1), ("search", -1), ("item_view", B))
    events["category"] = [1, 0, 5, -1, 0]
    return events


def test_a_browsed_category_has_a_code_of_its_own_where_its_name_is_known() -> None:
    events, ids = indirect.with_categories(browsing(), IDS, ["hats", "shoes"])
    assert events["item"].tolist() == [4, A, -1, -1, B]
    assert [indirect.shown(item) for item in ids] == [*IDS, "shoes"]
    assert indirect.touched(events, np.arange(5) == 0).events["item"].tolist() == [4, A, -1, A, B]


@pytest.fixture(scope="module")
def shop() -> tuple[AssociationStore, Log]:
    """Twenty visitors who do one thing after each of a to c: whatever it was leads to d."""
    rng = np.random.default_rng(0)
    kinds, items, n = [], [], 300
    for _ in range(n):
        more = [str(kind) for kind in rng.permutation([name for name in EVENT_TYPES if name != "purchase"])[:4]]
        here = rng.permutation(12)[:4].tolist()
        named = [names_item(kind) for kind in more]
        kinds += ["add_to_cart", *more, "item_view", "purchase"]
        items += [here[0], *(here[1] if one else -1 for one in named), here[2], here[3]]
    events = encoded(kinds, items)
    events["category"] = np.where(events["event_type"] == EventType.CATEGORY_BROWSE, 0, np.maximum(events["item"], 0) % 3)
    starts = np.arange(len(events)) % 7 == 0
    events["occurred_at_us"] += (np.cumsum(starts) - 1) * 86_400_000_000
    users = np.cumsum(starts) - 1
    begins = events["occurred_at_us"][starts][users]
    log = Log(events, starts, begins, users, [f"i{k}" for k in range(12)], None, ["hats", "shoes", "socks"])
    return from_log.built(log, {"min_llr": 0.0}), log


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_every_type_of_event_changes_what_a_session_is_answered(shop: tuple[AssociationStore, Log], kind: str) -> None:
    store, log = shop

    def scores(*events: tuple[str, int]) -> dict[int, float]:
        session = of(*events)
        session["category"] = 1
        query = inquire(Asked(), cut(session, log.item_ids, log.categories), store, NOTHING_KNOWN, []).query
        ranked = store.recommend(*query[:3], STATIC.base, 12)
        return dict(zip(ranked.items.tolist(), ranked.scores.tolist(), strict=True))

    before = ("add_to_cart", 1), ("item_view", 2)
    assert scores(*before) != scores(*before, (kind, 2 if names_item(kind) else -1))


def test_the_log_is_asked_as_a_request_is(shop: tuple[AssociationStore, Log]) -> None:
    store, log = shop
    first, last = np.array([0]), np.array([5])
    later = Later(log, np.full((len(log.events), N_INTENTS), 0.25))
    moment = replay(ModelSet(associations=store), later, first, last).moments[0]
    whole = indirect.touched(*indirect.with_categories(log.events[:6], log.item_ids, log.categories)[:1], log.starts[:6])
    assert moment.inquiry.query.types.tolist() == whole.events["event_type"].tolist()


def test_what_touches_nothing_in_a_shop_is_named(shop: tuple[AssociationStore, Log]) -> None:
    _, log = shop
    views = log._replace(events=np.where(log.events["event_type"] == EventType.SEARCH, log.events, log.events))
    views.events["event_type"][views.events["event_type"] != EventType.SEARCH] = EventType.ITEM_VIEW
    store = from_log.built(views, {})
    named = store.untouched()
    assert shop[0].beside({"web": store}).untouched_by_shop() == {"web": named}
    assert named == [name for name in EVENT_TYPES if name not in ("item_view", "search")]


def test_nothing_leads_to_a_category_or_to_a_search(shop: tuple[AssociationStore, Log]) -> None:
    store, _ = shop
    assert not set((store.index.types & 15).tolist()) & set(indirect.SOURCE_ONLY)
    assert set((store.index.types >> 4).tolist()) == set(range(len(EVENT_TYPES)))
    assert store.popular(100).items.max() < 12
    assert store.untouched() == []
    assert store.categories.item.max() < 12
