"""Soak: a service and a worker under ordinary traffic for long; their memory must not grow.

``python -m benchmarks.soak [MINUTES]`` (`make soak`, 60 minutes) sends sessions of new visitors, who also look at items that
nobody has seen, and asks for recommendations; it prints one JSON object. What processes keep of late has bounds (pairs and
items of the live associations, decisions that the bandit learns of): traffic as fast as it goes first fills all of it, which
at the usual pace takes hours. Growth is told by the medians of the first and the last fifth of the samples after a warm-up, so
that one collection more or less does not count.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from benchmarks.attack_store import DUTIES
from benchmarks.attack_target import MIB, Service, service
from benchmarks.load import Load, measure, post
from benchmarks.serve import HOST, bodies, stop
from benchmarks.simulated_home import make_home
from infra.store.engines import open_store
from infra.store.statements.decisions import NEWEST_DECISION
from models.simulator.config import ShopConfig, ending_at
from services.serving.associations import LET_GO
from services.worker.rewards import MEMORY

CONFIG: Final = ShopConfig(n_users=300, n_days=3, n_items=300)
STRETCH_S: Final = 10.0  # between samples
FILL_S: Final = 3_600.0  # at most
WARM_UP: Final = 0.2  # share of the samples
BATCH: Final = 40  # events of one request: four visitors
FLAT: Final = 1.05


def sessions() -> Iterator[bytes]:
    """Batches of events; every fourth item is one that nobody has seen."""
    for n in count():
        ts = datetime.now(UTC).isoformat()
        events = [
            {
                "event_id": f"soak-{n}-{k}",
                "user_id": f"soak-{n}-{k // 10}",
                "type": ("item_view", "detail_view", "add_to_cart", "item_view", "search")[k % 5],
                **({} if k % 5 == 4 else {"item_id": f"new-{n}-{k}" if k % 4 == 0 else f"sku-{(n * 7 + k) % 300:05d}"}),
                "ts": ts,
            }
            for k in range(BATCH)
        ]
        yield msgspec.json.encode({"events": events})


def fill(served: Service, batches: Iterator[bytes], asks: list[bytes]) -> float:
    """Send and ask until all is full that processes keep of late, and the worker has come after; seconds that it took."""
    began = time.monotonic()

    def waits(what: str) -> None:
        if time.monotonic() - began > FILL_S:
            raise RuntimeError(f"after {FILL_S:g} s still {what}")

    with closing(open_store(served.home)) as store:
        while LET_GO not in readiness(served.port):
            measure(HOST, served.port, [post("/v1/events", next(batches), served.server_key) for _ in range(500)], 2, 2.0)
            waits("less has happened than is kept")
        while store.read(NEWEST_DECISION)[0][0] < MEMORY:
            measure(HOST, served.port, asks, 4, 5.0)
            waits("fewer decisions than the bandit remembers")
        while any((store.tail(name).position() or 0) < store.tail(name).end() for name in DUTIES):
            time.sleep(1.0)
            waits("a worker that has not caught up")
    return time.monotonic() - began


def readiness(port: int) -> str:
    """What `/readyz` says."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/readyz", timeout=10) as answer:
        return str(answer.read().decode())


def memory_mib(process: psutil.Process) -> float:
    """What a process and its children hold."""
    family = [process, *process.children(recursive=True)]
    return float(sum(one.memory_info().rss for one in family) / MIB)


def grown(samples: list[float]) -> float:
    """How many times its first fifth the last fifth of the samples is, after the warm-up.

    Examples
    --------
    >>> grown([1, 9, 10, 10, 10, 10, 10, 10, 20, 20])
    2.0
    """
    kept = samples[int(len(samples) * WARM_UP) :]
    fifth = max(1, len(kept) // 5)
    return round(statistics.median(kept[-fifth:]) / statistics.median(kept[:fifth]), 3)


def main(words: list[str]) -> int:
    """Run for so many minutes; 1 if anything grew or was refused."""
    minutes = float(words[0]) if words else 60.0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        make_home(home, ending_at(CONFIG, time.time_ns() // 1000), "shop")
        worker = subprocess.Popen(
            [sys.executable, "-m", "services.cli", "worker"], env={**os.environ, "ATTUNE_HOME": str(home)}, stdout=sys.stderr
        )
        try:
            with service(home) as served:
                asks = [post("/v1/recommendations", body, served.server_key) for body in bodies(CONFIG, 100)]
                batches, watched = sessions(), {"service": served.process, "worker": psutil.Process(worker.pid)}
                took_s = fill(served, batches, asks)
                sys.stderr.write(f"all is full after {took_s:.0f} s\n")
                found = {"fill_s": round(took_s), **soak(served.port, served.server_key, batches, asks, minutes, watched)}
        finally:
            stop(worker)
    print(json.dumps(found))
    return int(any(one > FLAT for one in found["grown"].values()) or set(found["statuses"]) != {"200", "202"})


def soak(
    port: int, key: str, batches: Iterator[bytes], asks: list[bytes], minutes: float, watched: dict[str, psutil.Process]
) -> dict[str, Any]:
    """Send events and ask, and look at memory from time to time."""
    samples, statuses = {name: list[float]() for name in watched}, dict[str, int]()
    until = time.monotonic() + minutes * 60

    def write(loads: list[Load]) -> None:
        loads.append(measure(HOST, port, [post("/v1/events", next(batches), key)], 1, 0.0))

    while time.monotonic() < until:
        loads: list[Load] = []
        began = time.monotonic()
        while time.monotonic() < began + STRETCH_S:
            writing = threading.Thread(target=write, args=(loads,))
            writing.start()
            loads.append(measure(HOST, port, asks, 1, 0.5))
            writing.join()
        for load in loads:
            for status, n in load.statuses.items():
                statuses[status] = statuses.get(status, 0) + n
        for name, process in watched.items():
            samples[name].append(round(memory_mib(process), 1))
        sys.stderr.write(f"{samples['service'][-1]:.0f} MiB, {samples['worker'][-1]:.0f} MiB\n")
    return {
        "minutes": minutes,
        "statuses": statuses,
        "memory_mib": samples,
        "grown": {name: grown(found) for name, found in samples.items()},
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
