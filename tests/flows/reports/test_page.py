"""The frame of every page, and its tables."""

import re

from flows.reports import page


def test_the_sections_are_listed_where_there_are_several() -> None:
    parts = [page.section(f"Part {k}", "<p>x</p>") for k in range(3)]
    text = page.document("T", ["<h1>T</h1>", *parts])
    assert re.findall(r'<a href="#([^"]*)">', text) == ["part-0", "part-1", "part-2"]
    assert text.index("<nav>") < text.index("<section")
    assert "<nav>" not in page.document("T", parts[:1])


def test_a_page_fetches_nothing_and_fits_a_narrow_and_a_dark_screen() -> None:
    text = page.document("T<", ["<p>x</p>"])
    assert re.findall(r"(?:src=|url\(|@import|https?:)", text) == []
    assert "width=device-width" in text
    assert "prefers-color-scheme:dark" in text
    assert "<title>T&lt;</title>" in text


def test_numbers_are_set_flush_right_and_words_left() -> None:
    text = page.table(["what", "n", "gain"], [["a", 1234, "+0.1 [0.0, 0.2]"], ["<b>", None, None]])
    assert '<td>a</td><td class="n">1,234</td><td class="n">+0.1 [0.0, 0.2]</td>' in text
    assert "&lt;b&gt;" in text
    assert '<th>what</th><th class="n">n</th>' in text


def test_a_heat_table_tells_each_count_with_its_share_of_the_row() -> None:
    text = page.heat(["label", "a", "b"], [("a", [3, 1]), ("b", [0, 0])])
    assert "3 (75%)" in text
    assert "0 (0%)" in text
    assert "--p:0.75" in text


def test_an_interval_that_could_not_be_measured_is_none() -> None:
    assert page.interval({"mean": 0.1, "low": None, "high": None}) is None
    assert page.interval(None) is None


def test_the_verdict_is_escaped() -> None:
    assert "&lt;b&gt;" in page.verdict("<b>", ["<b>"])
    assert "<b>" not in page.verdict("<b>", ["<b>"])
