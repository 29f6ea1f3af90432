"""Said of an event, beside what all events have: its order and money, its decision, and whom the shop takes the visitor for.

`SAID_COLUMNS` travel from the door or a file to the log and no further: no fold reads them. An item of an order is bought once,
however often it is told.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from models.events.rules import Problem
from models.schema import MAX_ID_LENGTH, MONEY, SAID_COLUMNS, VISITOR_GROUPS

_currency: Final = re.compile(r"[A-Za-z]{3}").fullmatch
_TEXTS: Final = ("decision_id", "order_id")
SAID_AT_TOP: Final = tuple(name for name in SAID_COLUMNS if name not in VISITOR_GROUPS)


def said_problem(event: Mapping[str, Any]) -> Problem | None:
    """First reason to refuse what an event of the public form says beside, or None.

    Examples
    --------
    >>> said_problem({"quantity": 0})
    Problem(pointer='/quantity', reason='quantity must be a number above 0, at most 1e+06')
    >>> said_problem({"currency": "EUR", "context": {"region": 7}})
    Problem(pointer='/context/region', reason='region must be a text of at most 256 characters')
    """
    for name in _TEXTS:
        value = event.get(name)
        if value is not None and not (isinstance(value, str) and 0 < len(value) <= MAX_ID_LENGTH):
            return Problem(f"/{name}", f"{name} must be a text of 1 to {MAX_ID_LENGTH} characters")
    for name, (low, high) in MONEY.items():
        value = event.get(name)
        if value is not None and not (_is_number(value) and low <= value <= high and (value or name != "quantity")):
            return Problem(f"/{name}", f"{name} must be a number {_range(name, low)}, at most {high:g}")
    currency = event.get("currency")
    if currency is not None and not (isinstance(currency, str) and _currency(currency)):
        return Problem("/currency", "currency must be a code of three letters, such as EUR")
    context = event.get("context")
    for name in VISITOR_GROUPS:
        value = context.get(name) if isinstance(context, Mapping) else None
        if value is not None and not (isinstance(value, str) and len(value) <= MAX_ID_LENGTH):
            return Problem(f"/context/{name}", f"{name} must be a text of at most {MAX_ID_LENGTH} characters")
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _range(name: str, low: float) -> str:
    return "above 0" if name == "quantity" else f"from {low:g}"


def sound(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event of another vocabulary without what it says of an order or a visitor that we could not keep.

    Examples
    --------
    >>> sound({"item_id": "a", "quantity": 0, "currency": "Euro", "context": {"segment": {"a": 1}, "device": "app"}})
    {'item_id': 'a', 'context': {'device': 'app'}}
    """
    kept = dict(event)
    while (problem := said_problem(kept)) is not None:
        *inside, name = problem.pointer.split("/")[1:]
        if inside:
            kept["context"] = {key: value for key, value in kept["context"].items() if key != name}
        else:
            del kept[name]
    return kept


def said(event: Mapping[str, Any]) -> tuple[Any, ...]:
    """Row of what an event without a `said_problem` says, in the order of `SAID_COLUMNS`.

    Examples
    --------
    >>> said({"order_id": "o-1", "quantity": 2, "currency": "eur", "context": {"region": "north", "segment": ""}})
    (None, 'o-1', 2.0, 'EUR', None, None, 'north', None)
    """
    found = event.get("context")
    context = found if isinstance(found, Mapping) else {}
    values: dict[str, Any] = {name: event.get(name) for name in SAID_AT_TOP}
    values |= {name: context.get(name) or None for name in VISITOR_GROUPS}
    values |= {name: float(values[name]) for name in MONEY if values[name] is not None}
    values["currency"] = values["currency"] and values["currency"].upper()
    return tuple(values[name] for name in SAID_COLUMNS)
