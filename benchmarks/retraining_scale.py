"""What a retraining of a long log takes, and of one ten times as long, on two Dask workers of 2 GiB each.

``python -m benchmarks.retraining_scale [N_EVENTS] [N_MORE]`` (5,000,000 and 50,000,000) makes two logs of a simulated shop's
events under many users, runs ``attune retrain --dask`` of each, and prints one JSON object: seconds by step, processor seconds
(which mean something beside other work as well), the most memory of the command with its children and of each worker
(proportional set size), how much sooner the visitors of the first log are folded by two workers than by one, and how far its
pairs, counted by parts on two workers, are from those of one build.
"""

import json
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import psutil
from distributed import LocalCluster

from benchmarks.attack_store import long_log
from benchmarks.retraining_growth import held_bytes, retrained
from flows import shuffle
from flows.fold_tables import EVENTS_A_RANGE, FOLDS, fold_range
from flows.spread import spread
from infra.store.engines import open_store
from infra.store.events import newest_believed
from infra.store.statements.materialization import EVENTS_UNTIL, FOLDED_COLUMNS
from models.associations.from_log import built
from models.associations.model import AssociationStore
from models.inference import examples
from models.inference.examples import ExampleParams

WORKER_BYTES: Final = 2 << 30
MOST_PEAK: Final = 1.2  # of the longer log's, in that of the shorter
TIMES: Final = (0.8, 1.2)  # of the ratio of events
LEAST_SOONER: Final = 1.6
MOST_ERROR: Final = 1e-6  # of a strength, which is float32
LOOK_S: Final = 0.5


def main(words: list[str]) -> int:
    """Retrain both and print; 1 if a bar is missed."""
    sizes = [int(words[at]) if len(words) > at else usual for at, usual in enumerate((5_000_000, 50_000_000))]
    with tempfile.TemporaryDirectory() as folder:
        homes = [Path(folder) / str(size) for size in sizes]
        n_events, found = list[int](), list[dict[str, Any]]()
        for home, size in zip(homes, sizes, strict=True):
            n_events.append(long_log(home, size)[0])
            found.append(on_workers(home))
            say(n_events=n_events[-1], **found[-1])
        one, two = (fold_seconds(homes[0], n) for n in (1, 2))
        say(fold_seconds=[one, two])
        pairs = pairs_by_parts(homes[0])
    peak = found[1]["peak_gib"] / found[0]["peak_gib"]
    times, spent = (found[1][name] / found[0][name] / (n_events[1] / n_events[0]) for name in ("seconds", "processor_seconds"))
    ratios = {"peak_ratio": peak, "seconds_ratio_of_events": times, "processor_ratio_of_events": spent, "sooner": one / two}
    told = {"n_events": n_events, "retrained": found, "fold_seconds": [one, two], "pairs": pairs}
    print(json.dumps({**told, **{name: round(ratio, 3) for name, ratio in ratios.items()}}))
    bad_pairs = pairs["n_not_common"] > 0 or pairs["largest_error"] > MOST_ERROR
    return int(peak > MOST_PEAK or not TIMES[0] <= times <= TIMES[1] or one / two < LEAST_SOONER or bad_pairs)


def say(**found: Any) -> None:
    """Tell on standard error what is known already: a run of the longer log takes an hour or more."""
    print(json.dumps({"at": time.strftime("%H:%M:%S"), **found}), file=sys.stderr, flush=True)


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


def pairs_by_parts(home: Path) -> dict[str, Any]:
    """Pairs of what a training looks at, counted by two workers: how many one build does not share, and errors."""
    with closing(open_store(home)) as store:
        log, _ = examples.read_log(newest_believed(store, ExampleParams().window_events))
    with cluster(2) as dask, spread(dask.scheduler_address) as over:
        one, many = (_pairs(built(log, {}, how)) for how in (None, over))
    both = one.join(many, how="outer", lsuffix="_one", rsuffix="_many")
    errors = (both["strength_one"] / both["strength_many"] - 1.0).abs()
    apart = int(both.isna().any(axis=1).sum() + (both["support_one"] != both["support_many"]).sum())
    return {"n_pairs": len(one), "n_not_common": apart, "largest_error": float(errors.max())}


def _pairs(store: AssociationStore) -> pd.DataFrame:
    index, ledger = store.index, store.ledger
    assert ledger is not None
    anchor = np.repeat(np.arange(store.n_items), np.diff(index.offsets))
    columns = {"anchor": anchor, "target": index.target, "types": index.types, "strength": index.strength}
    return pd.DataFrame({**columns, "support": ledger.support}).set_index(["anchor", "target", "types"])


def on_workers(home: Path) -> dict[str, Any]:
    """Retrain a home on two workers: seconds in all and by step, and the most memory, of the command and of the workers."""
    with cluster(2) as dask:
        before = processor_seconds(dask)
        with most_of(dask) as most:
            found = retrained(home, "--dask", dask.scheduler_address)
        spent = round(processor_seconds(dask) - before, 1)
    both = round(found["peak_gib"] + sum(most), 2)
    return {**found, "processor_seconds": spent, "command_gib": found["peak_gib"], "workers_gib": most, "peak_gib": both}


def processor_seconds(dask: Any) -> float:
    """Processor time that ended children of this process, and a cluster's workers, have had: it hardly depends on load."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = [psutil.Process(worker.pid).cpu_times() for worker in dask.workers.values()]
    return float(ended.ru_utime + ended.ru_stime + sum(one.user + one.system for one in found))


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
