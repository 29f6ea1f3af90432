"""The promotion report: complete, self-contained, and safe whatever stands in it."""

import xml.dom.minidom
from typing import Any

from flows.reports import promotion as promotion_page
from models.evaluation import gate

GAIN = {"mean": -0.1, "low": -0.2, "high": -0.05}


def report() -> dict[str, Any]:
    rules = [gate.at_most("intent latency, ms", 0.1, 2.0), gate.Rule("intent log loss", "fail", 0.7, "champion 0.6 <b>")]
    row = {"candidate": 0.7, "champion": 0.6, "gain": GAIN, "n_rows": 900, "n_sessions": 400}
    evidence = {
        "judged_at": "2026-11-21T10:00:00+00:00",
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
        "drift": 0.75,
        "early_decision": {"candidate": {"after_1": 0.3, "after_10": None}, "champion": {"after_1": 0.4}},
        "off_policy": {
            "verdict": "worse",
            "reason": "by decisions that the bandit dealt",
            "n_decisions": 5000,
            "n_visitors": 900,
            "candidate": dict.fromkeys(("ips", "snips", "dr"), GAIN),
            "difference": {"ips": GAIN, "snips": GAIN, "dr": {"mean": None, "low": None, "high": None}},
        },
        "profiles": None,
        "shadow": {
            "recommendations": {
                "n_requests": 12,
                "n_failed": 0,
                "label_agreement": 0.75,
                "top_20_overlap": 0.5,
                "probability_distance": 0.1,
                "champion_ms": 1.0,
                "challenger_ms": 2.0,
            },
        },
        "lineage": {
            "candidate": {"intent": {"seed": 0, "window": {"last_event_us": 1_790_000_000_000_000}}},
            "champion": {"intent": {"seed": 0, "window": {"last_event_us": 1_780_000_000_000_000}}},
        },
    }
    return {"versions": {"intent": 2}, **gate.judge(rules, {"intent": gate.Standing(first=False)}), "evidence": evidence}


def test_the_page_says_what_was_decided_and_shows_all_evidence() -> None:
    page = promotion_page.page(report())
    assert "fail, nothing new serves; intent is left out, the champion stays: intent log loss is 0.7" in page
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
    assert "75 % of the session features moved between the earlier and the held-out sessions" in page
    assert page.index("<td>FAIL</td>") < page.index("<td>pass</td>")


def test_the_page_needs_nothing_else_and_escapes_what_it_shows() -> None:
    page = promotion_page.page(report())
    assert "<script" not in page
    assert "http" not in page
    assert "<b>" not in page
    for picture in page.split("<svg")[1:]:
        xml.dom.minidom.parseString("<svg" + picture.split("</svg>")[0] + "</svg>")


def test_a_first_verdict_with_hardly_any_evidence_has_a_page_too() -> None:
    seen = {"verdict": "not enough data", "reason": "there is no champion", "n_decisions": 0, "n_visitors": 0}
    lineage = {"candidate": {"intent": {"seed": 7}}, "champion": {}}
    nothing: dict[str, Any] = {"comparisons": [], "calibrations": [], "latency_ms": {}, "size_mb": {}, "early_decision": {}}
    evidence = {**report()["evidence"], **nothing, "champion": {}, "off_policy": seen, "shadow": {}, "lineage": lineage}
    told = gate.judge([], {"intent": gate.Standing(first=True)})
    page = promotion_page.page({"versions": {"intent": 1}, **told, "evidence": evidence})
    assert "not_enough_data, promoted" in page
    assert "champion: none yet" in page
    assert "rules: none" in page
    assert "No live request" in page
    assert "<summary>No champion yet</summary>" in page
    assert "<svg" not in page


def test_the_page_tells_what_a_person_said_and_what_stays_on_trial() -> None:
    told = {
        **report(),
        "verdict": "pass",
        "promote": True,
        "models": {"intent": {"promote": True, "verdict": "pass", "why": "", "instead": ""}},
        "approval": "approved by <i>",
        "held_back": {"weights": "no decisions"},
    }
    assert "pass, promoted, without weights (on trial), approved by &lt;i&gt;" in promotion_page.page(told)


def test_markdown_is_the_verdict_and_a_row_for_each_rule() -> None:
    assert promotion_page.markdown(report()).splitlines() == [
        "**fail, nothing new serves; intent is left out, the champion stays: intent log loss is 0.7 "
        "(wanted: champion 0.6 <b>)** (intent:2)",
        "",
        "| rule | verdict | observed | wanted |",
        "| --- | --- | --- | --- |",
        "| intent latency, ms | pass | 0.1 | <= 2 |",
        "| intent log loss | fail | 0.7 | champion 0.6 <b> |",
    ]
