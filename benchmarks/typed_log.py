"""One typed log: does weighting help its associations, and can a purchase be foreseen? Prints one JSON object.

    python -m benchmarks.typed_log FILE --format trivago|taobao|rees46|attune|…

Users are split in five folds by a hash of their ids, and time is cut where 60 % of the events have passed: each fold is tested
on the later sessions of its users by models that saw the earlier sessions of the others. A test user's own past is a feature,
never a training row.

P(purchase within the session), asked after every event: bagged boosted trees on the folds' features (session; user, the item at
hand as of the hour before, and the user's own history with it), against a logistic regression on the log counts of the prefix.
Features and rounds are chosen per fold by cross-validation over the users of its training rows.

The ablation is `models.evaluation.ablation`; its associations, intent model and learned weights come from the earlier sessions
of all users, since pairs are counted, not fitted to a user.
"""

import argparse
import json
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks import user_history
from benchmarks.later_rows import later_rows
from flows.read import batches
from models.arrays import Flags, Floats, Ints
from models.associations import model as associations
from models.evaluation import ablation
from models.evaluation import classification as report
from models.evaluation.ablation import AblationParams
from models.events.encode import NO_CODE, EventArray, encode
from models.events.sources import protect, source
from models.features import items, sessions, users
from models.inference import examples, intent, labels
from models.model_set import ModelSet
from models.questions.later import Later
from models.schema import ITEM_FEATURES, N_EVENT_TYPES, EventType
from models.statistics import bootstrap, logistic, metrics, split
from models.tuning import learning as weight_learning

N_FOLDS = 5
LATER_SHARE = 0.4
N_INNER = 3  # folds of the training users, for choosing
SEEDS = (1, 2, 3)  # forests whose scores are averaged
ROUNDS = (60, 120, 200)
TREES = {
    "objective": "binary", "num_leaves": 7, "learning_rate": 0.04, "min_data_in_leaf": 100, "feature_fraction": 0.3,
    "lambda_l2": 10.0, "bagging_fraction": 0.6, "bagging_freq": 1, "max_bin": 63, "num_threads": 1, "deterministic": True,
    "force_row_wise": True, "verbose": -1,
}  # fmt: skip


class Log(NamedTuple):
    """A log ready for both questions; one row per event, whole sessions one after the other."""

    events: EventArray
    starts: Flags
    started_us: Ints
    user: Ints
    fold: Ints
    item_ids: npt.NDArray[np.object_]
    categories: npt.NDArray[np.object_]


def frame_of(path: Path, format: str) -> pd.DataFrame:
    """Read a file as events, without rows that the adapter refuses and instants far from all others (a fault of some files).

    Raises
    ------
    OSError, ValueError
        If the file cannot be read, or no row of it can be used.
    """
    form = source(format)
    frames, refused = [], Counter[str]()
    for batch in batches(path, form, lambda _: None):
        mapped = form.to_events(protect(form, batch.raw, bytes(32)), int(time.time() * 1e6))
        frames.append(mapped.events[[reason is None for reason in mapped.reasons]])
        refused.update(str(reason) for reason in mapped.reasons if reason is not None)
    frame = pd.concat(frames, ignore_index=True)
    if frame.empty:
        raise ValueError(f"{path.name}: no event can be used; most often: {refused.most_common(1)[0][0]}")
    at = frame["occurred_at_us"]
    low, high = at.quantile([0.005, 0.995])
    within: pd.DataFrame = frame[(at >= low - (high - low)) & (at <= high + (high - low))]
    return within.reset_index(drop=True)


def read(path: Path, format: str) -> Log:
    """Read a file as sessions; see `frame_of`."""
    return as_log(sessions.sessionize(frame_of(path, format)))


def as_log(frame: pd.DataFrame) -> Log:
    """Log of an event frame that is cut into sessions."""
    starts, encoded = sessions.starts(frame), encode(frame)
    started_us = split.session_starts_us(np.ascontiguousarray(encoded.events["occurred_at_us"]), starts)
    user, ids = pd.factorize(frame["user_id"])
    fold = (pd.util.hash_array(np.asarray(ids, dtype=object)) % N_FOLDS).astype(np.int64)[user]
    return Log(encoded.events, starts, started_us, user.astype(np.int64), fold, encoded.item_ids, encoded.categories)


def purchase_later(events: EventArray, starts: Flags) -> Flags:
    """Whether a purchase follows in the rest of the session, shape (n_events,)."""
    session = np.cumsum(starts) - 1
    last = np.full(int(starts.sum()), -1, dtype=np.int64)
    bought = np.flatnonzero(events["event_type"] == EventType.PURCHASE)
    np.maximum.at(last, session[bought], bought)
    return np.asarray(np.arange(len(events)) < last[session])


def item_features(log: Log) -> npt.NDArray[np.float32]:
    """What was known of the item at hand at the end of the hour before, shape (n_events, len(ITEM_FEATURES))."""
    history = items.fold(log.events)
    hand = examples.last_item(log.events["item"], log.starts)
    left = pd.DataFrame({"at": log.events["occurred_at_us"], "item": hand, "row": np.arange(len(hand))}).sort_values("at")
    right = pd.DataFrame(history.features, columns=list(ITEM_FEATURES)).assign(at=history.hour_end_us, item=history.items)
    joined = pd.merge_asof(left, right.sort_values("at"), on="at", by="item").sort_values("row")
    found = joined[list(ITEM_FEATURES)].to_numpy(dtype=np.float32, copy=True)
    found[np.isnan(found).any(axis=1)] = items.NOTHING_YET
    return found


def feature_sets(log: Log) -> dict[str, npt.NDArray[np.float32]]:
    """What the trees may look at, after each event."""
    session = sessions.fold(log.events, log.starts)
    history = users.fold(log.events, log.user)
    user = np.empty_like(history.features)
    user[history.rows] = history.features
    own = user_history.fold(log.events, np.cumsum(log.starts) - 1, log.user)
    return {"session": session, "everything": np.concatenate((session, user, item_features(log), own), axis=1)}


def purchase(log: Log, rng: np.random.Generator) -> dict[str, Any]:
    """P(purchase within the session): trees against the logistic regression on counts, all folds together."""
    bought, sets = purchase_later(log.events, log.starts), feature_sets(log)
    counts = logistic.log_counts(sets["session"][:, :N_EVENT_TYPES])
    cut = np.quantile(log.started_us, 1 - LATER_SHARE)
    ours, baseline = np.full(len(bought), np.nan), np.full(len(bought), np.nan)
    chosen = []
    for fold in range(N_FOLDS):
        train = np.flatnonzero((log.fold != fold) & (log.started_us < cut))
        test = np.flatnonzero((log.fold == fold) & (log.started_us >= cut))
        if len(test) == 0 or len(np.unique(bought[train])) < 2:
            continue
        baseline[test] = logistic.fit(counts[train], bought[train]).predict(counts[test])
        name, rounds = choose(sets, bought, train, log.user[train])
        ours[test] = predict([grow(sets[name][train], bought[train], s, rounds) for s in SEEDS], sets[name][test], rounds)
        chosen.append({"features": name, "rounds": rounds})
    tested = np.flatnonzero(np.isfinite(ours))
    if len(tested) == 0 or len(np.unique(bought[tested])) < 2:
        return {"n_rows": len(tested), "verdict": "too few purchases to tell"}
    draws = bootstrap.draw(log.user[tested], rng)
    roc, pr = bootstrap.area_intervals(ours[tested], baseline[tested], bought[tested], draws)
    return {
        "n_rows": len(tested),
        "n_users": int(draws.times.shape[1]),
        "chosen": chosen,
        "trees": report.yes_no(ours[tested], bought[tested]),
        "logistic_on_counts": report.yes_no(baseline[tested], bought[tested]),
        "roc_auc_difference": bootstrap.as_json(roc),
        "pr_auc_difference": bootstrap.as_json(pr),
        "verdict": bootstrap.verdict(roc, "trees", "logistic_on_counts"),
    }


def grow(features: npt.NDArray[np.float32], bought: Flags, seed: int, rounds: int) -> lgb.Booster:
    """Trees of one seed."""
    return lgb.train({**TREES, "seed": seed}, lgb.Dataset(features, bought.astype(np.int32)), rounds)


def predict(forests: list[lgb.Booster], features: npt.NDArray[np.float32], rounds: int) -> Floats:
    """Mean probability of the forests after so many rounds."""
    every = [forest.predict(features, num_iteration=rounds, num_threads=1) for forest in forests]
    return np.asarray(np.mean(every, axis=0), dtype=np.float64)


def choose(sets: dict[str, npt.NDArray[np.float32]], bought: Flags, train: Ints, user: Ints) -> tuple[str, int]:
    """Features and rounds with the best ROC-AUC when each third of the training users is foretold by the others."""
    inner = np.random.default_rng(0).integers(N_INNER, size=int(user.max()) + 1)[user]
    found = {(name, rounds): np.zeros(len(train)) for name in sets for rounds in ROUNDS}
    for k in range(N_INNER):
        seen, held = inner != k, inner == k
        for name, features in sets.items():
            forest = grow(features[train[seen]], bought[train[seen]], SEEDS[0], max(ROUNDS))
            for rounds in ROUNDS:
                found[name, rounds][held] = predict([forest], features[train[held]], rounds)
    return max(found, key=lambda one: metrics.roc_auc(found[one], bought[train]))


def weighting(log: Log, rng: np.random.Generator) -> dict[str, Any]:
    """The ablation: associations and intent from the first 40 %, weights from the next 20 %, tested on the last 40 %."""
    early, later = np.quantile(log.started_us, [1 - LATER_SHARE - 0.2, 1 - LATER_SHARE])
    fit = log.started_us < early
    weak = labels.intent_probabilities(log.events[fit], log.starts[fit])
    features = sessions.fold(log.events, log.starts)
    model = intent.fit(features[fit], weak, valid=later_rows(log.started_us[fit], 0.2))
    p_intent = model.predict(features)
    texts = [str(item) for item in log.item_ids]

    def part(kept: Flags) -> Later:
        some = examples.Log(log.events[kept], log.starts[kept], log.started_us[kept], log.user[kept], texts)
        return Later(some, p_intent[kept])

    first = associations.build(log.events[fit], log.starts[fit], log.item_ids)
    before = log.started_us < later
    learned = weight_learning.learn(ModelSet(associations=first), part(before & ~fit), rng)
    store = associations.build(log.events[before], log.starts[before], log.item_ids)
    popularity = np.bincount(log.events["item"][before & (log.events["item"] != NO_CODE)], minlength=store.n_items)
    arms = {**ablation.arms(learned.weights), "learned_without_intent": learned.base_only}
    pairs = (("learned", "learned_without_intent"),)
    models, controls = ModelSet(associations=store), ("learned_without_intent",)
    table = ablation.compare(models, part(~before), arms, popularity, rng, AblationParams(), pairs, controls)
    return {**table, "learner": {"chosen": learned.chosen, "ndcg_20": learned.ndcg_20}}


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments, measure, print; 2 and one line on stderr if the file cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--format", required=True)
    given = parser.parse_args(arguments)
    began = time.perf_counter()
    try:
        log, rng = read(given.file, given.format), np.random.default_rng(0)
    except (OSError, ValueError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    found = {"purchase_within_session": purchase(log, rng), "ablation": weighting(log, rng)}
    size = {"n_events": len(log.events), "n_sessions": int(log.starts.sum()), "n_users": int(log.user.max()) + 1}
    cost = {
        "seconds": round(time.perf_counter() - began, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps({"benchmark": "typed_log", "format": given.format, **size, **found, **cost}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
