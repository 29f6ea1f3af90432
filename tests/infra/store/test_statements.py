"""Every statement is one that the store can prepare, and those of erasure and retention leave no table out."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import apsw
import apsw.ext
import pytest

from infra.store import statements
from infra.store.embedded.connection import connect
from infra.store.statements.erasure import ERASE, RETENTION, UNFINISHED

VERBS = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ")
OF_FILES = ("offline",)  # for DuckDB
FILES = [found.name for found in pkgutil.iter_modules(statements.__path__) if found.name not in OF_FILES]
OF_USERS = "SELECT m.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = 'user_id'"


def texts(value: Any) -> Iterator[str]:
    """The statements in a constant."""
    if isinstance(value, str) and value.startswith(VERBS):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, dict):
        yield from texts(list(value.values()))


@pytest.mark.parametrize("name", FILES)
def test_every_statement_can_be_prepared(tmp_path: Path, name: str) -> None:
    connection = connect(tmp_path)
    public = {key: value for key, value in vars(import_module(f"infra.store.statements.{name}")).items() if key[0] != "_"}
    for key, value in public.items():
        for statement in texts(value):
            try:
                n = apsw.ext.query_info(connection, statement).bindings_count
            except apsw.Error as error:
                pytest.fail(f"{name}.{key}: {error}\n{statement}")
            assert n < 40


def test_erasure_reaches_every_table_that_names_users(tmp_path: Path) -> None:
    named = {name for (name,) in connect(tmp_path).execute(OF_USERS)} - {"tombstones"}
    erased = {table for table, statement in ERASE if statement.endswith("WHERE user_id = ?1")}
    assert erased == named


def test_what_goes_with_rows_of_a_table_goes_before_them() -> None:
    order = [table for table, _ in ERASE]
    for table, statement in ERASE:
        for other in order:
            if f"FROM {other} WHERE" in statement and other != table:
                assert order.index(table) < order.index(other)


def test_what_is_old_is_found_without_looking_at_every_row(tmp_path: Path) -> None:
    connection = connect(tmp_path)
    for table in RETENTION:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {table.find}", (5, 10)).fetchall()
        assert not [step for step in plan if str(step[-1]).startswith("SCAN")], table.find
    plan = connection.execute(f"EXPLAIN QUERY PLAN {UNFINISHED}", (5, 10)).fetchall()
    assert not [step for step in plan if str(step[-1]).startswith("SCAN")]


def test_retention_forgets_a_row_and_what_goes_with_it(tmp_path: Path) -> None:
    connection = connect(tmp_path)
    into = "INSERT INTO events (partner, event_id, user_id, event_type, occurred_at_us, received_at_us)"
    connection.executemany(f"{into} VALUES ('p', ?, 'u', 's', ?, 1)", [("old", 1), ("new", 9)])
    connection.executemany("INSERT INTO reward_events VALUES (?, 'd', 1, 1)", [(1,), (2,)])
    events = RETENTION[0]
    old = connection.execute(events.find, (5, 10)).fetchall()
    for statement in events.remove:
        connection.execute(statement, (f"[{old[0][0]}]",))
    assert connection.execute("SELECT event_id FROM events").fetchall() == [("new",)]
    assert connection.execute("SELECT seq FROM reward_events").fetchall() == [(2,)]
