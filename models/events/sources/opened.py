"""JSON documents opened: out of an envelope, texts that hold JSON as what they hold, the entries of a list as rows.

Exports of an API put their rows into an envelope (``{"data": [...], "next": ...}``), tables put lists and objects into one cell
as JSON or as Python prints them, and orders hold their lines.
"""

import ast
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Json = dict[str, Any]

DEEPEST: Final = 4  # envelopes in one another
MOST_CELL: Final = 256 << 10  # characters of a cell that is read as Python prints lists
NUMBER: Final = "\x00n"  # field of an opened row: its place among the rows of its document, from 0
# What stands beside the rows in an envelope, without case and punctuation.
_BESIDE: Final = frozenset(
    {
        *("count", "total", "totalcount", "totalresults", "numfound", "size", "length", "n", "next", "previous", "prev"),
        *("page", "pages", "pageno", "perpage", "pagesize", "limit", "offset", "start", "end", "from", "to", "hasmore", "more"),
        *("cursor", "nextcursor", "nextpage", "nextpagetoken", "scrollid", "meta", "metadata", "paging", "pagination", "links"),
        *("status", "statuscode", "code", "success", "ok", "message", "messages", "error", "errors", "warnings", "took"),
        *("timedout", "shards", "maxscore", "version", "apiversion", "schema", "generatedat", "exportedat", "sentat", "object"),
        *("url", "self", "requestid", "testeventcode", "accesstoken", "writekey", "apikey", "project", "index"),
    }
)
# Fields that hold one row each, and what stands beside those: of queues, logs and loaders.
_ONE: Final = frozenset({"value", "message", "payload", "body", "record", "data", "recordcontent", "airbytedata", "source"})
_BESIDE_ONE: Final = frozenset(
    {
        *(
            "key",
            "offset",
            "partition",
            "topic",
            "timestamp",
            "timestamptype",
            "headers",
            "recordmetadata",
            "partitionkey",
            "score",
        ),
        *("airbyteabid", "airbyteemittedat", "airbyterawid", "airbyteloadedat", "airbyteextractedat", "airbytemeta"),
        *("sequencenumber", "ingestiontime", "logstream", "loggroup", "id", "type", "approximatearrivaltimestamp", "level"),
    }
)
_BATCH: Final = "batch"  # Segment's, beside whatever else


def without_envelope(document: Json) -> list[Json] | None:
    """The rows in an envelope; None for a document that is none.

    Examples
    --------
    >>> without_envelope({"data": [{"a": 1}, {"a": 2}], "next": None})
    [{'a': 1}, {'a': 2}]
    >>> without_envelope({"took": 3, "hits": {"total": 1, "hits": [{"_id": "x", "_source": {"a": 1}}]}})
    [{'a': 1}]
    >>> without_envelope({"columns": ["a", "b"], "data": [[1, 2]]})
    [{'a': 1, 'b': 2}]
    >>> without_envelope({"a": {"0": 1}, "b": {"0": 2}, "c": {"0": 3}})
    [{'a': 1, 'b': 2, 'c': 3}]
    >>> without_envelope({"session": 7, "events": [{"aid": 1}]})
    """
    inside: Any = document
    for _ in range(DEEPEST):
        if row := _only_row(inside):
            return [row]
        if found := _of_columns(inside):
            return found
        rest = [name for name in inside if not stands_beside(name) or _is_rows(inside[name])]
        name = next((name for name in rest if name == _BATCH), rest[0] if len(rest) == 1 else None)
        if name is None:
            return None
        inside = inside[name]
        if _is_rows(inside):
            return [_only_row(row) or row for row in inside]
        if not isinstance(inside, dict):
            return None
    return None


def _only_row(document: Json) -> Json | None:
    """The row that a document wraps, as queues and loaders write them; None where it wraps none.

    Examples
    --------
    >>> _only_row({"key": None, "offset": 3, "value": '{"user_id": "u", "type": "search", "ts": 7}'})
    {'user_id': 'u', 'type': 'search', 'ts': 7}
    """
    held = [name for name in document if _word(name) in _ONE]
    if len(held) != 1 or not all(stands_beside(name) or _word(name) in _BESIDE_ONE for name in document if name != held[0]):
        return None
    inner = document[held[0]]
    inner = cell_content(inner) if isinstance(inner, str) and inner[:1] == "{" else inner
    is_row = isinstance(inner, dict) and (len(inner) > 2 or held[0] == "_source")
    return inner if is_row and not any(map(_is_rows, inner.values())) else None


def is_bulk_action(document: Any) -> bool:
    """Whether a document is a line of Elasticsearch's bulk format that says where the next one goes.

    Examples
    --------
    >>> is_bulk_action({"index": {"_index": "shop", "_id": "7"}}), is_bulk_action({"index": {"name": "shop"}})
    (True, False)
    """
    if type(document) is not dict or len(document) != 1:
        return False
    ((name, inner),) = document.items()
    return name in ("index", "create") and isinstance(inner, dict) and all(key[:1] == "_" or key == "routing" for key in inner)


def stands_beside(name: str) -> bool:
    """Whether a field of an envelope stands beside its rows, as a count or a cursor does."""
    return _word(name) in _BESIDE


def _word(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _of_columns(document: Json) -> list[Json]:
    """Rows of a table that was written column by column, or as names and lists; none for anything else."""
    schema = document.get("schema")
    if isinstance(schema, dict) and _is_rows(schema.get("fields")) and _is_rows(document.get("rows")):  # BigQuery's answers
        labels = [str(one.get("name", "")) for one in schema["fields"]]
        cells = [[cell.get("v") for cell in row["f"]] for row in document["rows"] if _is_rows(row.get("f"))]
        return [dict(zip(labels, row, strict=True)) for row in cells if len(row) == len(labels)]
    names = document.get("columns")
    rows = next((document[name] for name in ("data", "rows", "values") if isinstance(document.get(name), list)), None)
    if isinstance(names, list) and rows and all(isinstance(row, list) and len(row) == len(names) for row in rows):
        labels = [str(name.get("name", "")) if isinstance(name, dict) else str(name) for name in names]
        return [dict(zip(labels, row, strict=True)) for row in rows]
    values = list(document.values())
    if len(values) > 1 and _is_rows(values) and all(len(v) > 2 and v.keys() == values[0].keys() for v in values):
        return values if "0" not in values[0] else _turned(document)  # by the label of each row, or of each column
    if len(values) < 3 or not values[0]:
        return []
    if _is_rows(values) and "0" in values[0] and all(value.keys() == values[0].keys() for value in values):
        return _turned(document)
    if all(isinstance(value, list) and len(value) == len(values[0]) for value in values) and not any(map(_is_rows, values)):
        return [dict(zip(document, row, strict=True)) for row in zip(*values, strict=True)]
    return []


def _turned(columns: Mapping[str, Mapping[str, Any]]) -> list[Json]:
    return [{name: column[at] for name, column in columns.items()} for at in next(iter(columns.values()))]


def with_open_cells(document: Json) -> Json:
    """A document whose texts at the top that hold an object, or a list of objects, are what they hold.

    Examples
    --------
    >>> with_open_cells({"items": '[{"item_id": "a"}]', "params": "{'x': None}", "category": "[new]"})
    {'items': [{'item_id': 'a'}], 'params': {'x': None}, 'category': '[new]'}
    """
    texts = [name for name, value in document.items() if type(value) is str and value[:1] in ("[", "{")]
    if not texts:
        return document
    found = {name: cell_content(document[name]) for name in texts}
    return document | {name: value for name, value in found.items() if isinstance(value, dict) or _is_rows(value)}


def cell_content(text: str) -> Any:
    """Value of a text that is JSON, or a list or dictionary as Python prints it; the text itself, if it is neither."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if "'" not in text or len(text) > MOST_CELL:
        return text
    try:
        found = ast.literal_eval(re.sub(r"\bnan\b", "None", text))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return text
    return found if isinstance(found, dict | list) else text


def with_inner_names(row: Mapping[str, str]) -> Json:
    """A row of a table as a document: empty cells are left out, and ``device.category`` is a field inside `device`.

    Examples
    --------
    >>> with_inner_names({"a": "1", "b.c": "2", "b.d": "3", "e": ""})
    {'a': '1', 'b': {'c': '2', 'd': '3'}}
    """
    found: Json = {name: value for name, value in row.items() if value and "." not in name}
    for name, value in row.items():
        if not value or "." not in name:
            continue
        *path, last = name.split(".")
        place = found
        for step in path:
            inner = place.setdefault(step, {})
            place = inner if isinstance(inner, dict) else {}
        place[last] = value
    return found


def with_rows(document: Json, paths: Sequence[str]) -> list[Json]:
    """A document once for each entry of its lists: at the path of a list stands the entry.

    Of lists beside one another the first that is there counts; one whose path leads through another is opened after it.

    Examples
    --------
    >>> order = {"id": 7, "lines": [{"sku": "a"}, {"sku": "b"}]}
    >>> [(row["id"], row["lines"]["sku"]) for row in with_rows(order, ["lines"])]
    [(7, 'a'), (7, 'b')]
    """
    rows, met = [document], list[str]()
    for path in paths:
        if any(not path.startswith(f"{one}.") for one in met):
            continue
        opened = [_opened(row, path.split(".")) for row in rows]
        if any(len(found) > 1 or found[0] is not row for found, row in zip(opened, rows, strict=True)):
            met.append(path)
        rows = [row for found in opened for row in found]
    return [row | {NUMBER: i} for i, row in enumerate(rows)]


def _opened(document: Json, path: Sequence[str]) -> list[Json]:
    name, *rest = path
    inside = document.get(name)
    if isinstance(inside, str) and inside[:1] in ("[", "{"):
        inside = cell_content(inside)
    if rest:
        if not isinstance(inside, dict):
            return [document]
        found = _opened(inside, rest)
        return [document] if len(found) == 1 and found[0] is inside else [document | {name: one} for one in found]
    return [document | {name: one} for one in inside] if isinstance(inside, list) and inside else [document]


# Names of lists whose entries are what happened or what was bought, without case and punctuation.
_LISTS: Final = frozenset(
    {
        *("items", "products", "product", "lineitems", "orderitems", "orderlines", "orderproducts", "lines", "cartitems"),
        *("basketitems", "cart", "basket", "contents", "entries", "articles", "positionen", "artikel", "articulos"),
        *("details", "itemdetails", "productdetails", "purchaseditems", "transactions", "orders", "purchases", "events"),
        *(
            "hits",
            "actions",
            "actiondetails",
            "interactions",
            "activities",
            "history",
            "clicks",
            "views",
            "pageviews",
            "visits",
        ),
    }
)
_LISTS_OF_IDS: Final = re.compile(r"(item|product|object|content|article|sku|variant|listing)(ids?|s)$")


def is_list_name(name: str) -> bool:
    """Whether a name is one of several items or happenings."""
    return _word(name) in _LISTS or _LISTS_OF_IDS.search(_word(name)) is not None


def lists_of_rows(documents: Iterable[Json]) -> list[str]:
    """Paths of the lists in documents that hold rows, as far as their names say so, the outer ones first.

    Examples
    --------
    >>> lists_of_rows([{"events": [{"data": {"products": [{"id": 1}]}}]}, {"ids": [1]}])
    ['events', 'events.data.products']
    """
    found: dict[str, bool] = {}
    for document in documents:
        for path, is_rows in _lists(document, ""):
            found[path] = found.get(path, False) or is_rows
    return sorted(found, key=lambda path: (path.count("."), not found[path]))


def _lists(document: Mapping[str, Any], before: str) -> Iterable[tuple[str, bool]]:
    if before.count(".") > DEEPEST:
        return
    for name, value in document.items():
        path = f"{before}{name}"
        if isinstance(value, Mapping):
            yield from _lists(value, f"{path}.")
        elif _is_rows(value) and _word(name) in _LISTS:
            yield path, True
            for one in value[:20]:
                yield from _lists(one, f"{path}.")
        elif isinstance(value, list) and _LISTS_OF_IDS.search(_word(name)) and all(isinstance(v, str | int) for v in value):
            yield path, False
