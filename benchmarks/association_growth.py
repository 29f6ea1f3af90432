"""How the build of associations grows: events per CPU second, and memory beside the finished arrays, for logs of any size.

    python -m benchmarks.association_growth [MILLIONS:ITEMS...]

Logs are generated: sessions of about five views and carts that wander near a popular start, session after session as a log of
many visitors has them. Fifty million events take 10 GB.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.associations.model import build
from models.events.encode import EVENT_DTYPE, TYPE_CODE

Log = tuple[npt.NDArray[np.void], npt.NDArray[np.bool_], npt.NDArray[np.object_]]
FEW_ITEMS = (5.4, 2000)  # many touches on each: what a build takes beyond its result shows here first
SIZES = ((1.0, 40_000), FEW_ITEMS, (5.4, 40_000))
_MONTH_US = 30 * 86_400_000_000


def generated(n_events: int, n_items: int) -> Log:
    """A log of about so many events."""
    rng = np.random.default_rng(7)
    lengths = 2 + rng.geometric(0.29, int(n_events / 5.45))
    starts = np.zeros(lengths.sum(), dtype=np.bool_)
    starts[np.cumsum(lengths) - lengths] = True
    events = np.zeros(len(starts), dtype=EVENT_DTYPE)
    events["item"] = np.repeat((n_items * rng.random(len(lengths)) ** 3).astype(np.int32), lengths)
    events["item"] += rng.integers(0, 40, len(events), dtype=np.int32)
    events["item"] %= n_items
    events["event_type"][rng.random(len(events)) < 0.1] = TYPE_CODE["add_to_cart"]
    events["occurred_at_us"] = np.cumsum(starts, dtype=np.int32)
    events["occurred_at_us"] *= _MONTH_US // len(lengths)
    return events, starts, np.arange(n_items).astype(str).astype(object)


def _memory_mb(name: str) -> float:
    status = Path("/proc/self/status").read_text()
    return float(status.split(f"{name}:")[1].split()[0]) / 1e3


def build_memory(log: Log) -> dict[str, float | None]:
    """What a build takes at its peak beyond what was there before, beside the finished arrays; None where Linux is not."""
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return {"build_peak_mb": None}
    reset.write_text("5")  # the peak counts from here
    before = _memory_mb("VmRSS")
    store = build(*log)
    peak_mb = _memory_mb("VmHWM") - before
    arrays_mb = sum(array.nbytes for array in (*store.index, *(store.ledger or ()))) / 1e6
    return {"store_mb": arrays_mb, "build_peak_mb": peak_mb, "build_peak_to_store_ratio": peak_mb / arrays_mb}


def measure(n_millions: float, n_items: int) -> dict[str, float | None]:
    """Figures of one size: the first build's memory, the faster of two more."""
    build(*generated(1000, 50))  # compile first
    log = generated(int(n_millions * 1e6), n_items)
    memory, spent_s = build_memory(log), []
    for _ in range(2):
        started = time.process_time()
        build(*log)
        spent_s.append(time.process_time() - started)
    return {"n_events": len(log[0]), "n_items": n_items, "build_events_per_cpu_s": len(log[0]) / min(spent_s), **memory}


def main(arguments: list[str]) -> None:
    """Print one JSON object a size."""
    sizes = [(float(millions), int(items)) for millions, items in (size.split(":") for size in arguments)] or SIZES
    for size in sizes:
        print(json.dumps(measure(*size)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
