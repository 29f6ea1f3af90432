"""The session fold: features that a reader can compute by hand, and batch = request = worker bit for bit."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from models.events.encode import TYPE_CODE, EventArray
from models.features import sessions
from models.features.kernel import N_CATEGORIES_KEPT, N_ITEMS_KEPT
from models.schema import EVENT_TYPES, SESSION_FEATURES
from tests.builders import event_array, same_events
from tests.strategies import visits

SATURDAY_18_UTC_S = 1_700_330_400 - 1_700_330_400 % 86_400 + 18 * 3600  # 2023-11-18 was a Saturday


def session(*events: Mapping[str, object]) -> EventArray:
    """An event array of dicts; `type` by name, `at_s` in seconds, measures NaN unless given."""
    array = event_array(len(events))
    for row, event in enumerate(events):
        array["event_type"][row] = TYPE_CODE[str(event["type"])]
        array["occurred_at_us"][row] = round(float(str(event["at_s"])) * 1e6)
        for name in event.keys() - {"type", "at_s"}:
            array[name][row] = event[name]
    return array


def told(events: EventArray) -> dict[str, float]:
    return dict(zip(SESSION_FEATURES, sessions.features_of(events).tolist(), strict=True))


SHOES, BAGS = 0, 1
VISIT = (
    {"type": "search", "at_s": 0, "query_length": 12},
    {"type": "item_view", "at_s": 10, "item": 7, "category": SHOES, "price": 80},
    {"type": "item_engagement", "at_s": 20, "item": 7, "dwell_ms": 5000, "scroll_depth": 0.5, "zoom_level": 2},
    {"type": "item_view", "at_s": 30, "item": 8, "category": SHOES, "price": 120},
    {"type": "item_engagement", "at_s": 40, "item": 8, "dwell_ms": 1000, "scroll_depth": 0.25, "cursor_distance_px": 300},
    {"type": "item_view", "at_s": 60, "item": 7, "category": SHOES, "price": 80},
    {"type": "add_to_cart", "at_s": 70, "item": 7, "price": 80},
    {"type": "category_browse", "at_s": 120, "category": BAGS},
)


@pytest.mark.parametrize(
    ("feature", "value"),
    [
        ("n_item_view", 3),
        ("n_search", 1),
        ("n_events", 8),
        ("session_age_s", 120),
        ("gap_s", 50),
        ("mean_gap_s", 120 / 7),
        ("n_items", 2),
        ("n_categories", 2),
        ("n_item_repeats", 4),  # six item events on two items
        ("n_item_returns", 1),  # 8, then 7 again
        ("max_item_events", 4),
        ("item_focus_rate", 4 / 6),
        ("n_category_switches", 1),
        ("category_breadth_rate", 2 / 4),
        ("category_focus_rate", 3 / 4),
        ("sum_dwell_ms", 6000),
        ("mean_dwell_ms", 3000),
        ("max_dwell_ms", 5000),
        ("last_dwell_ms", 1000),
        ("mean_scroll_depth", 0.375),
        ("max_scroll_depth", 0.5),
        ("mean_zoom_level", 2),
        ("max_zoom_level", 2),
        ("sum_cursor_distance_px", 300),
        ("mean_cursor_distance_px", 300),
        ("cart_size", 1),
        ("n_carts_abandoned", 1),
        ("since_cart_s", 50),
        ("n_events_since_cart", 1),
        ("mean_query_length", 12),
        ("last_query_length", 12),
        ("search_refine_rate", 0),
        ("last_price", 80),
        ("mean_price", 90),
        ("price_spread_rate", 40 / 90),
        ("last_price_rate", 80 / 90),
        ("since_item_s", 50),
        ("since_search_s", 120),
        ("recent_search", 0.5),  # 120 seconds ago
        ("recent_category_browse", 1),
        ("last_event_type", TYPE_CODE["category_browse"]),
        ("previous_event_type", TYPE_CODE["add_to_cart"]),
    ],
)
def test_a_short_visit_has_the_features_one_computes_by_hand(feature: str, value: float) -> None:
    assert told(session(*VISIT))[feature] == pytest.approx(value, rel=1e-6)


def test_an_empty_session_has_defaults() -> None:
    nothing = told(session())
    never = {n for n in SESSION_FEATURES if n.startswith("since_")} | {
        "n_events_since_cart",
        "last_event_type",
        "previous_event_type",
    }
    assert {name for name, value in nothing.items() if value == -1} == never
    assert all(value == 0 for name, value in nothing.items() if name not in never)


def test_first_event_has_no_gap_and_no_predecessor() -> None:
    first = told(session({"type": "cart_view", "at_s": 5}))
    assert (first["gap_s"], first["mean_gap_s"], first["session_age_s"]) == (0, 0, 0)
    assert (first["previous_event_type"], first["since_item_s"], first["since_search_s"]) == (-1, -1, -1)


def test_recent_gap_is_a_running_mean() -> None:
    assert told(session(*({"type": "cart_view", "at_s": s} for s in (0, 10, 30))))["recent_gap_s"] == pytest.approx(13)


def test_an_event_dated_back_has_gap_zero_and_does_not_move_the_clock() -> None:
    features = told(session(*({"type": "cart_view", "at_s": s} for s in (0, 60, 20, 20, 80))))
    assert (features["session_age_s"], features["gap_s"], features["mean_gap_s"]) == (80, 20, 20)


def test_not_measured_and_infinite_leave_measures_alone() -> None:
    base = {"type": "item_view", "item": 1}
    features = told(
        session(
            {**base, "at_s": 0, "price": 10, "dwell_ms": math.inf},
            {**base, "at_s": 0},
            {**base, "at_s": 0, "price": math.nan},
        )
    )
    assert (features["mean_price"], features["last_price"], features["price_spread_rate"]) == (10, 10, 0)
    assert (features["sum_dwell_ms"], features["mean_dwell_ms"]) == (0, 0)


@pytest.mark.parametrize(
    ("kinds", "size", "abandoned"),
    [
        (["remove_from_cart"], 0, 0),
        (["add_to_cart", "remove_from_cart"], 0, 1),
        (["add_to_cart", "purchase", "search"], 0, 0),
        (["add_to_cart", "add_to_cart", "search", "search"], 2, 2),  # counted once
        (["add_to_cart", "search", "remove_from_cart"], 0, 1),  # still one item
        (["add_to_cart", "search", "add_to_cart", "content_view"], 2, 2),
        (["add_to_cart", "checkout_view", "item_view"], 1, 0),
        (["purchase", "purchase"], 0, 0),
    ],
)
def test_cart_counts_what_was_left_or_taken_out(kinds: list[str], size: int, abandoned: int) -> None:
    features = told(session(*({"type": kind, "at_s": 0, "item": 1} for kind in kinds)))
    assert (features["cart_size"], features["n_carts_abandoned"]) == (size, abandoned)
    assert (features["since_cart_s"] == -1) == (size == 0)


@pytest.mark.parametrize(
    ("offset_min", "hour", "weekend"), [(0, 18, 1), (60, 19, 1), (-18 * 60 - 1, 23 + 59 / 60, 0), (24 * 60 + 6 * 60, 0, 0)]
)
def test_hour_and_weekend_are_the_visitors(offset_min: int, hour: float, weekend: int) -> None:
    features = told(session({"type": "cart_view", "at_s": SATURDAY_18_UTC_S, "utc_offset_min": offset_min}))
    assert features["hour_sin"] == pytest.approx(math.sin(2 * math.pi * hour / 24), abs=1e-6)
    assert features["hour_cos"] == pytest.approx(math.cos(2 * math.pi * hour / 24), abs=1e-6)
    assert features["is_weekend"] == weekend


def test_device_and_referrer_stay_when_an_event_does_not_say() -> None:
    features = told(session({"type": "cart_view", "at_s": 0, "device": 2, "referrer": 3}, {"type": "cart_view", "at_s": 1}))
    assert (features["device"], features["referrer"]) == (2, 3)


def test_the_same_item_500_times() -> None:
    features = told(session(*({"type": "item_view", "at_s": s, "item": 3} for s in range(500))))
    assert (features["n_items"], features["n_item_repeats"], features["n_item_returns"]) == (1, 499, 0)
    assert (features["max_item_events"], features["item_focus_rate"]) == (500, 1)


def test_only_the_items_and_categories_seen_last_are_remembered() -> None:
    def seen(n: int, again: int) -> dict[str, float]:
        codes = [*range(n), again]
        return told(session(*({"type": "item_view", "at_s": 0, "item": c, "category": c} for c in codes)))

    assert seen(N_ITEMS_KEPT, 0)["n_items"] == N_ITEMS_KEPT
    assert seen(N_ITEMS_KEPT + 1, 1)["n_items"] == N_ITEMS_KEPT + 1
    assert seen(N_ITEMS_KEPT + 1, 0)["n_items"] == N_ITEMS_KEPT + 2  # forgotten, so new again
    assert seen(N_CATEGORIES_KEPT + 1, 1)["n_categories"] == N_CATEGORIES_KEPT + 1
    assert seen(N_CATEGORIES_KEPT + 1, 0)["n_categories"] == N_CATEGORIES_KEPT + 2


def test_ten_thousand_events_fold() -> None:
    events = np.repeat(session({"type": "item_view", "at_s": 0}), 10_000)
    events["item"] = events["category"] = np.arange(10_000)
    features = dict(zip(SESSION_FEATURES, sessions.features_of(events), strict=True))
    assert (features["n_events"], features["n_items"], features["n_category_switches"]) == (10_000, 10_000, 9_999)


def test_read_only_and_strided_events_give_the_same_bits() -> None:
    events = session(*VISIT)
    locked = events.copy()
    locked.flags.writeable = False
    strided = np.repeat(events, 2)[::2]
    assert_array_equal(sessions.features_of(locked), sessions.features_of(events), strict=True)
    assert_array_equal(sessions.features_of(strided), sessions.features_of(events), strict=True)


@pytest.mark.parametrize("code", [-1, len(EVENT_TYPES)])
def test_an_unknown_type_code_is_refused_with_its_place(code: int) -> None:
    events = session(*VISIT)
    events["event_type"][3] = code
    with pytest.raises(ValueError, match=rf"event 3 has type code {code}, expected 0 to 14"):
        sessions.features_of(events)


def test_start_flags_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="each of 8 events, got 2"):
        sessions.fold(session(*VISIT), np.array([True, False]))


@settings(max_examples=60, deadline=None)
@given(st.lists(visits(), min_size=1, max_size=4))
def test_batch_request_and_worker_agree_bit_for_bit_on_every_prefix(many: list[EventArray]) -> None:
    events = np.concatenate(many)
    starts = np.concatenate([np.arange(len(visit)) == 0 for visit in many])
    before = events.copy()
    batch = sessions.fold(events, starts)
    assert np.isfinite(batch).all()
    assert same_events(events, before)
    row = 0
    for visit in many:
        state = sessions.new_state()
        for n in range(1, len(visit) + 1):
            assert_array_equal(batch[row], sessions.features_of(visit[:n]), strict=True)
            assert_array_equal(batch[row], sessions.step(state, visit[n - 1 : n]), strict=True)
            row += 1
    some = np.arange(len(events))[::-2]
    assert_array_equal(sessions.fold_at(events, starts, some), batch[some], strict=True)
    assert_array_equal(sessions.fold_at(events, starts, some[:1]), batch[some[:1]], strict=True)


@settings(max_examples=30, deadline=None)
@given(visits(), st.permutations(range(6)))
def test_only_sameness_of_codes_matters(visit: EventArray, codes: list[int]) -> None:
    renamed = visit.copy()
    for name in ("item", "category"):
        has = visit[name] >= 0
        renamed[name][has] = np.array(codes)[visit[name][has]] * 1_000_003
    assert_array_equal(sessions.features_of(renamed), sessions.features_of(visit), strict=True)


@settings(max_examples=30, deadline=None)
@given(visits(), st.integers(0, 12))
def test_a_stored_state_goes_on_where_it_stood(visit: EventArray, cut: int) -> None:
    head, tail = visit[:cut], visit[cut:]
    state = sessions.new_state()
    if len(head):
        sessions.step(state, head)
    restored = np.frombuffer(bytearray(state.tobytes()), dtype=state.dtype)
    if len(tail):
        assert_array_equal(sessions.step(restored, tail), sessions.features_of(visit), strict=True)


def frame(rows: list[tuple[str, str | None, int]], **columns: Any) -> pd.DataFrame:
    made = pd.DataFrame(rows, columns=["user_id", "session_id", "at_s"], dtype=object)
    return made.assign(occurred_at_us=made["at_s"].astype("int64") * 1_000_000, **columns)


def test_events_without_a_session_are_split_after_30_idle_minutes() -> None:
    out = sessions.sessionize(frame([("u", None, 3601), ("u", None, 0), ("u", None, 1800), ("v", None, 1800)]))
    assert out["session_id"].tolist() == ["u/~0", "u/~0", "u/~3601000000", "v/~1800000000"]
    assert sessions.starts(out).tolist() == [True, False, True, True]


def test_given_session_ids_are_kept_apart_between_users_and_partners() -> None:
    rows: list[tuple[str, str | None, int]] = [("u", "s", 0), ("v", "s", 1), ("u", "s", 2), ("u", "s", 9999)]
    out = sessions.sessionize(frame(rows, partner=["a", "a", "b", "a"]))
    assert out["session_id"].tolist() == ["a/u/s", "a/u/s", "a/v/s", "b/u/s"]
    assert sessions.starts(out).tolist() == [True, False, True, True]


def test_sessions_stand_in_order_of_their_start_and_events_in_order_of_time_then_arrival() -> None:
    rows: list[tuple[str, str | None, int]] = [("u", "z", 5), ("u", "a", 7), ("u", "z", 8), ("u", "a", 7)]
    out = sessions.sessionize(frame(rows, seq=[1, 4, 2, 3]))
    assert out["seq"].tolist() == [1, 2, 3, 4]
    assert out["session_id"].tolist() == ["u/z", "u/z", "u/a", "u/a"]


ODD_IDS = st.text(alphabet="~/%2F05ab", max_size=4)
OWNERS = st.tuples(ODD_IDS, ODD_IDS)


@settings(max_examples=200)
@given(st.lists(st.tuples(OWNERS, st.none() | ODD_IDS, st.sampled_from([0, 5, 2000, 5000])), max_size=8))
def test_sessions_that_differ_never_share_an_id_whatever_a_sender_writes(
    rows: list[tuple[tuple[str, str], str | None, int]],
) -> None:
    made = frame([(user, session, at_s) for (_, user), session, at_s in rows], partner=[p for (p, _), _, _ in rows])
    made = made.assign(partner=made["partner"].astype(object), given=made["session_id"], event_type="search")
    out = sessions.sessionize(made)
    meant: dict[tuple[str, str, str | None, int], str] = {}
    visits: dict[tuple[str, str], list[int]] = {}  # starts and ends of the sessions that idle time makes, as a reader would
    columns = ["partner", "user_id", "given", "occurred_at_us", "session_id"]
    for partner, user, given_id, at_us, key in out.sort_values("occurred_at_us", kind="stable")[columns].to_numpy().tolist():
        start = -1
        if given_id is None:
            begun = visits.setdefault((partner, user), [at_us, at_us])
            if at_us - begun[1] > 1_800_000_000:
                begun[0] = at_us
            start, begun[1] = begun[0], at_us
        assert meant.setdefault((partner, user, given_id, start), key) == key
    assert len(set(meant.values())) == len(meant)
    assert sessions.starts(out).sum() == len(meant)


def test_the_start_of_a_session_cannot_be_given_and_the_input_stays() -> None:
    given_frame = frame([("u", None, 0), ("u", "c", 5), ("u", None, 10), ("u", "~0", 10), ("u", "u/~0", 10)])
    before = given_frame.copy()
    out = sessions.sessionize(given_frame)
    assert out["session_id"].tolist() == ["u/~0", "u/~0", "u/c", "u/~~0", "u/u/~0"]
    pd.testing.assert_frame_equal(given_frame, before)


def test_an_empty_frame_has_no_sessions() -> None:
    empty = sessions.sessionize(frame([]))
    assert len(empty) == 0
    assert sessions.starts(empty).tolist() == []
    assert sessions.fold(session(), np.zeros(0, dtype=bool)).shape == (0, len(SESSION_FEATURES))


def test_features_in_silence_are_those_that_an_event_then_would_find() -> None:
    kinds = [TYPE_CODE[kind] for kind in ("search", "add_to_cart", "item_view", "review_read")]
    events = event_array(4, event_type=kinds, item=0, occurred_at_us=[0, 20_000_000, 50_000_000, 350_000_000])
    silent, then = sessions.as_of(sessions.features_of(events[:3]), 300.0), sessions.features_of(events)
    fading = [
        name for name in SESSION_FEATURES if name.startswith("recent_") and name not in ("recent_gap_s", "recent_review_read")
    ]
    for name in (*fading, "since_cart_s", "since_search_s", "session_age_s"):
        assert silent[SESSION_FEATURES.index(name)] == pytest.approx(then[SESSION_FEATURES.index(name)]), name
    assert silent[SESSION_FEATURES.index("n_add_to_cart")] == 1
    nothing = sessions.as_of(sessions.features_of(events[:0]), 300.0)
    assert nothing[SESSION_FEATURES.index("since_cart_s")] == -1
