"""Move of a home's store to a server: every row of every table, under the numbers that it has."""

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final

import apsw
import psycopg
from psycopg import sql

from infra.store.embedded.connection import connect
from infra.store.errors import WrongRevision
from infra.store.postgres.connection import Connection, connect_server, shown, translated
from infra.store.postgres.migrate import migrate
from infra.store.postgres.parts import UNIQUE

ROWS: Final = 10_000
# Tables before those that name their rows.
_FIRST: Final = ("partners", "events", "operators", "model_versions", "deliveries")
_OURS: Final = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
_COLUMNS: Final = "SELECT name FROM pragma_table_info(?) ORDER BY cid"
_IDENTITIES: Final = (
    "SELECT table_name, column_name, pg_get_serial_sequence(table_name, column_name) FROM information_schema.columns "
    "WHERE is_identity = 'YES' AND table_schema = current_schema()"
)


def move(home: Path, url: str) -> dict[str, int]:
    """Copy the store of a home into a server's database that holds nothing yet, in one transaction.

    The home's file stays as it is. Nobody may write it meanwhile: what comes later is not moved.

    Returns
    -------
    Rows by table, of those that have any.

    Raises
    ------
    StoreUnavailable
        If one of them cannot be used, or the database holds a partner or an event already.
    """
    embedded = connect(home, only_read=True)
    with closing(embedded), closing(connect_server(url)) as server:
        migrate(server)
        try:
            with server.transaction():
                for table in ("partners", "events"):
                    if server.execute(_any(table)).fetchall():
                        raise WrongRevision(f"{shown(url)} holds {table} already: name a database that is empty")
                return _moved(embedded, server)
        except psycopg.Error as error:
            raise translated(error, url) from error


def _any(table: str) -> sql.Composed:
    return sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(table))


def _moved(embedded: apsw.Connection, server: Connection) -> dict[str, int]:
    names = [str(name) for (name,) in embedded.execute(_OURS)]
    found: dict[str, int] = {}
    for table in sorted(names, key=lambda name: (name not in _FIRST, _FIRST.index(name) if name in _FIRST else 0)):
        columns = [str(name) for (name,) in embedded.execute(_COLUMNS, (table,))]
        if n_rows := sum(_copy(server, table, columns, rows) for rows in _chunks(embedded, table, columns)):
            found[table] = n_rows
    for statement in UNIQUE:
        server.execute(statement)
    for table, column, sequence in server.execute(_IDENTITIES).fetchall():
        highest = sql.SQL("SELECT setval({}, greatest((SELECT coalesce(max({}), 0) FROM {}), 1))")
        server.execute(highest.format(sql.Literal(sequence), sql.Identifier(column), sql.Identifier(table)))
    return found


def _chunks(embedded: apsw.Connection, table: str, columns: list[str]) -> Iterator[list[tuple[Any, ...]]]:
    rows = iter(embedded.execute(f"SELECT {', '.join(columns)} FROM {table}"))
    while chunk := list(islice(rows, ROWS)):
        yield chunk


def _copy(server: Connection, table: str, columns: list[str], rows: list[tuple[Any, ...]]) -> int:
    into = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns)))
    with server.cursor() as cursor, cursor.copy(into) as copy:
        for row in rows:
            copy.write_row(row)
    return len(rows)
