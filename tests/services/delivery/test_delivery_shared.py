"""Several workers deliver from one outbox: each message is brought by one of them, and by another where that one is killed."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from infra.store.engines import URL, open_store
from services.delivery.outbound import Outbound
from services.worker.delivery import CLAIM_S, DeliveryDuty
from tests import postgres
from tests.services.receivers import SEALS, Receiver, S, answer, emit, receiver, subscribe
from tests.stores import connect
from tests.waiting import PATIENCE_S, until

__all__ = ["receiver"]  # a fixture
N_SIGNALS = 200
WORKER = """
import os, random, sys, time
from pathlib import Path
from infra.store.engines import open_store
from services.delivery.outbound import Outbound
from services.delivery.seals import Seals
from services.worker.delivery import DeliveryDuty

me = f"here {os.getpid()}"
duty = DeliveryDuty(open_store(Path(sys.argv[1])), lambda: Outbound(True, 30.0), random.Random(me), Seals(bytes(32)), holder=me)
duty.step(time.time_ns() // 1000)
print("born", flush=True)
while True:
    if not duty.step(time.time_ns() // 1000):
        time.sleep(duty.poll_s)
"""


@pytest.fixture(params=["embedded", pytest.param("postgresql", marks=postgres.needs_postgres)])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    if request.param == "embedded":
        monkeypatch.delenv(URL, raising=False)
        yield tmp_path
        return
    with postgres.database() as url:
        monkeypatch.setenv(URL, url)
        yield tmp_path


def hired(home: Path, name: str) -> DeliveryDuty:
    return DeliveryDuty(open_store(home), lambda: Outbound(True, PATIENCE_S), random.Random(name), SEALS, holder=name)


def slowly(request: BaseHTTPRequestHandler) -> None:
    time.sleep(0.02)
    answer(204)(request)


def states(home: Path) -> dict[str, int]:
    return dict(connect(home).execute("SELECT state, count(*) FROM deliveries GROUP BY state"))


def brought(receiver: Receiver) -> Counter[str]:
    return Counter(post.headers["webhook-id"] for post in receiver.posts)


def test_two_workers_bring_each_message_once(home: Path, receiver: Receiver) -> None:
    store = connect(home)
    receiver.answers["/in"] = slowly
    for name in ("a", "b", "c"):
        subscribe(store, name, f"{receiver.url}/in")
    for n in range(20):
        emit(store, n)
    workers = [hired(home, "one"), hired(home, "two")]
    until(lambda: all(one.step(S) is not None for one in workers) and states(home) == {"delivered": 60}, poll_s=0)
    assert brought(receiver) == {f"sig_{n}": 3 for n in range(20)}
    by = dict(store.execute("SELECT claimed_by, count(*) FROM deliveries GROUP BY claimed_by"))
    assert by.keys() == {"one", "two"}, "one did it all"
    assert store.execute("SELECT count(*) FROM delivery_attempts").fetchall() == [(60,)]
    for one in workers:
        one.close()


def test_what_a_worker_has_begun_is_left_to_it_as_long_as_it_goes_on(home: Path, receiver: Receiver) -> None:
    store = connect(home)
    subscribe(store, "s", f"{receiver.url}/in")
    emit(store, 1)
    clock = time.time_ns() // 1000
    first, second = hired(home, "one"), hired(home, "two")
    gate = threading.Event()

    def waits(request: BaseHTTPRequestHandler) -> None:
        gate.wait(PATIENCE_S)
        answer(204)(request)

    receiver.answers["/in"] = waits
    until(lambda: first.step(clock) is not None and receiver.posts, poll_s=0)
    ((claimed_until_us,),) = store.execute("SELECT claimed_until_us FROM deliveries").fetchall()
    assert claimed_until_us >= clock + int(CLAIM_S * S) - S
    assert second.step(clock + S) == 0
    first.step(clock + 2 * S)
    ((kept_until_us,),) = store.execute("SELECT claimed_until_us FROM deliveries").fetchall()
    assert kept_until_us > claimed_until_us
    gate.set()
    until(lambda: first.step(clock + 2 * S) is not None and states(home) == {"delivered": 1}, poll_s=0)
    assert second.step(clock + 3 * S) == 0
    assert len(receiver.posts) == 1
    for one in (first, second):
        one.close()


def test_an_outcome_that_comes_after_another_worker_has_taken_over_is_not_written(home: Path, receiver: Receiver) -> None:
    store, gate = connect(home), threading.Event()
    subscribe(store, "s", f"{receiver.url}/in")
    emit(store, 1)
    late, quick = hired(home, "late"), hired(home, "quick")

    def first_waits(request: BaseHTTPRequestHandler) -> None:
        if len(receiver.posts) == 1:
            gate.wait(PATIENCE_S)
            answer(500)(request)
        else:
            answer(204)(request)

    receiver.answers["/in"] = first_waits
    clock = time.time_ns() // 1000
    until(lambda: late.step(clock) is not None and receiver.posts, poll_s=0)
    store.execute("UPDATE deliveries SET claimed_until_us = 0")  # it stood still for long
    until(lambda: quick.step(clock + S) is not None and states(home) == {"delivered": 1}, poll_s=0)
    gate.set()
    until(lambda: late.step(clock + 2 * S) == 0, poll_s=0)
    assert store.execute("SELECT outcome FROM delivery_attempts").fetchall() == [("delivered",)]
    assert states(home) == {"delivered": 1}
    for one in (late, quick):
        one.close()


@postgres.needs_postgres
def test_kill_9_of_one_of_two_workers_repeats_at_most_what_was_under_way(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres.database() as url:
        monkeypatch.setenv(URL, url)
        store = connect(tmp_path)
        receiver.answers["/in"] = slowly
        for name in ("a", "b"):
            subscribe(store, name, f"{receiver.url}/in")
        words = [sys.executable, "-c", WORKER, str(tmp_path)]
        workers = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        try:
            assert [one.stdout.readline() for one in workers if one.stdout is not None] == ["born\n"] * 2
            for n in range(N_SIGNALS // 2):
                emit(store, n)
            until(lambda: states(tmp_path) == {"delivered": N_SIGNALS}, "not everything is delivered")
            assert brought(receiver) == {f"sig_{n}": 2 for n in range(N_SIGNALS // 2)}, "some twice"
            begun = len(receiver.posts)
            for n in range(N_SIGNALS // 2, N_SIGNALS):
                emit(store, n)
            claims = "SELECT 1 FROM deliveries WHERE claimed_by = ? AND state = 'pending' AND claimed_until_us > 0 LIMIT 1"
            killed = (f"here {workers[0].pid}",)
            until(lambda: len(receiver.posts) > begun + 20 and store.execute(claims, killed).fetchall(), "nothing goes on")
            os.kill(workers[0].pid, signal.SIGKILL)
            workers[0].wait(PATIENCE_S)
            under_way = "SELECT signal_id FROM deliveries WHERE claimed_by = ? AND state = 'pending' AND claimed_until_us > 0"
            claimed = Counter(name for (name,) in store.execute(under_way, killed))
            until(lambda: states(tmp_path) == {"delivered": 2 * N_SIGNALS}, "what the killed one had begun is left")
        finally:
            for one in workers:
                one.kill()
                one.wait(PATIENCE_S)
        times = brought(receiver)
        assert times.keys() == {f"sig_{n}" for n in range(N_SIGNALS)}
        for name, n in times.items():
            assert 2 <= n <= 2 + claimed[name], name
        assert store.execute("SELECT count(*) FROM delivery_attempts").fetchall() == [(2 * N_SIGNALS,)]
        store.close()
