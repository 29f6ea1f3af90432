"""Twins of a page for programs: the same tables as JSON and as CSV."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from services.console.page import Block, Cell, Facts, Page, Plot, Table, plain


def as_json(page: Page) -> dict[str, Any]:
    """The page's tables, facts and plots by id."""
    return {
        "title": page.title,
        "lead": page.lead,
        "state": page.state,
        "blocks": {block.id: told for block in page.blocks if (told := _of_block(block)) is not None},
    }


def _of_block(block: Block) -> Any:
    match block:
        case Table():
            names = [column.name for column in block.columns]
            return [dict(zip(names, map(plain, row), strict=True)) for row in block.rows]
        case Facts():
            return {name: plain(value) for name, value in block.rows}
        case Plot():
            return {block.x_name: list(block.x), **{one.name: list(one.values) for one in block.series}}
    return None


def as_csv(page: Page, wanted: str | None) -> str | None:
    """One table of the page, the first if none is named; None if there is no such table.

    Examples
    --------
    >>> from services.console.page import Column
    >>> one = Table("a", "A", [Column("name"), Column("n", True)], [["=1+1", 2], ["x, y", None]])
    >>> print(as_csv(Page("P", "", [one]), None), end="")
    name,n
    '=1+1,2
    "x, y",
    """
    for block in page.blocks:
        if isinstance(block, Table) and wanted in (None, block.id):
            return _written([[column.name for column in block.columns], *([_cell(one) for one in row] for row in block.rows)])
        if isinstance(block, Plot) and wanted == block.id:
            columns = [block.x, *(one.values for one in block.series)]
            return _written([[block.x_name, *(one.name for one in block.series)], *map(list, zip(*columns, strict=True))])
    return None


def _written(rows: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _cell(cell: Cell) -> Any:
    value = plain(cell)
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"  # a table program would take it for a formula
    return value


def events(blocks: dict[str, str]) -> Iterator[str]:
    """Blocks as one server-sent event."""
    yield f"data: {json.dumps(blocks)}\n\n"
