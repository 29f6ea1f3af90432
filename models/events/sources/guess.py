"""Guess of what a table means, from a sample of its rows: a format that we know, or a map of its columns.

Names of columns and actions are compared without case and punctuation with words that shops, trackers and public data sets use,
and a column is only taken if its values can be what its name says.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from models.events.plain import EARLIEST_US, LATEST_US, plain
from models.events.rules import parse_instant_us
from models.events.sources import SOURCES
from models.events.sources.action_words import ACTIONS, CODES, by_stem, word
from models.events.sources.maps import AUTO, DAYS, UNITS, TableMap, number_in, time_text
from models.events.sources.order_columns import decimal_of, order_columns
from models.events.sources.words import AMOUNTS, COLUMN_WORDS, ID_ENDINGS, NO_WORDS, SALE_WORDS, WHOLE_ORDER

Container = Literal["csv", "jsonl", "parquet"]

LEAST_SHARE: Final = 0.8  # of a column's values that must be what it is taken for
MOST_ACTIONS: Final = 60  # different values of a column of actions
# Before others that share fields with them; `attune` last, since its names are common words.
_ORDER: Final = ("otto", "ga4", "matomo", "google_retail", "snowplow", "posthog", "segment", "trivago", "rees46", "jdata")
_PATTERNS: Final = (
    *("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y"),
    *("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%m/%d/%Y", "%d-%m-%Y %H:%M:%S"),
    *("%d.%m.%y %H:%M", "%d.%m.%y", "%d/%m/%y %H:%M", "%d/%m/%y", "%m/%d/%y %H:%M", "%m/%d/%y"),
    *("%d-%m-%Y %H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y%m%d%H%M%S", "%d %b %Y %H:%M:%S"),
    *("%d-%b-%Y %H:%M:%S", "%b %d, %Y %H:%M:%S", "%a %b %d %H:%M:%S %Y", "%d/%b/%Y:%H:%M:%S %z"),
)


class Sample(NamedTuple):
    """First rows of a file.

    Attributes
    ----------
    container
        What holds them.
    separator
        Of a CSV file.
    header
        Its columns; in JSON lines the paths of the fields; empty for a CSV file without a header.
    rows
        Texts by column (by position, "0", "1" …, without a header).
    documents
        JSON documents as they are.
    encoding
        Of a text file.
    """

    container: Container
    separator: str
    header: Sequence[str]
    rows: Sequence[Mapping[str, str]]
    documents: Sequence[Mapping[str, Any]] = ()
    encoding: str = "utf-8"


class Guess(NamedTuple):
    """Guess of a file: a format of ours by name, or a map; and in words what was understood."""

    format: str | None
    table: TableMap | None
    notes: list[str]


def guess(sample: Sample) -> Guess:
    """Guess the format or the map of a sample.

    Raises
    ------
    ValueError
        If no column can be the visitor or the time: the message names what was found.
    """
    if not sample.rows:
        raise ValueError("the file has no rows to guess from")
    if name := looks_like(sample):
        return Guess(name, None, [f"this is the format {name}: read it with --format {name}"])
    return _mapped(sample)


def looks_like(sample: Sample) -> str | None:
    """Name of the format whose fields a sample has, or None.

    Examples
    --------
    >>> looks_like(Sample("csv", ",", ["timestamp", "visitorid", "event", "itemid", "transactionid"], []))
    'retailrocket'
    """
    fields = {name.casefold() for name in sample.header} | {name.casefold() for d in sample.documents[:20] for name in d}
    if sample.container == "csv" and not sample.header:
        return "taobao" if _is_taobao(sample.rows) else None
    for name in (*_ORDER, "retailrocket", "taobao", "attune"):
        source = SOURCES[name]
        if sample.container == "csv" and source.container == "jsonl" and name != "attune":
            continue
        if name == "taobao" and not (fields and _is_taobao(sample.rows, "behavior")):
            continue
        needs = ("user_id", "type", "ts") if name == "attune" and sample.container == "csv" else source.needs or source.columns
        if all(need.casefold() in fields for need in needs) and _speaks(name, sample):
            return name
    return None


def _is_taobao(rows: Sequence[Mapping[str, str]], column: str = "3") -> bool:
    return bool(rows) and all(row.get(column) in ("pv", "fav", "cart", "buy") for row in rows)


def _speaks(name: str, sample: Sample) -> bool:
    """Whether the actions of a sample are the format's; a table may share its columns' names."""
    if name == "attune":
        return any(plain(row.get("type", "")) in SOURCES[name].event_types for row in sample.rows)
    if name == "jdata":
        return any(plain(row.get("type", "")) in SOURCES[name].event_types for row in sample.rows)
    if name == "rees46":
        return any(row.get("event_type", row.get("EVENT_TYPE", "")).strip() in SOURCES[name].event_types for row in sample.rows)
    return True


# ---- maps ----------------------------------------------------------------------------------------------------------------


def _mapped(sample: Sample) -> Guess:
    names = list(sample.header) or list(sample.rows[0])
    values = {name: [cell for row in sample.rows if (cell := plain(row.get(name, "")))] for name in names}
    notes: list[str] = []
    columns: dict[str, str | Sequence[str]] = {}
    times, at = _time_column(values)
    columns["ts"] = at
    notes.append(f"time: {at} ({times})")
    taken = {at}
    kind, events = _action_column(values, taken)
    defaults: dict[str, str] = {}
    if kind is None:
        defaults["type"] = "purchase" if any(SALE_WORDS & {word(n), *_tokens(n)} for n in names) else "item_view"
        notes.append(f"no column says what visitors did: every row is taken for {defaults['type']}")
    else:
        columns["type"] = kind
        taken.add(kind)
        if set(events.values()) == {"purchase"}:
            defaults["type"] = "purchase"  # of rows that say nothing, as of an order's second
        unknown = sorted({v for v in values[kind]} - set(events))[:5]
        notes.append(f"action: {kind} ({len(events)} known{', unknown: ' + ', '.join(unknown) if unknown else ''})")
    by_place = {} if sample.header else _by_place([name for name in names if name not in taken])
    columns |= by_place
    notes += [f"no header: {target} is taken to be field {int(name) + 1}" for target, name in by_place.items()]
    for target in ("user_id", "session_id", "item_id", "category", "event_id", "query", "device", "referrer"):
        found = [name for name in _by_word(values, target) if name not in taken and _fits(target, values[name])]
        if not found:
            continue
        several = target == "user_id" or (target == "category" and len(found) > 1)
        columns[target] = found if several and len(found) > 1 else found[0]
        taken.update(found if several else found[:1])
        notes.append(f"{target}: {', '.join(found) if several else found[0]}")
    cells = {name: [plain(row.get(name, "")) for row in sample.rows] for name in names}
    whose = _columns(columns.get("user_id", ()))
    if "session_id" in columns and whose and not all(map(any, zip(*(cells[name] for name in whose), strict=True))):
        columns["user_id"] = [*whose, *_columns(columns["session_id"])]
        notes.append(f"where none names the visitor, every {columns['session_id']} is taken for one")
    orders = order_columns(cells, lambda target: [name for name in _by_word(values, target) if name not in taken])
    notes += orders.notes
    for target, name in zip(orders._fields[:-1], orders[:-1], strict=True):
        if name is not None:
            columns[target] = name
            notes.append(f"{target}: {name}")
    if "user_id" not in columns:
        columns["user_id"] = _stand_in(columns, names, notes)
    if "item_id" not in columns:
        notes.append("no column seems to be the item: events about items will be refused")
    decimal = decimal_of([cell for name in (orders.price, orders.revenue) if name for cell in cells[name]])
    separator = sample.separator if sample.container == "csv" and sample.separator != "," else None
    if sample.encoding != "utf-8":
        notes.append(f"letters are no UTF-8: {sample.encoding} is taken")
    shape = (separator, decimal, sample.encoding, () if sample.header else tuple(names))
    table = TableMap(columns, events, defaults, times, "UTC", *shape)
    if not any(_has_offset(cell) for cell in values[at]) and times not in UNITS:
        notes.append("times say no zone: UTC is taken; set zone in the map if that is wrong")
    return Guess(None, table, notes)


def _stand_in(columns: Mapping[str, str | Sequence[str]], names: Sequence[str], notes: list[str]) -> str | Sequence[str]:
    """Column that stands for the visitor where none names one: the session, else the order."""
    for target in ("session_id", "order_id"):
        if target in columns:
            notes.append(f"no column names the visitor: every {columns[target]} is taken for one")
            return columns[target]
    raise ValueError(f"no column seems to be the visitor among {', '.join(names[:20])}: write a map with [columns] user_id")


def _columns(column: str | Sequence[str]) -> Sequence[str]:
    return (column,) if isinstance(column, str) else column


def _by_place(names: Sequence[str]) -> dict[str, str]:
    """Fields of a table without a header, as its makers put them: who, what, and the kind of what."""
    return dict(zip(("user_id", "item_id", "category"), names, strict=False))


def _tokens(name: str) -> list[str]:
    """Words of a name, of which camel case is a mark too.

    Examples
    --------
    >>> _tokens("Lineitem sku"), _tokens("customerUnique_ID")
    (['lineitem', 'sku'], ['customer', 'unique', 'id'])
    >>> _tokens("server_timestamp_epoch_ms"), _tokens("created.$date")
    (['server', 'timestamp'], ['created'])
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", re.sub(r"\.\$\w+$", "", name))  # MongoDB writes types: created.$date
    words = [found for part in re.split(r"[\W_]+", apart) if (found := word(part))]
    while len(words) > 1 and words[-1] in NO_WORDS:
        words.pop()
    return words


def _parts(name: str, anywhere: bool) -> list[str]:
    """What is left of a name when words are left out, the longest first: those before its last ones, or those in between.

    Examples
    --------
    >>> _parts("customer_unique_key", anywhere=False)
    ['customeruniqueid', 'uniquekey', 'customerkey', 'uniqueid', 'customerid', 'key']
    >>> _parts("Purchase Price Per Unit", anywhere=False), _parts("qty_ordered", anywhere=True)
    (['purchaseprice', 'price'], ['qty', 'ordered'])
    """
    words = whole = _tokens(name)
    words = words[: words.index("per")] if "per" in words[1:] else words
    n = len(words)
    pieces = [words[start:end] for start in range(n) for end in range(start + 1, n + 1) if anywhere or end == n]
    pieces += [[words[0], words[-1]]] if n > 2 else []
    pieces += [[*piece[:-1], "id"] for piece in pieces if len(piece) > 1 and piece[-1] in ID_ENDINGS]
    return ["".join(piece) for piece in sorted(pieces, key=len, reverse=True) if piece != whole or "".join(whole) != word(name)]


def _by_word(values: Mapping[str, Sequence[str]], target: str) -> list[str]:
    """Columns whose name is a word for a field, the best word first; where there is none, those in whose name one stands."""
    ranks = {name: rank for rank, name in enumerate(COLUMN_WORDS[target])}

    def best_first(ways: Callable[[str], Sequence[str]]) -> list[str]:
        found = [(min(enumerate(ways(n)), key=lambda way: ranks.get(way[1], len(ranks)), default=(0, "")), n) for n in values]
        return [n for (_, w), n in sorted(found, key=lambda f: (ranks.get(f[0][1], 0), f[0][0])) if w in ranks and values[n]]

    whole = best_first(lambda name: (word(name), word(re.split(r"[./]", name)[-1]), "".join(_tokens(name))))
    found = whole or best_first(lambda name: _parts(name, target in AMOUNTS))
    return [name for name in found if target not in AMOUNTS or _is_amount(target, _tokens(name))]


def _is_amount(target: str, words: Sequence[str]) -> bool:
    """Whether a name can be one of an amount of a row: it is no id, and no revenue of a whole order."""
    is_whole = target == "revenue" and not WHOLE_ORDER.isdisjoint(words) and {"item", "line", "row"}.isdisjoint(words)
    return words[-1] != "id" and words[-1] not in ID_ENDINGS - {"code"} and not is_whole


def _share(values: Sequence[str], holds: Callable[[str], bool]) -> float:
    some = values[:500]
    return sum(map(holds, some)) / len(some) if some else 0.0


def _time_column(values: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """How times are written, and the column: one with a name for it, else any whose values are times with a time of day."""
    named = _by_word(values, "ts")
    for name in (*named, *(n for n in values if n not in named and _share(values[n], _is_clock) >= LEAST_SHARE)):
        for times in (AUTO, *_PATTERNS, DAYS):
            if _share(values[name], lambda cell, times=times: _is_time(cell, times)) >= LEAST_SHARE:  # type: ignore[misc]
                return _unit(values[name]) if times == AUTO else times, name
    raise ValueError(f"no column seems to be the time among {', '.join(list(values)[:20])}: write a map with [columns] ts")


def _is_clock(cell: str) -> bool:
    return re.match(r"\d{4}-\d\d-\d\d[T ]\d\d", cell) is not None


def _is_time(cell: str, times: str) -> bool:
    try:
        return EARLIEST_US <= parse_instant_us(time_text(cell, times, "UTC")) < LATEST_US
    except (ValueError, OverflowError):
        return False


def _unit(cells: Sequence[str]) -> str:
    """Unit of Unix times in which most of them can be; `auto` for clocks."""
    if _share(cells, lambda cell: cell.isdecimal() or isinstance(number_in(cell, "."), float)) < LEAST_SHARE:
        return AUTO
    return max(UNITS, key=lambda unit: _share(cells, lambda cell: _is_time(cell, unit)))


def _has_offset(cell: str) -> bool:
    return re.search(r"\d\d:\d\d.*([zZ]|UTC|GMT|[+-]\d\d:?(\d\d)?)$", cell) is not None


def _action_column(values: Mapping[str, Sequence[str]], taken: set[str]) -> tuple[str | None, dict[str, str]]:
    """The column of actions and what each means: the one whose values are known best, a name for it counting double."""
    named = _by_word(values, "type")
    best: tuple[float, str | None, dict[str, str]] = (0.0, None, {})
    for name, cells in values.items():
        different = set(cells)
        if name in taken or not different or len(different) > MOST_ACTIONS:
            continue
        events = _meanings(name, different)
        known = _share(cells, lambda cell, events=events: cell in events)  # type: ignore[misc]
        score = known * (2.0 if name in named else 1.0)
        if known and (name in named or known >= LEAST_SHARE) and score > best[0]:
            best = (score, name, events)
    return best[1], best[2]


def _meanings(column: str, different: set[str]) -> dict[str, str]:
    """What the values of a column of actions mean, as far as they are known."""
    codes = CODES.get(word(column))
    if codes and different <= set(codes):
        return {value: codes[value] for value in sorted(different)}
    found = {value: ours for value in sorted(different) if (ours := ACTIONS.get(word(value)) or by_stem(value))}
    if "item_view" in {ours for value, ours in found.items() if not word(value).startswith("click")}:
        found |= {value: "item_engagement" for value in found if word(value) in ("click", "clicks", "clicked")}
    return found


def _fits(target: str, cells: Sequence[str]) -> bool:
    if target == "event_id":
        return len(set(cells)) == len(cells)
    return True
