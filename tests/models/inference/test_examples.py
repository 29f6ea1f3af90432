"""Examples: every row knows its period, its labels, and what was known before it."""

import numpy as np
import pandas as pd

from models.features import items, users
from models.inference import examples
from models.inference.examples import ExampleParams
from models.schema import EVENT_COLUMNS, ITEM_FEATURES, LAST_EVENT_AT, MEASURES, USER_FEATURES

MINUTE_US = 60_000_000


def log_frame() -> pd.DataFrame:
    """Two sessions of u1 an hour apart, one of u2 in between; only the item events have items."""
    rows = [
        ("u1", "s1", "search", 0, None),
        ("u1", "s1", "item_view", 1, "a"),
        ("u1", "s1", "category_browse", 2, None),
        ("u2", "s2", "item_view", 30, "b"),
        ("u1", "s3", "item_view", 60, "b"),
        ("u1", "s3", "purchase", 61, "b"),
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "session_id", "event_type", "occurred_at_us", "item_id"])
    frame["occurred_at_us"] *= MINUTE_US
    frame["event_id"] = [f"e{n}" for n in range(len(rows))]
    for name in MEASURES:
        frame[name] = np.nan
    frame[["category", "device", "referrer"]] = None
    frame["utc_offset_min"] = np.int16(0)
    return frame[list(EVENT_COLUMNS)]


def nothing_known(n_rows: int) -> pd.DataFrame:
    return pd.DataFrame(np.nan, index=range(n_rows), columns=[*USER_FEATURES, LAST_EVENT_AT, *ITEM_FEATURES])


def test_the_store_is_asked_for_the_item_the_visitor_is_at() -> None:
    log, frame = examples.read_log(log_frame())
    rows = examples.choose(log, frame, ExampleParams())
    wanted = examples.entities(log, frame, rows)
    u1 = wanted[wanted["user_id"] == "u1"]
    assert [None if pd.isna(item) else item for item in u1["item_id"]] == [None, "a", "a", "b", "b"]
    assert wanted["row_id"].tolist() == list(range(6))
    assert str(wanted["occurred_at"].dtype) == "datetime64[us, UTC]"


def test_who_is_unknown_has_the_defaults_of_the_service() -> None:
    log, _frame = examples.read_log(log_frame())
    found = examples.assemble(log, np.arange(6), nothing_known(6))
    assert (found.user_features == users.NOTHING_YET).all()
    assert (found.item_features == items.NOTHING_YET).all()


def test_a_known_user_ages_to_the_event() -> None:
    log, _frame = examples.read_log(log_frame())
    known = nothing_known(6)
    known[list(USER_FEATURES)] = 8.0
    known[LAST_EVENT_AT] = log.events["occurred_at_us"] - int(users.HALF_LIFE_S * 1e6)
    found = examples.assemble(log, np.arange(6), known)
    assert (found.user_features[:, USER_FEATURES.index("decayed_item_view")] == 4.0).all()


def test_labels_look_ahead_within_their_horizon_and_the_log() -> None:
    log, frame = examples.read_log(log_frame())
    found = examples.assemble(log, np.arange(6), nothing_known(6))
    by_event = dict(zip(frame["event_id"], range(6), strict=True))
    assert found.purchase[by_event["e4"]].tolist() == [True, True]
    assert found.purchase[by_event["e1"]].tolist() == [False, True]  # an hour later, in the next session
    assert found.covered[by_event["e5"]].tolist() == [False, False]  # nobody knows yet
    assert found.covered[by_event["e0"]].tolist() == [True, True]


def test_log_and_rows_survive_their_files() -> None:
    log, _ = examples.read_log(log_frame())
    found = examples.assemble(log, np.arange(6), nothing_known(6))
    again = examples.from_parts(examples.to_parts(found))
    assert all(np.array_equal(getattr(found, name), getattr(again, name)) for name in found._fields)
    other = examples.log_from_parts(examples.log_to_parts(log))
    assert other.events.tobytes() == log.events.tobytes()
    assert other.item_ids == log.item_ids


def test_periods_of_the_log_hold_whole_sessions() -> None:
    log, _ = examples.read_log(log_frame())
    earlier, later = log.before(30 * MINUTE_US), log.since(30 * MINUTE_US)
    assert len(earlier.events) == 3
    assert len(later.events) == 3
    assert later.starts.sum() == 2
