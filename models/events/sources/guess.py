"""Guess of what a table means, from a sample of its rows: a format that we know, or a map of its columns.

Names of columns and actions are compared without case and punctuation with words that shops, trackers and public data sets use,
and a column is only taken if its values can be what its name says.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from models.events.plain import plain
from models.events.sources import SOURCES
from models.events.sources.action_words import ACTIONS, CODES, by_stem, word
from models.events.sources.maps import TableMap
from models.events.sources.odd_columns import flag_columns, in_hundredths, several_items
from models.events.sources.order_columns import Column, decimal_of, order_columns
from models.events.sources.time_columns import LEAST_SHARE, time_column
from models.events.sources.words import AMOUNTS, COLUMN_WORDS, ID_ENDINGS, NO_WORDS, SALE_WORDS, WHOLE_ORDER
from models.events.sources.written import UNITS

Container = Literal["csv", "jsonl", "parquet"]

ADDRESS_WORDS: Final = frozenset({"url", "uri", "path", "page", "pageurl", "pagepath", "location", "href", "pagelocation"})
ITEM_IN_ADDRESS: Final = (
    r"(?:/(?:products?|items?|p|dp|artikel|produkte?|produits?|productos?|articles?)/"
    r"|[?&](?:product_?id|item_?id|sku|pid)=)([^/?#&]+)"
)
MOST_ACTIONS: Final = 60  # different values of a column of actions
# Before others that share fields with them; `attune` last, since its names are common words.
_ORDER: Final = (
    *("otto", "ga4", "universal_analytics", "adobe", "matomo", "google_retail", "snowplow", "posthog", "segment"),
    *("trivago", "rees46", "jdata"),
)
_TABLES: Final = ("attune", "adobe")  # formats of documents whose tables have no lists or objects in their cells


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
    lists
        Paths of the lists whose entries are the rows.
    """

    container: Container
    separator: str
    header: Sequence[str]
    rows: Sequence[Mapping[str, str]]
    documents: Sequence[Mapping[str, Any]] = ()
    encoding: str = "utf-8"
    lists: Sequence[str] = ()


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
        if sample.container == "csv" and source.container == "jsonl" and name not in _TABLES and not sample.documents:
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
    if name == "adobe":
        return any("event_list" in field for field in sample.header)
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
    cells = {name: [plain(row.get(name, "")) for row in sample.rows] for name in names}
    values = {name: [cell for cell in column if cell] for name, column in cells.items()}
    at, clock, times, doubts = time_column(cells, _by_word(values, "ts"), bool(sample.header))
    columns: dict[str, str | Sequence[str]] = {"ts": at}
    notes = [f"time: {at}{f' and {clock}' if clock else ''} ({_listed(times)})", *doubts]
    taken = {at, *([clock] if clock else [])}
    flags = _flags(values, taken, notes)
    events, defaults = ({}, {}) if flags else _actions(values, taken, columns, notes)
    if not sample.header:
        by_place = _by_place([name for name in names if name not in taken], values)
        columns |= by_place
        notes += [f"no header: {target} is taken to be field {int(name) + 1}" for target, name in by_place.items()]
    _add_by_name(sample, cells, taken, columns, notes)
    orders = order_columns(cells, lambda target: [name for name in _by_word(values, target) if name not in taken])
    notes += orders.notes
    for target, name in zip(orders._fields[:-1], orders[:-1], strict=True):
        if name is not None:
            columns[target] = _with_others(name, target, cells, taken) if sample.documents and target != "order_id" else name
            notes.append(f"{target}: {_listed(columns[target])}")
    if "user_id" not in columns:
        columns["user_id"] = _stand_in(columns, names, notes)
    splits = {} if "item_id" in columns else _split_items(values, taken, columns, notes)
    patterns = {} if "item_id" in columns else _item_otherwise(values, taken, columns, notes)
    amounts = {target: _columns(columns[target]) for target in ("price", "revenue") if target in columns}
    factors: dict[str, float] = {
        t: 0.01 for t, own in amounts.items() if any(in_hundredths(_tokens(name), cells[name]) for name in own)
    }
    notes += [f"{target}: in hundredths" for target in factors]
    decimal = decimal_of([cell for name in (orders.price, orders.revenue) if name for cell in cells[name]])
    separator = sample.separator if sample.container == "csv" and sample.separator != "," else None
    if sample.encoding != "utf-8":
        notes.append(f"letters are no UTF-8: {sample.encoding} is taken")
    lists, no_names = (*sample.lists, *splits), () if sample.header else tuple(names)
    shape = (separator, decimal, sample.encoding, no_names, lists, clock, patterns)
    table = TableMap(columns, events, defaults, times, "UTC", *shape, factors=factors, flags=flags, splits=splits)
    if not any(_has_offset(cell) for cell in values[at]) and times not in UNITS:
        notes.append("times say no zone: UTC is taken; set zone in the map if that is wrong")
    return Guess(None, table, notes)


Columns = dict[str, str | Sequence[str]]


def _flags(values: Mapping[str, Sequence[str]], taken: set[str], notes: list[str]) -> dict[str, str]:
    """Columns that say yes or no to an action each, where no column names actions."""
    named = [name for name in _by_word(values, "type") if name not in taken and len(set(values[name])) <= MOST_ACTIONS]
    if any(_meanings(name, set(values[name])) for name in named):
        return {}
    flags = flag_columns({name: cells for name, cells in values.items() if name not in taken})
    if flags:
        taken.update(flags)
        notes.append(f"actions: a column each, {', '.join(flags)}; of several in a row the weightiest counts")
    return flags


def _split_items(values: Mapping[str, Sequence[str]], taken: set[str], columns: Columns, notes: list[str]) -> dict[str, str]:
    """The column whose cells hold several items, and what stands between them."""
    found = several_items({name: cells for name, cells in values.items() if name not in taken})
    for name, mark in found.items():
        taken.add(name)
        columns["item_id"] = name
        for amount in ("price", "revenue", "quantity"):  # they are said of the whole cell
            columns.pop(amount, None)
        notes.append(f"item_id: each of {name}, between them {mark!r}")
    return found


def _actions(
    values: Mapping[str, Sequence[str]], taken: set[str], columns: Columns, notes: list[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """What actions mean, and the type of rows that name none; their column is added."""
    kind, events = _action_column(values, taken)
    if kind is None:
        default = "purchase" if any(SALE_WORDS & {word(n), *_tokens(n)} for n in values) else "item_view"
        notes.append(f"no column says what visitors did: every row is taken for {default}")
        return events, {"type": default}
    columns["type"] = kind
    taken.add(kind)
    unknown = sorted({v for v in values[kind]} - set(events))[:5]
    notes.append(f"action: {kind} ({len(events)} known{', unknown: ' + ', '.join(unknown) if unknown else ''})")
    # of rows that say nothing, as of an order's second
    return events, {"type": "purchase"} if set(events.values()) == {"purchase"} else {}


def _add_by_name(sample: Sample, cells: Mapping[str, Column], taken: set[str], columns: Columns, notes: list[str]) -> None:
    """Add the columns whose names say what they hold."""
    values = {name: [cell for cell in column if cell] for name, column in cells.items()}
    for target in ("user_id", "session_id", "item_id", "category", "event_id", "query", "device", "referrer"):
        found = [name for name in _by_word(values, target) if name not in taken and _fits(target, values[name], name, sample)]
        if not found or target in columns:
            continue
        several = found if target in ("user_id", "category") else found[:1]
        if target == "item_id" and sample.documents:
            several = list(_columns(_with_others(found[0], target, cells, taken)))
        columns[target] = several if len(several) > 1 else several[0]
        taken.update(several)
        notes.append(f"{target}: {', '.join(several)}")
    whose = _columns(columns.get("user_id", ()))
    if "session_id" in columns and whose and not all(map(any, zip(*(cells[name] for name in whose), strict=True))):
        columns["user_id"] = [*whose, *_columns(columns["session_id"])]
        notes.append(f"where none names the visitor, every {columns['session_id']} is taken for one")


def _with_others(first: str, target: str, cells: Mapping[str, Column], taken: set[str]) -> str | Sequence[str]:
    """A field of documents, and those of the same meaning that hold it where it is missing: kinds of events have their own."""
    values = {name: [cell for cell in column if cell] for name, column in cells.items()}
    chosen, empty = [first], [not cell for cell in cells[first]]
    for name in _by_word(values, target):
        if name not in taken and name not in chosen and any(a and b for a, b in zip(empty, cells[name], strict=True)):
            chosen.append(name)
            empty = [a and not b for a, b in zip(empty, cells[name], strict=True)]
    return chosen if len(chosen) > 1 else first


def _item_otherwise(values: Mapping[str, Sequence[str]], taken: set[str], columns: Columns, notes: list[str]) -> dict[str, str]:
    """The item where no name says so: the column `id`, if events have another; else a part of the page's address."""
    if "event_id" in columns and "id" in values and "id" not in taken:
        columns["item_id"] = "id"
        notes.append("item_id: id, since it is not the event's")
        return {}
    for name in values:
        is_address = name not in taken and word(re.split(r"[./]", name)[-1]) in ADDRESS_WORDS
        if is_address and any(re.search(ITEM_IN_ADDRESS, cell) for cell in values[name]):
            columns["item_id"] = name
            notes.append(f"item_id: in the address {name}")
            return {"item_id": ITEM_IN_ADDRESS}
    notes.append("no column seems to be the item: events about items will be refused")
    return {}


def _listed(names: str | Sequence[str]) -> str:
    return names if isinstance(names, str) else ", ".join(names)


def _stand_in(columns: Mapping[str, str | Sequence[str]], names: Sequence[str], notes: list[str]) -> str | Sequence[str]:
    """Column that stands for the visitor where none names one: the session, else the order."""
    for target in ("session_id", "order_id"):
        if target in columns:
            notes.append(f"no column names the visitor: every {columns[target]} is taken for one")
            return columns[target]
    raise ValueError(f"no column seems to be the visitor among {', '.join(names[:20])}: write a map with [columns] user_id")


def _columns(column: str | Sequence[str]) -> Sequence[str]:
    return (column,) if isinstance(column, str) else column


def _by_place(names: Sequence[str], values: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Fields of a table without a header, as its makers put them: who, what, and the kind of what."""
    found = dict(zip(("user_id", "item_id", "category"), names, strict=False))
    if "category" in found and all(re.fullmatch(r"\d(\.\d)?|10", cell) for cell in values[found["category"]]):
        del found["category"]  # stars
    return found


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

    whole = best_first(lambda name: (word(name), word(re.split(r"[./]", name)[-1]), "".join(_tokens(name)), _inner(name)))
    found = whole or best_first(lambda name: _parts(name, target in AMOUNTS))
    return [name for name in found if target not in AMOUNTS or _is_amount(target, _tokens(name))]


def _inner(path: str) -> str:
    """The end of a path as one word, the entry of a list for the list.

    Examples
    --------
    >>> _inner("action.products.id"), _inner("data.customer.id"), _inner("id")
    ('productid', 'customerid', '')
    """
    *_, of, name = ["", *path.split(".")] if "." not in path else path.split(".")
    return f"{word(of).removesuffix('s')}{word(name)}" if of else ""


def _is_amount(target: str, words: Sequence[str]) -> bool:
    """Whether a name can be one of an amount of a row: it is no id, and no revenue of a whole order."""
    is_whole = target == "revenue" and not WHOLE_ORDER.isdisjoint(words) and {"item", "line", "row"}.isdisjoint(words)
    return words[-1] != "id" and words[-1] not in ID_ENDINGS - {"code"} and not is_whole


def _share(values: Sequence[str], holds: Callable[[str], bool]) -> float:
    some = values[:500]
    return sum(map(holds, some)) / len(some) if some else 0.0


def _has_offset(cell: str) -> bool:
    return re.search(r"\d\d:\d\d.*([zZ]|UTC|GMT|[+-]\d\d:?(\d\d)?)$", cell) is not None


def _action_column(values: Mapping[str, Sequence[str]], taken: set[str]) -> tuple[str | None, dict[str, str]]:
    """The column of actions and what each means: the one whose values are known best, a name for it counting double."""
    named = _by_word(values, "type")
    best: tuple[float, str | None, dict[str, str]] = (0.0, None, {})
    for name, cells in values.items():
        different = set(cells)
        if name in taken or not different or len(different) > MOST_ACTIONS or any("://" in cell for cell in different):
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


def _fits(target: str, cells: Sequence[str], name: str, sample: Sample) -> bool:
    if target != "event_id":
        return True
    in_list = any(name.startswith(f"{path}.") for path in sample.lists)
    return len(set(cells)) == len(cells) and not (in_list and any(cell.isdecimal() for cell in cells))
