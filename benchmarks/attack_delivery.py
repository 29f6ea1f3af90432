"""Attacks on the worker: a partner whose endpoints take long, and a second worker and a second service on one home.

Workers and services are processes as an operator starts them; endpoints live in a process of their own, which notes what
arrives. The first attack compares two homes that get the same signals at the same instants; rounds swap which of them is
attacked, and whatever else the machine does falls on both.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from benchmarks.attack_poison import send
from benchmarks.attack_target import Outcome, Service, service
from benchmarks.delivery import AFTER, SECRET, endpoints
from benchmarks.serve import HOST, free_port, wait_until_ready
from benchmarks.simulated_home import make_champions
from infra import layout, lock
from infra.store.engines import is_shared, open_store
from infra.store.protocol import Store, Transaction
from models.simulator.config import ShopConfig
from services.processes import command, spawn, stop
from services.worker.shares import ALONE

CONFIG: Final = ShopConfig(n_users=150, n_days=3, n_items=100)
N_SLOW: Final = 50
N_WELL: Final = 4
PER_S: Final = 20
ROUND_S: Final = 6.0
ROUNDS: Final = 6
MOST: Final = 1.1
PATIENCE_S: Final = 120.0
SUBSCRIBE: Final = (
    "INSERT INTO subscriptions (id, partner, url, signal_types, secret, created_at_us, updated_at_us) "
    "VALUES (?, ?, ?, '[]', ?, 0, 0)"
)
EMIT: Final = (
    "INSERT INTO signals (signal_id, partner, user_id, sequence, type, payload, score, predicted_action, cause_seq, "
    "created_at_us) VALUES (?, ?, ?, 1, 'offer_discount', '{\"percent\":10}', 0.5, 'leave', ?, ?)"
)
WRITTEN: Final = "SELECT DISTINCT signal_id FROM deliveries d JOIN delivery_attempts a USING (delivery_id)"
UNDELIVERED: Final = "SELECT count(*) FROM deliveries WHERE state <> 'delivered'"
N_WORKERS: Final = "SELECT count(*) FROM leases WHERE name >= 'worker ' AND name < 'worker!' AND until_us > 0"
FORGET_SLOW: Final = (
    "UPDATE deliveries SET state = 'cancelled', finished_at_us = 1 WHERE partner = 'slow' AND state = 'pending'"
)
Arrived = tuple[str, str, float]  # path, message, instant


def run(home: Path, long: bool) -> Iterator[Outcome]:
    """Slow endpoints, then two of everything."""
    with receiving() as (port, arrivals):
        yield slow_partner(home / "slow", port, arrivals, 14.0 if long else 3.0)
        yield from two_of_each(home / "two", port, arrivals)


@contextmanager
def receiving() -> Iterator[tuple[int, "Arrivals"]]:
    """Endpoints in a process of their own: their port, and what arrives there."""
    pipe, other = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=endpoints, args=(other,))
    process.start()
    try:
        yield pipe.recv(), Arrivals(pipe)
    finally:
        pipe.send(False)
        process.join()


class Arrivals:
    """What has arrived at the endpoints since the last `clear`."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.seen: list[Arrived] = []

    def look(self) -> int:
        """Ask the endpoints; how many messages have arrived in all."""
        self._pipe.send(True)
        self.seen += self._pipe.recv()
        return len(self.seen)

    def times(self) -> Counter[str]:
        """How often each message has arrived."""
        return Counter(name for _, name, _ in self.seen)

    def clear(self) -> None:
        """Forget them."""
        self.look()
        self.seen.clear()


def wait(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition; end the benchmark where it does not come."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(what)
        time.sleep(0.1)


class Shop(NamedTuple):
    """A home with a worker."""

    store: Store
    worker: "subprocess.Popen[bytes]"

    def emit(self, partner: str, *names: str) -> float:
        """Commit signals; when that was done."""
        now_us = time.time_ns() // 1000

        def work(transaction: Transaction) -> None:
            ((seq,),) = transaction.read("SELECT coalesce(max(cause_seq), 0) FROM signals")
            rows = [(name, partner, f"u-{name}", seq + n, now_us) for n, name in enumerate(names, 1)]
            transaction.executemany(EMIT, rows)

        self.store.write(work)
        return time.perf_counter()


def _worker(home: Path) -> "subprocess.Popen[bytes]":
    return spawn(("worker",), {"ATTUNE_HOME": str(home), "ATTUNE_ALLOW_PRIVATE_WEBHOOKS": "true"}, home / "worker.log")


def slow_partner(home: Path, port: int, arrivals: Arrivals, delay_s: float) -> Outcome:
    """Many endpoints of one partner that take long, beside another partner's that answer at once."""
    shops = []
    for name in ("0", "1"):
        store = open_store(home / name)
        paths = [("well", f"/{name}/{n}") for n in range(N_WELL)]
        paths += [("slow", f"{AFTER}{delay_s:g}/{name}/{n}") for n in range(N_SLOW)]
        rows = [(path, partner, f"http://{HOST}:{port}{path}", SECRET) for partner, path in paths]
        store.write(lambda transaction, rows=rows: transaction.executemany(SUBSCRIBE, rows))  # type: ignore[misc]
        shops.append(Shop(store, _worker(home / name)))
    try:
        for shop in shops:
            shop.emit("well", "sig_first")
        wait(lambda: arrivals.look() >= 2 * N_WELL, "the workers have not begun")
        found = [_round(shops, number, arrivals, delay_s) for number in range(ROUNDS)]
    finally:
        stop([shop.worker for shop in shops])
    p99 = [(np.percentile(attacked, 99), np.percentile(usual, 99)) for usual, attacked, _ in found]
    ratio, by_round = float(np.median([a / b for a, b in p99])), [round(float(a / b), 2) for a, b in p99]
    usual, attacked = (np.concatenate([one[kind] for one in found]) for kind in (0, 1))
    seen_text = (
        f"p99 {ratio:.2f} times of without them, the median of {ROUNDS} rounds ({by_round}); p50 "
        f"{np.median(attacked) / np.median(usual):.2f} times of {np.median(usual):.0f} ms; {len(attacked)} deliveries beside "
        f"{sum(one[2] for one in found)} slow ones"
    )
    return Outcome(
        f"{N_SLOW} endpoints of one partner that answer after {delay_s:g} s",
        f"another partner's p99 at most {MOST:g} times, nothing lost",
        seen_text,
        ratio <= MOST and len(attacked) == len(usual),
    )


def _round(shops: list[Shop], number: int, arrivals: Arrivals, delay_s: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Milliseconds from commit to arrival without and with the slow partner's signals; and how many of those went out."""
    slow = number % 2
    arrivals.clear()
    shops[slow].emit("slow", *(f"sig_slow_{number}_{n}" for n in range(20)))
    wait(lambda: arrivals.look() >= N_SLOW, "the slow ones get nothing")
    committed: dict[tuple[str, str], float] = {}
    began = time.perf_counter()
    # At random instants: an even pace falls into step with whatever polls.
    for n, at in enumerate(np.cumsum(np.random.default_rng(number).exponential(1 / PER_S, int(PER_S * ROUND_S)))):
        time.sleep(max(0.0, began + at - time.perf_counter()))
        for home in (n % 2, 1 - n % 2):
            committed[str(home), f"sig_{number}_{n}"] = shops[home].emit("well", f"sig_{number}_{n}")
        if n % 10 == 0:
            shops[slow].emit("slow", f"sig_more_{number}_{n}")

    def is_over() -> bool:
        arrivals.look()
        return sum((path[1], name) in committed for path, name, _ in arrivals.seen) >= len(committed) * N_WELL

    wait(is_over, "what is due to the other partner does not arrive")
    shops[slow].store.write(lambda transaction: transaction.execute(FORGET_SLOW))
    time.sleep(delay_s)  # for those under way
    took = [
        (path[1], 1e3 * (at - committed[path[1], name])) for path, name, at in arrivals.seen if (path[1], name) in committed
    ]
    usual, attacked = (np.array([ms for home, ms in took if home == str(wanted)]) for wanted in (1 - slow, slow))
    return usual, attacked, sum(path.startswith(AFTER) for path, _, _ in arrivals.seen)


def two_of_each(home: Path, port: int, arrivals: Arrivals) -> Iterator[Outcome]:
    """A second service and a second worker on a home that has both already."""
    make_champions(home, CONFIG, n_rounds=5)
    with service(home) as served:
        yield second_service(served)
    yield from second_worker(home, port, arrivals)


def _counted(port: int) -> float:
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("attune_events_total{"))


def second_service(served: Service) -> Outcome:
    """Start another service on a home that is served: as such, and beside."""
    ts = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    events = [
        {"event_id": f"two-{n}", "user_id": f"two-{n}", "type": "item_view", "item_id": "i", "ts": ts} for n in range(100)
    ]
    accepted, address = send(served, events), (served.home / layout.SERVICE_URL).read_text()
    env = {**os.environ, "ATTUNE_HOME": str(served.home)}
    refused = subprocess.run(
        command("serve", "--port", str(free_port())), env=env, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    port = free_port()
    beside = subprocess.Popen(command("serve", "--port", str(port), "--beside"), env=env, stdout=sys.stderr)
    try:
        wait_until_ready(port, "/readyz", beside)
        again = send(served._replace(port=port), events)
        counted = _counted(served.port)
    finally:
        stop([beside])
    counted_after = _counted(served.port)
    is_same = (served.home / layout.SERVICE_URL).read_text() == address
    n_lines = len(refused.stderr.splitlines())
    seen = (
        f"the second ended with {refused.returncode} and {n_lines} line; {accepted} events accepted, again beside {again}; "
        f"the first counts {counted:g}, and {counted_after:g} after the other has ended; service.url "
        + ("as it was" if is_same else "replaced")
    )
    held = (refused.returncode, n_lines, accepted, again, counted, counted_after, is_same) == (2, 1, 100, 0, 100, 100, True)
    return Outcome("two services on one home", "one line; numbers and address of the first stay; one log", seen, held)


def second_worker(home: Path, port: int, arrivals: Arrivals) -> Iterator[Outcome]:
    """Two workers, 100 signals; then the one that works is killed while it delivers 100 more."""
    store, subscription = open_store(home), ("s", "well", f"http://{HOST}:{port}{AFTER}0.3/s", SECRET)
    store.write(lambda transaction: transaction.execute(SUBSCRIBE, subscription))
    workers = [_worker(home), _worker(home)]
    shop = Shop(store, workers[0])
    try:
        if is_shared(home):
            wait(lambda: store.read(N_WORKERS) == [(2,)], "they do not both work")
        else:
            wait(lambda: "standby" in (home / "worker.log").read_text(), "no worker goes into standby")
        arrivals.clear()
        shop.emit("well", *(f"sig_two_{n}" for n in range(100)))
        _settle(store, arrivals)
        times = arrivals.times()
        told = f"{len(times)} of 100 arrived, {sum(n > 1 for n in times.values())} twice"
        held = len(times) == 100 == times.total()
        yield Outcome("two workers on one home", "each of 100 webhooks arrives once", told, held)
        arrivals.clear()
        shop.emit("well", *(f"sig_kill_{n}" for n in range(100)))
        wait(lambda: arrivals.look() >= 30, "nothing arrives")
        at_work = workers[0].pid if is_shared(home) else int(lock.noted(home / f"{ALONE}.lock").rpartition(" ")[2])
        os.kill(at_work, signal.SIGKILL)
        arrivals.look()
        written = {name for (name,) in store.read(WRITTEN)}
        under_way = arrivals.times().keys() - written
        _settle(store, arrivals)
    finally:
        stop(workers)
    times = arrivals.times()
    twice = {name for name, n in times.items() if n > 1}
    told = f"{len(times)} of 100 arrived; {len(twice)} twice, {len(twice - under_way)} of them without need"
    yield Outcome(
        "kill -9 of the worker that works",
        "the other one goes on; twice at most what was under way",
        f"{told}; {len(under_way)} were under way, their outcome not written",
        len(times) == 100 and twice <= under_way and max(times.values()) <= 2,
    )


def _settle(store: Store, arrivals: Arrivals) -> None:
    def is_over() -> bool:
        arrivals.look()
        ((left,),) = store.read(UNDELIVERED)
        return left == 0 and len(arrivals.times()) >= 100

    wait(is_over, "not everything is delivered")
    time.sleep(1.0)  # for what should not come
    arrivals.look()
