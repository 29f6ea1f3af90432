"""Judge models on rows that none of them has seen: the tables of the evaluation report, JSON values only."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.arrays import Flags, Floats, Ints
from models.evaluation import classification as report
from models.experiments import assignment
from models.features import sessions
from models.inference import intent
from models.inference.examples import Examples, Log
from models.item_ranking import Asked
from models.model_set import ModelSet, required
from models.questions import next_item
from models.questions.answers import LIMIT, ranks
from models.questions.later import Later
from models.questions.next_item import Questions
from models.recommend import profile_of
from models.replay import replay
from models.schema import HORIZONS_S, INTENTS, NEXT_ACTIONS
from models.statistics import metrics
from models.weight_profile import STATIC


def intent_tables(p: Floats, found: Examples, held: Flags) -> dict[str, Any]:
    """Intent against the weak labels on the held-out rows: overall, and after 1, 3, 5 and 10 events.

    Parameters
    ----------
    p
        Probabilities of the held-out rows, shape (n_held, n_intents).
    """
    labels = np.asarray(found.p_intent[held])
    true, position = labels.argmax(axis=1), report.positions(found.starts)[held]
    early = report.early_decision({"model": p}, true, position, INTENTS)
    overall = report.classification(p, true, INTENTS)
    if len(p):
        overall["ece"] = _soft_ece(p, labels)
    return {
        "overall": overall,
        "early_decision": {after: methods["model"] for after, methods in early.items()},
        "calibration": report.calibration_table(p.max(axis=1), labels[np.arange(len(p)), p.argmax(axis=1)]),
    }


def _soft_ece(p: Floats, labels: Floats) -> float:
    """Calibration error of the most likely class against labels that are themselves probabilities.

    A model that repeats the labels' doubt is calibrated; against their winners alone it would seem too timid.
    """
    top = p.argmax(axis=1)
    rows = np.arange(len(p))
    bins = metrics.calibration_bins(p[rows, top], labels[rows, top])
    return round(sum(b.n_rows * abs(b.mean_p - b.hit_rate) for b in bins) / len(p), 4)


def intent_baselines(found: Examples, held: Flags) -> dict[str, Any]:
    """The same for what needs no training: the class shares of before, and the labelling rules on the prefix."""
    shares = intent.majority(np.asarray(found.p_intent[~held]))
    n_held = int(held.sum())
    return {
        "majority": intent_tables(np.tile(shares, (n_held, 1)), found, held),
        "rules": intent_tables(intent.by_rules(np.asarray(found.session_features[held])), found, held),
    }


def next_action_tables(models: ModelSet, found: Examples, held: Flags) -> dict[str, Any]:
    """Next action and purchase per horizon, on the held-out rows whose horizon the log covers."""
    model = required(models.next_action, "a next-action model")
    outlooks = model.predict(found.next_action_features(model.groups)[held])
    tables: dict[str, Any] = {}
    for k, name in enumerate(HORIZONS_S):
        known = found.covered[held, k]
        true = found.next_action[held, k][known].astype(np.int64)
        bought = np.asarray(found.purchase[held, k][known])
        tables[name] = {
            "action": report.classification(outlooks[name].p_action[known], true, NEXT_ACTIONS),
            "purchase": report.yes_no(outlooks[name].p_purchase[known], bought),
        }
    return tables


def engagement_table(p: Floats, found: Examples, held: Flags) -> dict[str, Any]:
    """The engagement score as the probability of a purchase within its horizon, on the held-out rows that the log covers."""
    k = list(HORIZONS_S).index("medium_term")
    known = np.asarray(found.covered[held, k])
    return report.yes_no(p[known], np.asarray(found.purchase[held, k][known]))


def next_action_baseline(found: Examples, held: Flags) -> dict[str, Any]:
    """The same for the shares of before: always the most frequent action, always the base rate."""
    tables: dict[str, Any] = {}
    for k, name in enumerate(HORIZONS_S):
        before, known = found.covered[:, k] & ~held, found.covered[:, k] & held
        counts = np.bincount(found.next_action[before, k], minlength=len(NEXT_ACTIONS)) + 1.0
        rate = (found.purchase[before, k].sum() + 1.0) / (before.sum() + 2.0)
        n_known = int(known.sum())
        tables[name] = {
            "action": report.classification(
                np.tile(counts / counts.sum(), (n_known, 1)), found.next_action[known, k].astype(np.int64), NEXT_ACTIONS
            ),
            "purchase": report.yes_no(np.full(n_known, rate), np.asarray(found.purchase[known, k])),
        }
    return tables


def served_ranks(models: ModelSet, later: Later, asked: Questions) -> dict[str, Ints]:
    """Rank of each wanted item in what is served to the dynamic and the static variant, by popularity, and by the ranker.

    Without a ranker in the set, it is missing.
    """
    wanted = later.log.events["item"][asked.target]
    by_associations = replay(models, later, asked.first, asked.last)
    serves = profile_of(models, [])
    found = {
        "dynamic": ranks(by_associations.answers(serves), wanted),
        "static": ranks(by_associations.answers(STATIC, assignment.STATIC), wanted),
        "popularity": ranks(by_associations.popular(), wanted),
    }
    if models.ranker is not None:
        by_ranker = replay(models, later, asked.first, asked.last, Asked(limit=LIMIT, ranker=True))
        found["ranker"] = ranks(by_ranker.answers(serves), wanted)
    return found


def association_tables(log: Log, asked: Questions, served: Mapping[str, Ints], rng: np.random.Generator) -> dict[str, Any]:
    """The next item of later sessions: what would be served, beside static weights and popularity.

    Parameters
    ----------
    log
        Sessions of the held-out period.
    served
        From `served_ranks`.

    Returns
    -------
    The table of `next_item.compare`, with the dynamic measures at its top.
    """
    session = np.cumsum(log.starts, dtype=np.int64)[asked.last]
    table = next_item.compare(served, log.events["event_type"][asked.target], session, rng)
    return {**table["overall"]["dynamic"], **table}


def parity(log: Log, n_sessions: int) -> tuple[int, int]:
    """Fold sessions both ways, as the flow does and as the service does, event by event: (rows that differ, rows compared)."""
    firsts = np.flatnonzero(log.starts)
    bounds = np.append(firsts, len(log.events))
    n_bad = n_checked = 0
    for k in np.linspace(0, len(firsts) - 1, min(n_sessions, len(firsts))).astype(int):
        events = np.array(log.events[bounds[k] : bounds[k + 1]])
        starts = np.zeros(len(events), dtype=np.bool_)
        starts[0] = True
        batch = sessions.fold(events, starts)
        for n in {1, (len(events) + 1) // 2, len(events)}:
            n_bad += sessions.features_of(events[:n]).tobytes() != batch[n - 1].tobytes()
            n_checked += 1
    return n_bad, n_checked
