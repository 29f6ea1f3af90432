"""Rows of the log as PostgreSQL takes them: one array per column, and one statement for all rows."""

from collections.abc import Iterable, Sequence
from itertools import islice
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
_ARRAYS: Final = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(_TYPES, start=2))
# Appends rows, and names those that are new by their place in the transaction: ($1: places taken, an array per column). What a
# user did before she was erased stays out.
APPEND: Final = (
    "WITH own AS MATERIALIZED (SELECT log_position() + $1 - 1 AS before) "
    f"INSERT INTO events (seq, {', '.join(APPEND_COLUMNS)}) "
    f"SELECT own.before + nth, {', '.join(f'row.{name}' for name in APPEND_COLUMNS)} FROM own, "
    f"unnest({_ARRAYS}) WITH ORDINALITY AS row ({', '.join(APPEND_COLUMNS)}, nth) WHERE NOT EXISTS (SELECT 1 FROM tombstones "
    "WHERE tombstones.user_id = row.user_id AND erased_at_us >= row.occurred_at_us) ORDER BY nth "
    f"ON CONFLICT DO NOTHING RETURNING seq & {PLACES - 1}"
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
    left = iter(rows)
    while chunk := list(islice(left, MOST_ROWS)):
        before = taken + len(news)
        if before + len(chunk) > PLACES:
            raise psycopg.DataError(f"more than {PLACES} events in one transaction")
        found = connection.execute(APPEND, (before, *map(array, zip(*chunk, strict=True)))).fetchall()
        verdicts = [False] * len(chunk)
        for (place,) in found:
            verdicts[place - before] = True
        news.extend(verdicts)
    return news
