"""Map of a table with columns of its own: which holds which field of ours, how times are written, what actions are called.

A row becomes an event of our own form (`models.events.sources.attune`), so that its rules, quarantine and replay are those.
"""

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from models.arrays import Objects
from models.events.plain import plain, text_of
from models.events.public_form import CONTEXT
from models.events.public_form import FIELDS as OWN_FIELDS
from models.events.sources.action_words import ACTIONS, word
from models.events.sources.attune import ATTUNE, COLUMNS
from models.events.sources.columns import object_array
from models.events.sources.frames import Flat, Json, Source, fingerprint, raw_chunk
from models.events.sources.opened import NUMBER, cell_content, with_rows
from models.events.sources.typed import is_type
from models.events.sources.written import AUTO, day_and_clock, number_in, time_texts
from models.schema import EVENT_TYPES, MEASURES, MONEY

QUERY: Final = "query"  # a column of texts that visitors typed: only their length is kept
TARGETS: Final = (*OWN_FIELDS, *CONTEXT, QUERY)
MOST_OF_SEPARATOR: Final = 3  # characters


@dataclass(frozen=True)
class TableMap:
    """Map of a table: what its columns mean.

    Attributes
    ----------
    columns
        Field of ours (`TARGETS`) to the column that holds it, or to several, of which the first that is filled counts. In JSON
        lines, and in cells that hold JSON, a dot leads inside: ``properties.price``.
    events
        What the table calls an action, to our event type.
    defaults
        Field of ours to its value where no column has one.
    times
        ``auto`` (a clock, or a Unix time whose unit is plain), ``s``, ``ms``, ``us``, ``ns``, ``days``, or a pattern such as
        ``%d.%m.%Y %H:%M``; several, where a column mixes them.
    zone
        Time zone of times that say no offset, and of the visitors' hour of day.
    separator, decimal
        Between the fields of a CSV file (None to go by its first line), and before the fraction of a number.
    encoding
        Of a text file: ``utf-8``, ``cp1252`` (Windows), ``latin-1``, and others that Python knows.
    names
        Columns of a CSV file without a header, in their order.
    rows
        Paths of lists whose entries are rows, the outer one first: ``("events", "events.products")``.
    clock
        Column of the time of day, where that of `ts` has only the day.
    patterns
        Field of ours to a regular expression whose group is the value: ``/product/([^/?]+)`` of an address.
    factors
        Number of ours to what its column is multiplied by: 0.01 for a price in cents.
    flags
        Column that says yes or no to our event type: of those that say yes in a row, the weightiest is what happened.
    splits
        Column whose cells hold several values, each a row (`rows` names it too), to what stands between them.
    """

    columns: Mapping[str, str | Sequence[str]]
    events: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    times: str | Sequence[str] = AUTO
    zone: str = "UTC"
    separator: str | None = None
    decimal: str = "."
    encoding: str = "utf-8"
    names: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    clock: str | None = None
    patterns: Mapping[str, str] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)


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
    for name in ("columns", "events", "defaults", "patterns", "factors", "flags", "splits"):
        if not isinstance(document.get(name, {}), Mapping):
            raise ValueError(f"the map's {name} must be a table: [{name}]")
    columns, events, defaults = (dict(document.get(name, {})) for name in ("columns", "events", "defaults"))
    if wrong := sorted(set(columns) - set(TARGETS)) or sorted(set(defaults) - set(TARGETS)):
        raise ValueError(f"the map gives a column to {wrong[0]!r}: expected {', '.join(TARGETS)}")
    factors, flags, splits = (dict(document.get(name, {})) for name in ("factors", "flags", "splits"))
    if wrong := sorted({str(ours) for ours in (*events.values(), *flags.values())} - set(EVENT_TYPES)):
        raise ValueError(f"the map's events lead to {wrong[0]!r}: expected {', '.join(EVENT_TYPES)}")
    for needed in ("user_id", "ts", "type"):
        if needed not in columns and (needed != "type" or not (flags or needed in defaults)):
            raise ValueError(f"the map has no column for {needed}" + (", and no default for it" if needed == "type" else ""))
    rest = {name: document[name] for name in _TEXTS if name in document}
    if not all(isinstance(value, str) for value in (*rest.values(), *defaults.values())):
        raise ValueError("the map's zone, separator, decimal, encoding, clock and defaults must be texts")
    for pattern in (patterns := dict(document.get("patterns", {}))).values():
        if not _is_pattern(pattern):
            raise ValueError("the map's patterns must be regular expressions with one group: item_id = '/product/([^/?]+)'")
    if not all(name in (*MEASURES, *MONEY) and type(one) in (int, float) and one > 0 for name, one in factors.items()):
        raise ValueError("the map's factors must be numbers above 0 of numbers of ours: price = 0.01")
    if not all(isinstance(mark, str) and mark for mark in splits.values()):
        raise ValueError("the map's splits must say what stands between the values of a cell: basket = ';'")
    names, rows, times = (_texts_in(document, name) for name in ("names", "rows", "times"))
    try:
        codecs.lookup(rest.get("encoding", "utf-8"))
    except LookupError:
        raise ValueError("the map's encoding is unknown: expected a name such as utf-8 or cp1252") from None
    try:
        ZoneInfo(rest.get("zone", "UTC"))
    except (ValueError, OSError, KeyError):
        raise ValueError("the map's zone is no time zone: expected a name such as Europe/Berlin") from None
    if not 1 <= len(rest.get("separator", ",")) <= MOST_OF_SEPARATOR or rest.get("decimal", ".") not in (".", ","):
        raise ValueError(f'the map\'s separator must be 1 to {MOST_OF_SEPARATOR} characters, its decimal "." or ","')
    ways = times[0] if len(times) == 1 else times or AUTO
    found = TableMap(columns, events, defaults, ways, names=names, rows=rows, patterns=patterns, **rest)
    return replace(found, factors=factors, flags=flags, splits=splits)


def _is_pattern(pattern: Any) -> bool:
    try:
        return isinstance(pattern, str) and re.compile(pattern).groups == 1
    except re.error:
        return False


_TEXTS: Final = ("zone", "separator", "decimal", "encoding", "clock")


def _texts_in(document: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A text, or a list of texts, of a map."""
    found = document.get(name, ())
    found = (found,) if isinstance(found, str) else found
    if not isinstance(found, list | tuple) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"the map's {name} must be texts")
    return tuple(found)


def source_of_map(table: TableMap, container: Any = "csv") -> Source:
    """A source that reads tables by a map; what it refuses is kept, and replayed, as events of our own form."""
    names = [name for names in map(_names, table.columns.values()) for name in names]
    wanted = tuple(dict.fromkeys([*names, *_names(table.clock or ()), *table.flags]))
    return replace(
        ATTUNE,
        container=container,
        reads=table.names or wanted,
        needs=() if container == "jsonl" else wanted,
        own=None if table.splits else lambda raw: own_chunk(table, raw),  # a cell of several values is read as a document
        flatten=_flatten(table, wanted),
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
    if table.decimal == ",":
        columns |= {name: _each(columns[name], _with_point) for name in _IDS if name in table.columns}
    columns["type"] = _by_flags(table, raw) if table.flags else _each(found["type"], event_type_of(table.events))
    if table.clock is not None:
        clocks = _texts_of(raw[table.clock])
        found["ts"] = object_array(list(map(day_and_clock, found["ts"].tolist(), clocks.tolist())))
    columns["ts"] = time_texts(found["ts"], table.times, table.zone, found["user_id"])
    for name in (*MEASURES, *MONEY):
        columns[name] = _each(found[name], lambda text, name=name: _number(text, table, name))
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


_YES: Final = frozenset({"1", "true", "yes", "y", "t", "x"})


def _by_flags(table: TableMap, raw: pd.DataFrame) -> Objects:
    """The weightiest event type to which a row says yes; the default, or None, where it says so to none."""
    found: Objects = np.full(len(raw), table.defaults.get("type"), dtype=object)
    for column, event_type in sorted(table.flags.items(), key=lambda flag: EVENT_TYPES.index(flag[1])):
        found[[str(cell).casefold() in _YES for cell in _texts_of(raw[column])]] = event_type
    return found


def _number(text: str, table: TableMap, name: str) -> Any:
    """A number of ours, in our unit."""
    found = number_in(text, table.decimal)
    return round(found * table.factors[name], 9) if name in table.factors and isinstance(found, float) else found


_IDS: Final = ("user_id", "session_id", "item_id", "category", "order_id")
_comma_in_id: Final = re.compile(r"[0-9]+,(?:0+|[0-9]*[eE]\+?[0-9]{1,2})").fullmatch


def _with_point(text: str) -> str:
    """An id that a spreadsheet wrote as a number with a comma as the integer.

    Examples
    --------
    >>> [_with_point(text) for text in ("512301,0", "7,7E+01", "A,0")]
    ['512301', '77', 'A,0']
    """
    return plain(text.replace(",", ".")) if _comma_in_id(text) else text


def _names(column: str | Sequence[str]) -> tuple[str, ...]:
    return (column,) if isinstance(column, str) else tuple(column)


def _cells(table: TableMap, raw: pd.DataFrame, target: str) -> Objects:
    """Texts of one field of ours, None where there is none."""
    found: Objects = np.full(len(raw), None, dtype=object)
    for name in _names(table.columns.get(target, ())):
        cells = _texts_of(raw[name])
        found = np.where(pd.isna(found), cells, found)
    if target in table.patterns:
        found = _each(found, lambda text: match[1] if (match := re.search(table.patterns[target], text)) else None)
    if target in table.defaults:
        found = np.where(pd.isna(found), table.defaults[target], found)
    return found


def _texts_of(column: "pd.Series[Any]") -> Objects:
    return _each(column.to_numpy(dtype=object), lambda text: plain(text) or None)


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


def _flatten(table: TableMap, wanted: tuple[str, ...]) -> Any:
    def flatten(documents: Sequence[Json]) -> Flat:
        documents = [_split(document, table.splits) for document in documents] if table.splits else documents
        groups = [with_rows(document, table.rows) for document in documents] if table.rows else [[d] for d in documents]
        rows = [row for group in groups for row in group]
        raw = raw_chunk({name: object_array([_cell(row, name) for row in rows]) for name in wanted})
        own = own_chunk(table, raw)
        columns = [own[name].tolist() for name in COLUMNS]
        if table.rows and "event_id" in table.columns:
            at = COLUMNS.index("event_id")
            columns[at] = [_nth(id_, row[NUMBER]) for id_, row in zip(columns[at], rows, strict=True)]
        return Flat(columns, np.fromiter(map(len, groups), dtype=np.int64, count=len(groups)))

    return flatten


def _split(document: Json, splits: Mapping[str, str]) -> Json:
    """A document with lists for the cells that hold several values.

    Examples
    --------
    >>> _split({"who": "u", "basket": "milk; bread;"}, {"basket": ";"})
    {'who': 'u', 'basket': ['milk', 'bread']}
    """
    cells = {name: document[name] for name in splits if isinstance(document.get(name), str)}
    return document | {n: [part.strip() for part in cell.split(splits[n]) if part.strip()] for n, cell in cells.items()}


def _nth(event_id: Any, number: int) -> Any:
    """The id of a row among several of one document: ``~2`` behind the document's for the second, as at the door."""
    return f"{event_id}~{number + 1}" if number and isinstance(event_id, str) else event_id


def _cell(row: Json, path: str) -> str:
    value = at_path(row, path)
    return "" if isinstance(value, Mapping | list) else text_of(value)


def at_path(document: Mapping[str, Any], path: str) -> Any:
    """The value at a path such as ``properties.price``, also in a text that is JSON; a field whose name has dots comes first.

    Examples
    --------
    >>> at_path({"a": {"b": 1}}, "a.b"), at_path({"a.b": 2}, "a.b"), at_path({"a": 3}, "a.b"), at_path({"a": '{"b": 4}'}, "a.b")
    (1, 2, None, 4)
    """
    if path in document:
        return document[path]
    first, _, rest = path.partition(".")
    inner = document.get(first)
    if rest and not isinstance(inner, Mapping) and is_type(rest.partition(".")[0]):
        return inner  # `createdAt.$date`: what was read is the value without its type
    if rest and isinstance(inner, str) and inner[:1] == "{":
        inner = cell_content(inner)
    return at_path(inner, rest) if rest and isinstance(inner, Mapping) else None
