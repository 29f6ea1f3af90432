"""Next action and purchase within 5 minutes and an hour: one curve against simple models, and against a model for each horizon.

    python -m benchmarks.horizons [--users N] [--seeds 101 102] [FILE --format F]

Models are fitted to the first 65 % of the sessions by time, calibrated on the next 15 %, and judged on the last 20 %. "markov"
counts what follows the last event's type, "logistic" is a regression on the log counts of events. Gains are of log loss and ROC
AUC with 95 % intervals over sessions. "apart" are classifiers of each horizon by itself: what they say of 5 minutes and of an
hour need not agree. Users and items are strangers to all of them. Prints one JSON object.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.first_visits import examples_of
from benchmarks.typed_log import frame_of
from models.arrays import Codes, Features, Flags, Floats, Ints
from models.evaluation import classification
from models.evaluation.full import markov_chain
from models.inference import next_action
from models.inference.examples import ExampleParams, Examples
from models.inference.next_action import LEAVE, Outlook, Waits
from models.learners import boosting
from models.schema import (
    HORIZONS_S,
    INTENT_FEATURES,
    N_EVENT_TYPES,
    NEXT_ACTIONS,
    EventType,
)
from models.simulator import ShopConfig, simulate
from models.statistics import bootstrap, logistic

N_DRAWS: Final = 300
SECONDS: Final = (0.0, 1.0, 5.0, 15.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
MOST_PREFIXES: Final = 100_000
_TINY: Final = 1e-12


def measure(frame: pd.DataFrame) -> dict[str, Any]:
    """All measures of one log."""
    params = ExampleParams()
    _, found = examples_of(frame, params)
    split = found.split(params)
    features = found.next_action_features()
    waits = Waits(found.following, found.wait_us, found.purchase_wait_us, found.known_us)
    valid = split.valid[~split.test]
    model = next_action.fit(features[~split.test], waits.where(~split.test), valid=valid)
    told, apart = model.predict(features[split.test]), _apart(features, found, split.test, valid)

    def judged(said: dict[str, Outlook]) -> dict[str, Any]:
        return {**_coherence(said), **{name: _judged(found, split.test, said[name], k) for k, name in enumerate(HORIZONS_S)}}

    monotone = _monotone(model, features[:MOST_PREFIXES])
    return {"n_rows": len(features), "monotone_prefixes": monotone, "curve": judged(told), "apart": judged(apart)}


def _apart(features: Features, found: Examples, test: Flags, valid: Flags) -> dict[str, Outlook]:
    """Two classifiers for each horizon by itself."""
    told, params = {}, next_action.DEFAULT_PARAMS
    for k, name in enumerate(HORIZONS_S):
        use, held = (~test) & found.covered[:, k], valid[found.covered[~test, k]]
        action = boosting.fit(features[use], found.next_action[use, k], len(NEXT_ACTIONS), params.action, valid=held)
        purchase = boosting.fit(features[use], found.purchase[use, k].astype(np.int64), 2, params.purchase, valid=held)
        told[name] = Outlook(action.predict(features[test]), purchase.predict(features[test])[:, 1])
    return told


def _monotone(model: next_action.NextActionModel, features: npt.NDArray[np.float32]) -> dict[str, Any]:
    """Prefixes, and those for which no probability falls (of leaving: rises) with the horizon."""
    curve = model.curve(features, SECONDS)
    holds = np.ones(len(features), dtype=bool)
    for before, after in itertools.pairwise(curve):
        rise = after.p_action - before.p_action
        rise[:, LEAVE] *= -1
        holds &= (rise >= -_TINY).all(axis=1) & (after.p_purchase - before.p_purchase >= -_TINY)
    return {"n": len(features), "monotone": int(holds.sum())}


def _coherence(told: dict[str, Outlook]) -> dict[str, float]:
    """How often the two horizons contradict each other, and how much they differ."""
    short, medium = (told[name].p_action for name in HORIZONS_S)
    return {
        "leaves_sooner_than_at_all": round(float((medium[:, LEAVE] > short[:, LEAVE] + _TINY).mean()), 4),
        "buys_sooner_than_at_all": round(
            float((told["short_term"].p_purchase > told["medium_term"].p_purchase + _TINY).mean()), 4
        ),
        "buys_without_an_event": round(
            float((medium[:, EventType.PURCHASE] > told["medium_term"].p_purchase + _TINY).mean()), 4
        ),
        "total_variation": round(float(np.abs(short - medium).sum(axis=1).mean() / 2), 4),
    }


def _judged(found: Examples, test: Flags, told: Outlook, k: int) -> dict[str, Any]:
    """One horizon against the simple models."""
    known = np.asarray(found.covered[test, k])
    before, after = np.flatnonzero(found.covered[:, k] & ~test), np.flatnonzero(test)[known]
    action, bought = found.next_action[:, k].astype(np.int64), np.asarray(found.purchase[:, k])
    counts = logistic.log_counts(found.session_features[:, :N_EVENT_TYPES])
    draws = bootstrap.draw(np.cumsum(found.starts, dtype=np.int64)[after], np.random.default_rng(0), N_DRAWS)
    p_action, p_purchase = told.p_action[known], told.p_purchase[known]
    simple = {"markov": markov_chain(found, before, after, k), "logistic": _regressed(counts, action, before, after)}
    chain = _rates(found, bought, before, after)
    simple_purchase = {"markov": chain, "logistic": logistic.fit(counts[before], bought[before]).predict(counts[after])}
    top, at = p_action.argmax(axis=1), np.arange(len(after))
    return {
        "n_rows": len(after),
        "n_purchases": int(bought[after].sum()),
        "action": {
            "log_loss": round(float(_loss(p_action, action[after]).mean()), 4),
            "gain": {name: _gain(_loss(p, action[after]), _loss(p_action, action[after]), draws) for name, p in simple.items()},
            "ece": classification.yes_no(p_action[at, top], top == action[after])["ece"],
        },
        "purchase": {
            **{name: classification.yes_no(p_purchase, bought[after])[name] for name in ("log_loss", "roc_auc", "ece")},
            "gain": {
                name: _gain(_binary_loss(p, bought[after]), _binary_loss(p_purchase, bought[after]), draws)
                for name, p in simple_purchase.items()
            },
            "roc_auc_gain": {
                name: _told(bootstrap.area_intervals(p_purchase, p, bought[after], draws)[0])
                for name, p in simple_purchase.items()
            },
        },
    }


def _regressed(counts: Floats, action: Codes, before: Ints, after: Ints) -> Floats:
    """One regression for each action, their probabilities scaled to sum to 1."""
    p = np.full((len(after), len(NEXT_ACTIONS)), 1e-6)
    for one in np.unique(action[before]):
        p[:, one] = logistic.fit(counts[before], action[before] == one).predict(counts[after])
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def _rates(found: Examples, bought: Flags, before: Ints, after: Ints) -> Floats:
    """Share that bought after an event of the same type as the last one."""
    last = found.session_features[:, INTENT_FEATURES.index("last_event_type")].astype(np.int64).clip(0, N_EVENT_TYPES - 1)
    n, yes = np.full(N_EVENT_TYPES, 2.0), np.ones(N_EVENT_TYPES)
    np.add.at(n, last[before], 1.0)
    np.add.at(yes, last[before], bought[before].astype(np.float64))
    return np.asarray((yes / n)[last[after]])


def _loss(p: Floats, true: Codes) -> Floats:
    return np.asarray(-np.log(np.maximum(p[np.arange(len(true)), true], _TINY)))


def _binary_loss(p: Floats, true: Flags) -> Floats:
    return np.asarray(-np.log(np.maximum(np.where(true, p, 1 - p), _TINY)))


def _gain(theirs: Floats, ours: Floats, draws: Any) -> dict[str, float]:
    return _told(bootstrap.mean_intervals((theirs - ours)[:, None], draws)[0])


def _told(interval: Any) -> dict[str, float]:
    return {name: round(value, 4) for name, value in bootstrap.as_json(interval).items()}


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--format", default="attune")
    parser.add_argument("--users", type=int, default=3000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102])
    given = parser.parse_args()
    if given.file:
        runs = {given.file.name: measure(frame_of(given.file, given.format))}
    else:
        runs = {f"shop {seed}": measure(simulate(ShopConfig(n_users=given.users, seed=seed)).events) for seed in given.seeds}
    print(json.dumps({"benchmark": "horizons", **runs}, indent=1))


if __name__ == "__main__":
    main()
