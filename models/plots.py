"""Small pictures as SVG text: pure functions, no library, nothing fetched from anywhere."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

import numpy as np

COLOURS: Final = ("#3468a4", "#c7641c", "#3a8a55", "#8a4fa0", "#6b7785", "#b23a48")
_WIDTH: Final = 640
_LEFT: Final = 150


class Bar(NamedTuple):
    """A value and its interval; `strong` where it decides something."""

    label: str
    value: float
    low: float
    high: float
    strong: bool = False


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Horizontal dots with intervals around a line at zero.

    Examples
    --------
    >>> picture = bars("gain", [Bar("learned", 0.02, 0.01, 0.03, True)])
    >>> picture.startswith("<svg"), picture.count("<circle")
    (True, 1)
    """
    low, high = min([0.0, *(r.low for r in rows)]), max([0.0, *(r.high for r in rows)])
    span = (high - low) or 1.0
    low, high = low - 0.05 * span, high + 0.05 * span
    left = max([_LEFT, *(16 + 6.2 * len(row.label) for row in rows)])  # about what a letter takes

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (_WIDTH - left - 90)

    height = 40 + 26 * len(rows)
    parts = [_text(4, 16, title, weight=600), _line(x(0.0), 26, x(0.0), height - 8, "#9aa5b1")]
    for k, row in enumerate(rows):
        y, colour = 42 + 26 * k, COLOURS[0] if row.strong else COLOURS[4]
        parts += [
            _text(left - 8, y + 4, row.label, anchor="end"),
            _line(x(row.low), y, x(row.high), y, colour, 2),
            f'<circle cx="{x(row.value):.1f}" cy="{y}" r="4" fill="{colour}"/>',
            _text(_WIDTH - 84, y + 4, f"{row.value:+.4f}"),
        ]
    return _svg(title, height, parts)


def lines(title: str, series: Mapping[str, Sequence[tuple[float, float]]], x_label: str, diagonal: bool = False) -> str:
    """Curves over a common x axis, y from 0 to 1; points without a value are left out by the caller.

    Parameters
    ----------
    diagonal
        Draw y = x and let the x axis go from 0 to 1, as a calibration plot needs.
    """
    xs = [point[0] for points in series.values() for point in points] or [0.0]
    low, high = (0.0, 1.0) if diagonal else (min(xs), max(xs))
    span = (high - low) or 1.0

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return 60 + (point[0] - low) / span * 400, 240 - float(np.clip(point[1], 0, 1)) * 200

    parts = [_text(4, 16, title, weight=600), _text(260, 278, x_label, anchor="middle")]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = at((low, tick))[1]
        parts += [_line(60, y, 460, y, "#e3e8ee"), _text(52, y + 4, f"{tick:g}", anchor="end")]
    for value in sorted(set(xs)) if not diagonal else (0.0, 0.5, 1.0):
        parts.append(_text(at((value, 0))[0], 258, f"{value:g}", anchor="middle"))
    if diagonal:
        (x1, y1), (x2, y2) = at((0, 0)), at((1, 1))
        parts.append(_line(x1, y1, x2, y2, "#9aa5b1"))
    for k, (name, points) in enumerate(series.items()):
        colour = COLOURS[k % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in map(at, points)]
        parts += [_line(476, 50 + 20 * k, 492, 50 + 20 * k, colour, 3), _text(498, 54 + 20 * k, name)]
    return _svg(title, 288, parts)


def band(title: str, points: Sequence[tuple[float, float, float, float]], x_label: str) -> str:
    """A curve inside a band around a line at zero; a point is x, low, value, high.

    Examples
    --------
    >>> picture = band("difference", [(1, -0.2, 0.1, 0.4), (2, 0.0, 0.1, 0.2)], "visitors")
    >>> picture.count("<polygon"), picture.count("<polyline")
    (1, 1)
    """
    xs, lows, _, highs = zip(*points, strict=True) if points else ((0.0,), (0.0,), (0.0,), (0.0,))
    left, right = min(xs), max(xs)
    low, high = min(0.0, *lows), max(0.0, *highs)
    span_x, span_y = (right - left) or 1.0, (high - low) or 1.0

    def at(x: float, y: float) -> str:
        return f"{80 + (x - left) / span_x * 480:.1f},{240 - (y - low) / span_y * 200:.1f}"

    parts = [_text(4, 16, title, weight=600), _text(320, 278, x_label, anchor="middle")]
    for value in sorted({low, 0.0, high}):
        y = 240 - (value - low) / span_y * 200
        parts += [_line(80, y, 560, y, "#9aa5b1" if value == 0 else "#e3e8ee"), _text(72, y + 4, f"{value:+.3g}", anchor="end")]
    parts += [_text(80 + (x - left) / span_x * 480, 258, f"{x:,.6g}", anchor="middle") for x in sorted({left, right})]
    edge = " ".join([*(at(x, y) for x, y, _, _ in points), *(at(x, y) for x, _, _, y in reversed(points))])
    middle = " ".join(at(x, y) for x, _, y, _ in points)
    parts.append(f'<polygon points="{edge}" fill="{COLOURS[0]}" fill-opacity="0.18"/>')
    parts.append(f'<polyline points="{middle}" fill="none" stroke="{COLOURS[0]}" stroke-width="2"/>')
    return _svg(title, 288, parts)


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    body = "".join(parts)
    return f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{escape(title)}">{body}</svg>'


def _text(x: float, y: float, text: str, anchor: str = "start", weight: int = 400) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'
