"""Cost of partners that are shops of their own: training of associations and ranker, and a request, beside one shop of all.

    python -m benchmarks.shops [USERS]

A simulated log of the operator and one of each partner, of about as many events, with so many users each (1,000). Per case, in
a process of its own: CPU seconds of both fits, what they take at their peak beyond the log, what is kept, and CPU microseconds
of a recommendation, the hand-out of the shop's models included.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from models.artifact import Parts
from models.associations import from_log as log_associations
from models.associations import model as associations
from models.inference import examples, shops
from models.inference.examples import Log
from models.item_ranking import Asked
from models.known import NOTHING_KNOWN
from models.live_session import LiveSession, cut
from models.model_set import ModelSet
from models.ranker import from_log as log_ranker
from models.ranker import model as ranker
from models.recommend import Who, recommend
from models.schema import LOCAL_PARTNER
from models.shops import loaded
from models.simulator.config import ShopConfig
from models.simulator.simulation import simulate

CASES: Final = {"one partner, one shop": (1, True), "one partner, apart": (1, False), "base and two, one shop": (3, True),
                "base and two, apart": (3, False)}  # fmt: skip
N_REQUESTS: Final = 2_000


def log_of(n_partners: int, n_users: int) -> Log:
    """A log of so many partners, the operator the second; alone, a partner is no operator."""
    names = ("a", LOCAL_PARTNER, "b")[:n_partners]
    told = [
        simulate(ShopConfig(n_users=n_users, n_days=6, n_items=400, seed=seed)).events.assign(partner=name)
        for seed, name in enumerate(names)
    ]
    return examples.read_log(pd.concat(told, ignore_index=True))[0]


def measure(case: str, n_users: int) -> dict[str, float]:
    """Cost of one case."""
    n_partners, one_shop = CASES[case]
    log = log_of(n_partners, n_users)
    log = log._replace(senders=None) if one_shop else log
    _fit(log.before(int(log.started_us[log.starts].min()) + 3_600_000_000))  # kernels are compiled, imports done
    before_mb = _memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    began = time.process_time()
    parts = _fit(log)
    took_s, peak_mb = time.process_time() - began, _memory_mb("VmHWM") - before_mb
    kept = sum(array.nbytes for one in parts for array in one.arrays.values()) / 1e6
    models = ModelSet(associations=loaded(associations.from_parts)(parts[0]), ranker=loaded(ranker.from_parts)(parts[1]))
    return {
        "n_events": len(log.events),
        "fit_cpu_s": round(took_s, 2),
        "fit_peak_mb": round(peak_mb),
        "kept_mb": round(kept, 1),
        **{f"{name}_us": round(_request_us(models, log, by_ranker=by), 1) for name, by in (("pairs", False), ("ranker", True))},
    }


def _fit(log: Log) -> tuple[Parts, Parts]:
    return (
        shops.fit(log, lambda part: associations.to_parts(log_associations.built(part, {}))),
        shops.fit(log, lambda part: ranker.to_parts(log_ranker.fit(part))),
    )


def _request_us(models: ModelSet, log: Log, *, by_ranker: bool) -> float:
    begins = np.flatnonzero(log.starts)
    sessions = [_session(log, begin) for begin in begins[np.linspace(0, len(begins) - 1, N_REQUESTS).astype(int)].tolist()]
    asked, who = Asked(ranker=by_ranker), Who("u", "d")
    for session in sessions[:100]:
        recommend(asked, session, models.of("a"), NOTHING_KNOWN, who, 0)
    began = time.process_time()
    for session in sessions:
        recommend(asked, session, models.of("a"), NOTHING_KNOWN, who, 0)
    return (time.process_time() - began) / len(sessions) * 1e6


def _session(log: Log, begin: int) -> LiveSession:
    return cut(log.events[begin : begin + 5], log.item_ids)


def _memory_mb(name: str) -> float:
    return float(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) / 1e3


def main(words: list[str]) -> None:
    """Measure all cases, or the one that is named."""
    n_users = int(words[0]) if words else 1_000
    if words[1:]:
        print(json.dumps(measure(words[1], n_users)))
        return
    found = {}
    for case in CASES:
        again = [sys.executable, "-m", "benchmarks.shops", str(n_users), case]
        found[case] = json.loads(subprocess.run(again, stdout=subprocess.PIPE, text=True, check=True).stdout)
        sys.stderr.write(f"{case}: {found[case]}\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
