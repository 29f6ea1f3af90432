"""Rendering of the console's pages by Jinja2."""

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.console.page import Block, Moment, Page, Span, Table
from services.console.plots import drawn
from services.console.sources import spoken

HERE: Final = Path(__file__).parent


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates, with what they need."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {"kind": kind, "number": number, "spoken": spoken, "drawn": drawn, "iso": iso, "utc": utc, "place": place}
    return made


def kind(value: Any) -> str:
    """Name of a value's type: what a template tells cells and blocks apart by."""
    return type(value).__name__


def number(value: float) -> str:
    """A number as people read it.

    Examples
    --------
    >>> number(12345), number(0.12346), number(-0.00001), number(3.0), number(1e-9)
    ('12,345', '0.1235', '-1e-05', '3', '1e-09')
    """
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def iso(moment: Moment) -> str:
    """An instant for machines, to the millisecond: two events of one second are two instants.

    Examples
    --------
    >>> iso(Moment(1_500))
    '1970-01-01T00:00:00.001Z'
    """
    return datetime.fromtimestamp(moment.at_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc(moment: Moment) -> str:
    """An instant for people, in UTC.

    Examples
    --------
    >>> utc(Moment(0))
    '1970-01-01 00:00:00'
    """
    return datetime.fromtimestamp(moment.at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")


def place(span: Span, table: Table, column: int) -> dict[str, float]:
    """Places of an interval in per cent of its cell, on the scale of its column."""
    spans = [row[column] for row in table.rows if isinstance(row[column], Span)]
    ends = [
        end for one in spans if isinstance(one, Span) for end in (one.low, one.high, *([] if one.mark is None else [one.mark]))
    ]
    low, high = min(ends), max(ends)

    def at(value: float) -> float:
        return round(3 + 94 * (value - low) / ((high - low) or 1.0), 1)

    told = {"low": at(span.low), "value": at(span.value), "wide": round(at(span.high) - at(span.low), 1)}
    return told if span.mark is None else told | {"mark": at(span.mark)}


def block_html(block: Block, role: str, allowed: frozenset[str], form_token: str, path: str) -> str:
    """One block of a page.

    Parameters
    ----------
    allowed
        Actions that this role may take here.
    """
    module: Any = environment().get_template("blocks.html.j2").module
    return str(module.block(block, role, allowed, form_token, path))


def lead_html(page: Page) -> str:
    """The sentence of a page."""
    module: Any = environment().get_template("blocks.html.j2").module
    return str(module.lead(page))


def page_html(name: str, **more: Any) -> str:
    """A whole page."""
    return environment().get_template(name).render(**more)


def safe(html: str) -> Markup:
    """HTML that a template of ours made."""
    return Markup(html)
