"""Templates of the reports, and how their numbers are written.

A page needs nothing else than itself, follows the reader's choice of light or dark, and on a narrow screen a wide table scrolls
by itself (`base.html.j2`). Everything that a page shows is escaped; a name that its report does not have is an error.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from flows.reports import plots
from flows.reports.structs import signed
from infra.looks import TOKENS

Row = Sequence[object]
_NUMBER: Final = re.compile(r"[+-]?[\d.,]+( ?%)?( (to|\(|\[).*)?")
_SECTION: Final = re.compile(r'<section id="([^"]*)"><h2>([^<]*)</h2>')


def render(template: str, **given: object) -> str:
    """A report by its template, such as ``drift.html.j2``."""
    return TEMPLATES.get_template(template).render(given).strip() + ("\n" if template.endswith(".html.j2") else "")


def cell(value: object) -> str:
    """A value as text: numbers with three digits behind the point and thousands set apart, None as nothing.

    Examples
    --------
    >>> cell(0.12345), cell(1234), cell(1234.5), cell(0.0002), cell(None), cell("a")
    ('0.123', '1,234', '1,234', '0.0002', '', 'a')
    """
    if value is None or isinstance(value, str):
        return value or ""  # also what is markup already
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1g}" if 0 < abs(value) < 0.0005 else f"{value:.3f}"


def columns(head: Sequence[str], rows: Sequence[Row], skip: int = 0) -> list[tuple[str, bool]]:
    """Heading of each column but the first few, and whether it holds numbers only, or nothing.

    Raises
    ------
    ValueError
        If a row has another length than the heading.

    Examples
    --------
    >>> columns(["a", "b", "c"], [["0.5", 0.5, ""], ["pass", "+0.1 [0.0, 0.2]", None], ["", "1 to 2", ""]])
    [('a', False), ('b', True), ('c', False)]
    """
    parts = [[cell(value) for value in column] for column in zip(*(row[skip:] for row in rows), strict=True)]
    kinds = (any(part) and all(_NUMBER.fullmatch(one) for one in part if one) for part in parts)
    return list(zip(head, kinds, strict=bool(rows)))


def at(value: Any, path: str) -> Any:
    """Value at a path of attributes and keys; None where a key is missing or the way ends early.

    Examples
    --------
    >>> at({"after_3": {"real": 0.5}}, "after_3.real"), at({}, "after_3.real"), at(3.0, "real")
    (0.5, None, 3.0)
    """
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None if value is None else getattr(value, name)
    return value


def rows(things: Any, *paths: str) -> list[Row]:
    """Rows of a table, one for each thing; where things have names, these come first.

    Examples
    --------
    >>> rows({"a": 1 + 2j}, "real", "imag"), rows([1 + 2j], "imag")
    ([['a', 1.0, 2.0]], [[2.0]])
    """
    if isinstance(things, Mapping):
        return [[name, *(at(one, path) for path in paths)] for name, one in things.items()]
    return [[at(one, path) for path in paths] for one in things]


def having(things: Mapping[str, Any], part: str) -> dict[str, Any]:
    """That part of each thing which has it.

    Examples
    --------
    >>> having({"a": 1 + 2j, "b": 1 + 0j}, "imag")
    {'a': 2.0}
    """
    return {name: found for name, one in things.items() if (found := at(one, part))}


def sections(body: str) -> list[tuple[str, str]]:
    """Id and heading of each section of a page."""
    return _SECTION.findall(body)


def slug(title: str) -> str:
    """A heading as an id.

    Examples
    --------
    >>> slug("Cost per call, ms")
    'cost-per-call-ms'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


TEMPLATES: Final = Environment(
    loader=PackageLoader("flows.reports", ""),
    autoescape=lambda name: name is None or name.endswith(".html.j2"),
    undefined=StrictUndefined,
    finalize=cell,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {"at": at, "cell": cell, "having": having, "rows": rows}
TEMPLATES.filters |= {"sections": sections, "signed": signed, "slug": slug, "tick": plots.tick}
TEMPLATES.globals |= {"columns": columns, "plots": plots, "tokens": Markup(TOKENS)}
