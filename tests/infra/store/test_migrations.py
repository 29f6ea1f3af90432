"""Migrations: a home of before opens, whoever opens it first, however often and however it ends; a newer one is left alone."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from infra import layout
from infra.store.embedded.connection import connect, found_revision, migrated
from infra.store.embedded.migrate import FIRST_MARK, newest, revisions
from infra.store.errors import NewerStore, PendingMigration
from infra.store.statements.signals import ADD_SIGNAL
from tests.stores import embedded_only
from tests.waiting import PATIENCE_S

pytestmark = embedded_only("revisions of the file")

NOBODY = 65_534
NAMES = tuple(revision.name for revision in revisions())
KEY = "INSERT INTO api_keys (partner, kind, key_hash, hint, scopes, created_at_us) VALUES ('shop', 'pk', ?, 'pk_1234', 's', 1)"
EVENT = (
    "INSERT INTO events (partner, event_id, user_id, event_type, occurred_at_us, received_at_us) "
    "VALUES ('shop', ?, 'u', 'search', 1, 1)"
)


def home_of_before(home: Path) -> Path:
    """A home with the first tables: two keys, of which one has options, and three events, of which two have side rows."""
    home.mkdir(exist_ok=True)
    with closing(apsw.Connection(str(home / layout.STORE))) as store:
        store.execute("PRAGMA journal_mode = WAL")
        store.execute(revisions()[0].sql)
        store.pragma("user_version", FIRST_MARK)
        store.execute("INSERT INTO partners VALUES ('shop', 1)")
        store.executemany(KEY, [("plain",), ("limited",)])
        store.execute("""INSERT INTO key_options VALUES ('limited', '["https://shop.example"]', 60)""")
        store.executemany(EVENT, [("a",), ("b",), ("c",)])
        store.execute("INSERT INTO event_decisions VALUES (2, 'd-1')")
        store.execute("INSERT INTO browser_events VALUES (2), (3)")
    return home


def contents(home: Path) -> tuple[list[Any], list[Any]]:
    with closing(connect(home)) as store:
        keys = store.execute("SELECT key_hash, origins, requests_per_minute FROM api_keys ORDER BY id").fetchall()
        return keys, store.execute("SELECT event_id, decision_id, browser FROM events ORDER BY seq").fetchall()


MIGRATED = (
    [("plain", "[]", None), ("limited", '["https://shop.example"]', 60)],
    [("a", None, 0), ("b", "d-1", 1), ("c", None, 1)],
)


def run(code: str, home: Path, **words: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", code, str(home)], text=True, stdout=subprocess.PIPE, **words)


def attune(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *words],
        env={**os.environ, "ATTUNE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def test_revisions_are_numbered_from_one_without_a_gap() -> None:
    assert [revision.number for revision in revisions()] == list(range(1, newest() + 1))


def test_an_empty_home_gets_all_tables(tmp_path: Path) -> None:
    connection, done = migrated(tmp_path)
    assert done == (0, newest(), NAMES)
    assert migrated(tmp_path)[1] == (newest(), newest(), ())
    assert found_revision(tmp_path) == newest()
    connection.close()


def test_a_home_of_before_keeps_what_stood_beside_keys_and_events(tmp_path: Path) -> None:
    home = home_of_before(tmp_path)
    assert found_revision(home) == 1
    assert contents(home) == MIGRATED
    assert found_revision(home) == newest()
    with closing(connect(home)) as store:
        left = store.execute(
            "SELECT name FROM sqlite_schema WHERE name IN ('key_options', 'event_decisions', 'browser_events')"
        )
        assert left.fetchall() == []
        assert store.execute("PRAGMA foreign_key_check").fetchall() == []


KILLED = """
import os, signal, sys
from pathlib import Path
import apsw
n = int(os.environ["KILLED_AT"])
def hook(connection):
    seen = 0
    def trace(cursor, statement, bindings):
        global n
        if "BEGIN IMMEDIATE" in statement or connection.in_transaction:
            n -= 1
            if n == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return True
    connection.exec_trace = trace
apsw.connection_hooks.append(hook)
from infra.store.embedded.connection import connect
connect(Path(sys.argv[1]))
print("done")
"""


def test_wherever_a_migration_is_killed_the_next_one_does_all_of_it(tmp_path: Path) -> None:
    ends = set()
    for n in (1, 2, 3, 5, 8, 12, 17, 23, 30, 40, 100, 200):  # of the statements of a migration
        home = home_of_before(tmp_path / str(n))
        child = run(KILLED, home, env={**os.environ, "KILLED_AT": str(n)})
        ends.add(child.wait(PATIENCE_S))
        assert found_revision(home) in (1, newest())
        assert contents(home) == MIGRATED
        if child.returncode == 0:
            break
    assert ends == {-9, 0}


TOGETHER = """
import sys
from pathlib import Path
from infra.store.embedded.connection import migrated
sys.stdin.readline()
print(len(migrated(Path(sys.argv[1]))[1].applied))
"""


@pytest.mark.parametrize("prepare", [home_of_before, lambda home: home])
def test_of_processes_that_open_a_home_at_once_one_migrates_it(tmp_path: Path, prepare: object) -> None:
    home = prepare(tmp_path)  # type: ignore[operator]
    children = [run(TOGETHER, home, stdin=subprocess.PIPE) for _ in range(4)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    applied = sorted(int(child.communicate(timeout=PATIENCE_S)[0]) for child in children)
    assert applied[:3] == [0, 0, 0]
    assert applied[3] > 0
    assert found_revision(home) == newest()


COMMANDS = ["models", "partner list", "migrate", "serve --port 0", "worker", "schedule", "retrain", "doctor"]


@pytest.mark.parametrize("words", COMMANDS)
def test_a_home_of_a_newer_revision_is_one_line_that_says_what_to_do(tmp_path: Path, words: str) -> None:
    with closing(connect(tmp_path)) as store:
        store.pragma("user_version", newest() + 6)
    before = (tmp_path / layout.STORE).read_bytes()
    with pytest.raises(NewerStore):
        connect(tmp_path)
    done = attune(tmp_path, *words.split())
    if words == "doctor":
        assert done.returncode == 1
        assert f"revision {newest() + 6}; this Attune knows {newest()}  -> upgrade Attune" in done.stdout
    else:
        assert done.returncode == 2
        said = f"was made by a newer Attune (revision {newest() + 6}, this one knows {newest()}): upgrade Attune\n"
        assert done.stderr.endswith(said)
        assert done.stderr.count("\n") == 1
    assert (tmp_path / layout.STORE).read_bytes() == before


def test_the_command_tells_what_it_did_and_the_doctor_what_it_would_do(tmp_path: Path) -> None:
    home = home_of_before(tmp_path)
    assert f"revision 1 of {newest()}  -> attune migrate" in attune(home, "doctor").stdout
    assert found_revision(home) == 1
    told = json.loads(attune(home, "migrate", "--json").stdout)
    assert told == {"from": 1, "to": newest(), "applied": list(NAMES[1:])}
    assert attune(home, "migrate").stdout == f"revision {newest()}: nothing to do\n"
    assert f"store: revision {newest()}" in attune(home, "doctor").stdout


READ_ONLY = """
import os, sys
from pathlib import Path
from infra.store.embedded.connection import connect
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    print(connect(Path(sys.argv[1])).execute("SELECT count(*) FROM events").fetchall())
except OSError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach: pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="attune-read-only-"))
    yield folder
    shutil.rmtree(folder)


def read_only(home: Path) -> str:
    for path in home.iterdir():
        path.chmod(0o444)
    home.chmod(0o555)
    try:
        return run(READ_ONLY, home).communicate(timeout=PATIENCE_S)[0].strip()
    finally:
        home.chmod(0o755)


def test_a_home_that_may_only_be_read_opens_where_nothing_needs_to_be_migrated(open_folder: Path) -> None:
    home = home_of_before(open_folder)
    assert read_only(home) == (
        f"PendingMigration {home / layout.STORE} is of revision 1 and may only be read; make it writable, then bring it to "
        f"revision {newest()} with: attune migrate"
    )
    (home / layout.STORE).chmod(0o644)
    connect(home).close()
    assert read_only(home) == "[(3,)]"


def test_a_pending_migration_is_an_os_error() -> None:
    assert issubclass(PendingMigration, OSError)


def test_numbers_of_signals_that_are_gone_stay_spent(tmp_path: Path) -> None:
    before = [revision for revision in revisions() if revision.name < "0015"]
    with closing(apsw.Connection(str(tmp_path / layout.STORE))) as store:
        for revision in before:
            store.execute(revision.sql)
        store.pragma("user_version", before[-1].number)
        columns = "signal_id, partner, user_id, sequence, type, payload, score, predicted_action, cause_seq, created_at_us"
        for n in (1, 2, 3):
            store.execute(f"INSERT INTO signals ({columns}) VALUES (?1, 'p', 'u', ?1, 't', '{{}}', 0, 'leave', ?1, 0)", (n,))
        store.execute("DELETE FROM signals WHERE seq > 1")
    with closing(connect(tmp_path)) as store:
        rows = store.execute("SELECT seq, signal_id, silence_s FROM signals").fetchall()
        assert rows == [(1, "1", 0)]
        told = ("later", "p", "u", 4, "t", "{}", 0, "leave", 1, 0, 300)
        store.execute(ADD_SIGNAL, told)
        assert store.execute("SELECT max(seq) FROM signals").fetchall() == [(4,)]
