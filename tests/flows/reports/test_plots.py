"""The pictures: values stand where they belong, names are escaped, nothing to draw is no error."""

import re
import xml.dom.minidom
from typing import Any

import numpy as np
import pytest

from flows.reports.page import TEMPLATES
from flows.reports.plots import BOTTOM, LEFT, RIGHT, TOP
from flows.reports.structs import Interval

PLOTS: Any = TEMPLATES.get_template("plots.html.j2").module
bars, lines, band = PLOTS.bars, PLOTS.lines, PLOTS.band


def bar(label: str, mean: float, low: float, high: float, *cells: object) -> tuple[object, ...]:
    return label, Interval(mean=mean, low=low, high=high), *cells


def percents(picture: str, tag: str) -> list[float]:
    return [float(x) for x in re.findall(rf'<{tag}[^>]* style="left:([\d.]+)%', picture)]


def test_a_bar_right_of_zero_is_drawn_right_of_the_zero_line() -> None:
    picture = bars("t", [bar("a", 0.5, 0.25, 1.0), bar("b", -0.5, -1.0, 0.25)])
    zero = float(re.search(r'class=zero style="left:([\d.]+)%', picture)[1])  # type: ignore[index]
    above, below = percents(picture, "b")
    assert below < zero < above
    begins, ends = percents(picture, "i")
    assert zero < begins < above
    assert ends < below


@pytest.mark.parametrize(
    ("filled", "classes"),
    [
        (True, ["up sure", "down sure", "open", "open"]),
        (False, ["up", "down", "open", "open"]),
        ("d", ["up", "down sure", "open", "open sure"]),
    ],
)
def test_a_bar_says_whether_zero_lies_outside_its_interval_and_which_one_wins(filled: bool | str, classes: list[str]) -> None:
    rows = [bar("a", 0.5, 0.25, 1.0), bar("b", -0.5, -1.0, -0.25), bar("c", 0.1, -1.0, 1.0), ("d", None)]
    assert re.findall(r'<tr class="([^"]*)"', bars("t", rows, filled=filled)) == classes


def test_further_cells_of_a_bar_have_a_heading_each() -> None:
    picture = bars("t", [bar("a", 0.5, 0.25, 1.0, 7, "x")], ["n", "note"])
    assert '<th class="n">n</th><th>note</th>' in picture
    assert '<td class="n">7</td><td>x</td>' in picture
    with pytest.raises(ValueError, match="zip"):
        bars("t", [bar("a", 0.5, 0.25, 1.0, 7)])


def test_perfect_calibration_lies_on_the_diagonal() -> None:
    picture = lines("t", {"m": [(p, p) for p in np.linspace(0, 1, 3)]}, "p", "", True)
    dots = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', picture)]
    assert dots == [(LEFT, BOTTOM), ((LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2), (RIGHT, TOP)]


def test_small_probabilities_use_the_whole_picture() -> None:
    picture = lines("t", {"m": [(0.01, 0.02), (0.04, 0.05)]}, "p", "", True)
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', picture)]
    assert min(heights) < (TOP + BOTTOM) / 2


def test_the_names_of_the_curves_stand_below_the_picture_and_not_in_it() -> None:
    picture = lines("t", {"first": [(1, 0.5)], "second": [(1, 0.6)]}, "x")
    drawn, below = picture.split("</svg>")
    assert "first" not in drawn
    assert "first</span>" in below
    assert "second</span>" in below


def test_every_picture_is_well_formed_and_its_names_are_escaped() -> None:
    for picture in (
        bars("<x>", []),
        lines("<x>", {}, "<y>"),
        lines("<x>", {"<z>": [(1, 0.5)], "b": []}, "<y>", "<v>"),
        band("<x>", [], "<y>"),
        band("<x>", [(1.0, -0.5, 0.1, 0.5), (2e6, 0.0, 0.1, 0.2)], "<y>", "<v>"),
    ):
        assert "&lt;x&gt;" in picture
        for svg in re.findall(r"<svg.*?</svg>", picture):
            xml.dom.minidom.parseString(svg)
