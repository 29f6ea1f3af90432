"""How fast does the bandit find the profile that earns most, for whom, and what does its correction for delay bring?

    python -m benchmarks.bandit [--seeds 10] [--only PART] [--http MINUTES]

In process (`benchmarks.bandit_worlds`): 20 visitors a second of the dynamic variant, 256 kinds of visitors, three profiles,
rewards that take a median of 30 or 120 seconds, a window of one hour.

`found`: 40 % against 10 % conversion; share of the winner in each minute; `as served`, waiting for the window, and with young
decisions as failures. `flip`: after five minutes the winner and a loser change places. `contexts`: the winner depends on the
device, on the intent, on both together, or on the device while some segments convert four times as often; reward as a share
of what dealing everybody's best profile would have earned, over 20 minutes with all the learning in it. `alike`: nothing
differs.

With ``--http`` also `benchmarks.bandit_over_http`: so many minutes before and after a flip, on a service and a worker of its
own. The bars: 80 % within five minutes, before and after; 90 % of the oracle. Prints one JSON object.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from benchmarks import bandit_over_http
from benchmarks import bandit_worlds as worlds
from benchmarks.bandit_worlds import AT_ONCE, WAITS, WHOLE, World, play
from models.bandit.thompson import BanditParams

FIRST_SEED: Final = 100  # below, seeds were used while this was made
PARAMS: Final = BanditParams()
WINNER, OTHER = (0.1, 0.4, 0.1), (0.1, 0.1, 0.4)
CONTEXTS: Final = {
    "device": worlds.by_factors((0,), 0.1, 0.4),
    "intent": worlds.by_factors((2,), 0.1, 0.4),
    "device and intent together": worlds.by_factors((0, 2), 0.1, 0.4),
    "device, segments convert unlike": worlds.by_factors((0,), 0.05, 0.2, base=(0.5, 1.0, 1.5, 2.0)),
}


def shares(world: World, arm: int, seeds: range, how: str = WHOLE) -> dict[str, Any]:
    """Share of one profile in each minute, over the seeds."""
    rows = np.array([worlds.minute_shares(play(world, seed, PARAMS, how), arm) for seed in seeds])
    return {"mean": rows.mean(axis=0).round(3).tolist(), "worst": rows.min(axis=0).round(3).tolist()}


def found(seeds: range) -> dict[str, Any]:
    """A winner that stays."""
    told: dict[str, Any] = {}
    for median_s in (30.0, 120.0):
        world = World(worlds.flat(*WINNER), median_s=median_s, seconds=300)
        told[f"median {median_s:.0f} s"] = {how: shares(world, 1, seeds, how) for how in (WHOLE, AT_ONCE)}
    short = World(worlds.flat(*WINNER), seconds=300)
    return told | {WAITS: shares(short, 1, seeds[:1], WAITS)}


def contexts(seeds: range) -> dict[str, Any]:
    """Different winners for different visitors."""
    told = {}
    for name, chance in CONTEXTS.items():
        runs = [play(World(chance, seconds=1200), seed, PARAMS) for seed in seeds]
        told[name] = {
            "of_oracle": worlds.summary([worlds.of_oracle(run) for run in runs]),
            "of_oracle_second_half": worlds.summary([worlds.of_oracle(run, 600) for run in runs]),
        }
    return told


def main() -> None:
    """Measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", choices=("found", "flip", "contexts", "alike"))
    parser.add_argument("--http", type=float, default=0.0, metavar="MINUTES")
    given = parser.parse_args()
    began, seeds = time.perf_counter(), range(FIRST_SEED, FIRST_SEED + given.seeds)
    told: dict[str, Any] = {"benchmark": "bandit", "seeds": [seeds.start, seeds.stop - 1]}
    flip, alike = World(worlds.flipped(300, WINNER, OTHER), seconds=600), World(worlds.flat(0.1, 0.1, 0.1), seconds=300)
    parts: dict[str, Callable[[], Any]] = {
        "found": lambda: found(seeds),
        "flip": lambda: shares(flip, 2, seeds),
        "contexts": lambda: contexts(seeds),
        "alike": lambda: shares(alike, 1, seeds),
    }
    told |= {name: part() for name, part in parts.items() if given.seeds and given.only in (None, name)}
    if given.http:
        told["http"] = bandit_over_http.run(given.http, rate=20.0, median_s=10.0)
    print(json.dumps(told | {"seconds": round(time.perf_counter() - began, 1)}))


if __name__ == "__main__":
    main()
