"""Associations that follow the log: from an event to the answer it changes, and what a query costs with an overlay.

    python -m benchmarks.live_associations

In process: events come one at a time to a store of the generated log of `benchmarks.session_logs`. In the service: events
are appended to a log as ``POST /v1/events`` does it, and the time until the tail thread has published them is taken.
`benchmarks.session_logs` prints the same figures on its own data.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from infra.packed import packed, unpacked
from models.associations import deltas
from models.associations.live import LiveAssociations, rehearse
from models.associations.model import AssociationStore, to_parts
from models.events.encode import TYPE_CODE
from models.events.rules import to_row
from models.weight_profile import STATIC

N_EVENTS = 300  # that come one at a time
N_TAIL = 20_000  # folded before the overlay's cost is taken
N_APPLIED = 200_000  # in batches of a step of `services.serving.association_tail`
EVENTS_A_STEP = 5_000
N_QUERIES = 4000
N_VISIBLE = 40


def tail_of(store: AssociationStore, n_events: int) -> pd.DataFrame:
    """Events of the day after the build: sessions of about five views of neighbouring items, a tenth of them new ones."""
    rng = np.random.default_rng(5)
    session = np.arange(n_events) // 5
    near = rng.integers(0, int(store.n_items * 1.1), session[-1] + 1)[session] + rng.integers(0, 20, n_events)
    ids = [store.item_ids[code] if code < store.n_items else f"new {code}" for code in near.tolist()]
    return pd.DataFrame(
        {
            "seq": store.built_to_seq + 1 + np.arange(n_events),
            "partner": "p",
            "user_id": [f"live {number}" for number in session.tolist()],
            "session_id": None,
            "event_type": np.array(list(TYPE_CODE))[rng.choice([0, TYPE_CODE["add_to_cart"]], n_events, p=[0.9, 0.1])],
            "occurred_at_us": store.built_to_us + 1_000_000 * (1 + np.arange(n_events)),
            "item_id": ids,
        }
    )


def _percentiles(name: str, spent: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(spent, [50, 99])
    return {f"{name}_p50": float(p50), f"{name}_p99": float(p99)}


def _query_us(stores: dict[str, AssociationStore], known: npt.NDArray[np.int64]) -> dict[str, float]:
    """Microseconds of a query by 15 events, the stores asked in turn so that all meet the same machine."""
    rng = np.random.default_rng(1)
    types, ages_s = np.zeros(15, dtype=np.int8), np.arange(420.0, -30.0, -30.0)
    spent: dict[str, list[float]] = {name: [] for name in stores}
    for _ in range(N_QUERIES):
        items = rng.choice(known, 15)
        for name, store in stores.items():
            started = time.perf_counter_ns()
            store.recommend(items, types, ages_s, STATIC.base, 20)
            spent[name].append((time.perf_counter_ns() - started) / 1e3)
    return {key: value for name, each in spent.items() for key, value in _percentiles(f"{name}_us", each).items()}


def in_process(store: AssociationStore) -> dict[str, Any]:
    """Milliseconds from one event, or five hundred, to the new view; the cost of settling and of queries on top of it."""
    rehearse()
    live, tail = LiveAssociations(store), tail_of(store, N_TAIL)
    one, many = [], []
    for last in range(1, N_EVENTS + 1):
        known = tail[last - 1 - (last - 1) % 5 : last]
        started = time.perf_counter()
        live.fold(known, (known["seq"] == known["seq"].max()).to_numpy())
        one.append((time.perf_counter() - started) * 1e3)
    for first in range(N_EVENTS, N_TAIL, 500):
        batch = tail[first : first + 500]
        started = time.perf_counter()
        live.fold(batch, np.ones(len(batch), np.bool_))
        many.append((time.perf_counter() - started) * 1e3)
    started = time.perf_counter()
    live.settle()
    settle_ms = (time.perf_counter() - started) * 1e3
    overlay = live.view.overlay
    return {
        **_percentiles("fold_one_event_ms", one),
        **_percentiles("fold_500_events_ms", many),
        "settle_ms": settle_ms,
        "n_tail_events": N_TAIL,
        "n_touched_items": len(overlay.span) - 1,
        "overlay_mb": sum(array.nbytes for array in overlay if isinstance(array, np.ndarray)) / 1e6,
        **_query_us({"snapshot_query": store, "overlay_query": live.view}, np.flatnonzero(np.diff(store.index.offsets) > 0)),
    }


def applied(store: AssociationStore) -> dict[str, float]:
    """Events that one process counts, and that another adds, per second of processor; bytes that pass between them an event.

    Counting leaves out the reading of visitors' events. Deltas are added one by one, as they come, and all at once, as by a
    process that begins late.
    """
    one, tail = LiveAssociations(store), tail_of(store, N_APPLIED)
    started, bodies = time.process_time(), []
    for first in range(0, N_APPLIED, EVENTS_A_STEP):
        batch = tail[first : first + EVENTS_A_STEP]
        delta = one.counted(batch, np.ones(len(batch), np.bool_))
        bodies.append(packed(deltas.to_parts(delta)))
        one.take([delta])
    found = {"counted_a_cpu_s": N_APPLIED / (time.process_time() - started)}
    for name, n in (("one_by_one", 1), ("at_once", len(bodies))):
        two, started = LiveAssociations(store), time.process_time()
        for first in range(0, len(bodies), n):
            two.take([deltas.from_parts(unpacked(body)) for body in bodies[first : first + n]])
        found[f"added_a_cpu_s_{name}"] = N_APPLIED / (time.process_time() - started)
    return {**found, "delta_bytes_an_event": sum(map(len, bodies)) / N_APPLIED}


def through_the_tail(store: AssociationStore) -> dict[str, float]:
    """Milliseconds from a durable event to the view that knows it, in two followers of one log."""
    from infra import registry
    from infra.store.engines import open_writer
    from services.serving.associations import LiveChampions
    from services.serving.model_watch import ChampionWatcher

    spent: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        version = registry.save(home, "associations", to_parts(store), {})
        registry.set_alias(home, registry.CHAMPION, {"associations": version}, action="promote", actor="benchmark", reason="")
        followers = [LiveChampions(home, ChampionWatcher(home)) for _ in range(2)]
        writer = open_writer(home, lambda: time.time_ns() // 1000)
        for follower in followers:
            follower.start()
        for number in range(N_VISIBLE + 1):
            event = {"event_id": f"e{number}", "type": "item_view", "item_id": f"seen {number}", "ts": "2026-11-21T10:00:00Z"}
            writer.append("shop", [to_row(event, f"user {number % 7}")]).result(10)
            started = time.perf_counter()
            while not all(_knows(follower, f"seen {number}") for follower in followers):
                time.sleep(0.001)
            spent.append((time.perf_counter() - started) * 1e3)
            time.sleep(0.03)
        for follower in followers:
            follower.stop()
        writer.close()
    return _percentiles("event_to_visible_ms", spent[1:])  # the first waits for the champion to be loaded


def _knows(follower: Any, item_id: str) -> bool:
    store = follower.current().associations
    return store is not None and store.code(item_id) >= 0


def measure(store: AssociationStore) -> dict[str, Any]:
    """All figures."""
    return {**in_process(store), **applied(store), **through_the_tail(store)}


if __name__ == "__main__":
    from benchmarks.session_logs import encode, generated
    from models.associations.model import build

    print(json.dumps(measure(build(*encode(generated()[0])))))
