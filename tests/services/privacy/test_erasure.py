"""Erasure: nothing of the user is left in any file of the home, and nothing comes back."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from starlette.testclient import TestClient

from infra import layout, object_store
from infra.lock import held
from infra.secret import secret
from infra.settings import Settings
from infra.store.embedded.gaps import gap
from infra.store.engines import open_store
from infra.store.statements import erasure as erasure_tables
from infra.store.statements.quarantine import QUARANTINE_EVENT
from models.events.identity import partner_key, pseudonym
from services.api.app import build_app
from services.http import partners
from services.privacy import erasure
from services.worker.archive import ArchiveDuty
from services.worker.erasure import ErasureDuty
from services.worker.retention import RetentionDuty
from tests.stores import connect, embedded_only, nth
from tests.waiting import until

NOW_US = time.time_ns() // 1000


def event(user: str, n: int, at_us: int = NOW_US - 60_000_000, **more: Any) -> dict[str, Any]:
    instant = datetime.fromtimestamp(at_us / 1e6, UTC).isoformat()
    return {
        "event_id": f"{user}-{n}",
        "user_id": user,
        "session_id": "s",
        "type": "item_view",
        "item_id": "i",
        "ts": instant,
        **more,
    }


def forgetting(users: list[str]) -> Callable[[Sequence[str]], bool]:
    """An online store that remembers who was taken out of it."""

    def forget(some: Sequence[str]) -> bool:
        users.extend(some)
        return True

    return forget


class Shop:
    """A service on a home, and its partner's key."""

    def __init__(self, client: TestClient, home: Path, key: str) -> None:
        self.client, self.home, self.headers = client, home, {"Authorization": f"Bearer {key}"}

    def send(self, *events: dict[str, Any]) -> dict[str, Any]:
        reply = self.client.post("/v1/events", json={"events": list(events)}, headers=self.headers)
        assert reply.status_code == 202
        return dict(reply.json())

    def erase(self, user: str) -> dict[str, Any]:
        reply = self.client.delete(f"/v1/users/{user}", headers=self.headers)
        assert reply.status_code == 202
        return dict(reply.json())

    def known(self, user: str) -> str:
        return pseudonym(partner_key(secret(self.home), "shop"), user)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    key = partners.add(tmp_path, "shop", NOW_US)
    with TestClient(build_app(Settings(home=tmp_path))) as client:
        yield Shop(client, tmp_path, key)


def test_an_erased_user_is_gone_and_stays_gone_the_others_stay(shop: Shop) -> None:
    gone, stays = [event("gone", n) for n in range(3)], [event("stays", n) for n in range(2)]
    assert shop.send(*gone, *stays)["accepted"] == 5
    receipt = shop.erase("gone")
    assert receipt["removed"]["events"] == 3
    assert "gone" not in json.dumps(receipt)
    assert shop.send(*gone)["accepted"] == 0
    back = event("gone", 9, at_us=time.time_ns() // 1000 + 1_000_000)
    assert shop.send(back)["accepted"] == 1  # a visitor who comes back is a new one
    left = connect(shop.home).execute("SELECT user_id, count(*) FROM events GROUP BY user_id").fetchall()
    assert dict(left) == {shop.known("stays"): 2, shop.known("gone"): 1}


@embedded_only("both engines have the same tables, see test_parity")
def test_every_table_that_names_a_user_is_reached(shop: Shop) -> None:
    names = (
        "SELECT m.name FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c "
        "WHERE m.type = 'table' AND c.name = 'user_id' AND m.name <> 'tombstones'"
    )
    assert {name for (name,) in connect(shop.home).execute(names)} <= {table for table, _ in erasure_tables.ERASE}


@embedded_only("the server's vacuum clears its files")
def test_no_file_of_the_home_holds_the_pseudonym_any_more(shop: Shop) -> None:
    known = shop.known("gone")
    shop.send(*(event("gone", n) for n in range(50)), event("gone", 99, type="no such type"))
    ask = {"user_id": "gone", "limit": 3}
    shop.client.post("/v1/recommendations", json=ask, headers=shop.headers)
    connection = connect(shop.home)
    until(lambda: connection.execute("SELECT 1 FROM decisions").fetchall(), "the decision is not on record")
    assert connection.execute("SELECT 1 FROM quarantine WHERE instr(raw, ?) > 0", (known,)).fetchall()
    receipt = shop.erase("gone")
    online: list[str] = []
    duty = ErasureDuty(shop.home, open_store(shop.home), forgetting(online), settle_s=0.0)
    until(lambda: duty.step(time.time_ns() // 1000) == 1, "somebody goes on reading")
    assert set(online) == {known}
    assert shop.client.get(f"/v1/erasures/{receipt['receipt_id']}", headers=shop.headers).json()["completed"]
    connection.execute("DELETE FROM tombstones")  # which holds the pseudonym on purpose
    until(lambda: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0] == 0, "somebody goes on reading")
    holding = [path.name for path in shop.home.rglob("*") if path.is_file() and known.encode() in path.read_bytes()]
    assert holding == []


@embedded_only("pages of the file")
def test_what_sqlite_left_of_the_user_between_the_rows_of_a_page_goes_too(shop: Shop) -> None:
    shop.send(event("gone", 1), *(event("stays", n) for n in range(3)))
    store, path = open_store(shop.home), shop.home / layout.STORE
    until(store.scrub, "somebody goes on reading")
    ((page,),) = store.read("SELECT rootpage - 1 FROM sqlite_schema WHERE name = 'events'")
    ((size,),) = store.read("PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek(page * size)
        begins, _ = gap(file.read(size))
        file.seek(page * size + begins)
        file.write(shop.known("gone").encode())  # as a row that was moved leaves it
    shop.erase("gone")
    duty = ErasureDuty(shop.home, open_store(shop.home), forgetting([]), settle_s=0.0)
    until(lambda: duty.step(time.time_ns() // 1000) == 1, "somebody goes on reading")
    store.write(lambda transaction: transaction.execute("DELETE FROM tombstones"))  # which holds the pseudonym on purpose
    until(store.scrub, "somebody goes on reading")
    assert shop.known("gone").encode() not in path.read_bytes()
    assert store.read("SELECT count(*) FROM events") == [(3,)]


@embedded_only("SQLite's plans")
def test_no_table_is_read_from_end_to_end_for_one_user(shop: Shop) -> None:
    connection = connect(shop.home)
    for table, statement in erasure_tables.ERASE:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", ("nobody",)).fetchall()
        assert not [step[-1] for step in plan if step[-1].startswith("SCAN")], table


def test_many_are_completed_in_one_pass_and_a_flow_is_neither_hindered_nor_hinders_for_ever(shop: Shop) -> None:
    receipts = []
    for user in ("a", "b", "never seen"):
        if user != "never seen":
            shop.send(event(user, 1), event(user, 2, type="no such type"))
        receipts.append(shop.erase(user)["receipt_id"])
    asked: list[str] = []
    duty = ErasureDuty(shop.home, open_store(shop.home), forgetting(asked), settle_s=0.0)
    with held(shop.home / layout.RETRAIN_LOCK, "retrain"):
        assert (duty.step(time.time_ns() // 1000), asked) == (0, [])

    def flow_in_between(users: Sequence[str]) -> bool:
        with held(shop.home / layout.RETRAIN_LOCK, "retrain"):
            return True

    between = ErasureDuty(shop.home, open_store(shop.home), flow_in_between, settle_s=0.0)
    until(
        lambda: receipt_of(shop, receipts[0])["removed"].get("quarantine") or between.step(time.time_ns() // 1000),
        "no text is found",
    )
    assert not receipt_of(shop, receipts[0])["completed"]  # the flow may have read tables of before
    until(lambda: duty.step(time.time_ns() // 1000) == 3, "somebody goes on reading")
    found = [receipt_of(shop, receipt) for receipt in receipts]
    assert [one["completed"] for one in found] == [True] * 3
    assert [one["removed"] for one in found] == [{"events": 1, "quarantine": 1}] * 2 + [{}]


def receipt_of(shop: Shop, receipt: str) -> dict[str, Any]:
    return dict(shop.client.get(f"/v1/erasures/{receipt}", headers=shop.headers).json())


@embedded_only("a reader keeps pages of the file")
def test_a_receipt_is_not_complete_while_a_reader_keeps_what_was(shop: Shop) -> None:
    shop.send(event("u", 1))
    reader = connect(shop.home)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM events").fetchall() == [(1,)]
    receipt = shop.erase("u")["receipt_id"]
    duty = ErasureDuty(shop.home, open_store(shop.home), forgetting([]), settle_s=0.0)
    assert duty.step(time.time_ns() // 1000) == 0
    assert not receipt_of(shop, receipt)["completed"]
    reader.execute("COMMIT")
    until(lambda: duty.step(time.time_ns() // 1000) == 1, "somebody goes on reading")
    assert receipt_of(shop, receipt)["completed"]


def test_a_repeated_batch_names_its_events_and_the_store_does_not(shop: Shop) -> None:
    body = {"events": [event("gone", 1), event("gone", 2, type="no such type")]}
    first, again = (shop.client.post("/v1/events", json=body, headers={**shop.headers, "idempotency-key": "k"}) for _ in "ab")
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    assert [one["event_id"] for one in again.json()["results"]] == ["gone-1", "gone-2"]
    bodies = connect(shop.home).execute("SELECT body FROM idempotent_answers").fetchall()
    assert bodies
    assert "gone" not in str(bodies)


def test_one_pass_waits_for_erasures_that_still_come_but_not_for_long(shop: Shop) -> None:
    shop.send(event("a", 1), event("b", 1))
    shop.erase("a")
    time.sleep(0.3)
    shop.erase("b")
    store, online = open_store(shop.home), list[str]()
    ((first_us, last_us),) = store.read(erasure_tables.UNFINISHED_SPAN)
    assert last_us - first_us > 250_000
    waits = ErasureDuty(shop.home, store, forgetting(online), settle_s=0.2, hold_s=60.0)
    assert waits.step(first_us + 250_000) == 0  # the first has settled, the second not
    holds_no_more = ErasureDuty(shop.home, store, forgetting(online), settle_s=0.2, hold_s=0.24)
    until(lambda: holds_no_more.step(first_us + 250_000) == 1, "somebody goes on reading")
    assert online == [shop.known("a")] * len(online)
    until(lambda: waits.step(last_us + 200_000) == 1, "somebody goes on reading")
    assert waits.step(last_us + 999_000) == 0


def test_every_receipt_of_a_user_who_was_erased_twice_can_be_found(shop: Shop) -> None:
    shop.send(event("u", 1))
    first, second = shop.erase("u"), shop.erase("u")
    assert (first["removed"]["events"], second["removed"]) == (1, {})

    def kept() -> list[dict[str, Any]]:
        addresses = [f"/v1/erasures/{receipt['receipt_id']}" for receipt in (first, second)]
        return [shop.client.get(address, headers=shop.headers).json() for address in addresses]

    assert kept() == [first, second]
    duty = ErasureDuty(shop.home, open_store(shop.home), forgetting([]), settle_s=0.0)
    until(lambda: duty.step(time.time_ns() // 1000) == 1, "somebody goes on reading")
    assert kept() == [receipt | {"completed": True} for receipt in (first, second)]
    third = shop.erase("u")
    assert [receipt["completed"] for receipt in kept()] == [True, True]
    assert third["receipt_id"] not in {first["receipt_id"], second["receipt_id"]}


def test_what_a_step_under_way_wrote_after_the_erasure_goes_with_the_completion(shop: Shop) -> None:
    shop.send(event("gone", 1))
    shop.erase("gone")
    connection = connect(shop.home)
    connection.execute("INSERT INTO action_due VALUES (?, 1)", (shop.known("gone"),))
    duty = ErasureDuty(shop.home, open_store(shop.home), forgetting([]), settle_s=3600.0)
    assert duty.step(time.time_ns() // 1000) == 0  # too early: the step may still be under way
    until(lambda: duty.step(time.time_ns() // 1000 + 3_700_000_000) == 1, "somebody goes on reading")
    assert connection.execute("SELECT * FROM action_due").fetchall() == []


def test_one_partner_cannot_erase_or_see_the_erasure_of_another(shop: Shop) -> None:
    other = {"Authorization": f"Bearer {partners.add(shop.home, 'other', NOW_US)}"}
    shop.send(event("u", 1))
    until(lambda: shop.client.get("/v1/signals", headers=other).status_code == 200, "the key is not known")
    theirs = shop.client.delete("/v1/users/u", headers=other)
    assert theirs.json()["removed"] == {}
    mine = shop.erase("u")
    assert mine["removed"]["events"] == 1
    assert shop.client.get(f"/v1/erasures/{mine['receipt_id']}", headers=other).status_code == 404


def test_the_command_says_what_went(shop: Shop) -> None:
    shop.send(event("u", 1), event("u", 2))
    forgotten: list[str] = []
    receipt = erasure.erase(shop.home, "shop", "u", time.time_ns() // 1000, forgetting(forgotten), settle_s=0.0)
    assert (receipt.completed, receipt.removed["events"], set(forgotten)) == (True, 2, {shop.known("u")})


def test_retention_removes_what_is_old_with_all_that_hangs_on_it(shop: Shop) -> None:
    old_us = NOW_US - 20 * 86_400_000_000
    shop.send(event("u", 1, at_us=old_us), event("u", 2))
    connection = connect(shop.home)
    connection.execute(QUARANTINE_EVENT, ("odd", "key", NOW_US, nth(shop.home, 1)))
    assert RetentionDuty(open_store(shop.home), None).step(NOW_US) == 0
    rests: list[float] = []
    assert RetentionDuty(open_store(shop.home), 10, rests.append).step(NOW_US) == 2
    assert rests  # others write between two of its transactions
    assert connection.execute("SELECT event_id FROM events").fetchall() == [("u-2",)]


def test_an_erasure_is_complete_once_the_archive_is_without_the_user(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(object_store.URL, f"file://{tmp_path / 'objects'}")
    objects = object_store.opened()
    assert objects is not None
    shop.send(*[event("gone", n) for n in range(3)], event("stays", 0))
    known, store = shop.known("gone").encode(), open_store(shop.home)
    until(lambda: store.tail("").end() >= nth(shop.home, 4) > 0, "the events are not there")
    assert ArchiveDuty(store, objects, longest_wait_s=0.0).step(time.time_ns() // 1000) == 4
    assert any(known in parquet(path) for path in (tmp_path / "objects").rglob("*.parquet"))
    receipt_id = shop.erase("gone")["receipt_id"]
    duty = ErasureDuty(shop.home, store, forgetting([]), settle_s=0.0)
    assert duty.step(time.time_ns() // 1000 + 1_000_000) == 1
    receipt = erasure.receipt(store.read, "shop", receipt_id)
    assert receipt is not None
    assert receipt.completed
    assert receipt.removed["archive"] == 3
    left = [parquet(path) for path in (tmp_path / "objects").rglob("*.parquet")]
    assert left
    assert not any(known in text for text in left)


def parquet(path: Path) -> bytes:
    """Everything that a Parquet file holds, as text."""
    return pd.read_parquet(path).to_csv().encode()
