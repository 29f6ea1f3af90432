"""Three services and two workers on one PostgreSQL and one Redis, under traffic: killed, stopped, cut off from their servers.

Meanwhile a budget for discounts is raised again and again, and two processes move the champion at once. Live associations are
asked for in all services; in the end they must be the same, and those of a build over the whole log (`benchmarks.replicas`).

All run on this machine, each in a process of its own, services in homes of their own with models out of an object store. Where
PostgreSQL's and Redis' programs are there, the servers are the benchmark's own, a primary with a synchronous standby: they are
restarted, and the primary is killed for good. Else those of ``ATTUNE_TEST_POSTGRES_URL`` and ``ATTUNE_TEST_REDIS_URL`` are
taken, or of the usual ports, and the figures of restarts are named as left out. Where network namespaces may be made, the
processes are in one whose cable is pulled; else forwarders end their connections. Prints a JSON object of figures, with the
names of those that are not as they must be (`benchmarks.scale_bars`), and ends with 1 if there are any.

    python -m benchmarks.scale [KILLS]
"""

import json
import os
import random
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from benchmarks import replicas
from benchmarks.island import Island, may_be_made
from benchmarks.nursery import N_SERVICES, N_WORKERS, Nursery
from benchmarks.promotion import promote
from benchmarks.scale_bars import BARS, RESTARTS
from benchmarks.scale_servers import Servers
from benchmarks.simulated_home import make_champions
from benchmarks.traffic import Traffic
from flows.materialize import materialize
from infra import registry
from infra.secret import SECRET, SECRET_BYTES, secret
from infra.store.engines import URL, open_store
from infra.store.statements.events import FROM_SERVER
from infra.store.statements.signals import PUT_POLICY
from models.events.identity import partner_key, pseudonym
from models.events.rules import to_row
from models.simulator.config import ShopConfig
from services.http import partners
from services.signals.policies import PolicyBody, Thresholds
from services.worker.features import N_PARTS
from services.worker.shares import LEASE_S

DISCOUNT_CENTS: Final = 100  # of the one offer
QUOTA: Final = 600  # requests a minute of the key whose quota is tried
PATIENCE_S: Final = 300.0
DUTIES_HELD: Final = (
    "SELECT count(*), count(DISTINCT holder) FROM leases WHERE starts_with(name, 'duty ') "
    "AND until_us > extract(epoch FROM clock_timestamp()) * 1000000"
)
N_DUTIES: Final = 7 + N_PARTS  # all but the delivery, which each worker does


def not_refused(answers: Sequence[tuple[float, int, bool]]) -> list[int]:
    """Statuses of answers that are not 503 with the time to come again; 0 for no answer."""
    return [status for _, status, says in answers if not (status == 503 and says)]


def wait(condition: Callable[[], bool], what: str) -> float:
    """Wait for a condition; seconds that it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > PATIENCE_S:
            raise TimeoutError(what)
        time.sleep(0.05)
    return time.monotonic() - began


class Bench:
    """The whole: home, servers, processes, traffic; and a store that goes past what is cut."""

    def __init__(self, home: Path, servers: Servers, island: Island | None, n_kills: int) -> None:
        self.home, self.servers, self.island, self.n_kills = home, servers, island, n_kills
        home.mkdir(mode=0o700)
        os.environ |= {URL: servers.past_url, SECRET: secrets.token_hex(SECRET_BYTES), **servers.environment}
        self.store = open_store(home)
        make_champions(home, ShopConfig(n_users=150, n_days=3, n_items=100, n_categories=5), n_rounds=3)
        now_us = time.time_ns() // 1_000
        self.key = partners.add(home, "shop", now_us)
        self.limited = partners.add(home, "shop", now_us, requests_per_minute=QUOTA)
        begins: dict[str, Any] = {
            f"min_{name}": 0.0 for name in ("score_product", "score_content", "score_discount", "p_leave")
        }
        eager = PolicyBody(
            Thresholds(**begins, max_p_purchase_discount=1.0, n_search_refines_support=1000, min_p_trouble=1.0),
            cool_down_s=0,
            max_per_day=1000,
        )
        policy = ("shop", msgspec.json.encode(eager).decode(), 1)
        self.store.write(lambda transaction: transaction.execute(PUT_POLICY, policy))
        os.environ.update(
            {
                URL: servers.url,
                "ATTUNE_REDIS_URL": servers.redis_url,
                "ATTUNE_HOME": str(home),
                "ATTUNE_ALLOW_PRIVATE_WEBHOOKS": "1",
            }
        )
        first = {"event_id": "first", "type": "item_view", "item_id": "i1", "ts": datetime.now(UTC).isoformat()}
        user = pseudonym(partner_key(secret(home), "shop"), "u1")
        self.store.append([("shop", *to_row(first, user), now_us, *FROM_SERVER)])
        wait(lambda: self.store.tail("scale").end() > 0, "a transaction of others is open for ever")
        materialize(home)
        address = island.address if island else "127.0.0.1"
        self.nursery = Nursery(home / "log", address, island.enter if island else ())
        self.doors = [f"http://{address}:{port}" for port in self.nursery.ports]
        self._await_doors()
        self.traffic = Traffic(self.doors, self.key)
        self.traffic.start()
        wait(self.is_shared_out, "the duties are not shared out")

    def is_ready(self, door: str) -> bool:
        try:
            return httpx.get(f"{door}/readyz", timeout=20).status_code == 200
        except httpx.HTTPError:
            return False

    def is_shared_out(self) -> bool:
        return self.store.read(DUTIES_HELD) == [(N_DUTIES, N_WORKERS)]

    def ask(self, door: str, path: str, body: Any, key: str = "", **headers: str) -> httpx.Response:
        said = {"Authorization": f"Bearer {key or self.key}", **headers}
        return httpx.post(f"{door}{path}", json=body, headers=said, timeout=60)

    # ---- what is done to it, and what is seen ----------------------------------------------------------------------

    def kills(self) -> dict[str, Any]:
        """Kill -9 of random processes, each started again at once; the last one is a worker that nobody follows.

        There is always a little left of the budget for discounts, and two processes move the champion to and fro.
        """
        crowns = "crown 1", "crown 2"
        for name in crowns:
            self.nursery.fork(name)
        for n in range(self.n_kills):
            self._offer(DISCOUNT_CENTS * (1 + n // 2))
            name = random.choice(list(self.nursery.children))
            self.nursery.kill(name)
            self.nursery.fork(name)
            time.sleep(random.uniform(0.2, 1.0))
        for name in crowns:
            self.nursery.end(name)
        wait(self.is_shared_out, "the duties are not shared out again")
        self.nursery.kill("worker 0")
        takeover_s = wait(lambda: self.store.read(DUTIES_HELD) == [(N_DUTIES, 1)], "nobody took over")
        self.nursery.fork("worker 0")
        wait(self.is_shared_out, "the duties are not shared out again")
        self._await_doors()
        n_moves, fault = registry.audited(self.store.read)
        audit = {"moves_of_champion": n_moves, "audit_fault": fault}
        return {"kills": self.n_kills, "takeover_s": round(takeover_s, 2), **audit}

    def _offer(self, budget_cents: int) -> None:
        """Put the one offer, on everything, with a budget, at the first service that answers."""
        offer = {"offer_id": "one", "amount": DISCOUNT_CENTS / 100, "currency": "EUR", "budget": budget_cents / 100}
        body, headers = {"offers": [offer]}, {"Authorization": f"Bearer {self.key}"}

        def is_put(door: str) -> bool:
            try:
                return httpx.put(f"{door}/v1/offers", json=body, headers=headers, timeout=20).status_code == 200
            except httpx.HTTPError:
                return False

        wait(lambda: any(map(is_put, self.doors)), "no service takes an offer")

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
        """PostgreSQL and Redis are away for ten seconds, then Redis alone for three."""
        cables = [self.island] if self.island else [self.servers.postgres, self.servers.redis]
        cut_s = time.monotonic()
        for cable in cables:
            cable.cut()
        time.sleep(10)
        mended_s = time.monotonic()
        for cable in cables:
            cable.mend()
        recovery_s = self._recovered(mended_s)
        away = [one for one in self.traffic.since(cut_s + 1) if one[0] < mended_s]
        self.servers.redis.cut()
        cut_s = time.monotonic()
        time.sleep(3)
        self.servers.redis.mend()
        without_redis = [status for _, status, _ in self.traffic.since(cut_s) if status != 202]
        seen = {"answers_while_away": len(away), "not_503_with_retry_after": not_refused(away)}
        return {**seen, "recovery_s": round(recovery_s, 2), "failed_without_redis": len(without_redis)}

    def _recovered(self, since_s: float) -> float:
        """Wait until events are taken again and all duties done; seconds since an instant until an event was taken."""
        wait(lambda: any(status == 202 for _, status, _ in self.traffic.since(since_s)), "no event is taken any more")
        taken_s = next(at for at, status, _ in self.traffic.since(since_s) if status == 202)
        wait(self.is_shared_out, "the duties are not shared out again")
        return taken_s - since_s

    def restart(self) -> dict[str, Any]:
        """Redis is restarted empty, then PostgreSQL is, without a word to its clients."""
        pair, redis = self.servers.pair, self.servers.own_redis
        if pair is None or redis is None:
            return {}
        began_s = time.monotonic()
        redis.restart()
        time.sleep(2)
        failed = [status for _, status, _ in self.traffic.since(began_s) if status != 202]
        began_s = time.monotonic()
        pair.restart()
        up_s = time.monotonic()
        recovery_s = self._recovered(up_s)
        away = [one for one in self.traffic.since(began_s) if one[1] != 202]
        return {
            "failed_at_redis_restart": len(failed),
            "answers_at_restart": len(away),
            "restart_not_503_with_retry_after": not_refused(away),
            "restart_recovery_s": round(recovery_s, 2),
        }

    def fail_over(self) -> dict[str, Any]:
        """The primary is killed for good, and its standby takes over."""
        pair = self.servers.pair
        if pair is None:
            return {}
        began_s = time.monotonic()
        self.servers.fail_over(pair)
        up_s = time.monotonic()
        recovery_s = self._recovered(up_s)
        away = [one for one in self.traffic.since(began_s) if one[1] != 202]
        time.sleep(3)
        return {
            "taken_after_failover": sum(status == 202 for _, status, _ in self.traffic.since(up_s)),
            "failover_not_503_with_retry_after": not_refused(away),
            "failover_recovery_s": round(recovery_s, 2),
        }

    def races(self) -> dict[str, Any]:
        """One Idempotency-Key 64 times at once over all services, and a key's quota used up over all of them."""
        doors = self.doors
        body = {"url": "http://127.0.0.1:9/hook", "signal_types": []}
        with ThreadPoolExecutor(64) as pool:
            answers = list(
                pool.map(
                    lambda k: self.ask(doors[k % len(doors)], "/v1/subscriptions", body, **{"Idempotency-Key": "one"}),
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

        def hammer(door: str) -> None:
            with httpx.Client(headers={"Authorization": f"Bearer {self.limited}"}, timeout=60) as client:
                while time.monotonic() - began < 20:
                    admitted = client.post(f"{door}/v1/events", json={"events": []}).status_code == 202
                    with lock:
                        n_admitted[0] += admitted

        with ThreadPoolExecutor(N_SERVICES) as pool:
            list(pool.map(hammer, self.doors))
        return n_admitted[0] / (QUOTA * (1 + (time.monotonic() - began) / 60))

    def promote(self) -> dict[str, Any]:
        """A champion that all services see, its files out of the object store, and back."""
        doors = range(len(self.doors))
        return promote(self.home, self.servers.objects, doors, lambda k: self.ask(self.doors[k], "/v1/intent", {}))

    def tail_cost(self) -> dict[str, Any]:
        """Rows of the log that all processes read together for each new event: with all services, and with one, asked alike."""
        names = [name for name in self.nursery.children if name.startswith("service")][1:]
        self.traffic.doors = self.doors[:1]
        of_all = self._rows_per_event()
        for name in names:
            self.nursery.kill(name)
        time.sleep(2 * LEASE_S)  # who counts associations now has what it needs
        of_one = self._rows_per_event()
        for name in names:
            self.nursery.fork(name)
        self._await_doors()
        self.traffic.doors = self.doors
        ((window,),) = self.store.read("SELECT count(*) / greatest(count(DISTINCT user_id), 1) FROM events")
        rows = {"rows_read_per_event": round(of_all, 1), "rows_of_window": round(of_all / max(window, 1), 2)}
        return {**rows, "events_per_visitor": window, "rows_of_three_services_to_one": round(of_all / of_one, 2)}

    def _rows_per_event(self) -> float:
        read_before, before = self._rows_read()
        time.sleep(20)
        read, now = self._rows_read()
        return (read - read_before) / max(now - before, 1)

    def _await_doors(self) -> None:
        for door in self.doors:
            wait(lambda door=door: self.is_ready(door), "a service is not ready")  # type: ignore[misc]

    def associations(self) -> dict[str, Any]:
        """From an event to the answers that it changes, under traffic."""
        replicas.begin(self.home)
        return replicas.event_to_answer(self.doors, self.key)

    def _rows_read(self) -> tuple[int, int]:
        """Rows of the log that were read so far, as the server counts them, and events that were written."""
        ((read, written),) = self.store.read(
            "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0), coalesce(sum(n_tup_ins), 0) "
            "FROM pg_stat_user_tables WHERE relid IN (SELECT relid FROM pg_partition_tree('events'))"
        )
        return int(read), int(written)

    def settle(self) -> dict[str, Any]:
        """End of the traffic: what is in the log, and the signals."""
        self.traffic.stopped.set()
        self.traffic.join()
        tail = self.store.tail("scale")
        ends = "SELECT min(seq) FROM cursors WHERE name = 'signals' OR name LIKE 'online_features%'"
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
            **self._promised(),
        }

    def _promised(self) -> dict[str, int]:
        """Discounts as their budget counts them, and as they were sent."""
        ((spent, budget),) = self.store.read(
            "SELECT (SELECT sum(spent_cents) FROM offer_spend), (SELECT round(budget * 100) FROM offers WHERE offer_id = 'one')"
        )
        ((n_sent,),) = self.store.read("SELECT count(*) FROM signals WHERE type = 'offer_discount'")
        sent = n_sent * DISCOUNT_CENTS
        return {"promised_cents": sent, "left_cents": int(budget) - sent, "promises_not_counted": sent - int(spent or 0)}

    def views(self) -> dict[str, Any]:
        """Associations of all services, when all is still."""
        pids = [pid for name, pid in self.nursery.children.items() if name.startswith("service")]
        ask = partial(replicas.ask_all, pids, self.home.parent, lambda pid: os.kill(pid, signal.SIGUSR1))
        return replicas.views(ask, self.store)


def main(n_kills: int = 20) -> dict[str, Any]:
    """All of it, one after the other; figures by name."""
    island = Island() if may_be_made() else None
    found: dict[str, Any] = {"network": "namespace" if island else "forwarders"}
    with ExitStack() as ends:
        if island:
            ends.callback(island.close)
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)  # the servers may be another user's
        servers = Servers(folder, island.servers if island else "127.0.0.1")
        ends.callback(servers.close)
        bench = Bench(folder / "home", servers, island, n_kills)
        ends.callback(bench.nursery.close)
        for step in (
            *(bench.tail_cost, bench.associations, bench.stop, bench.cut, bench.restart, bench.races, bench.promote),
            *(bench.kills, bench.fail_over, bench.settle, bench.views),
        ):
            found |= step()
            sys.stderr.write(f"{step.__name__}: {json.dumps(found)}\n")
    return found


if __name__ == "__main__":
    figures = main(*map(int, sys.argv[1:]))
    missed = sorted(name for name, holds in BARS.items() if name in figures and not holds(figures[name]))
    left_out = sorted(set(BARS) - set(figures))
    sys.stdout.write(json.dumps({**figures, "missed": missed, "left_out": left_out}) + "\n")
    sys.exit(bool(missed or set(left_out) - set(RESTARTS)))
