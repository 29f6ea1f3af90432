"""Forms that only SQLite understands, in one place: a second engine brings its own.

Everything else in these files also prepares on PostgreSQL, ``?`` written ``$n``.
"""

from typing import Final

ROW: Final = "rowid"  # names a row of a table without a key of one column. PostgreSQL: ``ctid``


def one_of(texts: str = "?") -> str:
    """Condition on a column: among the values of a JSON array. PostgreSQL: ``= ANY``, bound to an array.

    Examples
    --------
    >>> f"user_id {one_of()}"
    'user_id IN (SELECT value FROM json_each(?))'
    """
    return f"IN (SELECT value FROM json_each({texts}))"


def field(document: str, path: str) -> str:
    """A field of a JSON column; `path` is an SQL expression. PostgreSQL: ``jsonb_path_query_first``.

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
    """As `field`; NULL where the text is no JSON. PostgreSQL: ``IS JSON``."""
    return f"CASE WHEN json_valid({document}) THEN {field(document, path)} END"


def greater(one: str, other: str) -> str:
    """The greater of two values. PostgreSQL: ``greatest``."""
    return f"max({one}, {other})"
