"""From the log to the offline tables and the online store; what a row may know of its past."""

import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo.store import open_store
from flows import quarantine
from flows.expect import ValidationStopped
from flows.fold_tables import FOLDS, Folds
from flows.materialize import materialize, training_set, write_offline, write_tables
from infra.store.engines import open_store as open_log
from models.features import tables as feature_tables
from models.schema import (
    EVENT_COLUMNS,
    ITEM_FEATURES,
    LAST_EVENT_AT,
    MEASURES,
    NEXT_ACTION_FEATURES,
    RECENT_ITEMS_AT,
    SESSION_FEATURES,
    USER_FEATURES,
    USER_RECENT_ITEMS,
)
from tests.stores import append_events, nth, quarantine_events
from tests.waiting import until

T0_US = 1_790_000_000_000_000 // 3_600_000_000 * 3_600_000_000  # a full hour
MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US


def log(*rows):
    """Events from ``(user, minute, type, item)``; the event's id is its place and minute."""
    users, minutes, types, items = zip(*rows, strict=True)
    frame = pd.DataFrame({name: pd.Series([None] * len(rows), dtype=object) for name in EVENT_COLUMNS})
    for name in MEASURES:
        frame[name] = np.nan
    return frame.assign(
        event_id=[f"{user}-{minute}-{place}" for place, (user, minute, _, _) in enumerate(rows)],
        user_id=users,
        event_type=types,
        item_id=pd.Series(items, dtype=object),
        occurred_at_us=T0_US + (np.array(minutes) * MINUTE_US).astype(np.int64),
        utc_offset_min=np.int16(0),
    )


def append(home, *rows):
    append_events(home, log(*rows), received_at_us=T0_US)


SHOP = [
    ("ann", 0, "item_view", "hat"),
    ("ann", 1, "item_view", "shoe"),
    ("ann", 1, "add_to_cart", "shoe"),
    ("bob", 30, "item_view", "hat"),
    ("ann", 90, "purchase", "shoe"),
]


def online(home, user):
    features = ["user_features:decayed_item_view", f"user_features:{LAST_EVENT_AT}", f"user_recent_items:{USER_RECENT_ITEMS}"]
    row = open_store(home).get_online_features(features, [{"user_id": user}]).to_dict()
    minute = None if row[LAST_EVENT_AT][0] is None else (row[LAST_EVENT_AT][0] - T0_US) / MINUTE_US
    return row["decayed_item_view"][0], minute, row[USER_RECENT_ITEMS][0]


def table(home, name):
    return pd.read_parquet(home / "offline" / f"{name}.parquet")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    append(home, *SHOP)
    return home, materialize(home, T0_US + 100 * MINUTE_US)


def test_a_table_has_one_row_per_key_and_instant_the_last_one(shop):
    home, done = shop
    assert done.offline.rows == {"session_features": 4, "user_features": 4, "user_recent_items": 2, "item_features": 3}
    sessions = table(home, "session_features")
    at_once = sessions[sessions["occurred_at"] == pd.Timestamp(T0_US + MINUTE_US, unit="us", tz="UTC")]
    assert at_once["n_events"].tolist() == [3]
    assert at_once["n_add_to_cart"].tolist() == [1]
    assert (sessions.dtypes[list(SESSION_FEATURES)] == np.float32).all()
    assert str(sessions["occurred_at"].dtype) == "datetime64[us, UTC]"


def test_items_stand_at_the_end_of_their_hours_and_never_after_the_present(shop):
    items = table(shop[0], "item_features")
    minutes = (items["occurred_at"] - pd.Timestamp(T0_US, unit="us", tz="UTC")) / pd.Timedelta(1, "min")
    assert sorted(zip(items["item_id"], minutes, strict=True)) == [("hat", 60), ("shoe", 60), ("shoe", 100)]


def test_an_instant_far_ahead_is_refused_when_the_flow_is_called_too(tmp_path: Path) -> None:
    ahead_us = time.time_ns() // 1_000 + 2 * 86_400_000_000
    for run in (lambda: materialize(tmp_path, ahead_us), lambda: write_offline.fn(str(tmp_path), ahead_us)):
        with pytest.raises(ValueError, match="lies in the future"):
            run()


def test_the_online_store_holds_each_user_as_of_the_last_event(shop):
    home, done = shop
    assert done.online_from_us == T0_US
    views, minute, recent = online(home, "ann")
    assert (minute, recent) == (90, ["shoe", "hat"])
    assert 1.9 < views < 2.0
    assert online(home, "bob") == (1.0, 30, ["hat"])
    assert online(home, "eve") == (None, None, None)


def test_a_training_row_knows_its_session_with_the_event_and_user_and_item_strictly_before_it(shop):
    home, _ = shop
    sessions = table(home, "session_features").set_index("occurred_at")["session_id"]
    rows = pd.DataFrame(
        {
            "row_id": [30, 10, 20, 40],
            "session_id": sessions.iloc[[2, 0, 1, 3]].to_numpy(),
            "user_id": ["ann", "ann", "ann", "bob"],
            "item_id": ["shoe", "hat", "shoe", None],
            "occurred_at_us": [T0_US + minute * MINUTE_US for minute in (90, 0, 1, 30)],
        }
    )
    found = training_set(home, rows)
    assert found["row_id"].tolist() == [30, 10, 20, 40]
    assert list(found.columns) == ["row_id", *SESSION_FEATURES, *USER_FEATURES, LAST_EVENT_AT, *ITEM_FEATURES]
    assert found["n_purchase"].tolist() == [1, 0, 0, 0]  # the session: with the event
    assert found["n_events"].tolist() == [1, 1, 3, 1]
    np.testing.assert_array_equal(found["user_n_events"], [3, np.nan, 1, np.nan])  # the user: without it, nor its instant
    np.testing.assert_array_equal((found[LAST_EVENT_AT] - T0_US) / MINUTE_US, [1, np.nan, 0, np.nan])
    np.testing.assert_array_equal(found["item_n_purchases"], [0, np.nan, np.nan, np.nan])  # as of minute 60, not 100
    assert all(found[name].dtype == np.float32 for name in NEXT_ACTION_FEATURES)


def test_rows_without_what_the_join_needs_are_refused(shop):
    rows = pd.DataFrame({"row_id": [1, 1], "session_id": "s", "user_id": "u", "item_id": None, "occurred_at_us": T0_US})
    with pytest.raises(ValueError, match="unique row_id"):
        training_set(shop[0], rows)
    with pytest.raises(ValueError, match="missing:"):
        training_set(shop[0], rows.drop(columns="user_id").assign(row_id=[1, 2]))


def test_a_home_that_was_moved_joins_its_own_tables(tmp_path):
    append(tmp_path / "before", *SHOP)
    materialize(tmp_path / "before", T0_US + HOUR_US * 2)
    (tmp_path / "before").rename(tmp_path / "after")
    at = {"occurred_at_us": [T0_US + 95 * MINUTE_US]}
    rows = pd.DataFrame({"row_id": [7], "session_id": ["s"], "user_id": ["ann"], "item_id": ["shoe"], **at})
    assert training_set(tmp_path / "after", rows)["user_n_events"].tolist() == [4]


def test_events_that_come_later_and_events_that_come_late_both_reach_the_online_store(tmp_path):
    append(tmp_path, *SHOP)
    materialize(tmp_path, T0_US + 100 * MINUTE_US)
    append(tmp_path, ("bob", 120, "item_view", "bag"))
    done = materialize(tmp_path, T0_US + 130 * MINUTE_US)
    assert done.online_from_us == T0_US + 100 * MINUTE_US  # an increment
    assert online(tmp_path, "bob")[1:] == (120, ["bag", "hat"])
    append(tmp_path, ("eve", 5, "item_view", "hat"))  # of the past, arriving now
    done = materialize(tmp_path, T0_US + 140 * MINUTE_US)
    assert done.online_from_us == T0_US + 5 * MINUTE_US
    assert online(tmp_path, "eve") == (1.0, 5, ["hat"])


def test_a_look_at_the_past_rebuilds_the_tables_and_leaves_the_online_store_alone(tmp_path):
    append(tmp_path, *SHOP)
    materialize(tmp_path, T0_US + 100 * MINUTE_US)
    done = materialize(tmp_path, T0_US + 10 * MINUTE_US)
    assert done.online_from_us is None
    assert done.offline.rows["user_features"] == 2
    assert online(tmp_path, "ann")[1] == 90
    assert materialize(tmp_path, T0_US + 200 * MINUTE_US).offline.rows["user_features"] == 4


def test_events_held_back_are_in_no_table(tmp_path):
    append(tmp_path, *SHOP)
    quarantine_events(tmp_path, [(nth(tmp_path, 4), "price_in_range")])
    write_offline.fn(str(tmp_path), T0_US + 100 * MINUTE_US)
    assert set(table(tmp_path, "user_features")["user_id"]) == {"ann"}


def test_items_are_known_by_what_is_believed_and_users_by_all_that_they_did(tmp_path):
    append(tmp_path, *SHOP)
    unbelieved = "UPDATE events SET browser = 1, believed = 0 WHERE item_id = 'hat'"
    with closing(open_log(tmp_path)) as store:
        store.write(lambda transaction: transaction.execute(unbelieved))
    write_offline.fn(str(tmp_path), T0_US + 100 * MINUTE_US)
    assert set(table(tmp_path, "item_features")["item_id"]) == {"shoe"}
    assert set(table(tmp_path, "user_features")["user_id"]) == {"ann", "bob"}


def faulty(spoil):
    """The folds, with a fault in one."""

    def users(frame, since_us):
        for name, table in FOLDS.users(frame, since_us):
            yield name, spoil(name, table)

    def items(*arguments):
        carry, table = FOLDS.items(*arguments)
        return carry, spoil("item_features", table)

    return Folds(users, items)


def test_events_behind_rows_that_fail_a_check_are_held_back_by_its_name_and_the_rest_goes_on(tmp_path):
    append(tmp_path, *SHOP)

    def spoil(name, table):
        if name == "user_features":  # as if what bob did could not be counted
            table.loc[table["user_id"] == "bob", "user_n_events"] = np.nan
        return table

    rows = write_tables(tmp_path, T0_US + 100 * MINUTE_US, faulty(spoil)).rows
    assert rows["user_features"] == 3
    assert set(table(tmp_path, "user_features")["user_id"]) == {"ann"}
    held = [(row["visitor"], row["reason"]) for row in quarantine.list_rows(tmp_path)]
    assert held == [("bob", "no_value_missing of user_features.user_n_events")]


def test_first_the_instant_that_fails_then_the_whole_visitor_is_taken_out(tmp_path):
    append(tmp_path, *SHOP)

    def spoil(name, table):
        if name == "user_features":  # whatever ann does from her second minute on, and then all of it
            late = table["occurred_at"] > pd.Timestamp(T0_US, unit="us", tz="UTC")
            table.loc[(table["user_id"] == "ann") & late, "user_n_events"] = np.inf
        return table

    write_tables(tmp_path, T0_US + 100 * MINUTE_US, faulty(spoil))
    assert set(table(tmp_path, "user_features")["user_id"]) == {"bob"}
    assert {row["visitor"] for row in quarantine.list_rows(tmp_path)} == {"ann"}


def test_tables_that_fail_without_an_event_to_blame_stop_with_what_to_type(tmp_path):
    append(tmp_path, *SHOP)
    write_tables(tmp_path, T0_US + 100 * MINUTE_US)
    before = table(tmp_path, "item_features")
    empty = faulty(lambda name, found: found.head(0) if name == "item_features" else found)
    with pytest.raises(ValidationStopped, match=r"table_not_empty of item_features.*attune quarantine hold") as stopped:
        write_tables(tmp_path, T0_US + 100 * MINUTE_US, empty)
    assert "\n" not in str(stopped.value)
    pd.testing.assert_frame_equal(table(tmp_path, "item_features"), before)
    assert quarantine.list_rows(tmp_path) == []


def test_a_log_that_names_no_item_has_an_empty_item_table(tmp_path):
    append(tmp_path, ("ann", 0, "search", None), ("bob", 1, "category_browse", None))
    done = materialize(tmp_path, T0_US + 100 * MINUTE_US)
    assert done.offline.rows == {"session_features": 2, "user_features": 2, "user_recent_items": 2, "item_features": 0}
    assert online(tmp_path, "ann")[1] == 0


def test_four_events_whose_sessions_would_be_one_are_in_the_tables(tmp_path):
    """A session id that is given as the start of another would have been: two rows for one key and instant."""
    frame = log(*[("eve", minute, "item_view", "hat") for minute in (0, 1, 2, 2)])
    frame["session_id"] = [None, "c", None, f"~{T0_US}"]
    append_events(tmp_path, frame, received_at_us=T0_US)
    assert write_tables(tmp_path, T0_US + 100 * MINUTE_US).rows["session_features"] == 4
    assert table(tmp_path, "session_features").groupby("session_id").size().to_dict() == {
        f"shop/eve/~{T0_US}": 2, "shop/eve/c": 1, f"shop/eve/~~{T0_US}": 1,
    }  # fmt: skip
    assert quarantine.list_rows(tmp_path) == []


def test_an_empty_log_is_refused_in_one_line_that_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="attune ingest FILE") as refused:
        materialize(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_run_that_is_killed_leaves_whole_tables_and_the_next_one_works(tmp_path):
    append(tmp_path, *SHOP)
    materialize(tmp_path, T0_US + 100 * MINUTE_US)
    before = table(tmp_path, "session_features")
    append(tmp_path, ("bob", 120, "item_view", "bag"))
    code = f"from pathlib import Path; from flows.materialize import materialize; materialize(Path({str(tmp_path)!r}))"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as run:
        drafts = tmp_path / "offline/.drafts"
        until(lambda: drafts.exists() or run.poll() is not None, poll_s=0.002)
        assert drafts.exists()
        run.send_signal(signal.SIGKILL)
    pd.testing.assert_frame_equal(table(tmp_path, "session_features"), before)
    assert materialize(tmp_path).offline.rows["session_features"] == 5
    assert online(tmp_path, "bob")[1:] == (120, ["bag", "hat"])
    assert not drafts.exists()


def test_the_online_store_is_rebuilt_when_it_was_lost(tmp_path):
    append(tmp_path, *SHOP)
    materialize(tmp_path)
    shutil.rmtree(tmp_path / "feast")
    assert materialize(tmp_path).online_from_us == T0_US
    assert online(tmp_path, "ann")[1] == 90


def test_instants_keep_their_microsecond():
    at_us = np.array([T0_US + 1], dtype=np.int64)
    assert feature_tables.instants(at_us)[0].value == (T0_US + 1) * 1_000


def test_what_the_store_serves_is_what_the_table_holds(shop):
    home, _ = shop
    names = [f"item_features:{name}" for name in ITEM_FEATURES] + [f"user_recent_items:{RECENT_ITEMS_AT}"]
    row = open_store(home).get_online_features(names, [{"item_id": "shoe", "user_id": "ann"}]).to_dict()
    newest = table(home, "item_features").query("item_id == 'shoe'").sort_values("occurred_at").iloc[-1]
    assert [np.float32(row[name][0]) for name in ITEM_FEATURES] == [newest[name] for name in ITEM_FEATURES]
    assert row[RECENT_ITEMS_AT] == [T0_US + 90 * MINUTE_US]
