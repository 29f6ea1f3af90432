"""How fast events get into the log and out of it, against the same rows appended to the same store without any work on them.

The floor of each figure is measured in the same run: the rows that the ingest produced, as ready tuples, in one `executemany`
per chunk. CPU seconds are given beside wall-clock seconds, because a busy machine stretches only the latter.
"""

import json
import resource
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from flows.append import Counts, ingest_file
from infra.store import events as log
from infra.store.embedded.connection import connect
from infra.store.engines import open_store
from infra.store.statements.events import APPEND_COLUMNS, APPEND_EVENT, LOG_COLUMNS
from models.schema import EVENT_TYPES

N_EVENTS = 200_000
CHUNK = 30_000


def write_attune(path: Path, rng: np.random.Generator) -> None:
    """Events in our own form: users in sessions of twenty, with context and two measures."""
    start = datetime(2023, 11, 1, tzinfo=UTC)
    kinds, items = rng.integers(0, len(EVENT_TYPES), N_EVENTS).tolist(), rng.integers(0, 5_000, N_EVENTS).tolist()
    with path.open("w") as file:
        for i, (kind, item) in enumerate(zip(kinds, items, strict=True)):
            event = {"event_id": f"event-{i:08d}", "user_id": f"u-{i // 20}", "session_id": f"s-{i // 20}"}
            event |= {"type": EVENT_TYPES[kind], "item_id": f"sku-{item}", "category": f"c-{item % 50}"}
            more = {"price": item / 7, "dwell_ms": 5.0 * kind, "context": {"device": "mobile", "timezone": "Europe/Berlin"}}
            file.write(json.dumps(event | {"ts": (start + timedelta(seconds=i)).isoformat()} | more) + "\n")


def write_retailrocket(path: Path, rng: np.random.Generator) -> None:
    """Rows of RetailRocket's form."""
    items = rng.integers(0, 200_000, N_EVENTS).tolist()
    with path.open("w") as file:
        file.write("timestamp,visitorid,event,itemid,transactionid\n")
        file.writelines(f"{1433221332117 + i * 37},{i // 6},view,{item},\n" for i, item in enumerate(items))


def write_rees46(path: Path, rng: np.random.Generator) -> None:
    """Rows of REES46's form."""
    items = rng.integers(0, 50_000, N_EVENTS).tolist()
    names = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
    start = datetime(2019, 10, 1, tzinfo=UTC)
    with path.open("w") as file:
        file.write(names + "\n")
        for i, item in enumerate(items):
            at = (start + timedelta(seconds=i // 10)).strftime("%Y-%m-%d %H:%M:%S UTC")
            file.write(f"{at},view,{item},20530{item % 99},a.b,brand-{i % 10},{item / 9:.2f},{i // 6},session-{i // 6}\n")


def timed(job: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Result, wall-clock and CPU seconds of a job."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = job()
    return result, {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def plain_append(home: Path, rows: list[tuple[Any, ...]]) -> None:
    """The floor: ready rows into an empty store, in the same chunks."""
    with closing(connect(home)) as conn:
        for first in range(0, len(rows), CHUNK):
            with conn:
                conn.executemany(APPEND_EVENT, rows[first : first + CHUNK])


def measure(folder: Path, format: str, write: Callable[[Path, np.random.Generator], None]) -> dict[str, float]:
    """Ingest one synthetic file, ingest it again, read the log, and append its rows plainly."""
    path, home = folder / format, folder / f"home-{format}"
    write(path, np.random.default_rng(1))
    counts, first = timed(lambda: ingest_file(path, format, home, progress=False))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # of the process so far: true for the first format
    again, second = timed(lambda: ingest_file(path, format, home, progress=False))
    if counts != Counts(N_EVENTS, 0, 0) or again != Counts(0, N_EVENTS, 0):
        raise ValueError(f"{format}: expected {N_EVENTS} events once, got {counts} and {again}")
    with closing(open_store(home)) as store:
        events, reading = timed(lambda: log.read_events(store))
    with closing(connect(home)) as conn:
        rows = conn.execute(f"SELECT {', '.join(APPEND_COLUMNS)} FROM events ORDER BY seq").fetchall()
        _, fetching = timed(lambda: conn.execute(f"SELECT seq, {', '.join(LOG_COLUMNS)} FROM events ORDER BY seq").fetchall())
    _, floor = timed(lambda: plain_append(folder / f"floor-{format}", rows))
    return {
        "peak_mib_so_far": peak_mib,
        "events_per_s": N_EVENTS / first["wall_s"],
        "events_per_cpu_s": N_EVENTS / first["cpu_s"],
        "again_events_per_s": N_EVENTS / second["wall_s"],
        "floor_events_per_s": N_EVENTS / floor["wall_s"],
        "times_the_floor": first["wall_s"] / floor["wall_s"],
        "cpu_times_the_floor": first["cpu_s"] / floor["cpu_s"],
        "read_events_per_s": len(events) / reading["wall_s"],
        "read_events_per_cpu_s": len(events) / reading["cpu_s"],
        "read_times_a_plain_fetch": reading["wall_s"] / fetching["wall_s"],
    }


def main() -> None:
    """Print one JSON object."""
    writers = {"attune": write_attune, "retailrocket": write_retailrocket, "rees46": write_rees46}
    with tempfile.TemporaryDirectory() as folder:
        figures = {format: measure(Path(folder), format, write) for format, write in writers.items()}
    rounded = {format: {name: round(value, 2) for name, value in row.items()} for format, row in figures.items()}
    print(json.dumps({"ingest": {"n_events": N_EVENTS} | rounded}))


if __name__ == "__main__":
    main()
