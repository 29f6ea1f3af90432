"""Geometry of the console's plots: what a template needs to draw lines over a common x as SVG."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from services.console.page import Plot

LEFT, RIGHT, TOP, BOTTOM = 52.0, 628.0, 12.0, 196.0  # edges of the plotting area, of 640 by 230
MOST_MARKS: Final = 8


class Line(NamedTuple):
    """Line of a plot: its stretches without gaps, and the points, which are drawn where they are few."""

    name: str
    stretches: list[str]
    points: list[tuple[float, float]]


class Drawn(NamedTuple):
    """Drawn plot: lines, and (pixel, number) of the marks on both axes."""

    lines: list[Line]
    xs: list[tuple[float, str]]
    ys: list[tuple[float, str]]
    limit: float | None


def ticks(low: float, high: float, n: int = 4) -> list[float]:
    """About n + 1 round numbers that enclose a range.

    Examples
    --------
    >>> ticks(0.0, 1.0), ticks(0.0, 0.0)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0, 1.0])
    """
    span = high - low
    if span <= 0:
        return [low, low + 1.0]
    power = 10.0 ** math.floor(math.log10(span / n))
    step = min((s * power for s in (1, 2, 5, 10)), key=lambda s: abs(span / s - n))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def drawn(plot: Plot) -> Drawn:
    """Lines of a plot in pixels."""
    values = [value for one in plot.series for value in one.values if value is not None]
    lows, highs = [0.0, *values], [*values, *([plot.limit] if plot.limit is not None else [])]
    ys = ticks(min(lows), max(highs, default=1.0))
    first, last = (plot.x[0], plot.x[-1]) if plot.x else (0.0, 1.0)

    def x_of(value: float) -> float:
        return round(LEFT + (value - first) / ((last - first) or 1.0) * (RIGHT - LEFT), 1)

    def y_of(value: float) -> float:
        return round(BOTTOM - (value - ys[0]) / ((ys[-1] - ys[0]) or 1.0) * (BOTTOM - TOP), 1)

    lines = []
    for one in plot.series:
        points = [(x_of(x), y_of(value)) if value is not None else None for x, value in zip(plot.x, one.values, strict=True)]
        lines.append(Line(one.name, _stretches(points), [point for point in points if point is not None]))
    every = max(1, -(-len(plot.x) // MOST_MARKS))
    xs = [(x_of(x), f"{x:g}") for x in plot.x[::every]]
    return Drawn(lines, xs, [(y_of(y), f"{y:,g}") for y in ys], None if plot.limit is None else y_of(plot.limit))


def _stretches(points: Sequence[tuple[float, float] | None]) -> list[str]:
    """Stretches between the gaps: no data is not zero."""
    found: list[list[str]] = [[]]
    for point in points:
        if point is None:
            found.append([])
        else:
            found[-1].append(f"{point[0]},{point[1]}")
    return [" ".join(one) for one in found if one]
