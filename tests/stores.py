"""A home's store as tests fill it and look at it, whatever engine holds it."""

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from infra.store import events
from infra.store.embedded import connection as embedded
from infra.store.engines import move, open_store, server
from infra.store.postgres.connection import connect_server
from infra.store.postgres.forms import form
from infra.store.postgres.migrate import require_ready
from tests.waiting import until


class ServerConnection:
    """Connection to a home's database, as tests use that to a home's file."""

    def __init__(self, url: str) -> None:
        self._connection = connect_server(url)
        require_ready(self._connection)

    def execute(self, statement: str, bindings: Sequence[Any] = ()) -> Any:
        """Run one statement; a cursor over its rows."""
        return self._connection.execute(form(statement), bindings)

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> Any:
        """Run one statement once per row; a cursor over the rows of the first."""
        cursor = self._connection.cursor()
        cursor.executemany(form(statement), list(rows), returning="RETURNING" in statement)
        return cursor

    def last_insert_rowid(self) -> int:
        """Number of the row that was inserted last."""
        ((number,),) = self._connection.execute("SELECT lastval()").fetchall()
        return int(number)

    def __enter__(self) -> "ServerConnection":
        """Begin a transaction."""
        self._transaction = self._connection.transaction()
        self._transaction.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        """End it."""
        self._transaction.__exit__(*raised)

    def close(self, force: bool = False) -> None:
        """Let go of it."""
        self._connection.close()


def embedded_only(why: str) -> pytest.MarkDecorator:
    """Mark of a test that needs a home's own file: left out by name where a server holds the store."""
    return pytest.mark.skipif(os.environ.get("ATTUNE_TEST_STORE") == "postgresql", reason=f"embedded store only: {why}")


def connect(home: Path) -> Any:
    """A connection to a home's store, for statements of the test's own."""
    url = server(home)
    return ServerConnection(url) if url else embedded.connect(home)


def without_trigger(home: Path, table: str, name: str) -> str:
    """Statement that takes a trigger from a table."""
    return f"DROP TRIGGER {name} ON {table}" if server(home) else f"DROP TRIGGER {name}"


def copied(source: Path, home: Path, *, dirs_exist_ok: bool = False) -> Path:
    """A copy of a home, its store included."""
    shutil.copytree(source, home, dirs_exist_ok=dirs_exist_ok)
    was, now = server(source), server(home)
    if was and now:
        from tests import postgres  # which looks for a server

        if not postgres.copy(was, now):  # the home was made on a file
            move(home)
    return home


def settled(home: Path) -> None:
    """Wait until every event of a home's log may be read: on a server, others' open transactions hold its end back."""
    if server(home) is None:
        return
    with closing(open_store(home)) as store:
        ((newest,),) = store.read("SELECT max(seq) FROM events")
        until(lambda: store.tail("").end() >= (newest or 0), "a transaction is open for ever", poll_s=0.01)


def append_events(home: Path, frame: pd.DataFrame, partner: str = "shop", received_at_us: int = 0) -> tuple[int, int]:
    """Append an event frame to a home's log; how many events were new, and how many were known."""
    with closing(open_store(home)) as store:
        found = store.write(lambda transaction: events.append_events(transaction, frame, partner, received_at_us))
    settled(home)
    return found


def append_from_browsers(home: Path, frame: pd.DataFrame, received_at_us: int = 0) -> None:
    """Append an event frame as browser keys send it."""
    append_events(home, frame, received_at_us=received_at_us)
    with closing(connect(home)) as connection:
        connection.execute("UPDATE events SET browser = 1")


def numbers(home: Path) -> list[int]:
    """Numbers of a home's events, in the order of the log: 1, 2, 3, … of a file, positions of a server."""
    with closing(connect(home)) as connection:
        return [int(seq) for (seq,) in connection.execute("SELECT seq FROM events ORDER BY seq")]


def nth(home: Path, n: int) -> int:
    """Number of a home's n-th event, from 1; 0 for none."""
    return numbers(home)[n - 1] if n else 0


def place(column: str) -> str:
    """SQL expression: the how manieth event it is whose number a column holds, from 1."""
    return f"(SELECT count(*) FROM events AS counted WHERE counted.seq <= {column})"


def quarantine_events(home: Path, refusals: Iterable[tuple[int, str]]) -> int:
    """Hold events of a home's log back; how many are newly held back, or for another reason."""
    with closing(open_store(home)) as store:
        return store.write(lambda transaction: events.quarantine_events(transaction, list(refusals)))


def hold_anyway(home: Path, refusals: Iterable[tuple[int, str]]) -> int:
    """Hold events back as a feature table does that cannot be made with them."""
    with closing(open_store(home)) as store:
        return store.write(lambda transaction: events.quarantine_events(transaction, list(refusals), anyway=True))


def read_events(home: Path) -> pd.DataFrame:
    """A home's log as a frame."""
    settled(home)
    with closing(open_store(home)) as store:
        return events.read_events(store)
