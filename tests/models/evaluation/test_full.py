import json

import numpy as np
import pandas as pd
import pytest

from flows.reports import actions as action_page
from flows.reports import evaluation as evaluation_page
from flows.reports import weighting as weighting_page
from models.evaluation import full as full_evaluation
from models.evaluation import tables as evaluation
from models.evaluation.tables import Models
from models.inference import examples, intent, next_action, second_rules
from models.inference.examples import ExampleParams
from models.learners.trees import BoostParams
from models.ranker import from_log as log_ranker
from models.schema import HORIZONS_S, ITEM_FEATURES, LAST_EVENT_AT, NEXT_ACTIONS, USER_FEATURES
from models.simulator import ShopConfig, simulate
from models.weight_profile import HEURISTIC

QUICK = BoostParams(n_rounds=4, n_leaves=4)


@pytest.fixture(scope="module")
def world():
    log, frame = examples.read_log(simulate(ShopConfig(n_users=250, n_days=5, seed=4, n_items=120)).events)
    params = ExampleParams()
    rows = examples.choose(log, frame, params)
    nothing = pd.DataFrame(np.nan, index=range(len(rows)), columns=[*USER_FEATURES, LAST_EVENT_AT, *ITEM_FEATURES])
    found = examples.assemble(log, rows, nothing)
    split = found.split(params)
    learn, valid = ~split.test, split.valid[~split.test]
    horizons = enumerate(HORIZONS_S)
    targets = {n: next_action.Targets(found.next_action[learn, k].astype(int), found.purchase[learn, k]) for k, n in horizons}
    quick = next_action.NextActionParams(QUICK, QUICK)
    model = intent.fit(found.session_features[learn], found.p_intent[learn], QUICK, valid=valid)
    models = Models(
        model,
        next_action.fit(found.next_action_features()[learn], targets, quick, valid=valid),
        evaluation.rebuilt(log, split.test_from_us, {}),
        HEURISTIC,
        log_ranker.fit(log.before(split.test_from_us), model=model, weights=HEURISTIC),
    )
    return models, log, found, split


def test_full_report_names_a_winner_or_says_no_difference_and_makes_a_page(world):
    models, log, found, split = world
    full = full_evaluation.tables(models, log, found, split, seed=0)
    assert set(full["ablation"]["winner"].values()) <= {"no difference", *full["ablation"]["arms"]} - {
        "served"
    }  # nor the ranker
    of_ranker = full["ablation"]["overall"]["view"]["ranker"]
    assert 0.0 < of_ranker["recall_20"] <= 1.0
    assert of_ranker["decides"]["low"] <= of_ranker["decides"]["high"]
    assert 0.0 < full["ablation"]["lists"]["ranker"]["coverage"] <= 1.0
    assert "| view | ranker |" in weighting_page.markdown(full["ablation"])
    assert full["intent"]["second_rule"]["model"]["n_rows"] > 0
    assert full["intent"]["behaviour_gain"]["verdict"] in ("with", "without", "no difference")
    report = {
        "held_out": {},
        "candidate": {
            "intent": evaluation.intent_tables(models.intent.predict(found.session_features[split.test]), found, split.test),
            "next_action": evaluation.next_action_tables(models.next_action, found, split.test),
        },
        "baselines": {
            "intent": evaluation.intent_baselines(found, split.test),
            "next_action": evaluation.next_action_baseline(found, split.test),
        },
        "full": json.loads(json.dumps(full, allow_nan=False)),
    }
    text = evaluation_page.page(report)
    assert "Which weighting" in text
    assert "Markov chain on the last event" in text
    assert "PR-AUC of each action" in text
    assert "Removal effect: " in text
    assert "| removal effect |" in action_page.markdown(full["actions"])
    view, paths = full["actions"]["weights"][0], full["actions"]["sequences"]
    assert view["low"] < view["p"] < view["high"]
    assert paths["n_sessions"] == int(log.starts.sum())
    assert all(row["low"] <= row["lift"] <= row["high"] for row in paths["pairs"])


def test_markov_chain_repeats_what_followed_each_event(world):
    _, _, found, split = world
    before, after = np.flatnonzero(~split.test), np.flatnonzero(split.test)
    p = full_evaluation.markov_chain(found, before, after, 0)
    assert p.shape == (len(after), len(NEXT_ACTIONS))
    np.testing.assert_allclose(p.sum(axis=1), 1.0)


def test_second_opinion_is_about_the_held_out_rows_themselves(world):
    _, log, found, split = world
    labels = full_evaluation._second_opinion(log, found, split.test)
    assert len(labels) == split.test.sum()
    # All rows of this small log were chosen, so both stand in the same order.
    np.testing.assert_array_equal(labels, second_rules.label(log.events, log.starts)[split.test])
