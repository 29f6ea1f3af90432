"""Forms that only SQLite understands, in one place: `infra.store.postgres.forms` rewrites them.

Everything else in these files also prepares on PostgreSQL, ``?`` written ``$n``.
"""

from typing import Final

ROW: Final = "rowid"  # names a row of a table without a key of one column, as long as nobody changes it. PostgreSQL: ``ctid``


def one_of(texts: str = "?") -> str:
    """Condition on a column: among the values of a JSON array. PostgreSQL: ``= ANY`` of an array.

    Examples
    --------
    >>> f"user_id {one_of()}"
    'user_id IN (SELECT value FROM json_each(?))'
    """
    return f"IN (SELECT value FROM json_each({texts}))"


def field(document: str, path: str) -> str:
    """A field of a JSON column; `path` is an SQL expression. PostgreSQL: a function of ours.

    Examples
    --------
    >>> field("body", "'$.params.window_s'")
    "json_extract(body, '$.params.window_s')"
    """
    return f"json_extract({document}, {path})"


def holds(text: str, part: str) -> str:
    """Condition: a text has a part. PostgreSQL: ``strpos``."""
    return f"instr({text}, {part}) > 0"


def field_if_json(document: str, path: str) -> str:
    """As `field`; NULL where the text is no JSON. PostgreSQL: a function of ours."""
    return f"CASE WHEN json_valid({document}) THEN {field(document, path)} END"


def greater(one: str, other: str) -> str:
    """The greater of two values. PostgreSQL: ``greatest``."""
    return f"max({one}, {other})"


def firsts(columns: str, table: str, condition: str) -> str:
    """Each user's first row of a table by `created_at_us`, of those that a condition holds for; both engines know it.

    Examples
    --------
    >>> firsts("user_id, type", "signals", "partner = ?").split(" FROM ")[0]
    'SELECT user_id, type'
    """
    numbered = "row_number() OVER (PARTITION BY user_id ORDER BY created_at_us, seq) AS nth"
    return f"SELECT {columns} FROM (SELECT *, {numbered} FROM {table} WHERE {condition}) AS each_one WHERE nth = 1"
