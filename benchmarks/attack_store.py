"""Erasure of many users and retention, in a store of many rows: both come to an end, and stand in nobody's way.

The log is a simulated shop's, copied under new users and events until it is long enough; with offline tables and an online
store, a service and a worker.
"""

import json
import mmap
import multiprocessing
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPConnection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from benchmarks import event_to_feature
from benchmarks.attack_target import Outcome, Service, service
from benchmarks.serve import HOST
from benchmarks.simulated_home import make_champions
from flows.materialize import materialize
from infra import layout
from infra.lock import held
from infra.secret import secret
from infra.store.engines import is_shared, open_store
from infra.store.events import append_events
from infra.store.protocol import Store
from models.events.identity import PSEUDONYM_BYTES, partner_key, pseudonym
from models.simulator.config import ShopConfig, ending_at
from models.simulator.simulation import simulate
from services.processes import spawn, stop
from services.worker.retention import RetentionDuty

CHAMPIONS: Final = ShopConfig(n_users=150, n_days=3, n_items=100)
SHOP: Final = ShopConfig(n_users=2_500, n_days=8, n_items=1_000)
N_ERASED: Final = 2_000
MOST_S: Final = 60.0
PATIENCE_S: Final = 600.0
CALLS: Final = 5  # for one user, at most
CATCH_UP_S: Final = 3_600.0
DUTIES: Final = ("online_features", "action_weights", "signals", "rewards")  # that follow the log
FLOWS: Final = 3  # beside the erasure
HEX: Final = re.compile(rb"[0-9a-f]{%d,}" % (2 * PSEUDONYM_BYTES))
UNFINISHED: Final = "SELECT count(*) FROM tombstones WHERE completed_at_us IS NULL"
ROUNDS: Final = 4
ROUND_S: Final = 4.0
KEPT_DAYS: Final = 4
BATCH: Final = 20
SLOWER: Final = 3.0  # times, at most


def run(home: Path, long: bool) -> Iterator[Outcome]:
    """Erasure while the worker looks at the log for the first time, and when it has; then retention of what is left."""
    make_champions(home, CHAMPIONS, n_rounds=5)
    n_rows, users = long_log(home, 5_000_000 if long else 200_000)
    materialize(home)
    yield from erasures(home, n_rows, users)
    yield retention(home)


def long_log(home: Path, n_rows: int, age_us: int = 3_600_000_000) -> tuple[int, list[str]]:
    """Append at least so many events, the newest so old; how many, and the users as the partner calls them."""
    now_us, users, n = time.time_ns() // 1000, list[str](), 0
    events, key = simulate(ending_at(SHOP, now_us - age_us)).events, partner_key(secret(home), "shop")
    with closing(open_store(home, bulk=True)) as store:
        for copy in range(-(-n_rows // len(events))):
            known = {user: pseudonym(key, f"{user}-{copy}") for user in events["user_id"].unique()}
            frame = events.assign(user_id=events["user_id"].map(known), event_id=events["event_id"] + f"-{copy}")
            n += store.write(partial(append_events, frame=frame, partner="shop", received_at_us=now_us))[0]
            users += [f"{user}-{copy}" for user in known]
    return n, users


def erasures(home: Path, n_rows: int, users: list[str]) -> Iterator[Outcome]:
    """Erase many users through the door, twice, and let the worker complete it; then look into every file."""
    first, second = (users[at :: len(users) // N_ERASED][:N_ERASED] for at in (0, 1))
    with service(home) as served:
        worker = spawn(("worker",), {"ATTUNE_HOME": str(home)}, home / "worker.log")
        try:
            event_to_feature.wait_for(home)
            yield erasure(served, first, f"erasure of {len(first):,} users at {n_rows:,} events, the worker catching up")
            _wait_until_caught_up(home)
            yield erasure(served, second, f"erasure of {len(second):,} users at {n_rows:,} events")
        finally:
            stop([worker])
    yield _searched(home, first + second, "erasures")


def erasure(served: Service, users: list[str], name: str) -> Outcome:
    """Erase users, and wait until their receipts say that all is gone."""
    home, began = served.home, time.monotonic()
    n_taken, behind = _delete(served, users), _n_behind(home)
    calls_s, began = time.monotonic() - began, time.monotonic()
    n_flows = _flows_beside(home)
    left = _wait_until_complete(home)
    took_s = time.monotonic() - began
    seen = (
        f"{took_s / MOST_S:.2f} of that after the last call ({calls_s / len(users) * 1e3:.0f} ms a call, one after the other); "
        f"{n_taken} taken, {left} not complete; "
        f"{n_flows} of {FLOWS} flows could begin meanwhile; the worker was {behind:,} events behind, then {_n_behind(home):,}"
    )
    held = took_s <= MOST_S and not left and n_taken == len(users) and n_flows == FLOWS
    return Outcome(name, f"complete within {MOST_S:g} s of the last call; flows begin meanwhile", seen, held)


def _n_behind(home: Path) -> int:
    """How many events the duty that is farthest behind has not looked at."""
    with closing(open_store(home)) as store:
        tails = [store.tail(name) for name in DUTIES]
        return max(tail.passed(tail.position() or 0, tail.end()) for tail in tails)


def _wait_until_caught_up(home: Path) -> None:
    """Let the worker look at the whole log for the first time."""
    until = time.monotonic() + CATCH_UP_S
    while _n_behind(home) > 0:
        if time.monotonic() > until:
            raise RuntimeError(f"the worker has not caught up within {CATCH_UP_S:g} s")
        time.sleep(1.0)


def _delete(served: Service, users: list[str]) -> int:
    """Erase users; a call that a busy store refused is made again, as a partner does. How many were taken."""
    connection, n_taken = HTTPConnection(HOST, served.port, timeout=30), 0
    for user in users:
        for _ in range(CALLS):
            connection.request("DELETE", f"/v1/users/{user}", headers={"Authorization": f"Bearer {served.server_key}"})
            with connection.getresponse() as reply:
                reply.read()
            if reply.status == 202:
                n_taken += 1
                break
            time.sleep(float(reply.headers.get("Retry-After", 1)))
    connection.close()
    return n_taken


def _flows_beside(home: Path) -> int:
    """Begin flows as a retraining does; how many could. Each makes the worker look at the tables once more."""
    n_begun = 0
    for _ in range(FLOWS):
        try:
            with held(home / layout.RETRAIN_LOCK, "retrain"):
                n_begun += 1
        except BlockingIOError:
            pass
        time.sleep(1.0)
    return n_begun


def _wait_until_complete(home: Path) -> int:
    store, until, left = open_store(home), time.monotonic() + PATIENCE_S, 1
    while left and time.monotonic() < until:
        time.sleep(0.2)
        ((left,),) = store.read(UNFINISHED)
    return int(left)


def _searched(home: Path, users: list[str], name: str) -> Outcome:
    key = partner_key(secret(home), "shop")
    names = {pseudonym(key, user).encode() for user in users}
    with closing(open_store(home)) as store:
        store.write(lambda transaction: transaction.execute("DELETE FROM tombstones"))  # which hold the pseudonyms on purpose
        store.scrub()
        rows = list(rows_of_tables(store)) if is_shared(home) else []  # a server's files are its vacuum's
    found, n_files, n_seen = holding(home, names)
    for row in rows:
        n, n_named = n_pseudonyms(row.encode(), names)
        n_seen, found["the server's tables"] = n_seen + n, found["the server's tables"] + n_named
    found = +found
    where = "".join(f"; {n} in {file}" for file, n in found.items())
    seen = f"{found.total()} found in {n_files} files, among {n_seen:,} pseudonyms that they hold{where}"
    return Outcome(f"search of every byte after the {name}", "none of them is found", seen, not found and n_seen > 0)


def rows_of_tables(store: Store) -> Iterator[str]:
    """Every row of every table of a server, as text."""
    for (table,) in store.read("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"):
        for (row,) in store.stream(f"SELECT t::text FROM {table} AS t"):
            yield row


def holding(home: Path, names: set[bytes]) -> tuple[Counter[str], int, int]:
    """Files that hold some of the names, and how often; number of files, and of pseudonyms of anybody."""
    found, n_files, n_seen = Counter[str](), 0, 0
    for path in (path for path in home.rglob("*") if path.is_file() and path.stat().st_size):
        n_files += 1
        for part in _bytes_of(path):
            n, n_named = n_pseudonyms(part, names)
            n_seen += n
            if n_named:
                found[str(path.relative_to(home))] += n_named
    return found, n_files, n_seen


def n_pseudonyms(text: "bytes | mmap.mmap", names: set[bytes]) -> tuple[int, int]:
    """How many texts are as long as pseudonyms, and how many of some names are in them."""
    n_seen, n_named, width = 0, 0, 2 * PSEUDONYM_BYTES
    for digits in HEX.findall(text):
        n_seen += 1
        n_named += sum(digits[at : at + width] in names for at in range(len(digits) - width + 1))
    return n_seen, n_named


def _bytes_of(path: Path) -> Iterator["bytes | mmap.mmap"]:
    """The bytes of a file; of a table, which is compressed, the texts too."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        yield mapped
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches():
            for column in batch.columns:
                if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                    yield "\n".join(text for text in column.unique().to_pylist() if text).encode()


class Answers(NamedTuple):
    """How long answers took, milliseconds, and how many were refused."""

    ms: list[float]
    refused: list[bool]


def retention(home: Path) -> Outcome:
    """Let go of half of the log while events come in, round by round with and without."""
    usual, beside, n_removed = Answers([], []), Answers([], []), 0
    with service(home) as served, removing(home) as pipe:
        _send_for(served, ROUND_S, Answers([], []))  # warm
        for _ in range(ROUNDS):
            _send_for(served, ROUND_S, usual)
            pipe.send(True)
            _send_for(served, ROUND_S, beside)
            pipe.send(False)
            n_removed += pipe.recv()
    slower = float(np.percentile(beside.ms, 95) / np.percentile(usual.ms, 95))
    shares = [100 * np.mean(one.refused) for one in (usual, beside)]
    seen = (
        f"p95 {slower:.2f} times, {shares[1]:.1f} % refused ({shares[0]:.1f} % without); {len(beside.ms)} requests, "
        f"{n_removed:,} events went, {n_removed / ROUNDS / ROUND_S:,.0f} a second"
    )
    held_ = slower <= SLOWER and not any(beside.refused) and n_removed > 0
    return Outcome("retention beside incoming events", f"p95 at most {SLOWER:g} times of without, none refused", seen, held_)


@contextmanager
def removing(home: Path) -> Iterator[Connection]:
    """The duty in a process of its own, which works between True and False, and then tells how many rows went."""
    pipe, other = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_remove, args=(home, other))
    process.start()
    try:
        pipe.recv()
        yield pipe
    finally:
        pipe.send(None)
        process.join()


def _remove(home: Path, pipe: Connection) -> None:
    duty = RetentionDuty(open_store(home), KEPT_DAYS)
    pipe.send(0)
    while pipe.recv():
        n_rows = 0
        while not pipe.poll():
            n_rows += duty.step(time.time_ns() // 1000)
        pipe.recv()
        pipe.send(n_rows)


def _send_for(served: Service, seconds: float, found: Answers) -> None:
    connection, until = HTTPConnection(HOST, served.port, timeout=30), time.monotonic() + seconds
    while time.monotonic() < until:
        now, ts = time.monotonic_ns(), datetime.now(UTC).isoformat()
        events = [
            {"event_id": f"{now}-{k}", "user_id": f"{now}", "type": "item_view", "item_id": "sku-00001", "ts": ts}
            for k in range(BATCH)
        ]
        headers = {"Authorization": f"Bearer {served.server_key}", "Content-Type": "application/json"}
        began = time.perf_counter()
        connection.request("POST", "/v1/events", json.dumps({"events": events}), headers)
        with connection.getresponse() as reply:
            reply.read()
            found.ms.append(1e3 * (time.perf_counter() - began))
            found.refused.append(reply.status == 503)
    connection.close()
