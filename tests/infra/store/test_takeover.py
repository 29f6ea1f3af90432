"""Two workers on one server: one that stood still, or was killed, is followed, and what it had begun is never counted twice."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.store.engines import URL
from infra.store.postgres.store import PostgresStore
from tests import postgres
from tests.infra.store.test_store import event
from tests.waiting import PATIENCE_S, until

pytestmark = postgres.needs_postgres
FENCED = 3
# Counts the events of the log under a lease of a second, some at a time, slowly enough to be stopped in the middle of a step.
WORKER = """
import os, sys, threading, time
from pathlib import Path
from infra.store.engines import open_store
from infra.store.errors import StoreBusy

home, me = Path(sys.argv[1]), str(os.getpid())
keeper = open_store(home)
while keeper.lease("worker", me, 1.0) is None:
    time.sleep(0.05)

def keep():
    while keeper.lease("worker", me, 1.0) is not None:
        time.sleep(0.2)

threading.Thread(target=keep, daemon=True).start()
store = open_store(home)
tail = store.tail("counter")
COUNT = "SELECT count(*) FROM events WHERE seq > ? AND seq <= ?"
KEEP = (
    "INSERT INTO offer_spend (partner, offer_id, utc_day, spent_cents, n_signals) VALUES ('p', 'o', 1, ?, 1) "
    "ON CONFLICT (partner, offer_id, utc_day) DO UPDATE SET spent_cents = offer_spend.spent_cents + excluded.spent_cents"
)
while True:
    after = tail.position() or 0
    until = tail.until(after, 3)
    ((n,),) = store.read(COUNT, (after, until))
    time.sleep(0.02)

    def work(transaction):
        tail.move(transaction, until, 1)
        transaction.execute(KEEP, (n,))

    try:
        store.write(work)
    except StoreBusy:
        sys.exit(3)
"""


@contextmanager
def filling(url: str) -> Iterator[PostgresStore]:
    """A store that gets events all the time."""
    store, stopped = PostgresStore(url, 5_000), threading.Event()

    def write() -> None:
        mine, n = PostgresStore(url, 5_000), 0
        while not stopped.wait(0.01):
            mine.append([event(f"e{n}")])
            n += 1

    writing = threading.Thread(target=write)
    writing.start()
    yield store
    stopped.set()
    writing.join()


@pytest.fixture
def shop(server_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresStore]:
    """A store that gets events all the time."""
    monkeypatch.setenv(URL, server_url)
    with filling(server_url) as store:
        yield store


def hire(home: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", WORKER, str(home)])


def holder(store: PostgresStore) -> str:
    found = store.read("SELECT holder FROM leases WHERE name = 'worker'")
    return str(found[0][0]) if found else ""


def moves(store: PostgresStore) -> bool:
    """Whether somebody counts on from here."""
    begun = store.tail("counter").position()
    until(lambda: store.tail("counter").position() != begun)
    return True


def test_what_a_worker_had_begun_is_counted_once_by_whoever_follows_it(shop: PostgresStore, tmp_path: Path) -> None:
    first = hire(tmp_path)
    second = None
    try:
        until(lambda: holder(shop) == str(first.pid))
        assert moves(shop)
        second = hire(tmp_path)
        os.kill(first.pid, signal.SIGSTOP)  # past its lease
        until(lambda: holder(shop) == str(second.pid))
        assert moves(shop)
        os.kill(first.pid, signal.SIGCONT)
        assert first.wait(PATIENCE_S) == FENCED
        second.kill()
        second.wait(PATIENCE_S)
        first = hire(tmp_path)
        until(lambda: holder(shop) == str(first.pid))
        assert moves(shop)
    finally:
        for one in (first, second):
            if one is not None:
                one.kill()
                one.wait(PATIENCE_S)
    ((counted,),) = shop.read("SELECT spent_cents FROM offer_spend")
    passed = "SELECT count(*) FROM events WHERE seq <= (SELECT seq FROM cursors WHERE name = 'counter')"
    assert shop.read(passed) == [(counted,)]
    assert counted > 10
