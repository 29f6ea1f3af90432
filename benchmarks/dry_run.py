"""How long a dry run of a policy takes on a week of a million events, with models, and how near its counts come to all of them.

    python -m benchmarks.dry_run [--events 1000000] [--patient] [--whole]

A simulated week is put into a log; next action, engagement, intent and associations are fitted to a smaller log of the same
shop. The dry run is the one of `attune signals simulate`. On a busy machine its limit of time makes it a sample; with
``--patient`` that limit does not hold, and `cpu_seconds` say how long a core takes. With ``--whole`` a dry run of some of the
visitors is held against that of all; a test holds a dry run against what the worker then does
(`tests/services/signals/test_rehearsal.py`). Prints one JSON object.
"""

import argparse
import json
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.closed_loop import fitted
from infra.store.engines import open_store
from infra.store.events import append_events
from models.model_set import ModelSet
from models.simulator import ShopConfig, simulate
from services.signals.policies import PolicyBody, Thresholds, to_policy
from services.signals.rehearsal import RehearsalAnswer, rehearse
from services.signals.shelf import NoCatalogs

EVENTS_A_USER: Final = 35  # of a week
FITTED_USERS: Final = 3_000
SAMPLE: Final = 100_000  # moments
POLICY: Final = to_policy(PolicyBody(Thresholds(min_score_product=0.05, min_p_leave=0.05), holdout_share=0.05))


def measure(n_events: int, is_patient: bool, is_whole: bool) -> dict[str, Any]:
    """Seconds, and counts by kind."""
    models = fitted(ShopConfig(n_users=FITTED_USERS, seed=601))
    frame = simulate(ShopConfig(n_users=n_events // EVENTS_A_USER, seed=602)).events
    until_us = int(frame["occurred_at_us"].max())
    with TemporaryDirectory() as home, closing(open_store(Path(home))) as store:
        store.write(partial(append_events, frame=frame, partner="shop", received_at_us=until_us))
        patience = {"within_s": float("inf")} if is_patient else {}
        found, times = _timed(store.read, models, until_us, **patience)
        told: dict[str, Any] = {**times, "events": len(frame), "visitors": found.visitors}
        told |= {"sampled_visitors": found.sampled_visitors, "peak_rss_mib": _peak_mib()}
        counts = {kind: {"count": one.count, "low": one.low, "high": one.high} for kind, one in found.signals.items()}
        if is_whole:
            sample, told["sample"] = _timed(store.read, models, until_us, most=SAMPLE, **patience)
            for kind, one in sample.signals.items():
                of_all = counts[kind]["count"]
                counts[kind]["off_in_sample"] = round(one.count / of_all - 1, 4) if of_all else 0
    return {**told, "signals": counts}


def _peak_mib() -> int:
    return getrusage(RUSAGE_SELF).ru_maxrss // 1024


def _timed(read: Any, models: ModelSet, until_us: int, **limits: Any) -> tuple[RehearsalAnswer, dict[str, float]]:
    began, began_cpu = time.monotonic(), time.process_time()
    found = rehearse(read, POLICY, "shop", models, lambda _: None, NoCatalogs(), until_us, **limits)
    return found, {
        "seconds": round(time.monotonic() - began, 2), "cpu_seconds": round(time.process_time() - began_cpu, 2)
    }  # fmt: skip


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    for name in ("patient", "whole"):
        parser.add_argument(f"--{name}", action="store_true")
    given = parser.parse_args()
    print(json.dumps({"benchmark": "dry_run", **measure(given.events, given.patient, given.whole)}, indent=1))


if __name__ == "__main__":
    main()
