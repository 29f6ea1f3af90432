"""The worker: a new event is in the online features, as a rebuild would have it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from infra.store.engines import open_store, open_writer
from infra.store.events import frame_of
from infra.store.protocol import Writer
from infra.store.statements.cursors import MOVE_CURSOR
from infra.store.statements.events import READ_EVENTS
from models.events.encode import encode
from models.events.rules import to_row
from models.events.touches import parse
from models.features import tables as feature_tables
from models.features.sessions import sessionize
from models.schema import USER_FEATURES, USER_RECENT_EVENTS, USER_RECENT_ITEMS
from services.worker.features import MATERIALIZED, FeatureDuty
from tests.stores import connect, embedded_only, nth, settled
from tests.waiting import PATIENCE_S


class Rows:
    """An online store in memory: the newest row of each user and view."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict[Any, Any]] = {}

    def write_to_online_store(self, feature_view_name: str, df: pd.DataFrame) -> None:
        for row in df.to_dict("records"):
            self.rows[feature_view_name, row["user_id"]] = row


def view(event_id: str, item: str, second: int) -> tuple[object, ...]:
    event = {"event_id": event_id, "type": "item_view", "item_id": item, "price": 5.0, "ts": f"2026-11-21T10:00:{second:02}Z"}
    return to_row(event, "p-" + event_id[0])


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return open_writer(tmp_path, lambda: 7)


def put(home: Path, writer: Writer, *rows: tuple[object, ...]) -> None:
    writer.append("shop", rows).result(PATIENCE_S)
    settled(home)


def materialized(home: Path, n_events: int) -> None:
    connect(home).execute(MOVE_CURSOR, (MATERIALIZED, nth(home, n_events), 7))


def test_it_waits_for_the_first_materialization(tmp_path: Path, writer: Writer) -> None:
    put(tmp_path, writer, view("a1", "x", 1))
    tail = FeatureDuty(open_store(tmp_path), online := Rows())
    assert tail.step(7) == 0
    assert online.rows == {}
    materialized(tmp_path, 0)
    assert (tail.step(7), tail.step(7)) == (1, 0)
    assert online.rows["user_recent_items", "p-a"][USER_RECENT_ITEMS] == ["x"]


def test_the_online_row_is_what_a_rebuild_would_write_even_after_a_late_event(tmp_path: Path, writer: Writer) -> None:
    materialized(tmp_path, 0)
    tail = FeatureDuty(open_store(tmp_path), online := Rows())
    for row in (view("a1", "x", 1), view("b1", "y", 2), view("a3", "z", 9), view("a2", "y", 4)):
        put(tmp_path, writer, row)
        tail.step(7)
    frame = sessionize(frame_of(open_store(tmp_path).read(READ_EVENTS, (0, 2**62, 2**62))))
    encoded = encode(frame)
    features, recent = feature_tables.of_users(frame, encoded.events, encoded.item_ids)
    for user in ("p-a", "p-b"):
        expected = features[features["user_id"] == user].iloc[-1]
        found = online.rows["user_features", user]
        np.testing.assert_array_equal(
            np.array([found[n] for n in USER_FEATURES]), expected[list(USER_FEATURES)].to_numpy(float)
        )
    assert online.rows["user_recent_items", "p-a"][USER_RECENT_ITEMS] == ["z", "y", "x"]
    assert len(recent) == 2
    known, rebuilt = online.rows["user_recent_items", "p-a"][USER_RECENT_EVENTS], recent.set_index("user_id")
    assert known == rebuilt.loc["p-a", USER_RECENT_EVENTS]
    assert parse(known).item_ids == ["z", "y", "x"]
    assert (np.diff(parse(known).at_us) <= 0).all()


def test_it_goes_back_when_a_materialization_wrote_an_older_state(tmp_path: Path, writer: Writer) -> None:
    materialized(tmp_path, 0)
    tail = FeatureDuty(open_store(tmp_path), online := Rows())
    put(tmp_path, writer, view("a1", "x", 1), view("a2", "y", 2))
    assert tail.step(7) == 2
    online.rows.clear()  # overwritten by the fold up to the first event
    materialized(tmp_path, 1)
    assert tail.step(7) == 1
    assert online.rows["user_recent_items", "p-a"][USER_RECENT_ITEMS] == ["y", "x"]


class Failing(Rows):
    """An online store that cannot be reached once."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = False

    def write_to_online_store(self, feature_view_name: str, df: pd.DataFrame) -> None:
        if self.fails:
            self.fails = False
            raise OSError("unreachable")
        super().write_to_online_store(feature_view_name, df)


def test_it_goes_back_although_the_first_attempt_failed(tmp_path: Path, writer: Writer) -> None:
    materialized(tmp_path, 0)
    tail = FeatureDuty(open_store(tmp_path), online := Failing())
    put(tmp_path, writer, view("a1", "x", 1), view("a2", "y", 2))
    tail.step(7)
    online.rows.clear()
    online.fails = True
    materialized(tmp_path, 1)
    with pytest.raises(OSError, match="unreachable"):
        tail.step(7)
    tail.step(7)
    assert online.rows["user_recent_items", "p-a"][USER_RECENT_ITEMS] == ["y", "x"]


@embedded_only("the stamp of a server tells of all its databases")
def test_where_nothing_is_new_nothing_is_written(tmp_path: Path, writer: Writer) -> None:
    materialized(tmp_path, 0)
    put(tmp_path, writer, view("a1", "x", 1))
    tail, watching = FeatureDuty(open_store(tmp_path), Rows()), open_store(tmp_path)
    tail.step(7)
    before = watching.stamp()
    assert tail.step(8) == 0
    assert watching.stamp() == before


def test_a_worker_that_starts_again_goes_on_where_it_stood(tmp_path: Path, writer: Writer) -> None:
    materialized(tmp_path, 0)
    put(tmp_path, writer, view("a1", "x", 1))
    assert FeatureDuty(open_store(tmp_path), Rows()).step(7) == 1
    online = Rows()
    assert FeatureDuty(open_store(tmp_path), online).step(7) == 1  # what came after the materialization, once more
    put(tmp_path, writer, view("b1", "y", 2))
    assert FeatureDuty(open_store(tmp_path), online).step(7) == 2
    assert {user for _, user in online.rows} == {"p-a", "p-b"}


def test_a_quarantined_event_is_in_no_feature(tmp_path: Path, writer: Writer) -> None:
    materialized(tmp_path, 0)
    put(tmp_path, writer, view("a1", "x", 1), view("a2", "y", 2))
    connect(tmp_path).execute(
        "INSERT INTO quarantine (partner, source, format, seq, reason, content_key, quarantined_at_us) "
        "VALUES ('shop', 'log', 'event', ?, 'a test', 'k', 7)",
        (nth(tmp_path, 2),),
    )
    FeatureDuty(open_store(tmp_path), online := Rows()).step(7)
    assert online.rows["user_recent_items", "p-a"][USER_RECENT_ITEMS] == ["x"]
