"""What only the PostgreSQL store has to do: positions, races, fences, halves, migrations, servers that are away."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from infra.store import events, identities
from infra.store.embedded.store import EmbeddedStore
from infra.store.engines import URL, move, open_store, open_writer
from infra.store.errors import ConflictingWrite, NewerStore, PendingMigration, StoreBusy, StoreUnavailable
from infra.store.postgres.connection import connect_server, shown
from infra.store.postgres.migrate import migrate, newest, require_ready
from infra.store.postgres.pools import forget_pools
from infra.store.postgres.store import PostgresStore
from infra.store.protocol import Store, Transaction
from infra.store.statements.decisions import KEEP_SNAPSHOT
from infra.store.statements.erasure import BURY
from infra.store.statements.events import APPEND_COLUMNS, NEWEST_EVENT, NOTE_SOURCE
from infra.store.statements.idempotency import ANSWER_OF, KEEP_ANSWER
from infra.store.statements.partners import ADD_PARTNER
from models.events.rules import to_row
from tests import postgres
from tests.infra.store.test_store import event
from tests.waiting import PATIENCE_S
from tests.waiting import until as wait

pytestmark = postgres.needs_postgres
Opener = Callable[[], Store]
WAIT_MS = 5_000


@pytest.fixture
def store(server_url: str) -> PostgresStore:
    return PostgresStore(server_url, WAIT_MS)


@pytest.fixture
def at_server(server_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(URL, server_url)
    return server_url


def in_threads(n: int, work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(k,)) for k in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# ---- the log ---------------------------------------------------------------------------------------------------------------


def test_a_tail_loses_no_event_of_writers_who_commit_in_any_order(server_url: str) -> None:
    n_writers, n_steps = 4, 25
    writing = threading.Event()
    seen: list[str] = []

    def write(k: int) -> None:
        mine, chance = PostgresStore(server_url, WAIT_MS), random.Random(k)

        def slowly(step: int, transaction: Transaction) -> None:
            transaction.append([event(f"{k}-{step}-{row}", user=f"u{k}") for row in range(3)])
            time.sleep(chance.random() * 0.01)

        for step in range(n_steps):
            mine.write(partial(slowly, step))

    def follow() -> None:
        mine = PostgresStore(server_url, WAIT_MS)
        tail, position = mine.tail("reader"), 0
        while True:
            is_over = writing.is_set()
            until = tail.until(position, 7)
            between = "SELECT event_id FROM events WHERE seq > ? AND seq <= ? ORDER BY seq"
            seen.extend(name for (name,) in mine.read(between, (position, until)))
            if is_over and until == position and mine.read("SELECT max(seq) FROM events") == [(position,)]:
                return
            position = until

    reader = threading.Thread(target=follow)
    reader.start()
    in_threads(n_writers, write)
    writing.set()
    reader.join(PATIENCE_S)
    assert len(seen) == len(set(seen)) == 3 * n_writers * n_steps


def test_an_open_transaction_holds_the_end_of_the_log_back(store: PostgresStore, server_url: str) -> None:
    tail = store.tail("reader")

    def work(transaction: Transaction) -> None:
        transaction.append([event("first")])
        PostgresStore(server_url, WAIT_MS).append([event("second")])
        assert (tail.end(), tail.until(0, 10)) == (0, 0)
        assert not events.await_readable(PostgresStore(server_url, WAIT_MS), patience_s=0.05)

    store.write(work)
    assert events.await_readable(store, PATIENCE_S)
    assert [name for (name,) in store.read("SELECT event_id FROM events ORDER BY seq")] == ["first", "second"]
    wait(lambda: tail.until(0, 10) == tail.end() > 0)  # transactions of other tests may be open


def test_events_of_a_file_are_noted_with_no_others_between(store: PostgresStore) -> None:
    store.append([event("before")])

    def work(transaction: Transaction) -> None:
        ((newest_before,),) = transaction.read(NEWEST_EVENT)
        transaction.append([event("a"), event("b")])
        transaction.execute(NOTE_SOURCE, ("shop", "log.csv", newest_before))

    store.write(work)
    between = "SELECT event_id FROM events JOIN ingested ON events.seq BETWEEN first_seq AND last_seq ORDER BY events.seq"
    assert store.read(between) == [("a",), ("b",)]


def test_what_an_erased_user_did_before_stays_out(store: PostgresStore) -> None:
    store.write(lambda transaction: transaction.execute(BURY, ("gone", "shop", "r", 2**60)))
    assert store.append([event("a", user="gone"), event("b", user="here")]) == [False, True]


def test_texts_come_back_as_they_were_sent(store: PostgresStore) -> None:
    texts = ["{},\"'", "back\\slash", "a\nb\tc\x01", "NULL", "ü 😀 \u2028", ""]
    place = APPEND_COLUMNS.index("category")
    rows = [(*event(f"e{k}")[:place], text, *event("x")[place + 1 :]) for k, text in enumerate(texts)]
    assert all(store.append(rows))
    assert [text for (text,) in store.read("SELECT category FROM events ORDER BY seq")] == texts


def test_rows_of_any_shape_get_the_verdicts_of_the_embedded_store(store: PostgresStore, tmp_path: Path) -> None:
    embedded, chance = EmbeddedStore(tmp_path), random.Random(7)
    for one in (store, embedded):
        one.write(lambda transaction: transaction.execute(BURY, ("u1", "shop", "r", 3)))
    what: dict[str, tuple[object, ...]] = {
        **{"partner": ("shop", "other"), "event_id": tuple("abcdef"), "user_id": ("u0", "u1"), "occurred_at_us": (2, 4)},
        **{"event_type": ("purchase", "search"), "item_id": (None, "i", "j"), "price": (None, 2.5, float("nan"), 1e300)},
        **{
            "order_id": (None, None, "o"),
            "browser": (0, 1),
            "believed": (1, 0),
            "received_at_us": (7,),
            "utc_offset_min": (60,),
        },
    }
    for n in range(60):
        fixed = {name: chance.choice(values) for name, values in what.items() if chance.random() < 0.5}
        rows = []
        for k in range(chance.choice((1, 2, 9))):
            row = {name: chance.choice(values) for name, values in what.items()} | fixed
            row["event_id"] = f"{row['event_id']}{n // 3}" if k % 3 else row["event_id"]
            rows.append(tuple(row.get(name) for name in APPEND_COLUMNS))
        assert store.append(rows) == embedded.append(rows), rows
    kept = f"SELECT {', '.join(APPEND_COLUMNS)} FROM events ORDER BY seq"
    assert store.read(kept) == embedded.read(kept)
    assert store.append([]) == []


# ---- races -----------------------------------------------------------------------------------------------------------------


def test_copies_of_a_request_that_read_before_they_write_have_one_effect(server_url: str) -> None:
    effects: list[int] = []

    def ask(k: int) -> None:
        def work(transaction: Transaction) -> bool:
            if transaction.read(ANSWER_OF, ("shop", "key", 0)):
                return False
            transaction.execute(KEEP_ANSWER, ("shop", "key", "f", 200, b"{}", 1))
            return True

        if PostgresStore(server_url, WAIT_MS).write(work):
            effects.append(k)

    in_threads(16, ask)
    assert len(effects) == 1


def test_a_budget_is_not_overspent_by_parallel_writers(server_url: str) -> None:
    spent = "SELECT coalesce(sum(spent_cents), 0) FROM offer_spend"
    spend = (
        "INSERT INTO offer_spend (partner, offer_id, utc_day, spent_cents, n_signals) VALUES ('p', 'o', ?, 100, 1) "
        "ON CONFLICT (partner, offer_id, utc_day) DO UPDATE SET spent_cents = offer_spend.spent_cents + 100"
    )

    def buy(k: int) -> None:
        def work(transaction: Transaction) -> None:
            if transaction.read(spent)[0][0] < 1_000:
                transaction.execute(spend, (k,))

        mine = PostgresStore(server_url, WAIT_MS)
        for _ in range(5):
            mine.write(work)

    in_threads(6, buy)
    assert PostgresStore(server_url, WAIT_MS).read(spent) == [(1_000,)]


def test_work_that_was_begun_under_a_lease_is_not_written_under_the_next(server_url: str) -> None:
    standby = PostgresStore(server_url, WAIT_MS)
    keeper = PostgresStore(server_url, WAIT_MS)
    assert keeper.lease("worker", "a", 60) == 1
    under_it = PostgresStore(server_url, WAIT_MS)
    under_it.write(lambda transaction: transaction.execute(ADD_PARTNER, ("a", 1)))
    standby.write(lambda transaction: transaction.execute("UPDATE leases SET until_us = 0"))  # a machine stood still
    with closing(connect_server(server_url)) as other:
        other.execute("UPDATE leases SET holder = 'b', epoch = 2")
    with pytest.raises(StoreBusy, match="lease worker"):
        under_it.write(lambda transaction: transaction.execute(ADD_PARTNER, ("b", 1)))
    assert under_it.read("SELECT name FROM partners") == [("a",)]
    standby.write(lambda transaction: transaction.execute(ADD_PARTNER, ("c", 1)))


def test_a_lease_lapses_by_the_servers_clock(server_url: str) -> None:
    one, other = PostgresStore(server_url, WAIT_MS), PostgresStore(server_url, WAIT_MS)
    assert one.lease("work", "a", 0.2) == 1
    assert other.lease("work", "b", 60) is None
    until = time.monotonic() + PATIENCE_S
    while (epoch := other.lease("work", "b", 60)) is None and time.monotonic() < until:
        time.sleep(0.05)
    assert epoch == 2
    assert one.lease("work", "a", 60) is None


# ---- the writer ------------------------------------------------------------------------------------------------------------


def test_a_group_with_bad_pieces_is_written_but_for_them(at_server: str, tmp_path: Path) -> None:
    writer, goes_on = open_writer(tmp_path, lambda: 7), threading.Event()
    writer.submit(lambda transaction: goes_on.wait(PATIENCE_S))
    row = to_row({"event_id": "x", "type": "search", "ts": "2026-11-21T10:00:00Z"}, "p")
    futures = [writer.append("shop", [(f"e{k}" if k % 10 else f"e\0{k}", *row[1:])]) for k in range(40)]
    twice = writer.submit(lambda transaction: transaction.execute("INSERT INTO partners VALUES ('b', 1), ('b', 1)"))
    goes_on.set()
    for k, future in enumerate(futures):
        if k % 10:
            assert future.result(PATIENCE_S) == [True]
        else:
            with pytest.raises(ConflictingWrite):
                future.result(PATIENCE_S)
    with pytest.raises(ConflictingWrite):
        twice.result(PATIENCE_S)
    writer.close()
    assert PostgresStore(at_server, WAIT_MS).read("SELECT count(*) FROM events") == [(36,)]


def test_a_writer_whose_connection_was_cut_acknowledges_nothing_and_recovers(at_server: str, tmp_path: Path) -> None:
    writer = open_writer(tmp_path, lambda: 7)
    row = to_row({"event_id": "x", "type": "search", "ts": "2026-11-21T10:00:00Z"}, "p")

    def cut(transaction: Transaction) -> None:
        ((pid,),) = transaction.read("SELECT pg_backend_pid()")
        with closing(connect_server(at_server)) as other:
            other.execute("SELECT pg_terminate_backend($1::int)", (pid,))
        transaction.append([("shop", *row, 7, 0, 1, *[None] * 8)])

    with pytest.raises(StoreUnavailable):
        writer.submit(cut).result(PATIENCE_S)
    assert writer.append("shop", [row]).result(PATIENCE_S) == [True]
    writer.close()


# ---- the server ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def empty_url() -> Iterator[str]:
    with postgres.database() as url:
        yield url


def test_many_who_open_an_empty_database_at_once_make_its_tables_once(empty_url: str, tmp_path: Path) -> None:
    failures: list[Exception] = []

    def open_it(k: int) -> None:
        try:
            with closing(connect_server(empty_url)) as connection:
                require_ready(connection)
        except Exception as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    in_threads(8, open_it)
    assert failures == []
    assert PostgresStore(empty_url, WAIT_MS).read("SELECT revision FROM store_revision") == [(newest(),)]


def test_a_newer_revision_is_refused_and_an_older_one_waits_for_its_migration(server_url: str) -> None:
    with closing(connect_server(server_url)) as connection:
        connection.execute("UPDATE store_revision SET revision = revision + 1")
        with pytest.raises(NewerStore, match="upgrade Attune"):
            PostgresStore(server_url, WAIT_MS).read("SELECT 1")
        with pytest.raises(NewerStore):
            migrate(connection)
        connection.execute("UPDATE store_revision SET revision = 17")
        with pytest.raises(PendingMigration, match="attune migrate"):
            PostgresStore(server_url, WAIT_MS).read("SELECT 1")
        connection.execute("UPDATE store_revision SET revision = $1", (newest(),))
    assert PostgresStore(server_url, WAIT_MS).read("SELECT 1") == [(1,)]


def test_a_log_that_was_restored_into_another_cluster_goes_on_behind_its_last_event(server_url: str) -> None:
    PostgresStore(server_url, WAIT_MS).append([event("a")])
    with closing(connect_server(server_url)) as connection:
        connection.execute("UPDATE events SET seq = seq + (1::bigint << 50)")  # of transactions that had higher numbers
        forget_pools(server_url)
        with pytest.raises(PendingMigration, match="attune migrate"):
            PostgresStore(server_url, WAIT_MS).read("SELECT 1")
        migrate(connection)
        store = PostgresStore(server_url, WAIT_MS)
        store.append([event("b")])
        assert store.read("SELECT event_id FROM events ORDER BY seq") == [("a",), ("b",)]
        wait(lambda: store.tail("reader").end() == store.read("SELECT max(seq) FROM events")[0][0])
        migrate(connection)
        assert connection.execute("SELECT count(*) FROM log_base WHERE log_offset > 1000000").fetchall() == [(1,)]


def test_a_home_moves_to_a_server_with_all_that_it_has(empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URL, raising=False)
    here = open_store(tmp_path)
    here.append([event("a"), event("b")])
    here.write(lambda transaction: transaction.execute(ADD_PARTNER, ("shop", 1)))
    for version in (1, 2):
        assert here.write(lambda transaction: transaction.read(KEEP_SNAPSHOT, ("{}", 0, 1))) == [(version,)]
    monkeypatch.setenv(URL, empty_url)
    assert move(tmp_path) == {"partners": 1, "events": 2, "profile_snapshots": 2}
    there = open_store(tmp_path)
    there.append([event("b"), event("c")])
    assert there.read("SELECT event_id FROM events ORDER BY seq") == [("a",), ("b",), ("c",)]
    assert there.write(lambda transaction: transaction.read(KEEP_SNAPSHOT, ("{}", 0, 3))) == [(3,)]
    with pytest.raises(StoreUnavailable, match="empty"):
        move(tmp_path)


def test_a_server_that_is_away_is_told_without_the_password() -> None:
    away = PostgresStore("postgresql://attune:canary-secret@127.0.0.1:1/shop", 100)
    with pytest.raises(StoreUnavailable) as raised:
        away.read("SELECT 1")
    assert "canary-secret" not in str(raised.value)
    assert "postgresql://127.0.0.1:1/shop" in str(raised.value)
    assert shown("postgresql://a:canary-secret@h/d?password=canary-secret") == "postgresql://h/d"


def test_connections_of_a_server_that_was_started_anew_are_replaced(store: PostgresStore, server_url: str) -> None:
    assert store.read("SELECT 1") == [(1,)]
    with closing(connect_server(server_url)) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert store.read("SELECT 1") == [(1,)]


def test_a_store_that_is_only_read_writes_nothing(server_url: str) -> None:
    looking = PostgresStore(server_url, WAIT_MS, only_read=True)
    assert looking.read("SELECT name FROM partners") == []
    with pytest.raises(StoreUnavailable):
        looking.write(lambda transaction: transaction.execute(ADD_PARTNER, ("a", 1)))


def test_the_audit_cannot_be_changed(store: PostgresStore) -> None:
    add = (
        "INSERT INTO console_audit (at_us, actor, role, action, subject, reason, outcome, previous_hash, hash) "
        "VALUES (1, 'a', 'admin', 'x', 's', 'r', 'o', '', 'h')"
    )
    store.write(lambda transaction: transaction.execute(add))
    with pytest.raises(ConflictingWrite):
        store.write(lambda transaction: transaction.execute("UPDATE console_audit SET actor = 'b'"))


def test_identities_are_joined_as_in_the_embedded_store(at_server: str, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.append([event("a", user="anonymous"), event("b", user="known")])
    assert store.write(lambda transaction: identities.join(transaction, "shop", "anonymous", "known", 9)) == "joined"
    assert store.read("SELECT DISTINCT user_id FROM events") == [("known",)]


def test_a_stream_reads_one_state_while_others_write(store: PostgresStore, server_url: str) -> None:
    store.append([event(f"e{k}") for k in range(10)])
    rows = store.stream("SELECT event_id FROM events ORDER BY seq")
    first = next(rows)
    PostgresStore(server_url, WAIT_MS).append([event("later")])
    assert [first, *rows] == [(f"e{k}",) for k in range(10)]
    forget_pools(server_url)


def test_errors_of_the_driver_are_ours(store: PostgresStore) -> None:
    with pytest.raises(StoreUnavailable, match="nowhere"):
        store.read("SELECT * FROM nowhere")
    with pytest.raises(ConflictingWrite):
        store.write(lambda transaction: transaction.execute("INSERT INTO partners VALUES ('a', 1), ('a', 1)"))
