"""Several workers on one server share the duties: one that comes gets work, what a killed or stopped one did goes on, once."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from infra.store.engines import URL
from infra.store.errors import StoreUnavailable
from infra.store.postgres.store import PostgresStore
from services.worker.shares import Shares
from tests import postgres
from tests.infra.store.test_takeover import filling
from tests.waiting import PATIENCE_S, until

pytestmark = postgres.needs_postgres
N_DUTIES = 6
# A worker whose duties each count the events of the log, some at a time, under leases of a second.
WORKER = """
import os, random, sys, threading, time
from pathlib import Path
from infra.store.engines import closed_store, open_store
from infra.store.errors import StoreUnavailable
from services.worker import shares

shares.LEASE_S, shares.ASK_S = 1.0, 0.2
home, me = Path(sys.argv[1]), f"here {os.getpid()}"
COUNT = "SELECT count(*) FROM events WHERE seq > ? AND seq <= ?"
KEEP = (
    "INSERT INTO offer_spend (partner, offer_id, utc_day, spent_cents, n_signals) VALUES ('p', ?, 1, ?, 1) "
    "ON CONFLICT (partner, offer_id, utc_day) DO UPDATE SET spent_cents = offer_spend.spent_cents + excluded.spent_cents"
)

class Counter:
    poll_s = 0.01

    def __init__(self, name):
        self.name = name
        self.store = open_store(home)
        self.tail = self.store.tail(name)

    def step(self, now_us):
        after = self.tail.position() or 0
        until = self.tail.until(after, 5)
        ((n,),) = self.store.read(COUNT, (after, until))
        time.sleep(0.01)

        def work(transaction):
            self.tail.move(transaction, until, now_us)
            transaction.execute(KEEP, (self.name, n))

        if n:
            self.store.write(work)
        return n

duties = {f"count-{k}": (lambda name=f"count-{k}": Counter(name)) for k in range(int(sys.argv[2]))}
shares.Shares(closed_store(home), me, duties, (StoreUnavailable,), random.Random(me)).run(threading.Event())
"""
COUNTED = (
    "SELECT name, spent_cents, (SELECT count(*) FROM events WHERE events.seq <= cursors.seq) FROM cursors "
    "JOIN offer_spend ON offer_id = name"
)
HELD = "SELECT holder, count(*) FROM leases WHERE name >= 'duty ' AND name < 'duty!' AND holder <> '' GROUP BY holder"


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresStore]:
    """A store that gets events all the time."""
    with postgres.database() as url, filling(url) as store:
        monkeypatch.setenv(URL, url)
        yield store


def share(store: PostgresStore, worker: "subprocess.Popen[bytes]") -> int:
    held: dict[str, int] = {holder: n for holder, n in store.read(HELD)}
    return held.get(f"here {worker.pid}", 0)


def all_move(store: PostgresStore) -> bool:
    """Whether every duty goes on from here."""
    begun = {k: store.tail(f"count-{k}").position() for k in range(N_DUTIES)}
    until(lambda: all(store.tail(f"count-{k}").position() != at for k, at in begun.items()), "a duty is done by nobody")
    return True


def test_duties_are_shared_and_counted_once_whoever_is_killed_or_stands_still(shop: PostgresStore, tmp_path: Path) -> None:
    with ExitStack() as stack:

        def hire() -> "subprocess.Popen[bytes]":
            worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), str(N_DUTIES)])
            stack.callback(worker.wait, PATIENCE_S)
            stack.callback(worker.kill)
            return worker

        first = hire()
        until(lambda: share(shop, first) == N_DUTIES, "the first does not do everything")
        second, third = hire(), hire()
        until(lambda: [share(shop, one) for one in (first, second, third)] == [2, 2, 2], "they do not share")
        assert all_move(shop)
        second.kill()
        until(lambda: share(shop, first) + share(shop, third) == N_DUTIES, "what the killed one did is done by nobody")
        assert all_move(shop)
        os.kill(first.pid, signal.SIGSTOP)  # past its leases, in the middle of steps
        until(lambda: share(shop, third) == N_DUTIES, "what the standing one did is done by nobody")
        assert all_move(shop)
        os.kill(first.pid, signal.SIGCONT)
        until(lambda: share(shop, first) == share(shop, third) == N_DUTIES // 2, "who comes back gets nothing")
        assert all_move(shop)
    # At one instant: the server may be about to commit what a killed one has sent.
    found = shop.read(COUNTED)
    assert [n_events for _, _, n_events in found] == [counted for _, counted, _ in found]
    assert len(found) == N_DUTIES
    assert min(counted for _, counted, _ in found) > 10


class Idle:
    """A duty with nothing to do."""

    name, poll_s = "idle", 0.01

    def step(self, now_us: int) -> int:
        return 0


def test_a_worker_of_a_release_without_shares_and_those_that_share_do_not_both_work(shop: PostgresStore) -> None:
    other = PostgresStore(os.environ[URL], 5_000)
    new = Shares(shop, "new", {"idle": Idle}, (StoreUnavailable,), random.Random(7))
    assert other.lease("worker", "earlier", 60) is not None  # as that release takes it
    new.step()
    assert new.names() == []
    other.lease("worker", "earlier", 0)
    new.step()
    assert new.names() == ["idle"]
    assert other.lease("worker", "earlier", 60) is None
    Shares(other, "another", {"idle": Idle}, (StoreUnavailable,), random.Random(7)).step()  # among them, all keep it
    new.step()
    assert new.names() == ["idle"]
    ended = threading.Event()
    ended.set()
    new.run(ended)
