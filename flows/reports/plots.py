"""Geometry of small pictures: where values stand; `plots.html.j2` draws them, and the page's style has their colours."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from flows.reports.structs import Interval

LEFT, RIGHT, TOP, BOTTOM = 72, 448, 12, 226  # edges of the plotting area
Point = tuple[float, float]
Quad = tuple[float, float, float, float]  # x, low, value, high: a point of a band


def bounds(gain: Interval | None) -> tuple[float, float, float]:
    """Low, value and high; what the others are compared with has none and stands at zero."""
    return (gain and gain.bounds) or (0.0, 0.0, 0.0)


def axis(gains: Iterable[Interval | None]) -> list[float]:
    """Marks of the scale that gains share."""
    drawn = [bounds(gain) for gain in gains]
    return ticks(min([0.0, *(low for low, _, _ in drawn)]), max([0.0, *(high for _, _, high in drawn)]), 3)


def across(value: float, marks: Sequence[float]) -> float:
    """Place between the first and the last mark, in per cent of the cell's width."""
    return 6 + 88 * (value - marks[0]) / ((marks[-1] - marks[0]) or 1.0)


def ticks(low: float, high: float, n: int = 4) -> list[float]:
    """About n + 1 round numbers that enclose a range.

    Examples
    --------
    >>> ticks(0.0, 1.0), ticks(-0.011, 0.024), ticks(0.0, 0.0)
    ([0.0, 0.25, 0.5, 0.75, 1.0], [-0.02, -0.01, 0.0, 0.01, 0.02, 0.03], [0.0, 1.0])
    """
    span = high - low
    if span <= 0:
        return [low, low + 1.0]
    power = 10.0 ** math.floor(math.log10(span / n))
    step = min((s * power for s in (1, 2, 2.5, 5, 10)), key=lambda s: abs(span / s - n))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def tick(mark: float, signed: bool = False) -> str:
    """The number at a mark.

    Examples
    --------
    >>> tick(0.25), tick(0.25, True), tick(0.0, True), tick(2000.0), tick(250_000.0)
    ('0.25', '+0.25', '0', '2,000', '250k')
    """
    if signed and mark:
        return f"{mark:+g}"
    return f"{mark:,g}" if abs(mark) < 1e5 else f"{mark / 1e3:,g}k"


class Frame(NamedTuple):
    """Marks of both axes, which span the plotting area."""

    xs: Sequence[float]
    ys: Sequence[float]

    def x(self, value: float) -> float:
        """Pixels from the left."""
        return LEFT + (value - self.xs[0]) / ((self.xs[-1] - self.xs[0]) or 1.0) * (RIGHT - LEFT)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return BOTTOM - (value - self.ys[0]) / ((self.ys[-1] - self.ys[0]) or 1.0) * (BOTTOM - TOP)

    def path(self, points: Iterable[Point]) -> str:
        """A line through points, as SVG writes it."""
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)

    def outline(self, band: Sequence[Quad]) -> str:
        """The edge of a band."""
        return self.path([*((x, low) for x, low, _, _ in band), *((x, high) for x, _, _, high in reversed(band))])

    def middle(self, band: Sequence[Quad]) -> str:
        """The curve inside it."""
        return self.path((x, value) for x, _, value, _ in band)


def curves(sides: Mapping[str, Mapping[str, float | None]]) -> dict[str, list[Point]]:
    """Points of measures by a number, such as ``{"after_3": 0.5}``; what could not be measured is left out.

    Examples
    --------
    >>> curves({"model": {"after_1": 0.25, "after_3": None, "10": 0.5}, "rules": {"after_1": None}})
    {'model': [(1.0, 0.25), (10.0, 0.5)]}
    """
    known = {name: [(n, y) for n, y in one.items() if y is not None] for name, one in sides.items()}
    return {name: [(float(n.removeprefix("after_")), y) for n, y in one] for name, one in known.items() if one}


def frame(curves: Iterable[Sequence[Point]], diagonal: bool = False) -> Frame:
    """Of curves over a common x axis, y from zero; `diagonal` gives both axes one scale, as a calibration plot needs."""
    points = [point for curve in curves for point in curve]
    if diagonal:
        both = ticks(0.0, max([max(point) for point in points], default=1.0))
        return Frame(both, both)
    return Frame(sorted({x for x, _ in points}) or [0.0, 1.0], ticks(0.0, max([y for _, y in points], default=1.0)))


def band_frame(band: Sequence[Quad]) -> Frame:
    """Of a band around a line at zero."""
    lowest, highest = min([0.0, *(low for _, low, _, _ in band)]), max([0.0, *(high for *_, high in band)])
    return Frame(ticks(0.0, max([x for x, *_ in band], default=1.0)), ticks(lowest, highest))
