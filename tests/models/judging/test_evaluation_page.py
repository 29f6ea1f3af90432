import re

import numpy as np

from models import plots
from models.judging import evaluation_page
from models.plots import Bar
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
    assert "1.2500" in text
    assert "Which weighting" not in text


def test_page_names_the_verdict_and_every_arm_with_its_interval():
    kinds = {"view": {"n_prefixes": 7, "static": {"recall_20": 0.3, "mrr_20": 0.2, "ndcg_20": 0.1}, "learned": arm(0.12)}}
    kinds |= {name: {"n_prefixes": 0} for name in ("add_to_cart", "purchase")}
    found = {
        "n_prefixes": 7, "n_users": 3, "overall": kinds, "by_intent": {"research": kinds}, "by_length": {"1": kinds},
        "cold_items": kinds, "new_items": kinds, "lists": {"learned": {"coverage": 0.5, "mean_popularity": 1.0, "gini": 0.2}},
        "winner": {"view": "learned"}, "verdict": "view: learned <b>",
    }  # fmt: skip
    text = evaluation_page.page({**REPORT, "full": {"ablation": found}})
    assert "view: learned &lt;b&gt;" in text
    assert "+0.0200 [+0.0100, +0.0300]" in text
    assert text.count("<svg") == 2  # one kind of target with prefixes, the early decisions


def test_next_item_has_a_row_for_what_serves_and_one_for_the_ranker():
    rows = {name: {"n_questions": 9, "hit_rate_20": 0.5, "mrr_20": 0.25} for name in ("dynamic", "ranker")}
    found = {"n_questions": 9, "overall": rows, "buying": {"dynamic": {"n_questions": 0}}, "ranker_minus_dynamic_mrr": DECIDES}
    text = evaluation_page.page({**REPORT, "candidate": {**REPORT["candidate"], "associations": found}})
    assert "<td>ranker</td><td>9</td><td>0.5000</td><td>0.2500</td>" in text
    assert "ranker - dynamic: +0.0200 [+0.0100, +0.0300]" in text


def test_page_fetches_nothing():
    assert re.findall(r"(?:src|href|url\(|@import|https?:)", evaluation_page.page(REPORT)) == []


def test_bar_right_of_zero_is_drawn_right_of_the_zero_line():
    picture = plots.bars("t", [Bar("a", 0.5, 0.25, 1.0)])
    zero = float(re.search(r'<line x1="([\d.]+)"', picture)[1])
    assert float(re.search(r'cx="([\d.]+)"', picture)[1]) > zero


def test_perfect_calibration_lies_on_the_diagonal():
    picture = plots.lines("t", {"m": [(p, p) for p in np.linspace(0, 1, 3)]}, "p", diagonal=True)
    dots = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', picture)]
    assert dots == [(60.0, 240.0), (260.0, 140.0), (460.0, 40.0)]


def test_names_in_a_picture_are_escaped_and_nothing_to_draw_is_no_error():
    assert "&lt;x&gt;" in plots.bars("<x>", [])
    assert plots.lines("t", {}, "x").startswith("<svg")
