"""Attacks on the batches: rows that pass the door one by one, and would stop the training of everybody.

All of them come with a browser key, through the door; then the log is validated and materialized as in every retraining.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.attack_poison import send
from benchmarks.attack_target import Outcome, Service, service
from benchmarks.simulated_home import make_champions
from flows.materialize import materialize
from flows.validate import validate
from infra.store.engines import open_store
from infra.store.events import append_events
from models.simulator.config import ShopConfig
from models.simulator.simulation import simulate

CONFIG: Final = ShopConfig(n_users=600, n_days=4, n_items=200)
HELD_BACK: Final = "SELECT count(*) FROM quarantine WHERE seq IS NOT NULL AND replayed_at_us IS NULL"


def run(home: Path, long: bool) -> Iterator[Outcome]:
    """Colliding sessions, odd prices, a machine of a visitor."""
    now_us = time.time_ns() // 1000
    make_champions(home, CONFIG, n_rounds=10)
    with closing(open_store(home)) as store:
        events = simulate(CONFIG).events
        store.write(lambda transaction: append_events(transaction, events, "shop", now_us))
    validate(home)
    materialize(home)
    with service(home) as served:
        yield _tried(served, "four events whose session ids collide", colliding(now_us - 60_000_000), 0)
        yield _tried(served, "33 odd rows of 538", odd_prices(now_us - 50_000_000), 33)
        n = 400_000 if long else 40_000
        yield _tried(served, f"one visitor with {n:,} clicks", clicks(n, now_us - 3_600_000_000), n)


def _tried(served: Service, name: str, events: Sequence[dict[str, Any]], n_bad: int) -> Outcome:
    sent = send(served, events)
    with closing(open_store(served.home)) as store:
        ((before,),) = store.read(HELD_BACK)
        try:
            validate(served.home)
            rows = materialize(served.home).offline.rows
        except ValueError as stopped:
            return Outcome(f"batch: {name}", "the rest goes through", f"stopped: {stopped}", False)
        ((after,),) = store.read(HELD_BACK)
    seen = f"{sent} accepted, {after - before} held back, {sum(rows.values())} rows of features"
    return Outcome(
        f"batch: {name}", f"the rest goes through, about {n_bad} rows are held back", seen, after - before >= n_bad * 0.9
    )


def _event(n: object, user: str, at_us: int, **more: object) -> dict[str, Any]:
    ts = datetime.fromtimestamp(at_us / 1e6, UTC).isoformat()
    return {"event_id": f"batch-{user}-{n}", "user_id": user, "type": "item_view", "item_id": "sku-00001", "ts": ts, **more}


def colliding(at_us: int) -> list[dict[str, Any]]:
    """Sessions that are named as those without a name would be."""
    seconds = (0, 5, 10, 10)
    names: tuple[dict[str, object], ...] = ({}, {"session_id": "c"}, {}, {"session_id": f"~{at_us + 10_000_000}"})
    pairs = enumerate(zip(seconds, names, strict=True))
    return [_event(n, "collides", at_us + second * 1_000_000, **name) for n, (second, name) in pairs]


def odd_prices(at_us: int) -> list[dict[str, Any]]:
    """Good rows, and some that no shop would send."""
    prices = [9e3 if n % 16 == 0 and n < 33 * 16 else 20.0 for n in range(538)]
    return [_event(n, f"priced-{n}", at_us + n, price=price) for n, price in enumerate(prices)]


def clicks(n: int, at_us: int) -> list[dict[str, Any]]:
    """One session of a machine."""
    return [_event(k, "a machine", at_us + k * 5_000, session_id="one") for k in range(n)]
