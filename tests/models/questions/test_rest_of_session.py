import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.events.encode import NO_CODE
from models.questions import rest_of_session
from models.questions.rest_of_session import Prefixes
from models.schema import N_EVENT_TYPES, EventType
from tests.builders import NO_EVENTS, NO_STARTS, event_array, sessions_of
from tests.strategies import lists_of, typed

VIEW, CART, BUY, SEARCH = EventType.ITEM_VIEW, EventType.ADD_TO_CART, EventType.PURCHASE, EventType.SEARCH
REMOVE = EventType.REMOVE_FROM_CART


def targets_of(asked):
    return sorted(zip(asked.last[asked.prefix].tolist(), asked.kind.tolist(), asked.item.tolist(), strict=True))


def test_targets_are_the_other_items_of_the_rest_of_the_same_session_once_per_kind():
    events, starts = sessions_of([(VIEW, 1), (VIEW, 2), (CART, 2), (VIEW, 2), (BUY, 1)], [(VIEW, 3)])
    asked = rest_of_session.prefixes(events, starts, 100, np.random.default_rng(0))
    # Item 1 is in hand first; after the views of item 2 only the purchase of item 1 is about another item.
    assert targets_of(asked) == [(0, 0, 2), (0, 1, 2), (1, 2, 1), (2, 2, 1), (3, 2, 1)]


def test_search_before_any_item_is_no_question():
    events, starts = sessions_of([(SEARCH, NO_CODE), (VIEW, 1), (SEARCH, NO_CODE), (VIEW, 2)])
    asked = rest_of_session.prefixes(events, starts, 100, np.random.default_rng(0))
    assert (asked.last.tolist(), asked.at_hand.tolist()) == ([1, 2], [1, 1])


def test_empty_log_asks_nothing():
    asked = rest_of_session.prefixes(NO_EVENTS, NO_STARTS, 5, np.random.default_rng(0))
    assert len(asked.last) == len(asked.item) == 0


def test_met_before_tells_items_of_the_prefix_from_new_ones():
    events, starts = sessions_of([(VIEW, 1), (VIEW, 2), (VIEW, 1), (VIEW, 4)])
    asked = rest_of_session.prefixes(events, starts, 100, np.random.default_rng(0))
    met = rest_of_session.met_before(asked, events["item"])
    assert dict(zip(targets_of(asked), met.tolist(), strict=True)) == {
        (0, 0, 2): False, (0, 0, 4): False, (1, 0, 1): True, (1, 0, 4): False, (2, 0, 4): False,
    }  # fmt: skip


def test_measures_by_hand():
    one = np.zeros(2, dtype=np.int64)
    asked = Prefixes(one, one, one, np.array([0, 0, 1]), np.zeros(3, dtype=np.int64), np.array([5, 6, 7]))
    rows, values = rest_of_session.measures(np.array([1, 3, 0]), asked, 0)
    gained, ideal = 1 + 1 / np.log2(4), 1 + 1 / np.log2(3)
    assert rows.tolist() == [0, 1]
    np.testing.assert_allclose(values, [[1.0, 1.0, gained / ideal], [0.0, 0.0, 0.0]])


@given(lists_of(typed(range(N_EVENT_TYPES), st.integers(NO_CODE, 4)), most=6, most_sessions=4, least=1))
def test_every_target_lies_in_the_rest_and_never_is_the_item_in_hand(sessions):
    events, starts = sessions_of(*sessions)
    asked = rest_of_session.prefixes(events, starts, 1000, np.random.default_rng(0))
    ends = np.append(np.flatnonzero(starts)[1:], len(events))[np.cumsum(starts) - 1]
    for prefix, item in zip(asked.prefix, asked.item, strict=True):
        last = asked.last[prefix]
        assert item != asked.at_hand[prefix]
        assert item in events["item"][last + 1 : ends[last]]
        assert starts[asked.first[prefix]]
    assert set(asked.prefix.tolist()) == set(range(len(asked.last)))


def test_what_lies_in_the_cart_or_was_bought_is_not_wanted():
    events, starts = sessions_of([(CART, 1), (VIEW, 2), (BUY, 1), (VIEW, 1), (REMOVE, 1), (VIEW, 2), (VIEW, 1)])
    asked = rest_of_session.prefixes(events, starts, 100, np.random.default_rng(0))
    assert targets_of(asked) == [(0, 0, 2), (2, 0, 2), (3, 0, 2), (4, 0, 2)]


def test_a_machines_session_of_thousands_wants_a_few_after_each_event():
    """Without a limit the pairs would grow with the square of its length: 12 million here."""
    events = event_array(5000, item=np.arange(5000))
    asked = rest_of_session.prefixes(events, np.arange(5000) == 0, 10_000, np.random.default_rng(0))
    assert np.bincount(asked.prefix).max() == rest_of_session.LONGEST_REST
    np.testing.assert_array_equal(asked.item[asked.prefix == 7], 8 + np.arange(rest_of_session.LONGEST_REST))
