"""Every statement means the same on both engines: same rows, same types, same numbers of changed rows, same state afterwards.

Both have the same rows in every table. Each statement is run with bindings that hit some of them, and undone.
"""

import json
import pkgutil
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from typing import Any

import apsw
import psycopg
import pytest

from infra.store import statements
from infra.store.embedded.connection import connect
from infra.store.postgres.connection import Connection, connect_server
from infra.store.postgres.forms import form
from infra.store.postgres.parts import UNIQUE
from infra.store.statements.deliveries import CLAIM, KEEP_CLAIMS
from infra.store.statements.dialect import ROW
from infra.store.statements.erasure import RETENTION
from infra.store.statements.events import APPEND_EVENT, NOTE_SOURCE
from infra.store.statements.leases import N_HELD
from infra.store.statements.quarantine import WITH_TEXT
from tests import postgres
from tests.infra.store.test_statements import FILES, texts

pytestmark = postgres.needs_postgres
TABLES = (
    "SELECT m.name FROM sqlite_schema m WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY m.name <> 'partners', "
    "m.name <> 'events', m.name <> 'operators', m.name <> 'model_versions', m.name <> 'deliveries', m.rowid"
)
COLUMNS = "SELECT name, type FROM pragma_table_info(?) ORDER BY cid"
TYPES = {"INTEGER": "bigint", "TEXT": "text", "REAL": "double precision", "BLOB": "bytea"}
N_ROWS = 4
# Events are appended by arrays, under positions of their own (`test_postgres.py`); no line of before was ever kept on a server.
# Where a row lies is another word on each; spans of leases and claims are by the clock of the server.
BY_PLACE = {table.find for table in RETENTION if ROW in table.find}
APART = {APPEND_EVENT, NOTE_SOURCE, WITH_TEXT, CLAIM, KEEP_CLAIMS, N_HELD, *BY_PLACE}
SEQUENCES = "SELECT pg_get_serial_sequence(table_name, column_name) FROM information_schema.columns WHERE is_identity = 'YES'"
# What a column may hold where not anything will do; else integers are the row's number and texts ``t1``, ``t2``, …
GIVEN: dict[str, tuple[Any, ...]] = {
    "kind": ("sk", "pk", "sk", "pk"),
    "cause": ("signal", "replay", "test", "signal"),
    "state": ("pending", "pending", "pending", "pending"),
    "arm": ("sent", "held", "passed", "sent"),
    "role": ("viewer", "operator", "ml", "admin"),
    "context": ('{"device": "mobile", "intent": "research"}', "{}", '{"intent": null}', '{"device": 3}'),
    "signal_types": ("[]", '["t1"]', '["t2", "t3"]', "[]"),
    "items": ('["t1", "t2"]', "[]", '["t3"]', '["t4"]'),
    "body": ('{"params": {"window_s": 60, "trial": {"a": 0.5}}}',) * 4,
    "payload": ('{"amount": 5.5}', '{"amount": 5}', "{}", '{"amount": null}'),
    "challenger": ('{"t1": 1, "b": 2}', '{"t1": 1}', '{"t1": 2}', "{}"),
    "event_type": ("purchase", "add_to_cart", "item_view", "purchase"),
    "variant": ("dynamic", "static", "dynamic", "dynamic"),
    "browser": (0, 1, 0, 1),
    "believed": (1, 0, 1, 1),
    "active": (1, 1, 0, 1),
    "price": (10.0, None, 2.5, float("nan")),
}
IN_TABLE: dict[tuple[str, str], tuple[Any, ...]] = {
    ("action_posterior", "id"): (1,),
    ("action_freeze", "id"): (1,),
    ("experiment_runs", "share"): (0.5, 0.25, 0.5, 0.75),
    ("experiment_runs", "state"): ("running", "stopped", "shipped", "running"),
    ("subscriptions", "state"): ("active", "disabled", "active", "active"),
    ("deliveries", "state"): ("pending", "delivered", "failed", "pending"),
    ("action_observations", "event_type"): (1, 2, 3, 4),
    ("action_observations", "context"): (1, 2, 3, 4),
    ("archive_files", "state"): ("kept", "draft", "gone", "kept"),
    ("catalog_items", "kind"): ("item", "content", "item", "item"),
    ("shadow", "kind"): ("recommendations", "engagement", "recommendations", "engagement"),
    ("quarantine", "seq"): (1, 2, None, None),
    ("quarantine", "verdict"): (None, "held", None, None),
    ("quarantine", "replayed_at_us"): (None, None, None, 4),
    ("tombstones", "completed_at_us"): (None, 2, None, 4),
    ("earlier_receipts", "receipt_id"): ("e1", "e2", "e3", "e4"),
    ("operator_links", "operator"): ("t1", "t1", "t2", "t3"),
}


def value(table: str, column: str, kind: str, k: int) -> Any:
    """What a row of the fixture has in a column; `k` from 0."""
    given = IN_TABLE.get((table, column)) or GIVEN.get(column)
    if given is not None:
        return given[k % len(given)]
    return {"INTEGER": k + 1, "TEXT": f"t{k + 1}", "REAL": k + 0.5, "BLOB": bytes([k])}[kind]


OF_SERVER = {"log_base", "store_revision", "event_ids", "order_items", "event_ranges"}  # tables that a file does not need


def tables_of(embedded: apsw.Connection) -> dict[str, list[tuple[str, str]]]:
    """Columns of every table, with their types."""
    names = [str(name) for (name,) in embedded.execute(TABLES)]
    return {name: [(str(column), str(kind)) for column, kind in embedded.execute(COLUMNS, (name,))] for name in names}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, all_tables: str) -> Iterator[tuple[apsw.Connection, Connection]]:
    """Both engines, with the same rows in every table; a test undoes what it does."""
    embedded = connect(tmp_path_factory.mktemp("parity"))
    with postgres.database(all_tables) as url, closing(connect_server(url)) as server:
        for table, columns in tables_of(embedded).items():
            for k in range(1 if (table, "id") in {("action_posterior", "id"), ("action_freeze", "id")} else N_ROWS):
                row = tuple(value(table, name, kind, k) for name, kind in columns)
                into = f"INSERT INTO {table} ({', '.join(name for name, _ in columns)})"
                embedded.execute(f"{into} VALUES ({', '.join('?' * len(row))})", row)
                server.execute(form(f"{into} VALUES ({', '.join('?' * len(row))})"), row)
        for statement in UNIQUE:
            server.execute(statement)
        count_on(server)
        yield embedded, server


def count_on(server: Connection) -> None:
    """Let the next numbers be those behind the rows: an undone transaction does not give them back."""
    for (sequence,) in server.execute(SEQUENCES).fetchall():
        server.execute(f"SELECT setval('{sequence}', {N_ROWS})")


def bindings(server: Connection, statement: str) -> list[list[Any]]:
    """Bindings by the types that PostgreSQL expects: hitting the first row, the second, and far beyond."""
    server.execute(f"PREPARE kinds AS {form(statement)}")
    ((kinds,),) = server.execute("SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'kinds'").fetchall()
    server.execute("DEALLOCATE kinds")
    choices = {
        "bigint": (1, 2, 5),
        "integer": (1, 2, 5),
        "text": ("t1", "t2", "t5"),
        "jsonb": _json(form(statement)),
        "double precision": (0.5, float("nan"), 9.5),
        "bytea": (b"a", b"b", b"c"),
    }
    return [[choices[kind][k] for kind in kinds] for k in range(3)]


def _json(text: str) -> tuple[str, str, str]:
    """Documents that a statement is given: numbers, a set of versions, or texts."""
    if "::bigint[]" in text:
        return "[1, 2]", "[2, 9]", "[]"
    if "::tid[]" in text:
        return "[]", "[]", "[]"
    return ('{"t1": 1}', '{"t1": 2}', "{}") if "@>" in text else ('["t1", "t2"]', '["t2", "\\u00fc"]', "[]")


def at_embedded(embedded: apsw.Connection, statement: str, bound: list[Any]) -> tuple[Any, int]:
    embedded.execute("SAVEPOINT one")
    try:
        before = embedded.total_changes()
        rows = embedded.execute(statement, bound).fetchall()
        return rows, 0 if statement.startswith("SELECT") else embedded.changes() if embedded.total_changes() > before else 0
    except apsw.ConstraintError:
        return "conflict", 0
    finally:
        embedded.execute("ROLLBACK TO one")
        embedded.execute("RELEASE one")


def at_server(server: Connection, statement: str, bound: list[Any]) -> tuple[Any, int]:
    if "RETURNING" in statement:
        count_on(server)
    with server.transaction(force_rollback=True):
        try:
            with server.transaction():
                cursor = server.execute(form(statement), bound)
                rows = cursor.fetchall() if cursor.description else []
                return rows, 0 if statement.startswith("SELECT") else cursor.rowcount
        except psycopg.IntegrityError:
            return "conflict", 0


def in_order(rows: Any, statement: str) -> Any:
    return rows if isinstance(rows, str) or "ORDER BY" in statement else sorted(rows, key=repr)


@pytest.mark.parametrize("name", FILES)
def test_every_statement_gives_the_same_on_both_engines(both: tuple[apsw.Connection, Connection], name: str) -> None:
    embedded, server = both
    public = {key: found for key, found in vars(import_module(f"infra.store.statements.{name}")).items() if key[0] != "_"}
    different = []
    for key, found in public.items():
        for statement in (one for one in texts(found) if one not in APART):
            for bound in bindings(server, statement):
                ours, theirs = at_embedded(embedded, statement, bound), at_server(server, statement, bound)
                ours, theirs = ((in_order(rows, statement), n) for rows, n in (ours, theirs))
                if repr(ours) != repr(theirs):  # 1 and 1.0 and True are three things
                    different.append(f"{name}.{key} {bound}:\n  {ours}\n  {theirs}")
    assert not different, "\n".join(different)


def test_both_engines_have_the_same_tables(both: tuple[apsw.Connection, Connection]) -> None:
    embedded, server = both
    theirs: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in server.execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns JOIN pg_class ON relname = table_name "
        "WHERE table_schema = 'public' AND NOT relispartition ORDER BY table_name, ordinal_position"
    ).fetchall():
        theirs.setdefault(table, []).append((column, kind))
    ours = {table: [(name, TYPES[kind]) for name, kind in columns] for table, columns in tables_of(embedded).items()}
    assert {table: sorted(theirs[table]) for table in theirs if table not in OF_SERVER} == {
        table: sorted(columns) for table, columns in ours.items()
    }


def test_files_of_statements_are_all_compared() -> None:
    assert {found.name for found in pkgutil.iter_modules(statements.__path__)} - set(FILES) == {"offline"}


def test_rows_that_are_named_by_their_place_are_removed_on_both(both: tuple[apsw.Connection, Connection]) -> None:
    embedded, server = both
    for table in (table for table in RETENTION if table.find in BY_PLACE):
        old = json.dumps([place for (place,) in embedded.execute(table.find, (3, 9))])
        at_server_old = json.dumps([place for (place,) in server.execute(form(table.find), (3, 9)).fetchall()])
        for statement in table.remove:
            n = at_embedded(embedded, statement, [old])[1]
            assert at_server(server, statement, [at_server_old])[1] == n > 0
