"""Refused rows come back through the same door after a fix."""

import json
import time

import pytest

from flows.append import ingest_file
from flows.quarantine import list_rows, replay
from infra.secret import secret
from infra.store.statements.quarantine import QUARANTINE_ROW, REJECTED_SOURCE
from models.events.identity import partner_key, pseudonym
from models.events.rejected import kept_form
from tests.stores import connect, nth, quarantine_events, read_events


def change_reason(home):
    """What a refused row looks like after the fix of a rule: the row is sound, only the verdict is old."""
    conn = connect(home)
    raw, id = conn.execute("SELECT raw, id FROM quarantine WHERE raw LIKE '%steal%'").fetchone()
    conn.execute("UPDATE quarantine SET raw = ? WHERE id = ?", (raw.replace("steal", "buy"), id))
    conn.close()


def test_without_a_fix_every_row_stays_refused(tmp_path):
    (tmp_path / "a.csv").write_text("1,2,3,steal,1511544070\n1,2\n1,2,3,pv,1511544070\n" + "u" * 300 + ",2,3,pv,1511544070\n")
    assert ingest_file(tmp_path / "a.csv", "taobao", tmp_path) == (1, 0, 3)
    assert replay(tmp_path) == (0, 0, 3)
    assert len(list_rows(tmp_path)) == 3


def test_after_a_fix_the_row_enters_the_log_once_with_the_id_that_the_file_gives_it(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("1,2,3,steal,1511544070\n1,2\n")
    ingest_file(path, "taobao", tmp_path)
    change_reason(tmp_path)
    assert replay(tmp_path) == (1, 0, 1)
    assert replay(tmp_path) == (0, 0, 1)
    assert [row["line"] for row in list_rows(tmp_path)] == [2]
    path.write_text("1,2,3,buy,1511544070\n")
    assert ingest_file(path, "taobao", tmp_path) == (0, 1, 0)


def test_our_own_rows_keep_their_types_in_quarantine(tmp_path):
    event = {"event_id": "e", "user_id": "u", "type": "stare", "item_id": 5, "price": 2.5, "ts": "2023-11-01T00:00:00Z"}
    (tmp_path / "e.jsonl").write_text(json.dumps(event | {"note": "not ours"}))
    assert ingest_file(tmp_path / "e.jsonl", "attune", tmp_path) == (0, 0, 1)
    (row,) = list_rows(tmp_path)
    kept = json.loads(row["raw"])
    assert (kept["item_id"], kept["price"]) == ("5", 2.5)  # an id is a text, whatever it came as
    assert "note" not in kept
    assert replay(tmp_path) == (0, 0, 1)


def test_events_that_validation_held_back_are_released(tmp_path):
    (tmp_path / "a.csv").write_text("1,2,3,pv,1511544070\n1,3,3,pv,1511544071\n")
    ingest_file(tmp_path / "a.csv", "taobao", tmp_path)
    quarantine_events(tmp_path, [(nth(tmp_path, 2), "dwell_ms: too long for a person")])
    assert [(row["seq"], row["line"]) for row in list_rows(tmp_path)] == [(nth(tmp_path, 2), None)]
    assert len(read_events(tmp_path)) == 1
    assert replay(tmp_path) == (1, 0, 0)
    assert len(read_events(tmp_path)) == 2
    assert list_rows(tmp_path) == []


def reject_at_door(home, event, received_at_us):
    """An event as the door keeps it."""
    raw = json.dumps(kept_form(event, bytes(32)))
    with connect(home) as conn:
        row = ("shop", REJECTED_SOURCE, "attune", 1, raw, "type: unknown", raw, received_at_us)
        conn.execute(QUARANTINE_ROW, row)


@pytest.mark.parametrize(("days_old", "days_kept", "accepted"), [(0, 0, 1), (29, 0, 1), (31, 0, 0), (40, 13, 1)])
def test_a_rejected_event_of_the_api_is_replayed_once_a_vocabulary_knows_it(tmp_path, days_old, days_kept, accepted):
    now = int(time.time())
    ts = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - days_old * 86_400))
    event = {"event_id": "e", "user_id": "canary", "type": "Product Viewed", "item_id": "a", "ts": ts, "note": "call me"}
    reject_at_door(tmp_path, event, (now - days_kept * 86_400) * 1_000_000)
    (row,) = list_rows(tmp_path)
    assert "canary" not in row["raw"]
    assert "call me" not in row["raw"]
    assert replay(tmp_path) == (accepted, 0, 1 - accepted)
    kept = [row["reason"] for row in list_rows(tmp_path)]
    assert kept == (
        [] if accepted else ["ts: ts must not be more than 30 days in the past; bring history in with: attune ingest"]
    )


def test_of_lines_that_cannot_be_parsed_and_of_values_of_no_use_no_text_is_kept(tmp_path):
    file = tmp_path / "events.jsonl"
    event = {"event_id": "e", "user_id": "u", "type": "search", "ts": "canary", "price": "canary"}
    broken = '{"user_id": "canary", "query": "canary'
    context = {"referrer": "https://search.example/?q=canary", "device": "mobile", "timezone": "canary"}
    file.write_text(f"{json.dumps(event | {'context': context})}\n{broken}\n")
    assert ingest_file(file, "attune", tmp_path) == (0, 0, 2)
    kept = {row["line"]: row["raw"] for row in list_rows(tmp_path)}
    known = pseudonym(partner_key(secret(tmp_path), "local"), "u")
    expected = {"event_id": "e", "user_id": known, "type": "search", "ts": "", "price": "", "device": "mobile"}
    assert json.loads(kept[1]) == expected
    assert kept[2].startswith(f"({len(broken)} characters, ")
    assert replay(tmp_path) == (0, 0, 2)
    assert not any(b"canary" in path.read_bytes() for path in tmp_path.iterdir() if path != file)
