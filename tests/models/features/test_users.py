"""The user fold: decayed counts by hand, and the worker's row equal to the batch's bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from models.events.encode import NO_CODE, EncodedEvents
from models.features import users
from models.schema import N_RECENT_ITEMS, USER_FEATURES
from tests.models.features.rows import events_of
from tests.strategies import priced_rows

DAY_US = 86_400_000_000


def named(row: np.ndarray) -> dict[str, float]:
    return dict(zip(USER_FEATURES, row.tolist(), strict=True))


HISTORY = events_of(
    ("item_view", 0, 4, 100.0),
    ("item_view", 60_000_000, 5, np.nan),
    ("add_to_cart", 3 * DAY_US, 4, 40.0),
)


@pytest.mark.parametrize(
    ("feature", "value"),
    [
        ("decayed_item_view", 1.0),  # two views, one half-life ago
        ("decayed_add_to_cart", 1.0),
        ("n_user_sessions", 2),
        ("user_n_events", 3),
        ("cart_per_view_rate", 1 / 2),
        ("purchase_per_view_rate", 0),
        ("user_n_prices", 1.5),
        ("user_mean_price", (100 * 0.5 + 40) / 1.5),
    ],
)
def test_a_short_history_has_the_features_one_computes_by_hand(feature: str, value: float) -> None:
    history = users.fold(HISTORY, np.zeros(3, dtype=np.int64))
    assert named(history.features[-1])[feature] == pytest.approx(value, rel=1e-3)


def test_recent_items_are_distinct_newest_first() -> None:
    history = users.fold(HISTORY, np.zeros(3, dtype=np.int64))
    assert history.recent_items[:, :3].tolist() == [[4, NO_CODE, NO_CODE], [5, 4, NO_CODE], [4, 5, NO_CODE]]


def test_only_the_newest_items_are_kept() -> None:
    many = events_of(*(("item_view", at, at, np.nan) for at in range(N_RECENT_ITEMS + 3)))
    newest = users.fold(many, np.zeros(len(many), dtype=np.int64)).recent_items[-1]
    assert newest.tolist() == list(range(N_RECENT_ITEMS + 2, 2, -1))


def test_rows_are_sorted_by_user_then_time_and_users_do_not_mix() -> None:
    mixed = events_of(("search", 5, NO_CODE, np.nan), ("item_view", 9, 1, np.nan), ("purchase", 2, 3, 7.0))
    history = users.fold(mixed, np.array([1, 0, 1]))
    assert history.rows.tolist() == [1, 2, 0]
    assert history.features[:, USER_FEATURES.index("user_n_events")].tolist() == [1, 1, 2]
    assert history.recent_items[:, 0].tolist() == [1, 3, 3]


def test_a_visit_ends_after_30_idle_minutes() -> None:
    minutes = events_of(*(("search", m * 60_000_000, NO_CODE, np.nan) for m in (0, 30, 61)))
    history = users.fold(minutes, np.zeros(3, dtype=np.int64))
    assert history.features[:, USER_FEATURES.index("n_user_sessions")].tolist() == [1, 1, 2]


def test_features_age_between_instants_but_not_backwards() -> None:
    row = users.fold(HISTORY, np.zeros(3, dtype=np.int64)).features[-1]
    aged = named(users.as_of(row, 3 * DAY_US, 6 * DAY_US))
    assert (aged["decayed_add_to_cart"], aged["n_user_sessions"]) == (0.5, 2)
    assert aged["cart_per_view_rate"] == pytest.approx(0.5 / 1.5, rel=1e-3)
    assert aged["user_mean_price"] == named(row)["user_mean_price"]
    assert_array_equal(users.as_of(row, 3 * DAY_US, 2 * DAY_US), row, strict=True)


def test_a_row_the_store_did_not_know_becomes_the_defaults() -> None:
    rows = np.stack([np.full(len(USER_FEATURES), np.nan, dtype=np.float32), np.ones(len(USER_FEATURES), dtype=np.float32)])
    aged = users.as_of(rows, np.array([0, 0]), 0)
    assert_array_equal(aged[0], users.NOTHING_YET)
    assert named(aged[1])["decayed_item_view"] == 1
    assert np.isnan(rows[0]).all()


def test_aging_many_rows_equals_aging_each() -> None:
    history = users.fold(HISTORY, np.zeros(3, dtype=np.int64))
    at, now = HISTORY["occurred_at_us"], np.array([5 * DAY_US, 4 * DAY_US, 9 * DAY_US])
    together = users.as_of(history.features, at, now)
    for i in range(3):
        assert_array_equal(together[i], users.as_of(history.features[i], int(at[i]), int(now[i])), strict=True)


def test_an_event_dated_back_happens_at_the_latest_instant() -> None:
    ids = np.array(["x"], dtype=object)
    state = users.advance(users.new_state(), EncodedEvents(events_of(("item_view", DAY_US, 0, np.nan)), ids, ids))
    late = users.advance(state, EncodedEvents(events_of(("item_view", 0, 0, np.nan)), ids, ids))
    assert (named(late.features)["decayed_item_view"], late.last_event_at_us) == (2, DAY_US)
    assert named(late.features)["n_user_sessions"] == 1


def test_unknown_types_and_other_lengths_are_refused() -> None:
    broken = HISTORY.copy()
    broken["event_type"][1] = 99
    with pytest.raises(ValueError, match="event 1 has type code 99"):
        users.fold(broken, np.zeros(3, dtype=np.int64))
    with pytest.raises(ValueError, match="each of 3 events, got 2"):
        users.fold(HISTORY, np.zeros(2, dtype=np.int64))


def test_no_events_change_nothing() -> None:
    nobody = np.zeros(0, dtype=object)
    state = users.UserState(np.ones(len(USER_FEATURES), dtype=np.float32), 5, ("a",))
    assert users.advance(state, EncodedEvents(events_of(), nobody, nobody)) is state
    assert users.fold(events_of(), np.zeros(0, dtype=np.int64)).features.shape == (0, len(USER_FEATURES))


ROW = priced_rows(15, 10 * DAY_US)


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=25), st.lists(st.integers(0, 24), max_size=4))
def test_the_worker_resuming_from_the_store_equals_the_batch_bit_for_bit(
    rows: list[tuple[str, int, int, float]], cuts: list[int]
) -> None:
    events = events_of(*sorted(rows, key=lambda row: row[1]))
    batch = users.fold(events, np.zeros(len(events), dtype=np.int64))
    assert np.isfinite(batch.features).all()
    state = users.new_state()
    for part in np.split(events, sorted(min(cut, len(events)) for cut in cuts)):
        codes, local = np.unique(part["item"][part["item"] >= 0], return_inverse=True)
        encoded = part.copy()
        encoded["item"][part["item"] >= 0] = local
        ids = np.array([f"sku-{code}" for code in codes], dtype=object)
        state = users.advance(state, EncodedEvents(encoded, ids, np.zeros(0, dtype=object)))
    assert_array_equal(state.features, batch.features[-1], strict=True)
    assert state.recent_item_ids == tuple(f"sku-{code}" for code in batch.recent_items[-1] if code != NO_CODE)
    assert state.last_event_at_us == events["occurred_at_us"][-1]
