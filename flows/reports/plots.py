"""Small pictures: pure functions, no library, nothing fetched from anywhere; colours come from the page's style."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

from flows.reports.page import cell, numeric

N_COLOURS: Final = 6
WIDTH: Final = 480
LEFT, RIGHT, TOP, BOTTOM = 72, 448, 12, 226  # edges of the plotting area
Point = tuple[float, float]


class Bar(NamedTuple):
    """A value and its interval; `strong` where it decides something, `cells` what else stands in its row.

    Where both bounds are the value, as for what the others are compared with, no interval is told.
    """

    label: str
    value: float
    low: float
    high: float
    strong: bool = False
    cells: tuple[object, ...] = ()


def bars(title: str, rows: Sequence[Bar], head: Sequence[str] = (), unit: str = "difference", about: str = "") -> str:
    """Dots with intervals around a line at zero, one in each row of a table.

    Parameters
    ----------
    head
        Of the further cells of the rows.
    about
        Heading of the first column.

    Examples
    --------
    >>> picture = bars("gain", [Bar("learned", 0.02, 0.01, 0.03, True)])
    >>> picture.startswith("<figure>"), picture.count('<tr class="up sure">')
    (True, 1)
    """
    marks = ticks(min([0.0, *(r.low for r in rows)]), max([0.0, *(r.high for r in rows)]), 3)
    places = dict(zip(marks, _across(marks, marks), strict=True))
    grid = "".join(f'<s{"" if mark else " class=zero"} style="left:{place:.1f}%"></s>' for mark, place in places.items())
    scale = "".join(f'<u style="left:{place:.1f}%">{_signed(mark)}</u>' for mark, place in places.items())
    kinds = [' class="n"' if numeric([cell(row.cells[k]) for row in rows]) else "" for k in range(len(head))]
    top = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, head, strict=True))
    body = "".join(_bar(row, kinds, grid, marks) for row in rows)
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><div class="wide"><table><thead><tr><th>{escape(about)}</th>'
        f'<th class="track">{scale}</th><th class="n">{escape(unit)}</th><th class="n">interval</th>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></figure>"
    )


def _bar(row: Bar, kinds: Sequence[str], grid: str, marks: Sequence[float]) -> str:
    low, middle, high = _across((row.low, row.value, row.high), marks)
    way = "up" if row.low > 0 else "down" if row.high < 0 else "open"
    cells = "".join(f"<td{kind}>{cell(value)}</td>" for kind, value in zip(kinds, row.cells, strict=True))
    known = f"{row.low:+.4f} to {row.high:+.4f}" if row.low < row.high else ""
    drawn = f'{grid}<i style="left:{low:.2f}%;width:{high - low:.2f}%"></i><b style="left:{middle:.2f}%"></b>'
    return (
        f'<tr class="{way}{" sure" if row.strong else ""}"><th>{escape(row.label)}</th>'
        f'<td class="track" aria-hidden="true">{drawn}</td>'
        f'<td class="n">{row.value:+.4f}</td><td class="n">{known}</td>{cells}</tr>'
    )


def _across(values: Sequence[float], marks: Sequence[float]) -> list[float]:
    """Places between the first and the last mark, in per cent of the cell's width."""
    return [6 + 88 * (value - marks[0]) / ((marks[-1] - marks[0]) or 1.0) for value in values]


def _signed(mark: float) -> str:
    return f"{mark:+g}" if mark else "0"


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


def lines(
    title: str,
    series: Mapping[str, Sequence[Point]],
    x_label: str,
    diagonal: bool = False,
    y_label: str = "",
) -> str:
    """Curves over a common x axis, both from zero; points without a value are left out by the caller.

    Parameters
    ----------
    diagonal
        Draw y = x and give both axes one scale, as a calibration plot needs.
    """
    points = [point for each in series.values() for point in each]
    ys = ticks(0.0, max([y for _, y in points], default=1.0))
    if diagonal:
        ys = xs = ticks(0.0, max([max(point) for point in points], default=1.0))
    else:
        xs = sorted({x for x, _ in points}) or [0.0, 1.0]
    frame = _Frame(min(0.0, xs[0]) if diagonal else xs[0], xs[-1], ys[0], ys[-1])
    parts = _axes(frame, xs, ys, x_label, y_label, "{:g}")
    if diagonal:
        (x1, y1), (x2, y2) = frame.at(0.0, 0.0), frame.at(xs[-1], xs[-1])
        parts.append(_line(x1, y1, x2, y2, "axis"))
    for k, each in enumerate(series.values()):
        colour, places = f"c{k % N_COLOURS}", [frame.at(*point) for point in each]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" class="{colour} curve"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="{colour} dot"/>' for x, y in places]
    return _figure(title, parts, list(series) if len(series) > 1 else [])


def band(title: str, points: Sequence[tuple[float, float, float, float]], x_label: str, y_label: str = "") -> str:
    """A curve inside a band around a line at zero; a point is x, low, value, high.

    Examples
    --------
    >>> picture = band("difference", [(1, -0.2, 0.1, 0.4), (2, 0.0, 0.1, 0.2)], "visitors")
    >>> picture.count("<polygon"), picture.count("<polyline")
    (1, 1)
    """
    xs = ticks(0.0, max([x for x, *_ in points], default=1.0))
    ys = ticks(min([0.0, *(low for _, low, _, _ in points)]), max([0.0, *(high for *_, high in points)]))
    frame = _Frame(0.0, xs[-1], ys[0], ys[-1])

    def path(places: Sequence[Point]) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in (frame.at(*place) for place in places))

    edge = path([*((x, y) for x, y, _, _ in points), *((x, y) for x, _, _, y in reversed(points))])
    parts = _axes(frame, xs, ys, x_label, y_label, "{:+g}")
    parts.append(f'<polygon points="{edge}" class="c0 area"/>')
    parts.append(f'<polyline points="{path([(x, y) for x, _, y, _ in points])}" class="c0 curve"/>')
    return _figure(title, parts, [])


class _Frame(NamedTuple):
    """The range of both axes."""

    left: float
    right: float
    low: float
    high: float

    def at(self, x: float, y: float) -> Point:
        across, up = self.right - self.left or 1.0, self.high - self.low or 1.0
        return LEFT + (x - self.left) / across * (RIGHT - LEFT), BOTTOM - (y - self.low) / up * (BOTTOM - TOP)


def _axes(frame: _Frame, xs: Sequence[float], ys: Sequence[float], x_label: str, y_label: str, form: str) -> list[str]:
    """Grid, numbers and names of both axes."""
    parts = []
    for mark in ys:
        y = frame.at(frame.left, mark)[1]
        parts += [
            _line(LEFT, y, RIGHT, y, "grid" if mark else "axis"),
            _text(LEFT - 8, y + 4, form.format(mark) if mark else "0", "end"),
        ]
    parts += [
        _text(frame.at(mark, 0.0)[0], BOTTOM + 18, f"{mark:,g}" if mark < 1e5 else f"{mark / 1e3:,g}k", "middle") for mark in xs
    ]
    parts.append(_text((LEFT + RIGHT) / 2, BOTTOM + 38, x_label, "middle"))
    middle = (TOP + BOTTOM) / 2
    turned = f'<text transform="translate(13 {middle:g}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
    return [*parts, turned] if y_label else parts


def _figure(title: str, parts: Sequence[str], names: Sequence[str]) -> str:
    """The picture with its title above and the key to its curves below, where neither can hide anything."""
    key = "".join(f'<span><i class="c{k % N_COLOURS}"></i>{escape(name)}</span>' for k, name in enumerate(names))
    drawn = f'<svg viewBox="0 0 {WIDTH} {BOTTOM + 46}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    below = f'<p class="key">{key}</p>' if key else ""
    return f"<figure><figcaption>{escape(title)}</figcaption>{drawn}{below}</figure>"


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'
