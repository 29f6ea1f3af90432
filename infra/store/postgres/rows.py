"""Rows of the log as PostgreSQL takes them: one array per column, and one statement for all rows."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import count, islice
from typing import Any, Final

import msgspec
import psycopg

from infra.store.postgres.connection import ArrayText, Connection
from infra.store.statements.events import APPEND_COLUMNS
from infra.store.transaction import Row
from models.schema import MEASURES, MONEY

MOST_ROWS: Final = 5_000  # in one statement
PLACES: Final = 1 << 20  # positions of one transaction, see ``log_position``
_INTEGERS: Final = frozenset({"occurred_at_us", "utc_offset_min", "received_at_us", "browser", "believed"})
_TYPES: Final = tuple(
    "bigint" if name in _INTEGERS else "float8" if name in MEASURES or name in MONEY else "text" for name in APPEND_COLUMNS
)
# An item that was in an order already leaves its id behind, which no event has: (partners, ids).
_LEFT_BEHIND: Final = (
    "DELETE FROM event_ids WHERE (partner, event_id) IN (SELECT * FROM unnest($1::text[], $2::text[])) "
    "AND seq >= log_position() AND NOT EXISTS (SELECT 1 FROM events WHERE events.seq = event_ids.seq)"
)
_PARTNER, _ID, _ORDER = (APPEND_COLUMNS.index(name) for name in ("partner", "event_id", "order_id"))
SENT: Final = dict(zip(APPEND_COLUMNS, _TYPES, strict=True))
Shape = tuple[str, ...]  # of rows, per column: `ABSENT`, `ONE` or `MANY`
ABSENT, ONE, MANY = "none", "one value", "values"


@cache
def statement(shape: Shape) -> str:
    """Statement that appends rows and tells the places of those that are new, or nothing where all are.

    Bindings are how many places of the transaction are taken, how many rows there are, and per column a value or an array; what
    no row has is not sent. What a user did before she was erased stays out. An id is new if `event_ids` takes it, and an item
    of an order if `order_items` does.
    """
    numbered = count(3)
    number = {name: next(numbered) for name, kind in zip(APPEND_COLUMNS, shape, strict=True) if kind != ABSENT}
    many = [name for name, kind in zip(APPEND_COLUMNS, shape, strict=True) if kind == MANY]
    sent = {name: f"row.{name}" if name in many else f"${number[name]}::{SENT[name]}" for name in number}
    arrays = ", ".join(f"${number[name]}::{SENT[name]}[]" for name in many)
    has_orders = {"order_id", "item_id"} <= number.keys()
    return (
        f"WITH row AS MATERIALIZED (SELECT own.before + nth AS seq, {', '.join(many)} FROM "
        f"(SELECT log_position() + $1 - 1 AS before) AS own, unnest({arrays}) WITH ORDINALITY AS row ({', '.join(many)}, nth) "
        f"WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE tombstones.user_id = {sent['user_id']} "
        f"AND erased_at_us >= {sent['occurred_at_us']})), "
        f"known AS (INSERT INTO event_ids (partner, event_id, seq) SELECT {sent['partner']}, {sent['event_id']}, row.seq "
        f"FROM row ON CONFLICT DO NOTHING RETURNING seq), {_ordered(sent) if has_orders else ''}"
        f"new AS (INSERT INTO events (seq, {', '.join(sent)}) SELECT row.seq, {', '.join(sent.values())} "
        f"FROM row JOIN {'bought' if has_orders else 'known'} AS own ON own.seq = row.seq RETURNING seq) "
        f"SELECT CASE WHEN count(*) < $2 THEN coalesce(array_agg(seq & {PLACES - 1})::text, '{{}}') END FROM new"
    )


def _ordered(sent: dict[str, str]) -> str:
    """What is known by its id alone, and items of orders that no one has told of."""
    names = ("partner", "order_id", "item_id", "browser")
    is_item = f"{sent['event_type']} = 'purchase' AND {sent['order_id']} IS NOT NULL AND {sent['item_id']} IS NOT NULL"
    return (
        f"item AS (INSERT INTO order_items ({', '.join(names)}, seq) SELECT {', '.join(sent[name] for name in names)}, row.seq "
        f"FROM row JOIN known ON known.seq = row.seq WHERE {is_item} ON CONFLICT DO NOTHING RETURNING seq), "
        f"bought AS (SELECT row.seq FROM row JOIN known ON known.seq = row.seq WHERE ({is_item}) IS NOT TRUE "
        "UNION ALL SELECT seq FROM item), "
    )


def shape_of(columns: Sequence[tuple[Any, ...]]) -> Shape:
    """Shape of rows, given by columns. Ids of events are many, so that rows can be counted.

    Examples
    --------
    >>> rows = [("a", "a"), ("e1", "e2"), ("u1", "u2"), *[(None, None)] * (len(APPEND_COLUMNS) - 3)]
    >>> shape_of(rows)[:4]
    ('one value', 'values', 'values', 'none')
    """
    return tuple(
        MANY
        if name == "event_id" or values[0] != values[-1] or values.count(values[0]) < len(values)
        else ABSENT
        if values[0] is None
        else ONE
        for name, values in zip(APPEND_COLUMNS, columns, strict=True)
    )


def array(values: Sequence[Any]) -> ArrayText:
    r"""Text of a PostgreSQL array. What is no number is missing.

    Raises
    ------
    psycopg.DataError
        If a text has the character U+0000.

    Examples
    --------
    >>> array(["a", None, 'b "c"']), array([1, 2.5, float("nan")]), array(["\n"])
    (b'{"a",null,"b \\"c\\""}', b'{1,2.5,null}', b'{"\n"}')
    """
    text = msgspec.json.encode(values)
    # JSON and arrays are written alike but for characters that JSON escapes and arrays have as they are.
    if b"\\" in text and _is_escaped(text):
        text = b"[" + b",".join(map(_element, values)) + b"]"
    return ArrayText(b"{" + text[1:-1] + b"}")


def _is_escaped(text: bytes) -> bool:
    return text.count(b"\\") != text.count(b'\\"')


def _element(value: Any) -> bytes:
    if not isinstance(value, str):
        return msgspec.json.encode(value)
    if "\0" in value:
        raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return b'"' + value.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'


def append(connection: Connection, rows: Iterable[Row], taken: int) -> list[bool]:
    """Append rows to the log within a transaction; per row, whether it is new.

    Parameters
    ----------
    rows
        In the order of `APPEND_COLUMNS`.
    taken
        Positions of this transaction that are taken.

    Raises
    ------
    psycopg.DataError
        If the transaction has no positions left.
    """
    news: list[bool] = []
    for chunk in _pieces(iter(rows)):
        before = taken + len(news)
        if before + len(chunk) > PLACES:
            raise psycopg.DataError(f"more than {PLACES} events in one transaction")
        columns = list(zip(*chunk, strict=True))
        shape = shape_of(columns)
        sent = [
            array(values) if kind == MANY else values[0] for kind, values in zip(shape, columns, strict=True) if kind != ABSENT
        ]
        ((places,),) = connection.execute(statement(shape), (before, len(chunk), *sent)).fetchall()
        verdicts = [places is None] * len(chunk)
        for place in msgspec.json.decode(f"[{places[1:-1]}]") if places else ():
            verdicts[place - before] = True
        if told := [row for row, is_new in zip(chunk, verdicts, strict=True) if not is_new and row[_ORDER] is not None]:
            connection.execute(_LEFT_BEHIND, tuple(array([row[k] for row in told]) for k in (_PARTNER, _ID)))
        news.extend(verdicts)
    return news


def _pieces(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Rows for one statement each; where an order is named, none has an id twice: the second may be new if the first is not."""
    while chunk := list(islice(rows, MOST_ROWS)):
        if all(row[_ORDER] is None for row in chunk):
            yield chunk
            continue
        begin, seen = 0, set[tuple[Any, Any]]()
        for k, row in enumerate(chunk):
            if (named := (row[_PARTNER], row[_ID])) in seen:
                yield chunk[begin:k]
                begin, seen = k, set()
            seen.add(named)
        yield chunk[begin:]
