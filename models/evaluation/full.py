"""The slower half of the evaluation report, for ``attune evaluate`` only: ablation, stronger baselines, second opinions.

What every retraining needs to decide on a promotion is in `models.evaluation.tables`; here stands what an ML engineer wants to
read.
"""

from dataclasses import asdict
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.arrays import Flags, Floats, Ints
from models.evaluation import ablation, early, goal_report
from models.evaluation import classification as report
from models.evaluation import tables as evaluation
from models.evaluation.ablation import AblationParams
from models.evaluation.predictions import MEDIUM
from models.evaluation.state import state_table
from models.events.encode import NO_CODE
from models.inference import intent, second_rules
from models.inference.examples import Examples, Log
from models.item_ranking import Asked
from models.learners.trees import BoostParams
from models.model_set import ModelSet, required
from models.questions.answers import LIMIT
from models.questions.later import later as later_sessions
from models.questions.rest_of_session import Prefixes
from models.recommend import profile_of
from models.replay import replay
from models.schema import HORIZONS_S, INTENT_FEATURES, INTENTS, N_EVENT_TYPES, NEXT_ACTIONS
from models.statistics import bootstrap, logistic
from models.statistics.split import Split
from models.tuning import from_log as log_weights
from models.weights import action_report as action_weight_report
from models.weights import actions_from_log, cause_report, markov, sequence_report

BEHAVIOUR: Final = ("dwell", "scroll", "zoom", "cursor")  # in the names of the features that come from the browser's measures
N_PREFIXES: Final = 10_000
MOST_ROWS: Final = 40_000  # that a baseline learns from


def tables(models: ModelSet, log: Log, found: Examples, split: Split, seed: int) -> dict[str, Any]:
    """All tables of the slower half, JSON values only."""
    return {
        "ablation": ablation_table(models, log, split, seed),
        "intent": intent_tables(models, log, found, split, seed),
        "next_action": next_action_tables(models, found, split.test, seed),
        "state": state_table(required(models.next_action, "a next-action model"), log, found, split.test, seed),
        "early_purchase": early_purchase(models, found, split, seed),
        "goals": goal_table(models, log, split),
        "actions": action_tables(log, seed),
    }


def action_tables(log: Log, seed: int) -> dict[str, Any]:
    """Action tables of the whole log: worth of each action with its posterior interval, and what sequences lead to."""
    known = actions_from_log.posterior_of(log, int(log.events["occurred_at_us"].max()))
    chain = markov.learned(log.events["event_type"], log.starts)
    return {
        "horizon_s": known.params.horizon_s,
        "weights": [asdict(row) for row in action_weight_report.table(known)],
        "sequences": sequence_report.table(chain, int(log.starts.sum()), np.random.default_rng(seed)),
        "causes": cause_report.table(log),
    }


def ablation_table(models: ModelSet, log: Log, split: Split, seed: int) -> dict[str, Any]:
    """The five-way ablation on the held-out sessions; weights are learned on the period before, on pairs from before that."""
    rng = np.random.default_rng(seed)
    model, store = required(models.intent, "an intent model"), required(models.associations, "associations")
    later = later_sessions(model, log.since(split.test_from_us), log)
    periods = split.valid_from_us, split.test_from_us
    learned = log_weights.learn(log, model, periods, seed=seed, shaping=store.params)
    earlier = log.before(split.test_from_us).events["item"]
    popularity = np.bincount(earlier[earlier != NO_CODE], minlength=len(log.item_ids))
    served, asked = profile_of(models, []), AblationParams(at_most=N_PREFIXES)
    arms = {**ablation.arms(learned.weights), "served": served}

    def by_ranker(prefixes: Prefixes) -> Ints:
        asks = replay(models, later, prefixes.first, prefixes.last, Asked(limit=LIMIT, ranker=True))
        return asks.answers(served)

    others = {} if models.ranker is None else {"ranker": by_ranker}
    table = ablation.compare(models, later, arms, popularity, rng, asked, controls=("served",), others=others)
    named = {"untouched": store.untouched(), "untouched_by_shop": store.untouched_by_shop()}
    return {**table, **named, "learner": {"chosen": learned.chosen, "ndcg_20": learned.ndcg_20}}


def goal_table(models: ModelSet, log: Log, split: Split) -> dict[str, Any]:
    """Goal weights that serve, and the mixture of goals at the ends of held-out sessions; nothing where they are none."""
    goals = profile_of(models, []).goals
    if goals is None:
        return {}
    later = later_sessions(required(models.intent, "an intent model"), log.since(split.test_from_us), log)
    first = np.flatnonzero(later.log.starts)
    last = np.append(first[1:], len(later.log.events)) - 1
    spans = list(zip(first.tolist(), last.tolist(), strict=True))[:N_PREFIXES]
    mixtures = [goals.mixture(later.log.events[a : b + 1], later.p_intent[b]) for a, b in spans]
    return goal_report.table(goals, np.array(mixtures).reshape(len(spans), -1), np.unique(log.events["event_type"]).tolist())


def intent_tables(models: ModelSet, log: Log, found: Examples, split: Split, seed: int) -> dict[str, Any]:
    """Logistic regression on counts, the model without the browser's measures, and the second labelling rule."""
    held, learn = split.test, ~split.test
    features = np.asarray(found.session_features)
    model = required(models.intent, "an intent model")
    model_p = model.predict(features[held])
    rows = _some(np.flatnonzero(learn), seed)
    soft = np.asarray(found.p_intent)
    counts = logistic.log_counts(features[:, :N_EVENT_TYPES])
    regression = np.tile(intent.majority(soft[rows]), (int(held.sum()), 1))  # where there is nothing to learn from
    if len(rows):
        found_of = [logistic.fit(counts[rows], soft[rows].argmax(axis=1) == k) for k in range(len(INTENTS))]
        columns = [one.predict(counts[held]) for one in found_of]
        regression = np.column_stack(columns) / np.sum(columns, axis=0)[:, None]
    plain = features.copy()
    plain[:, [k for k, name in enumerate(INTENT_FEATURES) if any(word in name for word in BEHAVIOUR)]] = 0.0
    params = BoostParams(**model.meta["params"])
    reduced = intent.fit(plain[learn], soft[learn], params, valid=split.valid[learn], seed=seed).predict(plain[held])
    second = second_rules.label(log.events, log.starts)[found.rows[held]].astype(np.int64)
    told = second != second_rules.NO_LABEL
    return {
        "logistic_on_counts": evaluation.intent_tables(regression, found, held),
        "without_behaviour": evaluation.intent_tables(reduced, found, held),
        "behaviour_gain": _log_loss_gain(model_p, reduced, soft[held], found, held, seed),
        "second_rule": {
            name: report.classification(p[told], second[told], INTENTS)
            for name, p in {
                "model": model_p,
                "logistic_on_counts": regression,
                "majority": np.tile(intent.majority(soft[learn]), (int(held.sum()), 1)),
                "rules": intent.by_rules(features[held]),
            }.items()
        },
    }


def _some(rows: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    if len(rows) <= MOST_ROWS:
        return rows
    return np.asarray(np.sort(np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False)))


def _log_loss_gain(full: Floats, reduced: Floats, soft: Floats, found: Examples, held: Flags, seed: int) -> dict[str, Any]:
    """How much log loss the browser's measures save, with its interval over sessions."""
    if not held.any():
        return {}
    loss = [-(soft * np.log(np.maximum(p, 1e-12))).sum(axis=1) for p in (reduced, full)]
    draws = bootstrap.draw(np.cumsum(found.starts, dtype=np.int64)[held], np.random.default_rng(seed), 300)
    one = bootstrap.mean_intervals((loss[0] - loss[1])[:, None], draws)[0]
    return {**bootstrap.as_json(one), "verdict": bootstrap.verdict(one, "with", "without")}


def next_action_tables(models: ModelSet, found: Examples, held: Flags, seed: int) -> dict[str, Any]:
    """Per horizon: a Markov chain on the last event, and logistic regression on counts for the purchase, against the model."""
    counts = logistic.log_counts(found.session_features[:, :N_EVENT_TYPES])
    model = required(models.next_action, "a next-action model")
    outlooks = model.predict(found.next_action_features(model.groups)[held])
    tables: dict[str, Any] = {}
    for k, name in enumerate(HORIZONS_S):
        before, known = np.flatnonzero(found.covered[:, k] & ~held), np.asarray(found.covered[held, k])
        after = np.flatnonzero(held)[known]
        if len(before) == 0 or len(after) == 0:
            tables[name] = {"n_rows": 0}
            continue
        bought = np.asarray(found.purchase[:, k])
        rows = _some(before, seed)
        regression = logistic.fit(counts[rows], bought[rows]).predict(counts[after])
        ours = outlooks[name].p_purchase[known]
        draws = bootstrap.draw(np.cumsum(found.starts, dtype=np.int64)[after], np.random.default_rng(seed), 200)
        roc, pr = bootstrap.area_intervals(ours, regression, bought[after], draws)
        chain = markov_chain(found, before, after, k)
        tables[name] = {
            "markov_chain": {
                "action": report.classification(chain, found.next_action[after, k].astype(np.int64), NEXT_ACTIONS)
            },
            "logistic_on_counts": {"purchase": report.yes_no(regression, bought[after])},
            "purchase_calibration": report.calibration_table(ours, bought[after]),
            "roc_auc_over_logistic": {**_finite(roc), "verdict": bootstrap.verdict(roc, "model", "logistic_on_counts")},
            "pr_auc_over_logistic": {**_finite(pr), "verdict": bootstrap.verdict(pr, "model", "logistic_on_counts")},
        }
    return tables


def early_purchase(models: ModelSet, found: Examples, split: Split, seed: int) -> dict[str, Any]:
    """Early-purchase curve of the model and of logistic regression on counts, within the hour (`models.evaluation.early`)."""
    k, counts = list(HORIZONS_S).index(MEDIUM), np.asarray(found.session_features[:, :N_EVENT_TYPES])
    covered, bought = np.asarray(found.covered[:, k]), np.asarray(found.purchase[:, k])
    before, after = np.flatnonzero(covered & split.valid), np.flatnonzero(covered & split.test)
    learn = _some(np.flatnonzero(covered & ~split.test & ~split.valid), seed)
    if not (len(before) and len(after) and len(learn)):
        return {}
    model = required(models.next_action, "a next-action model")
    features = found.next_action_features(model.groups)
    regression = logistic.fit(logistic.log_counts(counts[learn]), bought[learn])

    def said(rows: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        p = np.asarray(model.predict(features[rows])[MEDIUM].p_purchase, dtype=np.float64)
        return p, regression.predict(logistic.log_counts(counts[rows]))

    position = report.positions(found.starts)
    parts = [early.moments(position[rows], counts[rows], bought[rows]) for rows in (before, after)]
    columns = dict(zip(("model", "logistic_on_counts"), zip(said(before), said(after), strict=True), strict=True))
    return early.curve(columns, *parts)


def _finite(interval: Any) -> dict[str, float | None]:
    return {name: value if np.isfinite(value) else None for name, value in bootstrap.as_json(interval).items()}


def markov_chain(found: Examples, before: npt.NDArray[np.int64], after: npt.NDArray[np.int64], horizon: int) -> Floats:
    """P(next action | last event's type), counted with one pseudo-count per action, shape (n_after, n_next_actions)."""
    column = INTENT_FEATURES.index("last_event_type")
    last = found.session_features[:, column].astype(np.int64).clip(0, N_EVENT_TYPES - 1)
    table = np.ones((N_EVENT_TYPES, len(NEXT_ACTIONS)))
    np.add.at(table, (last[before], found.next_action[before, horizon].astype(np.int64)), 1.0)
    table /= table.sum(axis=1, keepdims=True)
    return np.asarray(table[last[after]])
