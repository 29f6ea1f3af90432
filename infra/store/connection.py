"""SQLite connection of the embedded store, through apsw: one per thread that writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from infra import layout
from infra.store.statements import log as tables

OLDEST_SAFE_SQLITE: Final = (3, 51, 3)  # older libraries can corrupt a WAL file that several connections write
BUSY_MS: Final = 10_000
BULK_CACHE_KIB: Final = 65_536  # the index over event ids is hit at random places
BULK_CHECKPOINT_PAGES: Final = 4_000  # 16 MiB: fewer, longer checkpoints


class DamagedStore(OSError, ValueError):  # noqa: N818 - a state of the world
    """The file is no store, or a damaged one."""


def connect(home: Path, busy_ms: int = BUSY_MS, *, bulk: bool = False) -> apsw.Connection:
    """Open the store of a home, creating it and its tables where they are missing.

    Parameters
    ----------
    busy_ms
        How long a statement waits for another connection's lock, milliseconds.
    bulk
        Whether rows will be appended by the million.

    Raises
    ------
    OSError
        If the home cannot be written, or the SQLite library is too old for several writers.
    DamagedStore
        If the file is no store.
    """
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < OLDEST_SAFE_SQLITE:
        raise OSError(f"SQLite {apsw.sqlite_lib_version()} is too old for write-ahead logging; install apsw 3.54 or newer")
    home.mkdir(mode=0o700, parents=True, exist_ok=True)  # the store holds what webhooks are signed with
    path = home / layout.STORE
    try:
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(busy_ms)
        _prepare(connection, bulk)
    except apsw.CantOpenError as error:
        raise OSError(f"cannot open {path}: check that the folder may be written") from error
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise DamagedStore(f"{path} is no Attune store: move it away, or point ATTUNE_HOME at another folder") from error
    return connection


def _prepare(connection: apsw.Connection, bulk: bool) -> None:
    # Without secure_delete a page that is split keeps stale copies of rows, which no erasure would find.
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    if bulk:
        connection.pragma("cache_size", -BULK_CACHE_KIB)
        connection.pragma("wal_autocheckpoint", BULK_CHECKPOINT_PAGES)
    if connection.pragma("user_version") != tables.SCHEMA_MARK:
        with immediate(connection):
            for statement in tables.SCHEMA:
                connection.execute(statement)
            connection.pragma("user_version", tables.SCHEMA_MARK)


@contextmanager
def immediate(connection: apsw.Connection) -> Iterator[None]:
    """Write transaction that takes its lock at once: two writers queue instead of failing at commit."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk ends it by itself
            connection.execute("ROLLBACK")
        raise


def rows(connection: apsw.Connection, statement: str, bindings: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All rows of a statement whose column types we know better than the driver's types do."""
    found: list[tuple[Any, ...]] = connection.execute(statement, bindings).fetchall()
    return found
