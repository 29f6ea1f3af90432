"""The offline tables: one row per key and instant, equal to what the folds say."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from models.events.encode import encode
from models.features import items, sessions, users
from models.features import tables as feature_tables
from models.schema import (
    EVENT_COLUMNS,
    ITEM_FEATURES,
    LAST_EVENT_AT,
    MEASURES,
    RECENT_ITEMS_AT,
    SESSION_FEATURES,
    USER_FEATURES,
    USER_RECENT_ITEMS,
)

EVENT = st.tuples(
    st.sampled_from("ab"), st.integers(0, 5_000), st.sampled_from(["item_view", "search"]), st.sampled_from("xyz")
)


def log(rows):
    frame = pd.DataFrame({name: pd.Series([None] * len(rows), dtype=object) for name in EVENT_COLUMNS})
    for name in MEASURES:
        frame[name] = np.nan
    names = zip(*rows, strict=True)
    frame["user_id"], at_s, frame["event_type"], frame["item_id"] = map(list, names)
    frame = frame.assign(occurred_at_us=np.array(at_s, dtype=np.int64) * 1_000_000, utc_offset_min=np.int16(0))
    frame = sessions.sessionize(frame.assign(partner="p", seq=np.arange(len(rows))))
    return frame, encode(frame)


@settings(deadline=None, max_examples=50)  # the first call loads the kernels
@given(st.lists(EVENT, min_size=1, max_size=30))
def test_each_table_is_unique_per_key_and_instant_and_says_what_the_fold_says(rows):
    frame, (events, item_ids, _) = log(rows)
    table = feature_tables.of_sessions(frame, events)
    assert not table.duplicated(["session_id", "occurred_at"]).any()
    folded = sessions.fold(events, sessions.starts(frame))
    last = frame.groupby(["session_id", "occurred_at_us"], sort=False).tail(1).index
    np.testing.assert_array_equal(table[list(SESSION_FEATURES)].to_numpy(), folded[last])

    table, recent = feature_tables.of_users(frame, events, item_ids)
    assert not table.duplicated(["user_id", "occurred_at"]).any()
    assert set(recent["user_id"]) == set(frame["user_id"])
    assert (table.groupby("user_id")[LAST_EVENT_AT].max() == recent.set_index("user_id")[RECENT_ITEMS_AT]).all()
    for user, found in table.groupby("user_id"):
        alone = frame[frame["user_id"] == user].sort_values(["occurred_at_us", "seq"], kind="stable")
        history = users.fold(encode(alone).events, np.zeros(len(alone), dtype=np.int64))
        np.testing.assert_array_equal(found[list(USER_FEATURES)].to_numpy()[-1], history.features[-1])

    until_us = int(events["occurred_at_us"].max())
    table = feature_tables.items_from(items.new_carry(), events, item_ids, until_us)[1]
    assert not table.duplicated(["item_id", "occurred_at"]).any()
    assert (table["occurred_at"] <= pd.Timestamp(until_us, unit="us", tz="UTC")).all()
    np.testing.assert_array_equal(table[list(ITEM_FEATURES)].to_numpy(), items.fold(events, until_us).features)


def test_recent_items_are_texts_newest_first():
    frame, (events, item_ids, _) = log([("a", 1, "item_view", "x"), ("a", 2, "item_view", "y"), ("a", 3, "item_view", "x")])
    _, recent = feature_tables.of_users(frame, events, item_ids)
    assert recent[USER_RECENT_ITEMS].tolist() == [["x", "y"]]
