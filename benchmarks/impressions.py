"""Rank the list that was shown at each clickout of a trivago log. Prints one JSON object.

    python -m benchmarks.impressions FILE

Users are split in five folds by a hash of their ids, time is cut at 60 % of the clickouts: the later clickouts of a fold are
ranked by trees (LightGBM, LambdaMART) that saw the earlier clickouts of the other users. Counts over other visitors
(`benchmarks.impression_ranker`) are those known at the instant. Parameters and rounds are chosen per fold on a fifth of its
training users. The bar, on the same clickouts: the items met last come first, then the list's order.
"""

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

from benchmarks import impression_ranker as impressions
from benchmarks.impression_ranker import Lists
from flows.read import batches
from models.arrays import Flags, Floats
from models.events.sources import source
from models.statistics import bootstrap

N_FOLDS = 5
LATER_SHARE = 0.4
VALID_SHARE = 0.2
SEEDS = (1, 2)  # two forests, their scores added
COMMON = {
    "objective": "lambdarank", "metric": "None", "learning_rate": 0.07, "lambda_l2": 5.0, "feature_fraction": 0.4,
    "bagging_fraction": 0.7, "bagging_freq": 1, "max_bin": 63, "num_threads": 1, "deterministic": True, "force_row_wise": True,
    "verbose": -1,
}  # fmt: skip
GRID = ({"num_leaves": 15, "min_data_in_leaf": 50}, {"num_leaves": 7, "min_data_in_leaf": 100})
ROUNDS = (60, 100, 150)


def rows_of(lists: Lists, chosen: Flags) -> Flags:
    """Rows of the chosen lists."""
    return np.repeat(chosen, lists.sizes)


def grow(lists: Lists, chosen: Flags, settings: dict[str, Any], seed: int, rounds: int) -> lgb.Booster:
    """Fit LambdaMART on the chosen lists."""
    rows = rows_of(lists, chosen)
    data = lgb.Dataset(lists.features[rows], lists.clicked[rows].astype(np.int32), group=lists.sizes[chosen])
    return lgb.train({**COMMON, **settings, "seed": seed}, data, rounds)


def judge(lists: Lists, chosen: Flags, boosters: list[lgb.Booster], rounds: int) -> Floats:
    """Reciprocal rank of the clicked item of each chosen list, shape (n_chosen,)."""
    rows = rows_of(lists, chosen)
    features = lists.features[rows]
    score = np.sum([b.predict(features, num_iteration=rounds, num_threads=1) for b in boosters], axis=0)
    return impressions.reciprocal_ranks(score, lists.clicked[rows], lists.sizes[chosen])


def choose(lists: Lists, train: Flags, fold: int) -> tuple[dict[str, Any], int]:
    """Settings and rounds that rank the lists of a fifth of the training users best."""
    ids = np.unique(lists.users[train].astype(str))
    held = np.random.default_rng(fold).permutation(ids)[: max(int(len(ids) * VALID_SHARE), 1)]
    valid = train & np.isin(lists.users.astype(str), held)
    found = []
    for settings in GRID:
        booster = grow(lists, train & ~valid, settings, SEEDS[0], max(ROUNDS))
        found += [(float(judge(lists, valid, [booster], rounds).mean()), k, settings) for k, rounds in enumerate(ROUNDS)]
    _, k, settings = max(found, key=lambda one: one[0])
    return settings, ROUNDS[k]


def measure(lists: Lists, rng: np.random.Generator) -> dict[str, Any]:
    """All folds together, against the bar on the same clickouts."""
    keys = pd.util.hash_array(lists.users.astype(object)) % N_FOLDS
    cut = np.quantile(lists.at_s, 1 - LATER_SHARE)
    ours = np.full(len(lists.sizes), np.nan)
    chosen = []
    for fold in range(N_FOLDS):
        train, test = (keys != fold) & (lists.at_s < cut), (keys == fold) & (lists.at_s >= cut)
        if not test.any() or not train.any():
            continue
        settings, rounds = choose(lists, train, fold)
        boosters = [grow(lists, train, settings, seed, rounds) for seed in SEEDS]
        ours[test] = judge(lists, test, boosters, rounds)
        chosen.append({**settings, "rounds": rounds})
    tested = np.isfinite(ours)
    base, plain = 1.0 / lists.baseline_rank, 1.0 / lists.list_rank
    draws = bootstrap.draw(np.unique(lists.users[tested].astype(str), return_inverse=True)[1], rng)
    gain = bootstrap.mean_intervals((ours - base)[tested][:, None], draws)[0]
    return {
        "n_clickouts": int(tested.sum()),
        "mrr": round(float(ours[tested].mean()), 4),
        "mrr_last_interacted_first": round(float(base[tested].mean()), 4),
        "mrr_list_order": round(float(plain[tested].mean()), 4),
        "difference": bootstrap.as_json(gain),
        "verdict": bootstrap.verdict(gain, "ranker", "last_interacted_first"),
        "all_clickouts": {
            "mrr_last_interacted_first": round(float(base.mean()), 4),
            "mrr_list_order": round(float(plain.mean()), 4),
        },
        "chosen": chosen,
    }


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    began = time.perf_counter()
    raw = pd.concat([batch.raw for batch in batches(given.file, source("trivago"), lambda _: None)], ignore_index=True)
    lists = impressions.read(raw)
    read = time.perf_counter()
    found = measure(lists, np.random.default_rng(0))
    peak_mib = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    seconds = {"features": round(read - began, 1), "folds": round(time.perf_counter() - read, 1)}
    print(json.dumps({"benchmark": "impressions", **found, "seconds": seconds, "peak_mib": peak_mib}))


if __name__ == "__main__":
    main()
