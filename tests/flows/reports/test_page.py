"""The frame of every page, its tables, and how it treats what it is given."""

import re
from typing import Any

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from flows.reports import drift
from flows.reports.page import TEMPLATES
from flows.reports.structs import Interval

PARTS: Any = TEMPLATES.get_template("parts.html.j2").module
DRIFT: dict[str, Any] = {
    "measured_at": "2026-11-21T10:00:00+00:00", "verdict": "drift", "sentence": "intent mix", "features": {"<i>": 0.5},
    "rules": [{"name": "<b>", "verdict": "fail", "observed": 0.41234, "limit": None, "about": "x"}],
    "intent_mix": {"reference": {"a": 1, "b": 3}, "current": {"a": 3, "b": 1}},
}  # fmt: skip


def table(head: list[str], rows: list[list[object]]) -> str:
    return str(PARTS.table(head, rows))


def test_the_sections_are_listed_where_there_are_several() -> None:
    text = drift.page(DRIFT)
    assert re.findall(r'<a href="#([^"]*)">', text) == ["rules", "features", "intents"]
    assert text.index("<nav ") < text.index("<section")
    assert "<nav" not in drift.page({**DRIFT, "features": {}, "intent_mix": None})


def test_a_page_is_one_frame_fetches_nothing_and_fits_a_narrow_and_a_dark_screen() -> None:
    text = drift.page(DRIFT)
    assert text.startswith("<!doctype html>")
    assert [text.count(f"<{tag}") for tag in ("html", "head>", "style", "body", "h1")] == [1] * 5
    assert re.findall(r"(?:src=|url\(|@import|https?:)", text) == []
    assert "width=device-width" in text
    assert "prefers-color-scheme:dark" in text
    assert "<title>Drift</title>" in text


def test_what_scrolls_can_be_reached_by_the_keyboard_and_has_a_name() -> None:
    text = drift.page(DRIFT)
    assert [text.count(tag) for tag in ("<main>", "</main>", 'aria-label="Sections"')] == [1, 1, 1]
    assert (
        text.count('class="wide"') == len(re.findall(r'class="wide" tabindex="0" role="region" aria-label="[^"]+"', text)) == 3
    )


def test_where_there_is_not_enough_it_tells_how_much_is_needed() -> None:
    few = {**DRIFT, "features": {}, "intent_mix": None, "rules": [], "windows": {"reference": 300, "current": 7, "needed": 200}}
    assert "since then: 7 of 200 sessions" in drift.page(few)
    assert '<progress max="200" value="7">' in drift.page(few)
    assert "<progress" not in drift.page(DRIFT)


def test_whatever_stands_in_a_report_is_escaped() -> None:
    text = drift.page({**DRIFT, "verdict": "<script>", "sentence": '"><b>'})
    assert re.findall(r"<script|<b>|<i>", text) == []
    assert "&lt;script&gt;: &#34;&gt;&lt;b&gt;" in text
    assert "&lt;i&gt;" in text


def test_drift_tells_its_rules_and_the_change_of_the_mix() -> None:
    assert '<td class="n">0.4123</td>' in drift.page(DRIFT)
    assert '<td>a</td><td class="n">25.0%</td><td class="n">75.0%</td><td class="n">+50.0%</td>' in drift.page(DRIFT)
    assert drift.text(DRIFT).splitlines() == [
        "**drift**: intent mix", "", "| rule | verdict | observed | limit | |", "| --- | --- | --- | --- | --- |",
        "| <b> | fail | 0.4123 |  | x |",
    ]  # fmt: skip


def test_numbers_are_set_flush_right_and_words_left() -> None:
    text = table(["what", "n", "gain"], [["a", 1234, Interval(mean=0.1, low=0.0, high=0.2)], ["<b>", None, Interval()]])
    assert '<td>a</td><td class="n">1,234</td><td class="n">+0.1000 [+0.0000, +0.2000]</td>' in text
    assert '<td>&lt;b&gt;</td><td class="n"></td><td class="n"></td>' in text
    assert '<th>what</th><th class="n">n</th>' in text
    assert table(["a"], []) == ""


def test_a_heat_table_tells_each_count_with_its_share_of_the_row() -> None:
    text = PARTS.heat("label", ["a", "b"], [[3, 1], [0, 0]])
    assert "3 (75%)" in text
    assert "0 (0%)" in text
    assert "--p:0.75" in text


def test_the_verdict_is_escaped() -> None:
    text = PARTS.verdict("<b>", ["<b>"])
    assert text.count("&lt;b&gt;") == 2
    assert "<b>" not in text


def test_an_empty_section_leaves_nothing() -> None:
    section = PARTS.section
    assert section("Cost", caller=lambda: Markup(" ")).strip() == ""
    assert section("Cost, ms", caller=lambda: Markup("<p>1</p>")).startswith('<section id="cost-ms"><h2>Cost, ms</h2>')


def test_a_name_that_a_report_does_not_have_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        PARTS.off_policy(object())
