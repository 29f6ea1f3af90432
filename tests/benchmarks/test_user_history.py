import numpy as np

from benchmarks import user_history
from benchmarks.user_history import COLUMNS
from models.schema import EventType
from tests.builders import NO_EVENTS, event_array

VIEW, CART, BUY = EventType.ITEM_VIEW, EventType.ADD_TO_CART, EventType.PURCHASE


def folded(rows):
    """Rows of (user, session, second, type, item)."""
    user, session, at_s, kind, item = map(np.array, zip(*rows, strict=True))
    events = event_array(len(rows), occurred_at_us=at_s * 1_000_000, event_type=kind, item=item)
    table = user_history.fold(events, session, user)
    return {name: table[:, k].tolist() for k, name in enumerate(COLUMNS)}


ROWS = [(0, 0, 0, VIEW, 5), (0, 0, 10, CART, 5), (1, 1, 20, VIEW, 5), (0, 2, 100, VIEW, 5), (0, 2, 130, BUY, 5)]


def test_what_lay_in_the_cart_in_an_earlier_visit_is_remembered_per_user():
    found = folded(ROWS)
    assert found["item_carts_earlier"] == [0, 0, 0, 1, 1]
    assert found["n_touches_carted_earlier"] == [0, 0, 0, 1, 2]
    assert found["n_open_cart"] == [0, 1, 0, 1, 0]


def test_times_and_visits_by_hand():
    found = folded(ROWS)
    assert found["item_since_s"] == [-1, 10, -1, 90, 30]
    assert found["since_add_s"] == [-1, 0, -1, 90, 120]
    assert found["n_visits"] == [1, 1, 1, 2, 2]
    assert found["n_buying_visits_earlier"] == [0, 0, 0, 0, 0]


def test_later_events_change_no_earlier_row():
    for n in range(1, len(ROWS)):
        part, whole = folded(ROWS[:n]), folded(ROWS)
        assert all(part[name] == whole[name][:n] for name in COLUMNS)


def test_no_events_give_no_rows():
    assert user_history.fold(NO_EVENTS, np.zeros(0, int), np.zeros(0, int)).shape == (0, len(COLUMNS))
