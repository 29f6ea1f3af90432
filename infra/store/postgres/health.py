"""Health of a PostgreSQL server as a store: what would lose events, hold readers back or keep us out."""

from contextlib import closing
from typing import Any, Final

import psycopg

from infra.store.errors import StoreUnavailable
from infra.store.postgres.connection import Connection, connect_server, shown

LEAST_CONNECTIONS: Final = 30  # free, for service, worker and flows of one machine
LONGEST_OPEN_S: Final = 30  # a transaction that writes holds the end of the log back for all readers
_SETTINGS: Final = "SELECT current_setting('server_version'), current_setting('fsync'), current_setting('full_page_writes')"
_CONNECTIONS: Final = (
    "SELECT current_setting('max_connections')::bigint, count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
)
_OLDEST: Final = (
    "SELECT coalesce(max(extract(epoch FROM now() - xact_start)), 0)::bigint FROM pg_stat_activity "
    "WHERE backend_xid IS NOT NULL"
)
Finding = tuple[str, str, str, str]


def examine(url: str) -> list[Finding]:
    """Part, state, what is seen, and the mend, of each thing that matters; nothing raises."""
    try:
        with closing(connect_server(url)) as connection:
            return [_server(connection, url), _connections(connection), _writers(connection)]
    except (StoreUnavailable, psycopg.Error) as error:
        what = str(error) if isinstance(error, StoreUnavailable) else type(error).__name__
        return [("postgresql", "fail", what, f"start the server at {shown(url)}, or set ATTUNE_STORE_URL")]


def _one(connection: Connection, statement: str) -> tuple[Any, ...]:
    (row,) = connection.execute(statement).fetchall()
    return row


def _server(connection: Connection, url: str) -> Finding:
    version, fsync, full_pages = _one(connection, _SETTINGS)
    says = f"{version} at {shown(url)}"
    if (fsync, full_pages) == ("on", "on"):
        return "postgresql", "ok", says, ""
    says += f": fsync {fsync}, full_page_writes {full_pages}"
    return "postgresql", "fail", says, "set both on: a crash loses events else"


def _connections(connection: Connection) -> Finding:
    most, used = _one(connection, _CONNECTIONS)
    says = f"{used} of {most} in use"
    if most - used >= LEAST_CONNECTIONS:
        return "connections", "ok", says, ""
    return "connections", "warn", says, "raise max_connections, or put fewer processes on this server"


def _writers(connection: Connection) -> Finding:
    (open_s,) = _one(connection, _OLDEST)
    if open_s <= LONGEST_OPEN_S:
        return "writers", "ok", "none is open for long", ""
    says = f"a transaction has been open for {open_s} s: no reader sees what came after it began"
    return "writers", "warn", says, "end it (pg_stat_activity has its pid); give the store a cluster of its own"
