"""Map of a table with columns of its own: which holds which field of ours, how times are written, what actions are called.

A row becomes an event of our own form (`models.events.sources.attune`), so that its rules, quarantine and replay are those.
"""

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from models.arrays import Objects
from models.events.foreign import in_microseconds, number_of
from models.events.plain import plain, text_of
from models.events.rules import instant_text
from models.events.sources.action_words import ACTIONS, word
from models.events.sources.attune import ATTUNE, COLUMNS, CONTEXT
from models.events.sources.attune import FIELDS as OWN_FIELDS
from models.events.sources.columns import object_array
from models.events.sources.frames import Flat, Json, Source, fingerprint, raw_chunk
from models.schema import EVENT_TYPES, MEASURES, MONEY

QUERY: Final = "query"  # a column of texts that visitors typed: only their length is kept
TARGETS: Final = (*OWN_FIELDS, *CONTEXT, QUERY)
UNITS: Final = {"s": 1_000_000.0, "ms": 1_000.0, "us": 1.0, "ns": 0.001}
AUTO: Final = "auto"
DAYS: Final = "days"  # of a spreadsheet, since 30 December 1899
_MOST_DIGITS: Final = 19  # of a Unix time, in nanoseconds
_DAY_US: Final = 86_400_000_000
_DAYS_TO_1970: Final = 25_569


@dataclass(frozen=True)
class TableMap:
    """Map of a table: what its columns mean.

    Attributes
    ----------
    columns
        Field of ours (`TARGETS`) to the column that holds it, or to several, of which the first that is filled counts. In JSON
        lines a dot leads inside: ``properties.price``.
    events
        What the table calls an action, to our event type.
    defaults
        Field of ours to its value where no column has one.
    times
        ``auto`` (a clock, or a Unix time whose unit is plain), ``s``, ``ms``, ``us``, ``ns``, ``days``, or a pattern such as
        ``%d.%m.%Y %H:%M``.
    zone
        Time zone of times that say no offset, and of the visitors' hour of day.
    separator, decimal
        Between the fields of a CSV file (None to go by its first line), and before the fraction of a number.
    encoding
        Of a text file: ``utf-8``, ``cp1252`` (Windows), ``latin-1``, and others that Python knows.
    names
        Columns of a CSV file without a header, in their order.
    """

    columns: Mapping[str, str | Sequence[str]]
    events: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    times: str = AUTO
    zone: str = "UTC"
    separator: str | None = None
    decimal: str = "."
    encoding: str = "utf-8"
    names: tuple[str, ...] = ()


OWN_NAMES: Final = TableMap({name: name for name in (*OWN_FIELDS, *CONTEXT)})


def table_map(document: Mapping[str, Any]) -> TableMap:
    """Read a map from the tables of its file.

    Raises
    ------
    ValueError
        In one line that says what to change: an unknown name, a field or type that is none of ours, no user, time or type.
    """
    known = {f.name for f in fields(TableMap)}
    if unknown := sorted(set(document) - known):
        raise ValueError(f"the map has {unknown[0]!r}: expected {', '.join(sorted(known))}, or format alone")
    for name in ("columns", "events", "defaults"):
        if not isinstance(document.get(name, {}), Mapping):
            raise ValueError(f"the map's {name} must be a table: [{name}]")
    columns, events, defaults = (dict(document.get(name, {})) for name in ("columns", "events", "defaults"))
    if wrong := sorted(set(columns) - set(TARGETS)) or sorted(set(defaults) - set(TARGETS)):
        raise ValueError(f"the map gives a column to {wrong[0]!r}: expected {', '.join(TARGETS)}")
    if wrong := sorted({str(ours) for ours in events.values()} - set(EVENT_TYPES)):
        raise ValueError(f"the map's events lead to {wrong[0]!r}: expected {', '.join(EVENT_TYPES)}")
    for needed in ("user_id", "ts", "type"):
        if needed not in columns and (needed != "type" or needed not in defaults):
            raise ValueError(f"the map has no column for {needed}" + (", and no default for it" if needed == "type" else ""))
    rest = {name: document[name] for name in ("times", "zone", "separator", "decimal", "encoding") if name in document}
    if not all(isinstance(value, str) for value in (*rest.values(), *defaults.values())):
        raise ValueError("the map's times, zone, separator, decimal, encoding and defaults must be texts")
    try:
        codecs.lookup(rest.get("encoding", "utf-8"))
    except LookupError:
        raise ValueError("the map's encoding is unknown: expected a name such as utf-8 or cp1252") from None
    try:
        ZoneInfo(rest.get("zone", "UTC"))
    except (ValueError, OSError, KeyError):
        raise ValueError("the map's zone is no time zone: expected a name such as Europe/Berlin") from None
    if len(rest.get("separator", ",")) != 1 or rest.get("decimal", ".") not in (".", ","):
        raise ValueError('the map\'s separator must be one character, its decimal "." or ","')
    return TableMap(columns, events, defaults, names=tuple(document.get("names", ())), **rest)


def source_of_map(table: TableMap, container: Any = "csv") -> Source:
    """A source that reads tables by a map; what it refuses is kept, and replayed, as events of our own form."""
    wanted = tuple(dict.fromkeys(name for names in map(_names, table.columns.values()) for name in names))
    return replace(
        ATTUNE,
        container=container,
        reads=table.names or wanted,
        needs=() if container == "jsonl" else wanted,
        own=lambda raw: own_chunk(table, raw),
        flatten=_flatten(table, wanted) if container == "jsonl" else None,
        has_header=not table.names,
        separator=table.separator,
        encoding=table.encoding,
        keyed=("event_id",),
    )


def own_chunk(table: TableMap, raw: pd.DataFrame) -> pd.DataFrame:
    """A chunk of a table as a chunk of our own form; what cannot be read stays as it is, and the rules refuse it.

    Examples
    --------
    >>> table = TableMap({"user_id": "who", "ts": "at", "price": "cost"}, defaults={"type": "purchase"}, decimal=",")
    >>> own = own_chunk(table, pd.DataFrame({"who": ["7.0"], "at": ["1700000000"], "cost": ["1.299,50"]}))
    >>> own.loc[0, ["user_id", "type", "ts", "price"]].tolist()
    ['7', 'purchase', '2023-11-14T22:13:20+00:00', 1299.5]
    """
    found = {target: _cells(table, raw, target) for target in TARGETS}
    columns = {name: found[name] for name in COLUMNS}
    columns["type"] = _each(found["type"], event_type_of(table.events))
    columns["ts"] = _each(found["ts"], lambda text: time_text(text, table.times, table.zone))
    for name in (*MEASURES, *MONEY):
        columns[name] = _each(found[name], lambda text: number_in(text, table.decimal))
    lengths = _each(found[QUERY], len)
    columns["query_length"] = np.where(pd.isna(columns["query_length"]), lengths, columns["query_length"])
    for name in ("device", "referrer"):
        columns[name] = _each(found[name], str.lower)
    if table.zone != "UTC":
        columns["timezone"] = np.where(pd.isna(columns["timezone"]), table.zone, columns["timezone"])
    if pd.isna(columns["event_id"]).any():
        rows = zip(*(raw[name].tolist() for name in raw.columns), strict=True)
        made = object_array([fingerprint("\x1f".join(map(plain, row))) for row in rows])
        columns["event_id"] = np.where(pd.isna(columns["event_id"]), made, columns["event_id"])
    return raw_chunk(columns)


def _names(column: str | Sequence[str]) -> tuple[str, ...]:
    return (column,) if isinstance(column, str) else tuple(column)


def _cells(table: TableMap, raw: pd.DataFrame, target: str) -> Objects:
    """Texts of one field of ours, None where there is none."""
    found: Objects = np.full(len(raw), None, dtype=object)
    for name in _names(table.columns.get(target, ())):
        cells = _each(raw[name].to_numpy(dtype=object), lambda text: plain(text) or None)
        found = np.where(pd.isna(found), cells, found)
    if target in table.defaults:
        found = np.where(pd.isna(found), table.defaults[target], found)
    return found


def _each(cells: Objects, change: Any) -> Objects:
    """A function of every text, called once per distinct one."""
    values = cells.tolist()
    found = {text: change(text) for text in set(values) if text is not None}
    return object_array([None if text is None else found[text] for text in values])


def event_type_of(events: Mapping[str, str]) -> Any:
    """Function from what a table calls an action to our type; small and large letters are the same, and our own names stay.

    An action that the map does not name is what its word says: a sample need not have met it.

    Examples
    --------
    >>> list(map(event_type_of({"A": "item_view"}), ("a", "add-to-cart", "purchase", "order", "refund")))
    ['item_view', 'add_to_cart', 'purchase', 'purchase', 'refund']
    """
    small = {name.strip().casefold(): ours for name, ours in events.items()}
    own = frozenset(EVENT_TYPES)

    def found(text: str) -> str:
        ours = events.get(text) or small.get(text.casefold())
        return ours or (text if text in own else ACTIONS.get(word(text), text))

    return found


def number_in(text: str, decimal: str) -> Any:
    """The number of a text, nothing for a placeholder, or the text.

    Examples
    --------
    >>> number_in("1.299,50", ","), number_in("1,299.50", "."), number_in("9 EUR", ".")
    (1299.5, 1299.5, '9 EUR')
    """
    thousands = "," if decimal == "." else "."
    whole, _, fraction = text.partition(decimal)
    groups = whole.split(thousands)
    if len(groups) > 1 and all(len(group) == 3 for group in groups[1:]) and len(groups[0]) <= 3:
        whole = "".join(groups)
    return value if isinstance(value := number_of(f"{whole}.{fraction}" if fraction else whole), float) else text


def time_text(text: str, times: str, zone: str) -> str:
    """A time of a table as RFC 3339; what is none comes back as it is.

    Examples
    --------
    >>> time_text("24.12.2023 18:30", "%d.%m.%Y %H:%M", "Europe/Berlin")
    '2023-12-24T18:30:00+01:00'
    >>> time_text("1700000000123", "auto", "UTC"), time_text("45291.5", "days", "UTC")
    ('2023-11-14T22:13:20.123000+00:00', '2023-12-31T12:00:00+00:00')
    >>> {time_text(f"1700000000{rest}", "auto", "UTC") for rest in ("", "000", "000000", "000000000")}
    {'2023-11-14T22:13:20+00:00'}
    """
    number = _unix(text.replace(",", ".") if times == DAYS else text)
    if times == DAYS and isinstance(number, float):
        wall = instant_text(round((number - _DAYS_TO_1970) * _DAY_US / 1_000) * 1_000)
        return instant_text(wall.removesuffix("+00:00"), zone)
    if times in UNITS and isinstance(number, float):
        return instant_text(_microseconds(text, number, UNITS[times]))
    if times not in (AUTO, DAYS, *UNITS):
        try:
            return instant_text(datetime.strptime(text, times).isoformat(), zone)
        except ValueError:
            return instant_text(text, zone)  # a typed column needs no pattern
    if isinstance(number, float) and times == AUTO:
        exact = int(text) if text.isdecimal() else 0
        return instant_text(in_microseconds(exact) if exact else round(number * 1_000_000))
    return instant_text(text, zone)


def _unix(text: str) -> Any:
    """The number of a text, also one of as many digits as nanoseconds have; else the text."""
    return float(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else number_of(text)


def _microseconds(text: str, number: float, unit_us: float) -> int:
    """Exact where the text is an integer."""
    if text.isdecimal():
        return int(text) * int(unit_us) if unit_us >= 1 else int(text) // 1_000
    return round(number * unit_us)


def _flatten(table: TableMap, wanted: tuple[str, ...]) -> Any:
    def flatten(documents: Sequence[Json]) -> Flat:
        raw = raw_chunk({name: object_array([text_of(at_path(d, name)) for d in documents]) for name in wanted})
        own = own_chunk(table, raw)
        return Flat([own[name].tolist() for name in COLUMNS], np.ones(len(documents), dtype=np.int64))

    return flatten


def at_path(document: Mapping[str, Any], path: str) -> Any:
    """The value at a path such as ``properties.price``; a field whose own name has dots comes first.

    Examples
    --------
    >>> at_path({"a": {"b": 1}}, "a.b"), at_path({"a.b": 2}, "a.b"), at_path({"a": 3}, "a.b")
    (1, 2, None)
    """
    if path in document:
        return document[path]
    first, _, rest = path.partition(".")
    inner = document.get(first)
    return at_path(inner, rest) if rest and isinstance(inner, Mapping) else None
