"""Does the engagement score foresee a purchase, and is it a probability? Prints one JSON object.

    python -m benchmarks.engagement FILE --format trivago|taobao|rees46|attune|…

Users are split in five folds by a hash of their ids, time is cut where 60 % of the events have passed: each fold is tested on
the later sessions of its users by a score that was learned from the earlier sessions of the others, calibrated on the later
third of those. Asked after every event whose horizon lies within the log: does a purchase follow within the hour? Compared with
the weighted count of the session's actions (heuristic weights, no sequences, no decay), of which only the order is used. What
cannot be told from the rest is called "no difference".
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.typed_log import LATER_SHARE, N_FOLDS, Log, read
from models.arrays import Flags, Floats, Floats32
from models.engagement import from_log as log_engagement
from models.engagement.model import PARAMS, EngagementModel, Rows
from models.features import sessions
from models.inference import examples, labels
from models.schema import N_EVENT_TYPES
from models.statistics import bootstrap, metrics
from models.weight_profile import base_weights
from models.weights.actions_from_log import weights_of

CALIBRATION_SHARE = 0.3  # of the earlier sessions


def learn(log: Log, features: Floats32, bought: Flags, kept: Flags) -> tuple[EngagementModel | None, Floats]:
    """Score and action weights from some rows of a log, whole sessions."""
    rows = np.flatnonzero(kept)
    at_us = log.started_us[rows]
    clock_us = int(np.quantile(at_us, 1 - CALIBRATION_SHARE))
    later = at_us >= clock_us
    first = rows[~later]
    earlier = examples.Log(log.events[first], log.starts[first], log.started_us[first], log.user[first], [])
    found = log_engagement.learn(earlier, Rows(features[rows], bought[rows], later, at_us), clock_us)
    return found, weights_of(earlier, clock_us)


def measure(log: Log, rng: np.random.Generator) -> dict[str, Any]:
    """Score against weighted count on the later sessions of every fold, all folds together."""
    features = sessions.fold(log.events, log.starts)
    bought = labels.purchase_within(log.events, log.user, PARAMS.horizon_s)
    end_us = int(log.events["occurred_at_us"].max())
    covered = labels.covered(log.events["occurred_at_us"], PARAMS.horizon_s, end_us)
    cut = int(np.quantile(log.started_us, 1 - LATER_SHARE))
    p, kinds = np.full(len(bought), np.nan), []
    for fold in range(N_FOLDS):
        tested = (log.fold == fold) & (log.started_us >= cut) & covered
        known = (log.fold != fold) & (log.started_us + int(PARAMS.horizon_s * 2e6) < cut)  # began two hours before the cut
        model, w = learn(log, features, bought, known)
        if model is not None and tested.any():
            p[tested] = model.immediate(features[tested], w)
            kinds.append(model.calibration.kind)
    rows = np.flatnonzero(np.isfinite(p))
    if len(rows) == 0 or len(np.unique(bought[rows])) < 2:
        return {"n_rows": len(rows), "verdict": "too few purchases to tell"}
    count = features[:, :N_EVENT_TYPES].astype(np.float64) @ base_weights()
    scores = {"score": p, "weighted_count": count}
    roc, pr = bootstrap.area_intervals(p[rows], count[rows], bought[rows], bootstrap.draw(log.user[rows], rng))
    return {
        "n_rows": len(rows),
        "n_users": len(np.unique(log.user[rows])),
        "purchase_rate": round(float(bought[rows].mean()), 4),
        "calibrations": kinds,
        "ece": round(metrics.ece(p[rows], bought[rows]), 4),
        "roc_auc": {name: round(metrics.roc_auc(one[rows], bought[rows]), 4) for name, one in scores.items()},
        "roc_auc_difference": bootstrap.as_json(roc),
        "pr_auc_difference": bootstrap.as_json(pr),
        "verdict": bootstrap.verdict(roc, "score", "weighted_count"),
    }


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--format", required=True)
    given = parser.parse_args()
    began = time.perf_counter()
    log = read(given.file, given.format)
    found = measure(log, np.random.default_rng(0))
    seconds = round(time.perf_counter() - began, 1)
    print(json.dumps({"benchmark": "engagement", "format": given.format, **found, "seconds": seconds}))


if __name__ == "__main__":
    main()
