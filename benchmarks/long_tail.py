"""A shop with a long tail: ``attune up --once`` on a log of 400,000 events in which 216,000 items occur.

    python -m benchmarks.long_tail [N_EVENTS [FILE]]

Prints events, visitors and items of the log, then wall-clock and processor seconds of the start, all processes together, and
the seconds of each step. With FILE, the log is only written there.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

SEED: Final = 7
EVENTS_A_VISITOR: Final = 8
DAYS: Final = 28
STEEPNESS: Final = 0.55  # of the popularity of items by rank: half of them occur once or twice
KINDS: Final = {"item_view": 0.88, "add_to_cart": 0.08, "purchase": 0.04}


def log_of(n_events: int, now: datetime) -> pd.DataFrame:
    """Events in our own names, in the order of time; each visitor comes in one or two sessions and likes a few categories."""
    rng = np.random.default_rng(SEED)
    popularity = np.cumsum(np.arange(1, n_events + 1) ** -STEEPNESS)
    item = rng.permutation(n_events)[np.searchsorted(popularity / popularity[-1], rng.random(n_events))]
    user = rng.integers(0, n_events // EVENTS_A_VISITOR, n_events)
    day = (user * 7919 + rng.integers(0, 2, n_events) * 3) % DAYS
    seconds = day * 86_400 + (user * 104_729) % 80_000 + rng.integers(0, 1_500, n_events)
    ts = pd.Timestamp(now).floor("s") - pd.Timedelta(days=DAYS + 1) + pd.to_timedelta(seconds, "s")
    frame = pd.DataFrame(
        {
            "user_id": [f"u{one}" for one in user],
            "type": rng.choice(list(KINDS), n_events, p=list(KINDS.values())),
            "ts": ts,
            "item_id": [f"sku-{one}" for one in item],
            "category": [f"c{one % 300}" for one in item],
            "price": 5 + item % 997 / 10,
        }
    )
    return frame.sort_values("ts", kind="stable").assign(ts=lambda f: f["ts"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))


def start(file: Path, home: Path) -> dict[str, float | int | str]:
    """Run ``attune up --once`` on the log; what it took."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    words = ("up", "--once", "--no-open", "--port", "0", "--events", str(file))
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", *words],
        env={**os.environ, "ATTUNE_HOME": str(home)}, stdout=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"exit": done.returncode, "seconds": round(time.monotonic() - began, 1), "cpu_seconds": round(cpu, 1)}


def main(words: list[str]) -> None:
    """Write the log, and start on it."""
    frame = log_of(int(words[0]) if words else 400_000, datetime.now(UTC))
    told = {"events": len(frame), "visitors": frame["user_id"].nunique(), "items": frame["item_id"].nunique()}
    if words[1:]:
        frame.to_csv(words[1], index=False)
        print(json.dumps(told))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "long_tail.csv"
        frame.to_csv(file, index=False)
        print(json.dumps({**told, **start(file, Path(folder) / "home")}))


if __name__ == "__main__":
    main(sys.argv[1:])
