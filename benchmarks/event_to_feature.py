"""From a durable event to what it changes: how soon the user's feature is readable online, and its signal in the outbox.

``python -m benchmarks.event_to_feature``. A home with small champions and the history of a simulated shop; `attune worker` as a
process of its own with all its duties. Events of known users are committed at a steady rate, and this process reads Feast's
online store in between, so a figure includes up to a round of its own (`round_s`). Prints one JSON object.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.simulated_home import make_champions
from flows.materialize import materialize
from infra.settings import Settings
from infra.store.engines import open_store, open_writer
from infra.store.events import append_events
from infra.store.protocol import Writer
from infra.store.statements.events import NEWEST_EVENT
from infra.store.statements.signals import PUT_POLICY
from models.events.rules import to_row
from models.schema import DAY_US
from models.simulator.config import ShopConfig, ending_at
from models.simulator.simulation import simulate
from services.processes import spawn, stop
from services.serving.features import OnlineFeatures, StoreUnreachable, open_features

RATES: Final = (10, 50)  # events a second, each of another user
SECONDS: Final = 5.0
PARTNER: Final = "shop"
SHOP: Final = ShopConfig(n_users=400, n_days=7, n_items=200, n_categories=8, seed=3)
OPEN_POLICY: Final = '{"thresholds": {"min_score_product": 0.0}, "holdout_share": 0.0, "cool_down_s": 0, "max_per_day": 1000}'
PATIENCE_S: Final = 10.0
START_S: Final = 180.0
BAR_S: Final = 1.0
SIGNALS: Final = "SELECT s.created_at_us - e.received_at_us FROM signals s JOIN events e ON e.seq = s.cause_seq WHERE e.seq > ?"


def prepare(home: Path) -> list[str]:
    """A home with champions, a log and online features; its users."""
    before_us = time.time_ns() // 1000 - DAY_US // 24
    make_champions(home, SHOP, n_rounds=20)
    events = simulate(ending_at(SHOP, before_us)).events
    store = open_store(home)
    store.write(lambda transaction: append_events(transaction, events, PARTNER, before_us))
    store.write(lambda transaction: transaction.execute(PUT_POLICY, (PARTNER, OPEN_POLICY, before_us)))
    store.close()
    materialize(home)
    return sorted(set(events["user_id"]))


def wait_for(home: Path) -> None:
    """Let the worker start: seconds of imports, many where the machine has other things to do."""
    until = time.monotonic() + START_S
    store = open_store(home)
    while any(store.tail(name).position() is None for name in ("online_features", "signals")):
        if time.monotonic() > until:
            raise RuntimeError(f"the worker has not begun within {START_S:g} s")
        time.sleep(0.5)


def measure(home: Path, online: OnlineFeatures, users: list[str], per_s: float) -> dict[str, Any]:
    """One rate: seconds from durable to readable, and to a signal."""
    store = open_store(home)
    ((before,),) = store.read(NEWEST_EVENT)
    writer = open_writer(home, lambda: time.time_ns() // 1000)
    waiting: dict[str, tuple[int, float]] = {}
    feature_s: list[float] = []
    round_s: list[float] = []
    began = time.monotonic()
    n_sent = 0
    while n_sent < len(users) or (waiting and time.monotonic() - began < len(users) / per_s + PATIENCE_S):
        round_began = time.monotonic()
        if n_sent < len(users) and round_began - began >= n_sent / per_s:
            waiting[users[n_sent]] = append(writer, users[n_sent])
            n_sent += 1
        for user, (at_us, durable_s) in list(waiting.items()):
            if is_there(online, user, at_us):
                feature_s.append(time.monotonic() - durable_s)
                del waiting[user]
        round_s.append(time.monotonic() - round_began)
        time.sleep(0.001)
    writer.close()
    signal_s = [took_us / 1e6 for (took_us,) in store.read(SIGNALS, (before,))]
    return {
        "events_per_s": per_s,
        "n_events": n_sent,
        "never_readable": len(waiting),
        "feature_s": percentiles(feature_s),
        "n_signals": len(signal_s),
        "signal_s": percentiles(signal_s),
        "round_s": percentiles(round_s),
    }


def append(writer: Writer, user: str) -> tuple[int, float]:
    """Commit an event of now; its instant, and when it was durable."""
    at_us = time.time_ns() // 1000
    ts = np.datetime64(at_us, "us").item().isoformat() + "Z"
    event = {"event_id": f"{user}-{at_us}", "type": "add_to_cart", "item_id": "sku-00001", "price": 9.0, "ts": ts}
    writer.append(PARTNER, [to_row(event, user)]).result(30)
    return at_us, time.monotonic()


def is_there(online: OnlineFeatures, user: str, at_us: int) -> bool:
    """Whether the user's online features know of an event."""
    try:
        features = online.user(user, time.time_ns() // 1000)
    except StoreUnreachable:
        return False
    return features is not None and features.last_event_at_us >= at_us


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Median, 99th percentile and maximum, to the millisecond."""
    if not seconds:
        return {}
    return dict(zip(("p50", "p99", "max"), np.percentile(seconds, [50, 99, 100]).round(3).tolist(), strict=True))


def main() -> dict[str, Any]:
    """All rates, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        users = prepare(home)
        online = open_features(Settings(home=home))
        worker = spawn(("worker",), {"ATTUNE_HOME": str(home)}, home / "worker.log")
        try:
            wait_for(home)
            warm = measure(home, online, users[:5], 5.0)
            found = []
            for place, per_s in enumerate(RATES):
                n = int(per_s * SECONDS)
                found.append(measure(home, online, users[5 + 60 * place :][:n], per_s))
        finally:
            stop([worker])
    slowest = max(one["feature_s"].get("p99", np.inf) for one in found)
    return {"warm_up": warm, "rates": found, "bar_s": BAR_S, "p99_over_bar": round(slowest / BAR_S, 3)}


if __name__ == "__main__":
    print(json.dumps(main()))
