"""What a retraining costs where little is new: of a long log, and once more after some new events.

``python -m benchmarks.retraining_growth [N_EVENTS] [N_NEW]`` (5,000,000 and 50,000) makes a log of a simulated shop's events
under many users, runs ``attune retrain`` twice, and prints one JSON object: seconds of both by step, their ratio, and the most
memory that the command held with its children (proportional set size). The first looks at the log as it was a day ago; then
comes a day, with half of its visitors known. A retraining for a past date leaves the actions of visitors alone, so these are
folded beside the first, as any other first retraining does, and count as a step of it.
"""

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.attack_store import SHOP, long_log
from flows import fold_actions
from infra.secret import secret
from infra.store.engines import open_store
from infra.store.events import append_events
from models.events.identity import partner_key, pseudonym
from models.schema import DAY_US
from models.simulator.config import ending_at
from models.simulator.simulation import simulate

MOST_SHARE: Final = 0.3
MOST_GIB: Final = 4.0
LOOK_S: Final = 0.5
EVENTS_A_DAY: Final = 4  # of a user of the shop, or a little more
STEP: Final = re.compile(r"^  (\w+) +([0-9.]+) s  ", re.MULTILINE)


def main(words: list[str]) -> int:
    """Retrain twice and print; 1 if the second took too long, or either too much memory."""
    n_events, n_new = (int(words[at]) if len(words) > at else usual for at, usual in enumerate((5_000_000, 50_000)))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        n_rows, users = long_log(home, n_events, age_us=DAY_US)
        as_of_us = time.time_ns() // 1_000 - DAY_US
        first = retrained(home, "--as-of", datetime.fromtimestamp(as_of_us / 1e6, UTC).isoformat())
        began = time.monotonic()
        fold_actions.rebuild(home, as_of_us)
        first["steps"]["fold actions"] = round(time.monotonic() - began, 1)
        first["seconds"] = round(first["seconds"] + first["steps"]["fold actions"], 1)
        append_new(home, n_new, users)
        second = retrained(home)
    share, peak = second["seconds"] / first["seconds"], max(first["peak_gib"], second["peak_gib"])
    found = {"n_events": n_rows, "n_new": n_new, "first": first, "second": second, "share": round(share, 3), "peak_gib": peak}
    print(json.dumps(found))
    return int(share > MOST_SHARE or peak > MOST_GIB)


def append_new(home: Path, n_events: int, users: Sequence[str]) -> None:
    """Append a day of the same shop: every other visitor is one of before."""
    now_us, key = time.time_ns() // 1_000, partner_key(secret(home), "shop")
    day = replace(SHOP, n_days=1, n_users=max(n_events // EVENTS_A_DAY, 1), seed=1)
    events = simulate(ending_at(day, now_us)).events.sort_values("occurred_at_us", kind="stable").head(n_events)
    visitors = {
        user: users[nth % len(users)] if nth % 2 else f"new-{nth}" for nth, user in enumerate(events["user_id"].unique())
    }
    frame = events.assign(
        user_id=events["user_id"].map({user: pseudonym(key, visitor) for user, visitor in visitors.items()}),
        event_id=events["event_id"] + "-new",
    )
    with closing(open_store(home, bulk=True)) as store:
        store.write(partial(append_events, frame=frame, partner="shop", received_at_us=now_us))


def retrained(home: Path, *words: str) -> dict[str, Any]:
    """Run ``attune retrain`` on a home: seconds in all and by step, and the most memory."""
    began, peak, log = time.monotonic(), 0, home / "retrain.log"
    with log.open("w") as said:
        command = [sys.executable, "-m", "services.cli", "retrain", *words]
        running = psutil.Popen(command, env={**os.environ, "ATTUNE_HOME": str(home)}, stdout=said, stderr=said)
        while running.poll() is None:
            peak = max(peak, held_bytes(running))
            time.sleep(LOOK_S)
    seconds, text = time.monotonic() - began, log.read_text()
    if running.returncode:
        raise RuntimeError(text[-2_000:])
    steps = {step: float(lasted) for step, lasted in STEP.findall(text)}
    return {"seconds": round(seconds, 1), "peak_gib": round(peak / 2**30, 2), "steps": steps}


def held_bytes(process: psutil.Process) -> int:
    """Proportional set size of a process and its children, bytes."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_full_info().pss
        except psutil.Error:  # ended meanwhile
            continue
    return total


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
