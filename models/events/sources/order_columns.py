"""Columns of orders in a table that nobody described: which order, how many pieces, at what price, in which currency.

What a row of an order cost is told from what the whole order cost: the latter is the same in every row of an order, and would
count as often as the order has rows.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from models.events.sources.written import bare_number, number_in

Column = Sequence[str]  # cells of all rows, in their order; empty where there is nothing
LEAST_SHARE: Final = 0.8  # of what is compared
LEAST_OF_PRICE: Final = 0.3  # of the price of a piece that a row brings at least, after any discount


class OrderColumns(NamedTuple):
    """Columns of an order's row; None where the table has none. `notes` say what was left out, and why."""

    order_id: str | None
    quantity: str | None
    price: str | None
    revenue: str | None
    currency: str | None
    notes: Sequence[str]


def order_columns(cells: Mapping[str, Column], named: Callable[[str], Sequence[str]]) -> OrderColumns:
    """Find the columns of orders.

    Parameters
    ----------
    cells
        Columns by name.
    named
        Columns whose name is a word for a field of ours, the best first.

    Examples
    --------
    >>> cells = {"no": ["1", "1"], "sum": ["30", "30"], "each": ["10", "20"]}
    >>> order_columns(cells, lambda field: {"order_id": ["no"], "revenue": ["sum"], "price": ["each"]}.get(field, []))[:4]
    ('no', None, 'each', None)
    """

    def first(field: str, fits: Callable[[Column], bool]) -> str | None:
        return next((name for name in named(field) if fits(cells[name])), None)

    order_id = first("order_id", lambda column: True) or first("order_name", _are_order_names)
    quantity, currency = first("quantity", _are_numbers), first("currency", _are_currencies)
    price, total = first("price", _are_numbers), first("revenue", _are_numbers)
    if total is None or total == price:
        return OrderColumns(order_id, quantity, price, None, currency, [])
    if price is None and quantity is None:
        return OrderColumns(order_id, None, total, None, currency, [])
    if order_id is not None and _is_same_in_order(cells[order_id], cells[total]):
        note = f"{total} seems to be what a whole order cost: left out"
        return OrderColumns(order_id, quantity, price, None, currency, [note])
    if price is not None and not _covers(cells[total], cells[price]):
        note = f"{total} seems to be no revenue, it is far below {price}: left out"
        return OrderColumns(order_id, quantity, price, None, currency, [note])
    return OrderColumns(order_id, quantity, price, total, currency, [])


def decimal_of(cells: Column) -> str:
    """A comma, if most numbers with one mark have it before one or two digits at the end."""
    return "," if _share(cells, lambda cell: re.fullmatch(r"-?[\d.]*\d,\d{1,2}", bare_number(cell)) is not None) > 0.3 else "."


def _share(cells: Column, holds: Callable[[str], bool]) -> float:
    some = [cell for cell in cells if cell][:500]
    return sum(map(holds, some)) / len(some) if some else 0.0


def _are_numbers(cells: Column) -> bool:
    decimal = decimal_of(cells)
    return _share(cells, lambda cell: isinstance(number_in(cell, decimal), float)) >= LEAST_SHARE


def _are_currencies(cells: Column) -> bool:
    return _share(cells, lambda cell: re.fullmatch("[A-Za-z]{3}", cell) is not None) >= LEAST_SHARE


def _are_order_names(cells: Column) -> bool:
    """Whether texts are an order's name as shops print it: a mark and a number."""
    return _share(cells, lambda cell: re.fullmatch(r"#\w{0,8}\d+", cell) is not None) >= LEAST_SHARE


def _is_same_in_order(orders: Column, totals: Column) -> bool:
    """Whether rows of one order that follow each other have one total, or only the first of them has any."""
    rows = [(order, total) for order, total in zip(orders, totals, strict=True) if order]
    pairs = [a[1] == b[1] or not b[1] for a, b in pairwise(rows) if a[0] == b[0] and a[1]]
    return bool(pairs) and sum(pairs) >= LEAST_SHARE * len(pairs)


def _covers(totals: Column, prices: Column) -> bool:
    """Whether what rows brought is what a piece costs, or more, discounts aside."""
    mark = decimal_of(prices)
    pairs = [(number_in(a, decimal_of(totals)), number_in(b, mark)) for a, b in zip(totals, prices, strict=True) if a and b]
    sound = [abs(a) >= LEAST_OF_PRICE * abs(b) for a, b in pairs if isinstance(a, float) and isinstance(b, float)]
    return not sound or sum(sound) >= LEAST_SHARE * len(sound)
