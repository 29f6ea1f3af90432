"""The evaluation page: what came out first, every method with its figures, and no field that goes missing unseen."""

import re
from typing import Any

import msgspec
import pytest

from flows.reports import evaluation
from models.schema import HORIZONS_S, INTENTS

INTENT: dict[str, Any] = {
    "overall": {"n_rows": 8, "macro_f1": 0.5, "pr_auc": {"research": 0.75}, "confusion": [[2, 0, 0, 0]] * len(INTENTS)},
    "early_decision": {"after_1": {"n_rows": 4, "macro_f1": 0.4}, "after_3": {"n_rows": 0}},
}
ACTION: dict[str, Any] = {name: {"action": {"log_loss": 1.25}, "purchase": {"roc_auc": None}} for name in HORIZONS_S}
REPORT: dict[str, Any] = {
    "evaluated_at": "2026-11-21T10:00:00+00:00",
    "held_out": {"n_sessions": 12, "n_rows": 99},
    "candidate": {"intent": INTENT, "next_action": ACTION},
    "champion": None,
    "shadow": {},
    "baselines": {"intent": {"majority": INTENT, "rules": INTENT}, "next_action": ACTION},
}
DECIDES = {"mean": 0.02, "low": 0.01, "high": 0.03}
EMPTY = {"n_prefixes": 0}
FULL: dict[str, Any] = {
    "ablation": {"n_prefixes": 0, "winner": {"view": "no difference"}, "verdict": "no prefix could be asked"},
    "intent": {
        "logistic_on_counts": INTENT,
        "without_behaviour": INTENT,
        "behaviour_gain": {**DECIDES, "verdict": "with"},
        "second_rule": {"majority": {"n_rows": 77, "macro_f1": 0.125}},
    },
    "next_action": {name: {"n_rows": 0} for name in HORIZONS_S},
    "actions": {
        "horizon_s": 3600.0,
        "weights": [],
        "sequences": {"n_sessions": 9, "p_purchase": 0.1, "actions": [], "pairs": []},
    },
    "off_policy": {"verdict": "not enough data", "reason": "no weights change", "n_decisions": 0, "n_visitors": 0},
}


def arm(ndcg: float) -> dict[str, Any]:
    gain = dict.fromkeys(("recall_20", "mrr_20", "ndcg_20"), DECIDES)
    return {"recall_20": 0.3, "mrr_20": 0.2, "ndcg_20": ndcg, "against_static": gain, "decides": DECIDES}


def ablation() -> dict[str, Any]:
    static = {"recall_20": 0.3, "mrr_20": 0.2, "ndcg_20": 0.1}
    kinds: dict[str, Any] = {"view": {"n_prefixes": 7, "static": static, "uniform": arm(0.11), "learned": arm(0.12)}}
    kinds |= {name: EMPTY for name in ("add_to_cart", "purchase")}
    return {
        "n_prefixes": 7, "n_users": 3, "overall": kinds, "by_intent": {"research": kinds}, "by_length": {"1": kinds},
        "cold_items": kinds, "new_items": kinds, "lists": {"learned": {"coverage": 0.5, "mean_popularity": 1.0, "gini": 0.2}},
        "winner": {"view": "learned", "add_to_cart": "<b>"}, "verdict": "view: learned",
    }  # fmt: skip


def test_quick_report_makes_a_page_without_the_slower_half() -> None:
    text = evaluation.page(REPORT)
    assert "12 held-out sessions" in text
    assert "1.250" in text
    assert "not measured here" in text
    assert "<h2>Which weighting" not in text


def test_page_names_the_verdict_and_every_arm_with_its_interval() -> None:
    text = evaluation.page({**REPORT, "full": {**FULL, "ablation": ablation()}})
    assert "Which weighting: learned for the next view; &lt;b&gt; for the next add to cart." in text
    assert "<figcaption>Next view: learned</figcaption>" in text
    assert '<tr class="up sure"><th>learned</th>' in text
    assert '<tr class="up"><th>uniform</th>' in text  # clearly better than static, but not the winner
    assert '<tr class="open"><th>static</th>' in text
    assert "+0.0200 [+0.0100, +0.0300]" in text
    for part in ("research", "events seen: 1", "cold items"):
        row = re.search(f"<th>{part}</th>.*?</tr>", text, re.DOTALL)
        assert row is not None
        assert row[0].endswith('<td>learned</td><td class="n">7</td><td class="n">0.120</td></tr>')


def test_next_item_has_a_row_for_what_serves_and_one_for_the_ranker() -> None:
    rows = {name: {"n_questions": 9, "hit_rate_20": 0.5, "mrr_20": 0.25} for name in ("dynamic", "ranker")}
    found = {"n_questions": 9, "overall": rows, "buying": {"dynamic": {"n_questions": 0}}, "ranker_minus_dynamic_mrr": DECIDES}
    text = evaluation.page({**REPORT, "candidate": {**REPORT["candidate"], "associations": found}})
    assert '<td>ranker</td><td class="n">9</td><td class="n">0.500</td><td class="n">0.250</td>' in text
    assert "ranker - intent weighting: +0.0200 [+0.0100, +0.0300]" in text


def test_page_fetches_nothing() -> None:
    text = evaluation.page({**REPORT, "full": {**FULL, "ablation": ablation()}})
    assert re.findall(r"(?:src=|href=\"[^#]|url\(|@import|https?:)", text) == []


def test_what_the_candidate_answered_to_live_requests_is_told() -> None:
    seen = {"recommendations": {"n_requests": 1_200, "n_failed": 0, "label_agreement": 0.93, "top_20_overlap": 0.81,
                                "probability_distance": None, "champion_ms": 1.5, "challenger_ms": 2.5}}  # fmt: skip
    text = evaluation.page({**REPORT, "shadow": seen})
    assert "<h2>Shadow</h2>" in text
    assert '<td class="n">1,200</td><td class="n">0</td><td class="n">0.930</td>' in text
    assert "<h2>Shadow</h2>" not in evaluation.page(REPORT)


def test_a_champion_that_is_another_version_stands_beside_the_candidate() -> None:
    champion = {"versions": {"intent": 1}, "intent": {**INTENT, "overall": {"macro_f1": 0.625}}, "next_action": ACTION}
    candidate = {**REPORT["candidate"], "versions": {"intent": 2}}
    text = evaluation.page({**REPORT, "candidate": candidate, "champion": champion})
    assert '<td>champion</td><td class="n">0.625</td>' in text
    assert "champion" not in evaluation.page({**REPORT, "champion": REPORT["candidate"]})


def test_the_purchase_is_compared_with_the_regression_and_with_chance() -> None:
    more = {"short_term": {"roc_auc_over_logistic": {**DECIDES, "verdict": "model"}}, "medium_term": {"n_rows": 0}}
    bought = {**ACTION, "short_term": {**ACTION["short_term"], "purchase": {"roc_auc": 0.75, "base_rate": 0.031}}}
    report = {**REPORT, "candidate": {**REPORT["candidate"], "next_action": bought}, "full": {**FULL, "next_action": more}}
    said = re.sub(r"\s+", " ", evaluation.page(report))
    assert (
        "Purchase within 5 minutes, gain over logistic regression: ROC-AUC +0.0200 [+0.0100, +0.0300] (model is better)" in said
    )
    assert "A purchase follows 3.1% of the prefixes" in said


def test_each_class_has_its_pr_auc_beside_what_chance_reaches() -> None:
    text = evaluation.page(REPORT)
    shares = '<td class="n">0.250</td>' * 4
    assert f"<tr><td>share of the class: what chance reaches</td>{shares}</tr>" in text
    assert '<td>model</td><td class="n"></td><td class="n"></td><td class="n"></td><td class="n">0.750</td>' in text
    assert "2 (100%)" in text


def test_the_slower_half_names_the_stronger_baselines_and_the_second_rule() -> None:
    text = evaluation.page({**REPORT, "full": FULL})
    assert "Log loss saved by the browser&#39;s measures: worth having" in text
    assert '<td>logistic regression on counts</td><td class="n">0.500</td>' in text
    assert '<td>class shares of before</td><td class="n">77</td><td class="n">0.125</td>' in text


def test_what_the_weights_would_have_earned_is_told_where_decisions_were_logged() -> None:
    assert "not enough data: no weights change (0 decisions" in evaluation.page({**REPORT, "full": FULL})


def test_markdown_has_a_column_for_each_side_and_a_row_for_each_figure() -> None:
    lines = evaluation.markdown(REPORT).splitlines()
    assert lines[0] == "| | candidate | majority | rules |"
    assert "| intent macro-F1 | 0.5000 | 0.5000 | 0.5000 |" in lines
    assert "| next action log loss, 5 minutes | 1.2500 | 1.2500 |  |" in lines
    assert "| next item MRR@20, ranker |  |  |  |" in lines
    assert "Which weighting" not in evaluation.markdown({**REPORT, "full": FULL})


def test_markdown_of_a_full_report_has_the_arms_and_what_actions_are_worth() -> None:
    weight = {
        "event_type": "view",
        "p": 0.125,
        "low": 0.1,
        "high": 0.15,
        "prior": 0.2,
        "weight": 0.25,
        "n": 9.0,
        "fallback": False,
    }
    action = {"event_type": "view", "n": 9, "p_purchase": 0.1, "removal_effect": 0.5, "low": 0.4, "high": 0.6}
    pair = {"before": "view", "last": "add_to_cart", "n": 5, "p_purchase": 0.3, "lift": 3.0, "low": 2.5, "high": 3.5}
    paths = {"n_sessions": 9, "p_purchase": 0.1, "actions": [action], "pairs": [pair]}
    actions = {"horizon_s": 3600.0, "weights": [weight], "sequences": paths}
    report = {**REPORT, "full": {**FULL, "ablation": ablation(), "actions": actions}}
    lines = evaluation.markdown(report).splitlines()
    assert "| view | static | 0.300 | 0.200 | 0.100 |  |" in lines
    assert "| view | learned | 0.300 | 0.200 | 0.120 | +0.0200 [+0.0100, +0.0300] |" in lines
    assert "| view | 0.250 | 0.1250 [0.1000, 0.1500] | 0.500 [0.400, 0.600] |" in lines
    assert "| view | add_to_cart | 3.00 [2.50, 3.50] |" in lines
    assert "0.400 to 0.600" in evaluation.page(report)


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"held_out": {"n_sessions": 12}}, r"\$\.held_out"),
        ({"candidate": {"intent": {"overall": {"macro_F1": 0.5}, "early_decision": {}}}}, r"\$\.candidate\.intent\.overall"),
        ({"evaluated_at": 5}, r"\$\.evaluated_at"),
    ],
)
def test_a_field_that_is_missing_misspelt_or_of_another_type_is_named(wrong: dict[str, Any], path: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=path):
        evaluation.page({**REPORT, **wrong})


def test_a_full_report_says_what_the_state_adds() -> None:
    gain = {"mean": 0.0451, "low": 0.0293, "high": 0.0642, "verdict": "with"}
    state = {"category": {"n": 800, "changed": 0.59, "short_term": {"action": gain}}, "query": {"n": 12}}
    text = evaluation.page({**REPORT, "full": {**FULL, "state": state}})
    assert "The visitor&#39;s state" in text or "The visitor's state" in text
    assert "59%" in text
    assert "+0.0451 [+0.0293, +0.0642]" in text
