"""Live sessions: the state of a visitor becomes the events that brought her there."""

import numpy as np
import pytest

from models.live_session import EMPTY, CurrentState, LiveSession, last_item, looking_at
from models.schema import EVENT_TYPES, EventType
from tests.builders import event_array, same_events

E = EventType


def session(*rows: tuple[EventType, int, int], query_length: float = np.nan) -> LiveSession:
    """Events of (type, item, category), a second apart; every item and category that is counted has a name."""
    kinds, items, categories = zip(*rows, strict=True) if rows else ((), (), ())
    events = event_array(len(rows), event_type=kinds, item=items, category=categories, query_length=query_length, device=2)
    return LiveSession(events, ["a", "b"], ["shoes", "hats"])


def added(before: LiveSession, state: CurrentState, now_us: int = 60_000_000) -> list[tuple[str, str | None, str | None]]:
    after = looking_at(before, state, now_us)
    assert same_events(after.events[: len(before.events)], before.events)
    texts = [*after.item_ids, None], [*after.categories, None]
    return [
        (EVENT_TYPES[row["event_type"]], texts[0][row["item"]], texts[1][row["category"]])
        for row in after.events[len(before.events) :]
    ]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (CurrentState(), []),
        (CurrentState(item_id="b"), [("item_view", "b", None)]),
        (CurrentState(item_id="c", category="hats"), [("item_view", "c", "hats")]),
        (CurrentState(item_id="a", category="hats"), []),  # is there already
        (CurrentState(category="hats"), [("category_browse", None, "hats")]),
        (CurrentState(category="bags"), [("category_browse", None, "bags")]),
        (CurrentState(category="shoes"), []),
        (CurrentState(query_length=4), [("search", None, None)]),
        (CurrentState(item_id="b", query_length=4), [("search", None, None), ("item_view", "b", None)]),
    ],
)
def test_a_state_is_the_events_that_lead_to_it_unless_the_session_has_them(
    state: CurrentState, expected: list[tuple[str, str | None, str | None]]
) -> None:
    assert added(session((E.ITEM_VIEW, 1, 1), (E.ITEM_VIEW, 0, 0)), state) == expected


def test_a_search_that_the_session_ends_with_is_not_repeated() -> None:
    before = session((E.SEARCH, -1, -1), query_length=4.0)
    assert added(before, CurrentState(query_length=4)) == []
    assert added(before, CurrentState(query_length=5)) == [("search", None, None)]


def test_a_state_alone_is_a_session_and_what_is_not_told_stays_unknown() -> None:
    found = looking_at(EMPTY, CurrentState(item_id="x", category="bags", query_length=7), 5)
    assert found.events["occurred_at_us"].tolist() == [5, 5]
    assert found.events["query_length"][0] == 7
    assert np.isnan(found.events["dwell_ms"]).all()
    assert (last_item(found), found.categories) == ("x", ["bags"])
    assert EMPTY.item_ids == []


def test_the_newest_event_lends_its_device_and_time_never_runs_back() -> None:
    after = looking_at(session((E.ITEM_VIEW, 0, 0), (E.ITEM_VIEW, 0, 0)), CurrentState(category="hats"), now_us=10)
    assert after.events["device"][-1] == 2
    assert after.events["occurred_at_us"][-1] == 1_000_000
