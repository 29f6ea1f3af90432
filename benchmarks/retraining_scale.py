"""What a retraining of a long log takes, and of one ten times as long, on two Dask workers of 2 GiB each.

``python -m benchmarks.retraining_scale [N_EVENTS] [N_MORE]`` (5,000,000 and 50,000,000) makes two logs of a simulated shop's
events under many users, runs ``attune retrain --dask`` of each, and prints one JSON object: seconds by step, the most memory of
the command with its children and of each worker (proportional set size), and how much sooner the visitors of the first log are
folded by two workers than by one.
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil
from distributed import LocalCluster

from benchmarks.attack_store import long_log
from benchmarks.retraining_growth import held_bytes, retrained
from flows import shuffle
from flows.fold_tables import EVENTS_A_RANGE, FOLDS, fold_range
from flows.spread import spread
from infra.store.engines import open_store
from infra.store.statements.materialization import EVENTS_UNTIL, FOLDED_COLUMNS

WORKER_BYTES: Final = 2 << 30
MOST_PEAK: Final = 1.2  # of the longer log's, in that of the shorter
TIMES: Final = (0.8, 1.2)  # of the ratio of events
LEAST_SOONER: Final = 1.6
LOOK_S: Final = 0.5


def main(words: list[str]) -> int:
    """Retrain both and print; 1 if a bar is missed."""
    sizes = [int(words[at]) if len(words) > at else usual for at, usual in enumerate((5_000_000, 50_000_000))]
    with tempfile.TemporaryDirectory() as folder:
        homes = [Path(folder) / str(size) for size in sizes]
        n_events = [long_log(home, size)[0] for home, size in zip(homes, sizes, strict=True)]
        one, two = (fold_seconds(homes[0], n) for n in (1, 2))
        found = [on_workers(home) for home in homes]
    peak = found[1]["peak_gib"] / found[0]["peak_gib"]
    times = found[1]["seconds"] / found[0]["seconds"] / (n_events[1] / n_events[0])
    told = {"n_events": n_events, "retrained": found, "peak_ratio": round(peak, 3), "seconds_ratio_of_events": round(times, 3)}
    print(json.dumps({**told, "fold_seconds": [one, two], "sooner": round(one / two, 2)}))
    return int(peak > MOST_PEAK or not TIMES[0] <= times <= TIMES[1] or one / two < LEAST_SOONER)


def fold_seconds(home: Path, n_workers: int) -> float:
    """Seconds in which workers fold all visitors, from files to files."""
    with tempfile.TemporaryDirectory(dir=home) as name, cluster(n_workers) as dask, closing(open_store(home)) as log:
        folder, span = Path(name), (log.tail("").end(), time.time_ns() // 1_000)
        spilled = shuffle.spill(log.stream(EVENTS_UNTIL, span), FOLDED_COLUMNS, folder / "spilled")
        ranges = shuffle.visitors(spilled, folder / "ranges", EVENTS_A_RANGE)
        with spread(dask.scheduler_address) as over:
            list(over(partial(fold_range, FOLDS.users, folder, 0), ranges[:n_workers]))  # imports, and kernels
            began = time.monotonic()
            list(over(partial(fold_range, FOLDS.users, folder, 1), ranges))
            return round(time.monotonic() - began, 2)


def on_workers(home: Path) -> dict[str, Any]:
    """Retrain a home on two workers: seconds in all and by step, and the most memory, of the command and of the workers."""
    with cluster(2) as dask, most_of(dask) as most:
        found = retrained(home, "--dask", dask.scheduler_address)
    return {**found, "command_gib": found["peak_gib"], "workers_gib": most, "peak_gib": round(found["peak_gib"] + sum(most), 2)}


@contextmanager
def cluster(n_workers: int) -> Iterator[Any]:
    """Workers on this machine that end, and are begun anew, where they take too much."""
    make: Any = LocalCluster
    quiet = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with make(n_workers=n_workers, threads_per_worker=1, memory_limit=WORKER_BYTES, **quiet) as found:
        yield found


@contextmanager
def most_of(dask: Any) -> Iterator[list[float]]:
    """The most memory that each worker of a cluster has held, GiB, as soon as this ends."""
    most, ended, told = dict.fromkeys(dask.workers, 0), threading.Event(), list[float]()

    def look() -> None:
        while not ended.wait(LOOK_S):
            for name, worker in dask.workers.items():
                if worker.pid and psutil.pid_exists(worker.pid):
                    most[name] = max(most[name], held_bytes(psutil.Process(worker.pid)))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield told
    finally:
        ended.set()
        looking.join()
        told += [round(n_bytes / 2**30, 2) for n_bytes in most.values()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
