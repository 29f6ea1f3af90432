"""How fast a simulated shop is made and written, beside what plain JSON of the same rows costs.

``python -m benchmarks.simulate [N_USERS]`` prints one JSON object. `floor_events_per_s` is msgspec encoding the same lines from
ready dictionaries into memory, in the same run.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from flows.simulate import write_shop
from models.simulator import ShopConfig, simulate, to_public


def main(n_users: int) -> dict[str, float]:
    """Seconds and rates of one shop of `n_users` over a week."""
    config = ShopConfig(n_users=n_users, n_days=7, seed=1)
    simulate(ShopConfig(n_users=5))  # compiled, or loaded from the cache
    started = time.perf_counter()
    shop = simulate(config)
    simulate_s = time.perf_counter() - started
    rows = list(to_public(shop.events, shop.timezones))
    started = time.perf_counter()
    msgspec.json.Encoder().encode_lines(rows)
    floor_s = time.perf_counter() - started
    n_sessions = shop.events["session_id"].nunique()
    bought = shop.events.loc[shop.events["event_type"] == "purchase", "session_id"].nunique()
    del rows, shop
    with tempfile.TemporaryDirectory() as folder:
        started, cpu_started = time.perf_counter(), time.process_time()
        n = write_shop(config, Path(folder) / "shop.jsonl", progress=False)["events"]
        write_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    return {
        "events": n,
        "sessions": n_sessions,
        "events_per_session": n / n_sessions,
        "purchase_session_rate": bought / n_sessions,
        "simulated_events_per_s": n / simulate_s,
        "written_events_per_s": n / write_s,
        "written_events_per_cpu_s": n / cpu_s,  # what a machine that nobody else uses would do
        "floor_events_per_s": n / floor_s,
        "ratio_to_floor": floor_s / write_s,
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)))
