"""The next item: which prefixes are asked about, and how answers are counted."""

import numpy as np

from models.associations import model as associations
from models.events.encode import EVENT_DTYPE, EventArray
from models.questions import next_item
from models.schema import EventType

RNG = np.random.default_rng(0)


def sessions_of(*items: list[int]) -> tuple[EventArray, np.ndarray]:
    events = np.zeros(sum(map(len, items)), dtype=EVENT_DTYPE)
    events["item"] = [item for session in items for item in session]
    events["occurred_at_us"] = np.arange(len(events)) * 10_000_000
    starts = np.concatenate([[True] + [False] * (len(session) - 1) for session in items])
    return events, starts


def test_a_question_is_a_change_of_item_within_a_session() -> None:
    events, starts = sessions_of([1, 1, 2, -1, 3], [4, 5], [6])
    asked = next_item.questions(events, starts, 10, RNG)
    assert asked.last.tolist() == [1, 2, 5]
    assert asked.target.tolist() == [2, 4, 6]
    assert asked.first.tolist() == [0, 0, 5]


def test_no_more_questions_than_wanted_are_asked() -> None:
    events, starts = sessions_of([1, 2, 3, 4, 5, 6])
    assert len(next_item.questions(events, starts, 3, RNG).last) == 3


def test_a_shop_without_items_asks_nothing() -> None:
    events, starts = sessions_of([-1, -1])
    asked = next_item.questions(events, starts, 3, RNG)
    assert next_item.measures(
        next_item.popularity_ranks(associations.build(events, starts, np.array([], object)), np.array([-1, -1]), asked)
    ) == {"n_questions": 0}


def test_associations_that_always_hold_are_found_and_unknown_items_are_misses() -> None:
    events, starts = sessions_of(*[[0, 1]] * 30, *[[2, 3]] * 30)
    store = associations.build(events, starts, np.array(["a", "b", "c", "d"], object))
    later, later_starts = sessions_of([0, 1], [2, 3], [2, 9])
    codes = np.array([0, 1, 2, 3, 2, -1])
    asked = next_item.questions(later, later_starts, 10, RNG)
    weights = np.ones((3, 15))
    assert next_item.ranks(store, later, codes, asked, weights).tolist() == [1, 1, 0]


def test_the_comparison_says_no_difference_where_there_is_none() -> None:
    same = np.array([1, 2, 0, 4])
    types = np.array([EventType.ITEM_VIEW, EventType.PURCHASE, EventType.ITEM_VIEW, EventType.ITEM_VIEW], dtype=np.int8)
    table = next_item.compare({"dynamic": same, "static": same}, types, np.arange(4), RNG)
    assert table["better"] == "no difference"
    assert table["buying"]["static"] == {"n_questions": 1, "hit_rate_20": 1.0, "mrr_20": 0.5}
