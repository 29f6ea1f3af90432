"""The promotion report: complete, self-contained, and safe whatever stands in it."""

import xml.dom.minidom

from flows.reports import promotion as promotion_page
from models.evaluation import gate

GAIN = {"mean": -0.1, "low": -0.2, "high": -0.05}


def report() -> dict[str, object]:
    rules = [gate.at_most("intent latency, ms", 0.1, 2.0), gate.Rule("intent log loss", "fail", 0.7, "champion 0.6 <b>")]
    row = {"candidate": 0.7, "champion": 0.6, "gain": GAIN, "n_rows": 900, "n_sessions": 400}
    evidence = {
        "champion": {"intent": 1},
        "held_out": {"n_sessions": 400, "n_rows": 900},
        "comparisons": [
            {"name": "intent log loss", "part": "overall", **row},
            {"name": "intent log loss, after 3 events", "part": "early decision", **row},
            {"name": "intent log loss, device mobile", "part": "slice", **row},
        ],
        "calibrations": [{"name": "intent calibration", "ece": 0.05, "low": 0.0, "high": 0.08, "n_sessions": 400}],
        "latency_ms": {"candidate": {"intent": 0.1}, "champion": {"intent": 0.2}},
        "size_mb": {"intent": 1.5},
        "early_decision": {"candidate": {"after_1": 0.3, "after_10": None}, "champion": {"after_1": 0.4}},
        "off_policy": {
            "verdict": "worse",
            "reason": "by decisions that the bandit dealt",
            "n_decisions": 5000,
            "n_visitors": 900,
            "candidate": dict.fromkeys(("ips", "snips", "dr"), GAIN),
            "difference": {"ips": GAIN, "snips": GAIN, "dr": {"mean": None, "low": None, "high": None}},
        },
        "shadow": {"recommendations": {"n_requests": 12, "label_agreement": 0.75}},
        "lineage": {
            "candidate": {"intent": {"seed": 0, "window": {"last_event_us": 1_790_000_000_000_000}}},
            "champion": {"intent": {"seed": 0, "window": {"last_event_us": 1_780_000_000_000_000}}},
        },
    }
    return {"versions": {"intent": 2}, **gate.judge(rules, first=False), "evidence": evidence}


def test_the_page_says_what_was_decided_and_shows_all_evidence() -> None:
    page = promotion_page.page(report())
    assert "fail, the champion stays: intent log loss is 0.7" in page
    for title in (
        "Rules",
        "Against the champion",
        "Early in a session",
        "Slices",
        "Calibration",
        "Cost",
        "Logged decisions",
        "Shadow",
        "Lineage",
    ):
        assert f"<h2>{title}" in page
    assert "2026-09-21T14:13:20+00:00" in page  # the window's end, as a person reads it
    assert "worse: by decisions that the bandit dealt (5,000 decisions, 900 visitors)" in page
    assert "seed" not in page  # does not differ
    assert "rules: 1 pass, 1 FAIL" in page
    assert page.index("<td>FAIL</td>") < page.index("<td>pass</td>")


def test_the_page_needs_nothing_else_and_escapes_what_it_shows() -> None:
    page = promotion_page.page(report())
    assert "<script" not in page
    assert "http" not in page
    assert "<b>" not in page
    for picture in page.split("<svg")[1:]:
        xml.dom.minidom.parseString("<svg" + picture.split("</svg>")[0] + "</svg>")


def test_a_first_verdict_without_evidence_has_a_page_too() -> None:
    page = promotion_page.page({"versions": {"intent": 1}, **gate.judge([], first=True)})
    assert "not_enough_data, promoted" in page
    assert "No live request" in page
