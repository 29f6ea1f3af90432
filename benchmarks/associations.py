"""Associations alone on next-item prediction: hit rate, rank, speed of build and query, memory.

    python -m benchmarks.associations [FOLDER] [--as-is]

FOLDER holds ``train_sessions.jsonl.gz`` (one list of item ids a line) and ``test_prefixes.jsonl.gz`` (``{"prefix", "next"}``).
Parameters are chosen by coordinate search on the last 8 % of the training sessions, or taken as they are; the test prefixes are
looked at once.
Without the data a generated log of the same size is used, and the figures say nothing about quality.
"""

import gzip
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from benchmarks import association_growth, live_associations
from benchmarks.session_logs import Case, encode, generated
from models.associations.model import AssociationParams, AssociationStore, build
from models.weight_profile import STATIC

T = TypeVar("T")
LIMIT = 20
MOST_CASES = 8000  # of the validation slice, drawn once
GRID: dict[str, tuple[float, ...]] = {
    "self_factor": (8.0, 16.0, 32.0),
    "backward": (0.7, 0.9, 1.0),
    "anchor_power": (0.6, 0.8, 1.0),
    "popularity_power": (0.0, 0.15, 0.3),
    "step_power": (0.4, 0.7, 1.0),
    "rank_decay": (0.5, 0.6, 0.7),
}


def _lines(path: Path) -> list[Any]:
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


def read(folder: Path) -> tuple[list[list[str]], list[Case]]:
    """Training sessions and test cases, ids as texts."""
    train = [[str(item) for item in session] for session in _lines(folder / "train_sessions.jsonl.gz")]
    test = [([str(item) for item in row["prefix"]], str(row["next"])) for row in _lines(folder / "test_prefixes.jsonl.gz")]
    return train, test


def quality(store: AssociationStore, cases: list[Case]) -> dict[str, float]:
    """Share of the cases whose next item is among the first 20, mean reciprocal rank there, and microseconds per query."""
    ranks, spent_us = np.zeros(len(cases)), np.empty(len(cases))
    for i, (prefix, following) in enumerate(cases):
        items = np.array([store.code(item) for item in prefix])
        types, ages_s = np.zeros(len(items), dtype=np.int8), np.zeros(len(items), dtype=np.float64)
        started = time.perf_counter_ns()
        ranked = store.recommend(items, types, ages_s, STATIC.base, LIMIT)
        spent_us[i] = (time.perf_counter_ns() - started) / 1e3
        hit = np.flatnonzero(ranked.items == store.code(following))
        ranks[i] = 1.0 / (hit[0] + 1) if len(hit) else 0.0
    p50, p99 = np.percentile(spent_us, [50, 99])
    return {"hr_at_20": float(np.mean(ranks > 0)), "mrr_at_20": float(ranks.mean()), "p50_us": p50, "p99_us": p99}


def choose(sessions: list[list[str]]) -> tuple[AssociationParams, float]:
    """Coordinate search for the best HR@20 + MRR@20 on the newest 8 % of the sessions; parameters and that sum."""
    cut = int(0.92 * len(sessions))
    log = encode(sessions[:cut])
    cases = [(session[:at], session[at]) for session in sessions[cut:] for at in range(1, len(session))]
    drawn = np.random.default_rng(0).permutation(len(cases))[:MOST_CASES]
    cases = [cases[i] for i in drawn]

    def worth(params: AssociationParams) -> float:
        found = quality(build(*log, params), cases)
        return found["hr_at_20"] + found["mrr_at_20"]

    best, most = AssociationParams(), worth(AssociationParams())
    for name, values in GRID.items():
        for value in values:
            if value != getattr(best, name):
                tried = replace(best, **{name: value})  # type: ignore[arg-type]
                found = worth(tried)
                best, most = (tried, found) if found > most else (best, most)
        sys.stderr.write(f"{name} = {getattr(best, name)} ({most:.4f})\n")
    return best, most


def speed(store: AssociationStore) -> dict[str, float]:
    """Microseconds of a query by a session of 15 events on 15 items that have associations, plain and with a relation."""
    rng = np.random.default_rng(1)
    known = np.flatnonzero(np.diff(store.index.offsets) > 0)
    types, ages_s = np.zeros(15, dtype=np.int8), np.arange(420.0, -30.0, -30.0)
    found = {}
    for name, relation in (("query", None), ("query_with_relation", np.array([1.3, 0.8]))):
        spent_us = []
        for _ in range(5000):
            items = rng.choice(known, 15)
            started = time.perf_counter_ns()
            store.recommend(items, types, ages_s, STATIC.base, LIMIT, relation=relation)
            spent_us.append((time.perf_counter_ns() - started) / 1e3)
        found[f"{name}_p50_us"], found[f"{name}_p99_us"] = np.percentile(spent_us, [50, 99])
    return found


def _best_of_three(work: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds of the fastest of three runs (others may be using the machine), and the result."""
    spent_s = []
    for _ in range(3):
        started = time.process_time()
        result = work()
        spent_s.append(time.process_time() - started)
    return min(spent_s), result


def _more_of(
    log: tuple[npt.NDArray[np.void], npt.NDArray[np.bool_], npt.NDArray[np.object_]], params: AssociationParams
) -> float:
    """Events per CPU second of a build of four such logs, each over items of its own: linear if it is the same again."""
    events, starts, ids = log
    more = np.concatenate([events] * 4)
    more["item"] += np.repeat(np.arange(4) * len(ids), len(events))
    several = np.array([f"{k} {item_id}" for k in range(4) for item_id in ids], dtype=object)
    spent_s, _ = _best_of_three(lambda: build(more, np.tile(starts, 4), several, params))
    return len(more) / spent_s


def main(arguments: list[str]) -> None:
    """Print the figures as one JSON object."""
    data = Path(os.environ.get("ATTUNE_TEST_DATA", "../shared/data"))
    given = [argument for argument in arguments if argument != "--as-is"]
    folder = Path(given[0]) if given else data / "retailrocket_sequences"
    real = (folder / "train_sessions.jsonl.gz").exists()
    train, test = read(folder) if real else generated()
    build(*encode(train[:10]))  # compile first
    log = encode(train)
    memory = association_growth.build_memory(log)  # first: what a search frees would be taken for room that was there
    params, _ = choose(train) if real and given == arguments else (AssociationParams(), 0.0)
    build_s, store = _best_of_three(lambda: build(*log, params))
    sort_s, _ = _best_of_three(lambda: np.argsort(log[0]["item"], kind="stable"))
    found = quality(store, test)
    report = {
        "data": folder.name if real else "generated",
        "n_events": len(log[0]),
        "n_items": store.n_items,
        "hr_at_20": found["hr_at_20"],
        "mrr_at_20": found["mrr_at_20"],
        "build_events_per_cpu_s": len(log[0]) / build_s,
        "build_events_per_cpu_s_of_four_times_as_many": _more_of(log, params),
        "build_to_sort_ratio": build_s / sort_s,  # the floor: sorting the events by item, once
        **speed(store),
        "test_prefix_p50_us": found["p50_us"],
        "test_prefix_p99_us": found["p99_us"],
        **memory,
        "few_items": association_growth.measure(*association_growth.FEW_ITEMS),
        "live": live_associations.measure(store),
        "params": asdict(params),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1:])
