"""A page that needs nothing else: the frame, tables, and how numbers are written."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2733}
table{border-collapse:collapse;margin:.6rem 0 1.4rem}
th,td{padding:.25rem .7rem;border-bottom:1px solid #dde3ea;text-align:right}
th:first-child,td:first-child{text-align:left}svg{max-width:40rem;width:100%;font-size:12px;display:block;margin:.6rem 0}
h2{margin-top:2.2rem}.verdict{background:#eef3f8;padding:.6rem 1rem;border-radius:6px}small{color:#5b6b7c}
"""
Row = Sequence[object]


def document(title: str, parts: Sequence[str]) -> str:
    """A whole HTML page of ready parts; empty ones are left out."""
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def table(head: Row, rows: Iterable[Row]) -> str:
    """An HTML table; numbers with four digits, None as nothing, everything escaped.

    Examples
    --------
    >>> table(["a"], [[0.5], [None]])
    '<table><tr><th>a</th></tr><tr><td>0.5000</td></tr><tr><td></td></tr></table>'
    """
    lines_ = ["".join(f"<th>{cell(value)}</th>" for value in head)]
    lines_ += ["".join(f"<td>{cell(value)}</td>" for value in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines_) + "</table>"


def cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else escape(str(value))


def interval(one: Mapping[str, float] | None) -> str | None:
    return f"{one['mean']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}]" if one else None
