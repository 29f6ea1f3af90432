"""Features in parts: together they are what one worker makes of the whole log, whoever is killed or stands still."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from infra.store.engines import URL, open_store
from infra.store.identities import join
from infra.store.postgres.store import PostgresStore
from infra.store.statements.cursors import MOVE_CURSOR
from infra.store.statements.events import FROM_SERVER
from models.events.rules import to_row
from models.schema import N_RECENT_ITEMS, USER_RECENT_ITEMS
from models.user_shards import Part
from services.worker.features import CURSOR, MATERIALIZED, N_PARTS, FeatureDuty
from tests import postgres
from tests.stores import nth, settled
from tests.waiting import PATIENCE_S, until

USERS = tuple(f"p-{n}" for n in range(24))
PARTS = tuple(Part(number, 4) for number in range(4))


class Rows:
    """An online store in memory: recent items by user."""

    def __init__(self) -> None:
        self.items: dict[str, list[str]] = {}

    def write_to_online_store(self, feature_view_name: str, df: pd.DataFrame) -> None:
        if USER_RECENT_ITEMS in df:
            self.items |= zip(df["user_id"], map(list, df[USER_RECENT_ITEMS]), strict=True)

    def forget(self, users: Any) -> None:
        for user in users:
            self.items.pop(user, None)


def event(n: int, user: str) -> tuple[Any, ...]:
    at_s = f"{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}"
    told = {"event_id": f"e{n}", "type": "item_view", "item_id": f"i{n}", "ts": f"2026-11-21T{at_s}Z"}
    return ("shop", *to_row(told, user), n, *FROM_SERVER)


class Shop:
    """A home whose log is folded in parts, and as a whole to compare."""

    def __init__(self, home: Path) -> None:
        self.home, self.store, self.n = home, open_store(home), 0
        self.parts, self.whole = Rows(), Rows()
        self.duties = [FeatureDuty(open_store(home), self.parts, self.parts.forget, part) for part in PARTS]
        self.materialized(0)

    def materialized(self, n: int) -> None:
        self.store.write(lambda transaction: transaction.execute(MOVE_CURSOR, (MATERIALIZED, nth(self.home, n), 7)))

    def append(self, *users: str) -> None:
        for user in users:
            self.n += 1
            self.store.append([event(self.n, user)])
        settled(self.home)

    def compared(self) -> Rows:
        """What one duty makes of all, begun anew."""
        self.store.write(lambda transaction: transaction.execute("DELETE FROM cursors WHERE name = 'online_features'"))
        self.materialized(0)
        FeatureDuty(open_store(self.home), self.whole, self.whole.forget).step(7)
        return self.whole


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_parts_together_fold_what_the_whole_folds_and_none_folds_another_ones_users(shop: Shop) -> None:
    shop.append(*USERS, *USERS[:7])
    for part, duty in zip(PARTS, shop.duties, strict=True):
        before = set(shop.parts.items)
        assert duty.step(7) == sum(map(part.has, (*USERS, *USERS[:7])))
        assert {user for user in USERS if part.has(user)} == set(shop.parts.items) - before
    assert shop.parts.items == shop.compared().items


def test_a_part_that_begins_after_another_has_moved_leaves_nothing_out(shop: Shop) -> None:
    shop.append(*USERS)
    shop.duties[0].step(7)
    shop.append(*USERS[:5])
    for duty in shop.duties:
        duty.step(7)
    assert shop.parts.items == shop.compared().items


def test_parts_go_on_where_the_whole_has_stood(shop: Shop) -> None:
    shop.append(*USERS)
    stands = (CURSOR, nth(shop.home, 20), 7)
    shop.store.write(lambda transaction: transaction.execute(MOVE_CURSOR, stands))
    shop.materialized(24)
    assert sum(duty.step(7) for duty in shop.duties) == 4
    assert set(shop.parts.items) == set(USERS[20:])


def test_a_joined_visitor_is_folded_by_the_users_part_and_forgotten_by_her_own(shop: Shop) -> None:
    user = USERS[0]
    own = next(part for part in PARTS if part.has(user))
    anonymous = next(other for other in USERS if not own.has(other))
    shop.append(*USERS)
    for duty in shop.duties:
        duty.step(7)
    shop.store.write(lambda transaction: join(transaction, "shop", anonymous, user, 7))
    for duty in shop.duties:
        duty.step(7)
    assert anonymous not in shop.parts.items
    assert shop.parts.items[user] == shop.compared().items[user]
    assert len(shop.parts.items[user]) == 2


# A worker that does the parts under leases of a second. Its online store is a table that is written past all leases, and keeps
# the row of the newer event, as Feast's Redis does.
WORKER = """
import os, random, sys, threading
from pathlib import Path
import psycopg
from infra.store.engines import URL, closed_store, open_store
from infra.store.errors import StoreUnavailable
from models.schema import INSTANT, USER_RECENT_ITEMS
from models.user_shards import Part
from services.worker import shares
from services.worker.features import N_PARTS, FeatureDuty

shares.LEASE_S, shares.ASK_S = 1.0, 0.2
home, me = Path(sys.argv[1]), f"here {os.getpid()}"
PUT = (
    "INSERT INTO online_rows VALUES (%s, %s, %s) ON CONFLICT (user_id) DO UPDATE "
    "SET seen_at = excluded.seen_at, items = excluded.items WHERE excluded.seen_at >= online_rows.seen_at"
)

class Table:
    def __init__(self):
        self.connection = psycopg.connect(os.environ[URL], autocommit=True)

    def write_to_online_store(self, feature_view_name, df):
        if USER_RECENT_ITEMS in df:
            rows = zip(df["user_id"], df[INSTANT], map(list, df[USER_RECENT_ITEMS]))
            self.connection.cursor().executemany(PUT, list(rows))

def opened(part):
    return FeatureDuty(open_store(home), Table(), part=part)

parts = [Part(number, N_PARTS) for number in range(N_PARTS)]
duties = {part.named("features"): (lambda part=part: opened(part)) for part in parts}
shares.Shares(closed_store(home), me, duties, (StoreUnavailable,), random.Random(me)).run(threading.Event())
"""
HELD = "SELECT holder, count(*) FROM leases WHERE name >= 'duty ' AND name < 'duty!' AND holder <> '' GROUP BY holder"
NAMES = tuple(Part(number, N_PARTS).named(CURSOR) for number in range(N_PARTS))


@contextmanager
def visited(store: PostgresStore) -> Iterator[list[str]]:
    """Visitors who do something all the time; who did what, in its order."""
    stopped, done = threading.Event(), list[str]()

    def visit() -> None:
        while not stopped.wait(0.01):
            user = USERS[len(done) % len(USERS)]
            store.append([event(len(done), user)])
            done.append(user)

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield done
    finally:
        stopped.set()
        thread.join()


def held(store: PostgresStore, worker: "subprocess.Popen[bytes]") -> int:
    found: dict[str, int] = dict(store.read(HELD))
    return found.get(f"here {worker.pid}", 0)


def all_move(store: PostgresStore) -> bool:
    """Whether every part goes on from here."""
    begun = {name: store.tail(name).position() for name in NAMES}
    until(lambda: all(store.tail(name).position() != at for name, at in begun.items()), "a part is done by nobody")
    return True


@postgres.needs_postgres
def test_two_workers_share_one_log_whoever_is_killed_or_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres.database() as url, ExitStack() as stack:
        monkeypatch.setenv(URL, url)
        store = PostgresStore(url, 5_000)
        make = "CREATE TABLE online_rows (user_id text PRIMARY KEY, seen_at timestamptz, items text[])"
        store.write(lambda transaction: transaction.execute(make))
        store.write(lambda transaction: transaction.execute(MOVE_CURSOR, (MATERIALIZED, 0, 7)))
        visiting = stack.enter_context(ExitStack())
        done = visiting.enter_context(visited(store))

        def hire() -> "subprocess.Popen[bytes]":
            worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)])
            stack.callback(worker.wait, PATIENCE_S)
            stack.callback(worker.kill)
            return worker

        one, two = hire(), hire()
        until(lambda: held(store, one) == held(store, two) == N_PARTS // 2, "they do not share")
        assert all_move(store)
        for _ in range(3):
            two.kill()
            until(lambda: held(store, one) == N_PARTS, "what the killed one did is done by nobody")
            assert all_move(store)
            two = hire()
            until(lambda two=two: held(store, two) == N_PARTS // 2, "who comes gets nothing")  # type: ignore[misc]
        os.kill(one.pid, signal.SIGSTOP)  # past its leases, in the middle of steps
        until(lambda: held(store, two) == N_PARTS, "what the standing one did is done by nobody")
        assert all_move(store)
        os.kill(one.pid, signal.SIGCONT)
        until(lambda: held(store, one) == held(store, two) == N_PARTS // 2, "who comes back gets nothing")
        assert all_move(store)
        visiting.close()
        items = {user: [f"i{n}" for n in reversed(range(len(done))) if USERS[n % len(USERS)] == user] for user in USERS}
        expected = {user: each[:N_RECENT_ITEMS] for user, each in items.items()}
        until(lambda: dict(store.read("SELECT user_id, items FROM online_rows")) == expected, "an event is left out")
