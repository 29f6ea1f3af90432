"""Associations under goal weights: what speaks for an item adds up to its score, and the reasons say what it was."""

import numpy as np
import pytest

from models.associations import goals
from models.associations import model as associations
from models.associations.goal_query import MOST_GUESTS, Past
from models.associations.goals import Told
from models.associations.model import AssociationParams, AssociationStore
from models.goal_weights import N_DECAYS, Scale
from models.schema import N_EVENT_TYPES, EventType
from tests.builders import encoded

VIEW, ADD = int(EventType.ITEM_VIEW), int(EventType.ADD_TO_CART)
ONES = np.ones(N_EVENT_TYPES)


@pytest.fixture(scope="module")
def store() -> AssociationStore:
    """Ten sessions a-b and ten c-d; a, b and c are of one category, d is of another."""
    events = encoded(["item_view"] * 40, [0, 1] * 10 + [2, 3] * 10)
    events["category"] = np.where(events["item"] == 3, 1, 0)
    ids = np.array(["a", "b", "c", "d"], dtype=object)
    return associations.build(events, np.arange(40) % 2 == 0, ids, AssociationParams(min_llr=0.0), ("shoes", "hats"))


def scale(pairs: float = 0.0, own: float = 0.0, popular: float = 0.0) -> Scale:
    table = np.full((3, N_EVENT_TYPES, N_EVENT_TYPES), pairs)
    return Scale(table, np.full((N_EVENT_TYPES, 2, N_DECAYS), own), np.array([popular]), ONES)


def told(*items: int, past: tuple[int, ...] = (), n_guests: int = 0) -> Told:
    n, m = len(items), len(past)
    before = Past(np.array(past, np.int64), np.full(m, ADD, np.int8), np.full(m, 86_400.0))
    return Told(np.array(items, np.int64), np.full(n, VIEW, np.int8), np.zeros(n), before, n_guests)


def test_what_speaks_for_an_item_adds_up_to_its_score(store: AssociationStore) -> None:
    rng = np.random.default_rng(0)
    table = rng.gamma(1.0, size=(3, N_EVENT_TYPES, N_EVENT_TYPES))
    weights = Scale(table, rng.gamma(1.0, size=(N_EVENT_TYPES, 2, N_DECAYS)), np.array([0.7]), ONES)
    asked, exclude = told(0, 2, 1, 0, 4, past=(3, 1, 3), n_guests=1), np.array([0])
    found = goals.evidence(store, asked, exclude)
    scores = np.bincount(found.place, weights=found.amount * goals.weights_of(weights)[found.kind])
    ranked = goals.recommend(store, asked, weights, ONES, 10, exclude)
    assert sorted(ranked.items.tolist()) == sorted(found.items.tolist()) == [1, 2, 3, 4]
    by_item = dict(zip(ranked.items.tolist(), ranked.scores.tolist(), strict=True))
    assert dict(zip(found.items.tolist(), scores.tolist(), strict=True)) == pytest.approx(by_item)


def test_own_items_come_back_newest_first_and_those_of_before_after_them(store: AssociationStore) -> None:
    ranked = goals.recommend(store, told(0, 1, 2, past=(3,)), scale(own=1.0), ONES, 4, np.array([2]))
    assert ranked.items[: ranked.n_associated].tolist() == [1, 0, 3]


@pytest.mark.parametrize(("item", "anchor"), [(4, "new"), (-1, "hats")])
def test_an_event_speaks_for_what_is_popular_in_the_category_that_it_names(
    store: AssociationStore, item: int, anchor: str
) -> None:
    asked = told(item, n_guests=1)._replace(named=store.category_codes(["hats"])[:1])
    weights = scale(popular=1.0)
    ranked = goals.recommend(store, asked, weights, ONES, 4, np.array([4]))
    assert ranked.items[: ranked.n_associated].tolist() == [3]
    (reason,) = goals.explain(store, ranked, asked, weights, np.array([4]), ["new"])[0]
    assert (reason["item_id"], reason["via"], reason["share"]) == (anchor, "category", 1.0)


def test_a_category_that_the_build_did_not_know_says_nothing(store: AssociationStore) -> None:
    asked = told(-1)._replace(named=store.category_codes(["socks"])[:1])
    assert goals.recommend(store, asked, scale(popular=1.0), ONES, 4).n_associated == 0


def test_the_names_of_the_categories_are_kept(store: AssociationStore) -> None:
    assert associations.from_parts(associations.to_parts(store)).category_codes(["hats", "socks"]).tolist() == [1, -1, -1]


def test_a_guest_may_come_back_as_long_as_all_items_may(store: AssociationStore) -> None:
    asked = told(4, 0, n_guests=1)
    assert goals.recommend(store, asked, scale(own=1.0), ONES, 1, np.array([0])).items.tolist() == [4]
    open_to = np.ones(4, np.bool_)
    assert 4 not in goals.recommend(store, asked, scale(own=1.0), ONES, 9, np.array([0]), open_to).items


def test_most_guests_have_room(store: AssociationStore) -> None:
    asked = told(*range(4, 4 + MOST_GUESTS), n_guests=MOST_GUESTS)
    assert goals.recommend(store, asked, scale(own=1.0), ONES, 100).n_associated == MOST_GUESTS


def test_the_class_tells_what_was_met_from_the_category_and_from_another(store: AssociationStore) -> None:
    def kinds(asked: Told) -> set[int]:
        found = goals.evidence(store, asked)
        return {
            int(kind) // N_EVENT_TYPES**2 for kind, item in zip(found.kind, found.items[found.place], strict=True) if item == 1
        }

    assert kinds(told(0)) >= {1}
    assert kinds(told(1, 0)) >= {0}
    assert 1 not in kinds(told(1, 0))


def test_what_is_popular_in_the_sessions_category_is_shown_and_no_other(store: AssociationStore) -> None:
    ranked = goals.recommend(store, told(0), scale(popular=1.0), ONES, 4, np.array([0]))
    assert sorted(ranked.items[: ranked.n_associated].tolist()) == [1, 2]


def test_reasons_name_history_category_and_class_and_their_shares_sum_to_one(store: AssociationStore) -> None:
    asked, weights = told(0, past=(1,)), scale(1.0, 1.0, 1.0)
    ranked = goals.recommend(store, asked, weights, ONES, 3, np.array([0]))
    because = goals.explain(store, ranked, asked, weights, np.array([0]))
    reasons = {(one["via"], one["relation"]) for one in because[ranked.items.tolist().index(1)]}
    assert reasons == {("session", "met"), ("history", "met"), ("category", "same_category")}
    assert sum(one["share"] for one in because[ranked.items.tolist().index(1)]) == pytest.approx(1.0)
    assert because[ranked.items.tolist().index(3)] == []


def test_a_store_read_from_a_file_knows_the_same_categories(store: AssociationStore) -> None:
    again = associations.from_parts(associations.to_parts(store))
    np.testing.assert_array_equal(again.categories.item, store.categories.item)
    np.testing.assert_array_equal(again.categories.share, store.categories.share)
