import json
from dataclasses import replace

import numpy as np
import pytest

from flows.reports import evaluation as evaluation_page
from models.evaluation import full as full_evaluation
from models.evaluation import tables as evaluation
from models.goal_prior import HEURISTIC_GOALS
from models.inference import second_rules
from models.inference.examples import ExampleParams
from models.schema import NEXT_ACTIONS


@pytest.fixture(scope="module")
def world(fitted):
    return fitted.models, fitted.log, fitted.found, fitted.split


def test_full_report_names_a_winner_or_says_no_difference_and_makes_a_page(world):
    models, log, found, split = world
    full = full_evaluation.tables(models, log, found, split, seed=0)
    full["goals"] = full_evaluation.goal_table(replace(models, weights=HEURISTIC_GOALS), log, split)
    assert set(full["ablation"]["winner"].values()) <= {"no difference", *full["ablation"]["arms"]} - {
        "served"
    }  # nor the ranker
    of_ranker = full["ablation"]["overall"]["view"]["ranker"]
    assert 0.0 < of_ranker["recall_20"] <= 1.0
    assert of_ranker["decides"]["low"] <= of_ranker["decides"]["high"]
    assert 0.0 < full["ablation"]["lists"]["ranker"]["coverage"] <= 1.0
    assert full["intent"]["second_rule"]["model"]["n_rows"] > 0
    assert full["intent"]["behaviour_gain"]["verdict"] in ("with", "without", "no difference")
    report = {
        "evaluated_at": "2026-11-21T10:00:00+00:00",
        "held_out": {"n_sessions": 1, "n_rows": 1},
        "champion": None,
        "shadow": {},
        "candidate": {
            "intent": evaluation.intent_tables(models.intent.predict(found.session_features[split.test]), found, split.test),
            "next_action": evaluation.next_action_tables(models, found, split.test),
        },
        "baselines": {
            "intent": evaluation.intent_baselines(found, split.test),
            "next_action": evaluation.next_action_baseline(found, split.test),
        },
        "full": {
            **json.loads(json.dumps(full, allow_nan=False)),
            "off_policy": {"verdict": "not enough data", "reason": "none logged", "n_decisions": 0, "n_visitors": 0},
        },
    }
    text, markdown = evaluation_page.page(report), evaluation_page.markdown(report)
    assert "| view | ranker |" in markdown
    assert "Which weighting" in text
    assert "Markov chain on the last event" in text
    assert "PR-AUC of each action" in text
    assert "Removal effect: " in text
    assert "| removal effect |" in markdown
    for heading in ("Early purchase", "Goals", "What actions cause"):
        assert f"<h2>{heading}</h2>" in text
    assert full["early_purchase"]["model"]["before the first cart"]["n_rows"] > 0
    assert sum(row["share"] for row in full["goals"]["goals"]) == pytest.approx(1.0, abs=1e-3)
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
    models, log, found, _ = world
    chosen = np.flatnonzero(log.starts[: len(log.starts) // 2])[-1]  # whole sessions, not all of them
    told = {name: part for name, part in found._asdict().items() if part is not None}
    some = found._replace(**{name: part[:chosen] for name, part in told.items()})
    cut = some.split(ExampleParams())
    labels = second_rules.label(log.events, log.starts)[:chosen][cut.test]
    table = full_evaluation.intent_tables(models, log, some, cut, seed=0)["second_rule"]["rules"]
    assert table["n_rows"] == np.count_nonzero(labels != second_rules.NO_LABEL)
