import re

from flows.reports import evaluation as evaluation_page
from flows.reports import weighting as weighting_page
from models.schema import HORIZONS_S

INTENT = {
    "overall": {"macro_f1": 0.5, "pr_auc": {}},
    "early_decision": {"after_1": {"macro_f1": 0.4}, "after_3": {"n_rows": 0}},
}
ACTION = {name: {"action": {"log_loss": 1.25}, "purchase": {"roc_auc": None}} for name in HORIZONS_S}
REPORT = {
    "evaluated_at": "2026-11-21T10:00:00+00:00",
    "held_out": {"n_sessions": 12, "n_rows": 99},
    "candidate": {"intent": INTENT, "next_action": ACTION},
    "baselines": {"intent": {"majority": INTENT, "rules": INTENT}, "next_action": ACTION},
}
DECIDES = {"mean": 0.02, "low": 0.01, "high": 0.03}


def arm(ndcg):
    gain = dict.fromkeys(("recall_20", "mrr_20", "ndcg_20"), DECIDES)
    return {"recall_20": 0.3, "mrr_20": 0.2, "ndcg_20": ndcg, "against_static": gain, "decides": DECIDES}


def test_quick_report_makes_a_page_without_the_slower_half():
    text = evaluation_page.page(REPORT)
    assert "12 held-out sessions" in text
    assert "1.250" in text
    assert "not measured here" in text
    assert "<h2>Which weighting" not in text


def test_page_names_the_verdict_and_every_arm_with_its_interval():
    kinds = {"view": {"n_prefixes": 7, "static": {"recall_20": 0.3, "mrr_20": 0.2, "ndcg_20": 0.1}, "learned": arm(0.12)}}
    kinds |= {name: {"n_prefixes": 0} for name in ("add_to_cart", "purchase")}
    found = {
        "n_prefixes": 7, "n_users": 3, "overall": kinds, "by_intent": {"research": kinds}, "by_length": {"1": kinds},
        "cold_items": kinds, "new_items": kinds, "lists": {"learned": {"coverage": 0.5, "mean_popularity": 1.0, "gini": 0.2}},
        "winner": {"view": "learned", "add_to_cart": "<b>"}, "verdict": "view: learned",
    }  # fmt: skip
    text = evaluation_page.page({**REPORT, "full": {"ablation": found}})
    assert "Which weighting: learned for the next view; &lt;b&gt; for the next add to cart." in text
    assert "<figcaption>Next view: learned</figcaption>" in text
    assert '<tr class="up sure"><th>learned</th>' in text
    assert "+0.0200 [+0.0100, +0.0300]" in text
    for part in ("research", "events seen: 1", "cold items"):
        row = re.search(f"<th>{part}</th>.*?</tr>", text)[0]
        assert row.endswith('<td>learned</td><td class="n">7</td><td class="n">0.120</td></tr>')


def test_next_item_has_a_row_for_what_serves_and_one_for_the_ranker():
    rows = {name: {"n_questions": 9, "hit_rate_20": 0.5, "mrr_20": 0.25} for name in ("dynamic", "ranker")}
    found = {"n_questions": 9, "overall": rows, "buying": {"dynamic": {"n_questions": 0}}, "ranker_minus_dynamic_mrr": DECIDES}
    text = evaluation_page.page({**REPORT, "candidate": {**REPORT["candidate"], "associations": found}})
    assert '<td>ranker</td><td class="n">9</td><td class="n">0.500</td><td class="n">0.250</td>' in text
    assert "ranker - intent weighting: +0.0200 [+0.0100, +0.0300]" in text


def test_page_fetches_nothing():
    assert re.findall(r"(?:src=|href=\"[^#]|url\(|@import|https?:)", evaluation_page.page(REPORT)) == []


def test_what_the_candidate_answered_to_live_requests_is_told() -> None:
    seen = {"recommendations": {"n_requests": 120, "n_failed": 0, "label_agreement": 0.93, "top_20_overlap": 0.81}}
    text = evaluation_page.page({**REPORT, "shadow": seen})
    assert "<h2>Shadow</h2>" in text
    assert "0.930" in text
    assert "<h2>Shadow</h2>" not in evaluation_page.page({**REPORT, "shadow": {}})


def test_a_champion_that_is_another_version_stands_beside_the_candidate():
    champion = {"versions": {"intent": 1}, "intent": {**INTENT, "overall": {"macro_f1": 0.625}}, "next_action": ACTION}
    candidate = {**REPORT["candidate"], "versions": {"intent": 2}}
    text = evaluation_page.page({**REPORT, "candidate": candidate, "champion": champion})
    assert '<td>champion</td><td class="n">0.625</td>' in text
    assert "champion" not in evaluation_page.page({**REPORT, "champion": REPORT["candidate"]})


def test_the_purchase_is_compared_with_the_regression_and_with_chance():
    gain = {**DECIDES, "verdict": "model"}
    full = {"next_action": {"short_term": {"roc_auc_over_logistic": gain}, "medium_term": {"n_rows": 0}}}
    bought = {**ACTION, "short_term": {**ACTION["short_term"], "purchase": {"roc_auc": 0.75, "base_rate": 0.031}}}
    text = evaluation_page.page({**REPORT, "candidate": {**REPORT["candidate"], "next_action": bought}, "full": full})
    assert (
        "Purchase within 5 minutes, gain over logistic regression: ROC-AUC +0.0200 [+0.0100, +0.0300] (model is better)" in text
    )
    assert "A purchase follows 3.1% of the prefixes" in text


def test_markdown_is_empty_where_no_weighting_was_measured():
    assert weighting_page.markdown(None) == ""
    assert weighting_page.markdown({"n_prefixes": 0}) == ""


def test_what_the_weights_would_have_earned_is_told_where_decisions_were_logged():
    told = {"verdict": "not enough data", "reason": "no weights change", "n_decisions": 0, "n_visitors": 0}
    assert "not enough data: no weights change (0 decisions" in evaluation_page.page({**REPORT, "full": {"off_policy": told}})
