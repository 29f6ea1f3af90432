"""The next item: which prefixes are asked about, and how answers are counted."""

import numpy as np

from models.events.encode import EventArray
from models.questions import next_item
from models.questions.answers import LONGEST
from models.schema import EventType
from tests.builders import event_array, in_a_row

RNG = np.random.default_rng(0)


def sessions_of(*items: list[int]) -> tuple[EventArray, np.ndarray]:
    flat, starts = in_a_row(items)
    return event_array(len(flat), item=flat, occurred_at_us=np.arange(len(flat)) * 10_000_000), starts


def test_a_question_is_a_change_of_item_within_a_session() -> None:
    events, starts = sessions_of([1, 1, 2, -1, 3], [4, 5], [6])
    asked = next_item.questions(events, starts, 10, RNG)
    assert asked.last.tolist() == [1, 2, 5]
    assert asked.target.tolist() == [2, 4, 6]
    assert asked.first.tolist() == [0, 0, 5]


def test_no_more_questions_than_wanted_are_asked() -> None:
    events, starts = sessions_of([1, 2, 3, 4, 5, 6])
    assert len(next_item.questions(events, starts, 3, RNG).last) == 3


def test_what_lies_in_the_cart_or_was_bought_is_not_asked_for() -> None:
    events, starts = sessions_of([1, 2, 1, 3, 2, 4])
    events["event_type"][:3] = [EventType.ADD_TO_CART, EventType.PURCHASE, EventType.REMOVE_FROM_CART]
    asked = next_item.questions(events, starts, 10, RNG)
    # After item 2 comes 1, which lies in the cart, and after 3 comes 2, which was bought.
    assert events["item"][asked.target].tolist() == [2, 3, 4]


def test_a_session_longer_than_a_visitors_is_asked_about_its_beginning() -> None:
    events, starts = sessions_of(list(range(2 * LONGEST)))
    asked = next_item.questions(events, starts, 10**6, RNG)
    assert (asked.first.max(), asked.last.max()) == (0, LONGEST - 1)


def test_a_shop_without_items_asks_nothing() -> None:
    events, starts = sessions_of([-1, -1])
    asked = next_item.questions(events, starts, 3, RNG)
    assert len(asked.last) == 0
    assert next_item.measures(np.zeros(0, dtype=np.int64)) == {"n_questions": 0}


def test_the_comparison_says_no_difference_where_there_is_none() -> None:
    same = np.array([1, 2, 0, 4])
    types = np.array([EventType.ITEM_VIEW, EventType.PURCHASE, EventType.ITEM_VIEW, EventType.ITEM_VIEW], dtype=np.int8)
    table = next_item.compare({"dynamic": same, "static": same}, types, np.arange(4), RNG)
    assert table["better"] == "no difference"
    assert table["buying"]["static"] == {"n_questions": 1, "hit_rate_20": 1.0, "mrr_20": 0.5}
