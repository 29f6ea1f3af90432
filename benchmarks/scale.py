"""Three services and two workers on one PostgreSQL and one Redis, under traffic: killed, stopped, cut off from their servers.

All run on this machine, each in a process of its own, services in homes of their own with models out of an object store, behind
forwarders that can be cut. Servers are those of ``ATTUNE_TEST_POSTGRES_URL`` and ``ATTUNE_TEST_REDIS_URL``, else of the usual
ports; the database is made, and dropped at the end. Prints a JSON object of figures, with the names of those that are not as
they must be (`BARS`), and ends with 1 if there are any.

    python -m benchmarks.scale [KILLS]
"""

import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec
import psycopg

from benchmarks.forwarder import Forwarder
from benchmarks.object_storage import Storage, storage
from benchmarks.promotion import promote
from benchmarks.serve import free_port
from benchmarks.simulated_home import make_champions
from flows.materialize import materialize
from infra.secret import SECRET, SECRET_BYTES, secret
from infra.store.engines import URL, open_store
from infra.store.statements.events import FROM_SERVER
from infra.store.statements.signals import PUT_POLICY
from models.events.identity import partner_key, pseudonym
from models.events.rules import to_row
from models.simulator.config import ShopConfig
from services.http import partners
from services.signals.policies import PolicyBody, Thresholds
from services.worker.shares import LEASE_S

SERVER: Final = os.environ.get("ATTUNE_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
REDIS: Final = os.environ.get("ATTUNE_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
N_SERVICES, N_WORKERS, N_USERS = 3, 2, 40
QUOTA: Final = 600  # requests a minute of the key whose quota is tried
PATIENCE_S: Final = 300.0
# Imports everything once, then forks what it is told to: a fork is there at once, a process that imports takes seconds.
NURSERY: Final = """
import gc, os, signal, sys
from pathlib import Path
import uvicorn
from feature_repo import store
from models import warm_up as warm
from infra.settings import Settings
from services.api import app
from services.serving.features import open_features, store_failures
from services.worker import action_weights, cleanup, delivery, erasure, features, process, retention, rewards, signals

settings = Settings()
for rehearse in warm.PARTS.values():
    rehearse()
store_failures(), open_features(settings)
gc.collect()
gc.freeze()
print("ready", flush=True)
for line in sys.stdin:
    kind, port = line.split()
    child = os.fork()
    if child == 0:
        if kind == "service":
            own = settings.model_copy(update={"home": settings.home.with_name(f"of {port}")})  # without models
            uvicorn.run(app.build_app(own), host="127.0.0.1", port=int(port), log_level="critical")
        else:
            process.run(settings.home)
        os._exit(1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print(child, flush=True)
"""
DUTIES_HELD: Final = (
    "SELECT count(*), count(DISTINCT holder) FROM leases WHERE starts_with(name, 'duty ') "
    "AND until_us > extract(epoch FROM clock_timestamp()) * 1000000"
)
N_DUTIES: Final = 7  # all but the delivery, which each worker does


class Nursery:
    """Processes of Attune that are forked, stopped and killed."""

    def __init__(self, log: Path) -> None:
        words, env = [sys.executable, "-c", NURSERY], {**os.environ, "OMP_NUM_THREADS": "1"}
        with log.open("w") as said:  # what is away is told by each of them, again and again
            self._parent = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, env=env
            )
        self.ports = [free_port() for _ in range(N_SERVICES)]
        self.children: dict[str, int] = {}
        assert self._read() == "ready"
        for name in (*(f"service {port}" for port in self.ports), *(f"worker {k}" for k in range(N_WORKERS))):
            self.fork(name)

    def _read(self) -> str:
        assert self._parent.stdout is not None
        return self._parent.stdout.readline().strip()

    def fork(self, name: str) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.write(name + "\n")
        self._parent.stdin.flush()
        self.children[name] = int(self._read())

    def send(self, name: str, signal_number: int) -> None:
        os.kill(self.children[name], signal_number)

    def kill(self, name: str) -> None:
        self.send(name, 9)

    def close(self) -> None:
        for name in self.children:
            self.kill(name)
        self._parent.terminate()
        self._parent.wait()


class Traffic(threading.Thread):
    """Sends batches to the services in turn until stopped; one that was not acknowledged goes to the next one, unchanged."""

    def __init__(self, ports: Sequence[int], key: str) -> None:
        super().__init__(daemon=True)
        self._ports, self._headers = ports, {"Authorization": f"Bearer {key}"}
        self.stopped = threading.Event()
        self.acknowledged: list[str] = []
        self.answers: list[tuple[float, int, bool]] = []  # when, the status (0: none), whether it says when to come again

    def run(self) -> None:
        n = 0
        with httpx.Client(headers=self._headers, timeout=20) as client:
            while not self.stopped.is_set():
                batch = [self._event(k) for k in range(n, n + 10)]
                while not self._send(client, batch) and not self.stopped.is_set():
                    time.sleep(0.05)
                n += 10
                time.sleep(0.02)

    def _send(self, client: httpx.Client, batch: list[dict[str, object]]) -> bool:
        port = self._ports[len(self.answers) % len(self._ports)]
        try:
            reply = client.post(f"http://127.0.0.1:{port}/v1/events", json={"events": batch})
        except httpx.HTTPError:
            self.answers.append((time.monotonic(), 0, False))
            return False
        self.answers.append((time.monotonic(), reply.status_code, "retry-after" in reply.headers))
        if reply.status_code == 202:
            self.acknowledged += [one["event_id"] for one in reply.json()["results"] if one["status"] != "rejected"]
        return reply.status_code == 202

    @staticmethod
    def _event(n: int) -> dict[str, object]:
        kind, ts = ("item_view", "add_to_cart", "search_refine")[n % 3], datetime.now(UTC).isoformat()
        event = {"event_id": f"t-{n}", "user_id": f"u{n % N_USERS}", "session_id": "s", "type": kind, "item_id": f"i{n % 7}"}
        return {**event, "ts": ts}

    def since(self, began_s: float) -> list[tuple[float, int, bool]]:
        """Answers since an instant."""
        return [one for one in self.answers if one[0] >= began_s]


def wait(condition: Callable[[], bool], what: str) -> float:
    """Wait for a condition; seconds that it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > PATIENCE_S:
            raise TimeoutError(what)
        time.sleep(0.05)
    return time.monotonic() - began


@contextmanager
def database() -> Iterator[str]:
    """A new database on the server; its name."""
    name = f"attune_scale_{secrets.token_hex(4)}"
    try:
        yield name
    finally:
        with closing(psycopg.connect(SERVER, autocommit=True)) as server:
            server.execute(psycopg.sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(psycopg.sql.Identifier(name)))


class Bench:
    """The whole: home, servers behind forwarders, processes, traffic; and a store that goes past the forwarders."""

    def __init__(self, home: Path, name: str, objects: Storage, n_kills: int) -> None:
        base, redis = urlsplit(SERVER), urlsplit(REDIS)
        self.home, self.objects, self.n_kills = home, objects, n_kills
        self.postgres = Forwarder(base.hostname or "127.0.0.1", base.port or 5432)
        self.redis = Forwarder(redis.hostname or "127.0.0.1", redis.port or 6379)
        who = base.netloc.rpartition("@")[0]
        os.environ |= {
            URL: f"postgresql://{base.netloc}/{name}",
            SECRET: secrets.token_hex(SECRET_BYTES),
            **objects.environment,
        }
        self.store = open_store(home)
        make_champions(home, ShopConfig(n_users=150, n_days=3, n_items=100, n_categories=5), n_rounds=3)
        now_us = time.time_ns() // 1_000
        self.key = partners.add(home, "shop", now_us)
        self.limited = partners.add(home, "shop", now_us, requests_per_minute=QUOTA)
        eager = PolicyBody(Thresholds(min_score_product=0.0, min_score_content=0.0), cool_down_s=0, max_per_day=1000)
        policy = ("shop", msgspec.json.encode(eager).decode(), 1)
        self.store.write(lambda transaction: transaction.execute(PUT_POLICY, policy))
        os.environ.update(
            {
                URL: f"postgresql://{who}@127.0.0.1:{self.postgres.port}/{name}",
                "ATTUNE_REDIS_URL": f"redis://127.0.0.1:{self.redis.port}{redis.path}",
                "ATTUNE_HOME": str(home),
                "ATTUNE_ALLOW_PRIVATE_WEBHOOKS": "1",
            }
        )
        first = {"event_id": "first", "type": "item_view", "item_id": "i1", "ts": datetime.now(UTC).isoformat()}
        user = pseudonym(partner_key(secret(home), "shop"), "u1")
        self.store.append([("shop", *to_row(first, user), now_us, *FROM_SERVER)])
        wait(lambda: self.store.tail("scale").end() > 0, "a transaction of others is open for ever")
        materialize(home)
        self.nursery = Nursery(home / "log")
        for port in self.nursery.ports:
            wait(lambda port=port: self.is_ready(port), "a service is not ready")  # type: ignore[misc]
        self.traffic = Traffic(self.nursery.ports, self.key)
        self.traffic.start()
        wait(self.is_shared_out, "the duties are not shared out")

    def is_ready(self, port: int) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=20).status_code == 200
        except httpx.HTTPError:
            return False

    def is_shared_out(self) -> bool:
        return self.store.read(DUTIES_HELD) == [(N_DUTIES, N_WORKERS)]

    def ask(self, port: int, path: str, body: Any, key: str = "", **headers: str) -> httpx.Response:
        said = {"Authorization": f"Bearer {key or self.key}", **headers}
        return httpx.post(f"http://127.0.0.1:{port}{path}", json=body, headers=said, timeout=60)

    # ---- what is done to it, and what is seen ----------------------------------------------------------------------

    def kills(self) -> dict[str, Any]:
        """Kill -9 of random processes, each started again at once; the last one is a worker that nobody follows."""
        for _ in range(self.n_kills):
            name = random.choice(list(self.nursery.children))
            self.nursery.kill(name)
            self.nursery.fork(name)
            time.sleep(random.uniform(0.2, 1.0))
        wait(self.is_shared_out, "the duties are not shared out again")
        self.nursery.kill("worker 0")
        takeover_s = wait(lambda: self.store.read(DUTIES_HELD) == [(N_DUTIES, 1)], "nobody took over")
        self.nursery.fork("worker 0")
        wait(self.is_shared_out, "the duties are not shared out again")
        return {"kills": self.n_kills, "takeover_s": round(takeover_s, 2)}

    def stop(self) -> dict[str, Any]:
        """A worker and a service that stand still for longer than a lease."""
        names = "worker 1", f"service {self.nursery.ports[0]}"
        for name in names:
            self.nursery.send(name, 19)
        time.sleep(LEASE_S + 3)
        for name in names:
            self.nursery.send(name, 18)
        wait(self.is_shared_out, "the duties are not shared out again")
        return {}

    def cut(self) -> dict[str, Any]:
        """PostgreSQL is away for ten seconds, then Redis for three."""
        cut_s = time.monotonic()
        self.postgres.cut()
        time.sleep(10)
        away = self.traffic.since(cut_s + 1)
        refused = [status for _, status, says in away if not (status == 503 and says)]
        self.postgres.mend()
        mended_s = time.monotonic()
        wait(lambda: any(status == 202 for _, status, _ in self.traffic.since(mended_s)), "no event is taken any more")
        recovery_s = next(at for at, status, _ in self.traffic.since(mended_s) if status == 202) - mended_s
        wait(self.is_shared_out, "the duties are not shared out again")
        self.redis.cut()
        cut_s = time.monotonic()
        time.sleep(3)
        self.redis.mend()
        without_redis = [status for _, status, _ in self.traffic.since(cut_s) if status != 202]
        seen = {"answers_while_away": len(away), "not_503_with_retry_after": len(refused)}
        return {**seen, "recovery_s": round(recovery_s, 2), "failed_without_redis": len(without_redis)}

    def races(self) -> dict[str, Any]:
        """One Idempotency-Key 64 times at once over all services, and a key's quota used up over all of them."""
        ports = self.nursery.ports
        body = {"url": "http://127.0.0.1:9/hook", "signal_types": []}
        with ThreadPoolExecutor(64) as pool:
            answers = list(
                pool.map(
                    lambda k: self.ask(ports[k % len(ports)], "/v1/subscriptions", body, **{"Idempotency-Key": "one"}),
                    range(64),
                )
            )
        ((n_effects,),) = self.store.read("SELECT count(*) FROM subscriptions")
        ids = {answer.json()["id"] for answer in answers if answer.status_code == 201}
        seen = {"effects": n_effects, "ids": len(ids), "answers": sorted({answer.status_code for answer in answers})}
        return seen | {"quota_share": round(self._quota(), 3)}

    def _quota(self) -> float:
        """What the services admit of a quota together, asked as fast as possible for twenty seconds; 1 is all of it."""
        began, n_admitted, lock = time.monotonic(), [0], threading.Lock()

        def hammer(port: int) -> None:
            with httpx.Client(headers={"Authorization": f"Bearer {self.limited}"}, timeout=60) as client:
                while time.monotonic() - began < 20:
                    admitted = client.post(f"http://127.0.0.1:{port}/v1/events", json={"events": []}).status_code == 202
                    with lock:
                        n_admitted[0] += admitted

        with ThreadPoolExecutor(N_SERVICES) as pool:
            list(pool.map(hammer, self.nursery.ports))
        return n_admitted[0] / (QUOTA * (1 + (time.monotonic() - began) / 60))

    def promote(self) -> dict[str, Any]:
        """A champion that all services see, its files out of the object store, and back."""
        return promote(self.home, self.objects, self.nursery.ports, lambda port: self.ask(port, "/v1/intent", {}))

    def settle(self) -> dict[str, Any]:
        """End of the traffic: what is in the log, and the signals."""
        self.traffic.stopped.set()
        self.traffic.join()
        tail = self.store.tail("scale")
        ends = "SELECT min(seq) FROM cursors WHERE name IN ('online_features', 'signals')"
        wait(lambda: self.store.read(ends)[0][0] >= tail.end(), "the workers do not come to the end of the log")
        kept = [name for (name,) in self.store.read("SELECT event_id FROM events WHERE event_id LIKE 't-%'")]
        signals = self.store.read("SELECT user_id, sequence, cause_seq, silence_s FROM signals")
        by_user: dict[str, list[int]] = {}
        for user, sequence, *_ in signals:
            by_user.setdefault(user, []).append(sequence)
        return {
            "acknowledged": len(self.traffic.acknowledged),
            "lost": len(set(self.traffic.acknowledged) - set(kept)),
            "twice": len(kept) - len(set(kept)),
            "signals": len(signals),
            "causes_twice": len(signals) - len({row[2:] for row in signals}),
            "users_with_gaps": sum(sorted(each) != list(range(1, len(each) + 1)) for each in by_user.values()),
        }


BARS: Final[dict[str, Callable[[Any], bool]]] = {
    "takeover_s": lambda seconds: seconds <= LEASE_S + 1,
    "not_503_with_retry_after": lambda n: n == 0,
    "recovery_s": lambda seconds: seconds <= 5,
    "failed_without_redis": lambda n: n == 0,
    "effects": lambda n: n == 1,
    "ids": lambda n: n == 1,
    "quota_share": lambda share: abs(share - 1) <= 0.05,
    "promoted_s": lambda seconds: seconds <= 2,
    "rolled_back_s": lambda seconds: seconds <= 2,
    "asked_of_objects": lambda n: n >= N_SERVICES,
    "failed_while_promoted": lambda n: n == 0,
    **dict.fromkeys(("lost", "twice", "causes_twice", "users_with_gaps"), lambda n: n == 0),
    "signals": lambda n: n > 10,
}


def main(n_kills: int = 20) -> dict[str, Any]:
    """All of it, one after the other; figures by name."""
    with tempfile.TemporaryDirectory() as folder, database() as name, storage() as objects:
        bench = Bench(Path(folder) / "home", name, objects, n_kills)
        found: dict[str, Any] = {}
        try:
            for step in (bench.kills, bench.stop, bench.cut, bench.races, bench.promote, bench.settle):
                found |= step()
                sys.stderr.write(f"{step.__name__}: {json.dumps(found)}\n")
        finally:
            bench.nursery.close()
    return found


if __name__ == "__main__":
    figures = main(*map(int, sys.argv[1:]))
    missed = sorted(name for name, holds in BARS.items() if not holds(figures[name]))
    sys.stdout.write(json.dumps({**figures, "missed": missed}) + "\n")
    sys.exit(bool(missed))
