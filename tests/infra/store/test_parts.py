"""Parts of the log on a server: verdicts, readers and removal are those of one table, and old parts go whole."""

import time
from contextlib import closing
from itertools import count, pairwise
from pathlib import Path

import pytest

from infra.store.engines import URL, open_store
from infra.store.postgres.connection import connect_server
from infra.store.postgres.migrate import migrate, revisions
from infra.store.postgres.store import PostgresStore
from infra.store.statements.events import APPEND_COLUMNS, KNOWN_IDS
from infra.store.transaction import Row
from tests import postgres
from tests.infra.store.test_store import event
from tests.waiting import until

pytestmark = postgres.needs_postgres
WAIT_MS = 5_000
PARTS = "SELECT name FROM event_ranges ORDER BY from_seq"
WHERE_THEY_ARE = "SELECT event_id, tableoid::regclass::text FROM events ORDER BY seq"
ON = "UPDATE log_base SET log_offset = log_offset + ?"  # as if so many transactions had gone by


@pytest.fixture
def store(server_url: str) -> PostgresStore:
    return PostgresStore(server_url, WAIT_MS)


def at(name: str, occurred_at_us: int, **more: object) -> Row:
    """An event of an instant."""
    given = dict(zip(APPEND_COLUMNS, event(name), strict=True)) | {"occurred_at_us": occurred_at_us, **more}
    return tuple(given[column] for column in APPEND_COLUMNS)


def move_on(store: PostgresStore, n_transactions: int = 1 << 20) -> None:
    store.write(lambda transaction: transaction.execute(ON, (n_transactions,)))


def in_three_parts(store: PostgresStore) -> list[str]:
    """Events a, b and c, each in a part of its own; the names of the parts, the next one among them."""
    for n, name in enumerate("abc"):
        store.roll(None)
        store.append([at(name, 10 * n)])
        move_on(store)
    until(lambda: store.tail("reader").end() == store.read("SELECT max(seq) FROM events")[0][0], "others write for ever")
    return [name for (name,) in store.read(PARTS)]


def test_a_log_of_several_parts_is_one_log(store: PostgresStore) -> None:
    parts = in_three_parts(store)
    assert store.read(WHERE_THEY_ARE) == list(zip("abc", parts[:3], strict=True))
    assert store.append([at("a", 0), at("c", 99), at("d", 30)]) == [False, False, True]
    tail = store.tail("reader")
    positions = [0]
    until(lambda: tail.end() == store.read("SELECT max(seq) FROM events")[0][0], "others write for ever")
    while (step := tail.until(positions[-1], 1)) > positions[-1]:
        positions.append(step)
    assert [tail.passed(a, b) for a, b in pairwise(positions)] == [1, 1, 1, 1]


def test_an_old_part_goes_whole_with_what_hangs_on_it(store: PostgresStore) -> None:
    parts = in_three_parts(store)
    ((first,),) = store.read("SELECT min(seq) FROM events")
    held = (
        "INSERT INTO quarantine (partner, source, format, seq, reason, content_key, quarantined_at_us) "
        "VALUES (?, 'v', 'log', ?, 'r', 'k', 1)"
    )
    store.write(lambda transaction: transaction.execute(held, ("shop", first)))
    assert store.roll(0) == 0
    assert store.roll(10) == 1
    assert store.roll(10) == 0
    assert store.read(PARTS)[0] == (parts[1],)
    assert store.read("SELECT event_id FROM events ORDER BY seq") == [("b",), ("c",)]
    assert store.read("SELECT count(*) FROM quarantine") == [(0,)]
    assert store.read(KNOWN_IDS, ("shop", '["a", "b"]')) == [("b",)]
    assert store.append([at("a", 50), at("b", 50)]) == [True, False]


def test_the_part_that_is_written_stays(store: PostgresStore) -> None:
    store.append([at("a", 0)])
    assert store.roll(1_000) == 0
    assert store.read("SELECT event_id FROM events") == [("a",)]


def test_who_reads_long_is_not_waited_for(store: PostgresStore, server_url: str) -> None:
    in_three_parts(store)
    reader = PostgresStore(server_url, WAIT_MS).stream("SELECT event_id FROM events ORDER BY seq")
    assert next(reader) == ("a",)
    began = time.monotonic()
    store.roll(10)  # ids have gone, the part is dropped another time
    assert time.monotonic() - began < WAIT_MS / 1_000
    assert [name for (name,) in reader] == ["b", "c"]
    store.roll(10)
    assert store.read("SELECT event_id FROM events ORDER BY seq") == [("b",), ("c",)]


def test_what_no_part_was_made_for_is_kept_all_the_same(store: PostgresStore) -> None:
    move_on(store, 1 << 30)
    assert store.append([at("a", 0), at("a", 0)]) == [True, False]
    assert store.read(WHERE_THEY_ARE) == [("a", "events_rest")]
    store.roll(None)
    move_on(store, 1 << 11)
    store.append([at("b", 0), at("a", 0)])
    assert store.read(WHERE_THEY_ARE) == [("a", "events_rest"), ("b", store.read(PARTS)[-1][0])]


def test_parts_are_made_ahead_and_not_twice(store: PostgresStore) -> None:
    for n_parts in (2, 3):  # that which is written, and the next one
        for _ in range(3):
            store.roll(None)
        assert len(store.read(PARTS)) == n_parts
        move_on(store)


def test_ids_and_items_of_orders_go_with_events_that_are_removed(store: PostgresStore) -> None:
    bought = {"event_type": "purchase", "order_id": "o", "item_id": "i"}
    assert store.append([at("a", 0, **bought), at("b", 0, **bought), at("c", 0)]) == [True, False, True]
    assert store.read("SELECT event_id FROM event_ids ORDER BY seq") == [("a",), ("c",)]  # b is known by nobody
    store.write(lambda transaction: transaction.execute("DELETE FROM events WHERE event_id = 'a'"))
    assert store.read("SELECT count(*) FROM order_items") == [(0,)]
    assert store.append([at("b", 0, **bought), at("a", 0), at("c", 0)]) == [True, True, False]


def test_a_log_of_before_there_were_parts_keeps_its_ids_and_orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    number = count(1)
    with postgres.database() as url, closing(connect_server(url)) as connection:
        for one in revisions():
            if one.number <= 23:
                connection.execute(one.sql)
        connection.execute("CREATE TABLE store_revision (id BIGINT PRIMARY KEY, revision BIGINT NOT NULL)")
        connection.execute("INSERT INTO store_revision VALUES (1, 23)")
        rows = [at("a", 0), at("b", 5, event_type="purchase", order_id="o", item_id="i")]
        for row in rows:
            marks = ", ".join(f"${k + 2}" for k in range(len(row)))
            connection.execute(
                f"INSERT INTO events (seq, {', '.join(APPEND_COLUMNS)}) VALUES ($1, {marks})", (next(number), *row)
            )
        migrate(connection)
        monkeypatch.setenv(URL, url)
        with closing(open_store(tmp_path)) as store:
            again = at("c", 5, event_type="purchase", order_id="o", item_id="i")
            assert store.append([*rows, again, at("d", 6)]) == [False, False, False, True]
            assert store.read("SELECT event_id FROM events ORDER BY seq") == [("a",), ("b",), ("d",)]
