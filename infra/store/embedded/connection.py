"""SQLite connection of the embedded store, through apsw: one per thread that writes."""

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import apsw

from infra import layout
from infra.store.embedded.migrate import Migrated, known_revision_of, migrate, newest, revision_of
from infra.store.errors import DamagedStore, PendingMigration, StoreBusy, StoreUnavailable

OLDEST_SAFE_SQLITE: Final = (3, 51, 3)  # older libraries can corrupt a WAL file that several connections write
BUSY_MS: Final = 10_000
RETRY_S: Final = 0.01
BULK_CACHE_KIB: Final = 65_536  # the index over event ids is hit at random places
BULK_CHECKPOINT_PAGES: Final = 4_000  # 16 MiB: fewer, longer checkpoints


def connect(home: Path, busy_ms: int = BUSY_MS, *, bulk: bool = False, only_read: bool = False) -> apsw.Connection:
    """Open the store of a home, creating or migrating it where need be. A home that may only be read is opened for reading.

    Parameters
    ----------
    busy_ms
        How long a statement waits for another connection's lock, milliseconds.
    bulk
        Whether rows will be appended by the million.
    only_read
        Refuse every statement that would write.

    Raises
    ------
    StoreUnavailable
        If the home cannot be written, or the SQLite library is too old for several writers; `StoreBusy` if another connection
        has locked it, `PendingMigration` if it needs a migration and may only be read, `NewerStore` if a newer Attune made it,
        `DamagedStore` if the file is no store.
    """
    connection, _ = migrated(home, busy_ms)
    if bulk:
        connection.pragma("cache_size", -BULK_CACHE_KIB)
        connection.pragma("wal_autocheckpoint", BULK_CHECKPOINT_PAGES)
    if only_read:
        connection.pragma("query_only", 1)
    return connection


def migrated(home: Path, busy_ms: int = BUSY_MS) -> tuple[apsw.Connection, Migrated]:
    """Open the store of a home as `connect` does, and tell what was migrated on the way."""
    if not sqlite_is_safe():
        raise StoreUnavailable(f"SQLite {sqlite_version()} is too old for write-ahead logging; install apsw 3.54 or newer")
    path = home / layout.STORE
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)  # the store holds what webhooks are signed with
    except OSError as error:
        raise StoreUnavailable(error.errno, error.strerror, error.filename) from error
    with ours(path):
        connection = _opened(path, busy_ms)
        return connection, _prepared(connection, path, busy_ms)


def found_revision(home: Path) -> int:
    """Revision of a home's store as it lies there; nothing is created or migrated.

    Raises
    ------
    StoreUnavailable
        As `connect`.
    """
    path = home / layout.STORE
    with ours(path), closing(_opened(path, BUSY_MS)) as connection:
        return revision_of(connection)


def is_immutable(connection: apsw.Connection) -> bool:
    """Whether a connection reads the file as it lay there when it was opened, see `_opened`."""
    return bool(connection.open_flags & apsw.SQLITE_OPEN_URI)


def sqlite_version() -> str:
    """Version of the SQLite library that apsw brings."""
    return str(apsw.sqlite_lib_version())


def sqlite_is_safe() -> bool:
    """Whether several connections may write a WAL file with this library."""
    return tuple(map(int, sqlite_version().split("."))) >= OLDEST_SAFE_SQLITE


@contextmanager
def ours(path: Path) -> Iterator[None]:
    """Errors of the driver's about the store at a path, as those that callers catch."""
    try:
        yield
    except apsw.Error as error:
        raise translated(error, path) from error


def translated(error: apsw.Error, path: Path) -> StoreUnavailable:
    """One error of the driver's, as the one that callers catch."""
    if isinstance(error, apsw.CantOpenError):
        return StoreUnavailable(f"cannot open {path}: check that the folder may be written")
    if isinstance(error, apsw.NotADBError | apsw.CorruptError):
        return DamagedStore(f"{path} is no Attune store: move it away, or point ATTUNE_HOME at another folder")
    kind = StoreBusy if isinstance(error, apsw.BusyError | apsw.LockedError) else StoreUnavailable
    return kind(f"cannot use the store ({type(error).__name__}: {error}); what is wrong, tells: attune doctor")


def _opened(path: Path, busy_ms: int) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(busy_ms)
    try:
        revision_of(connection)
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        # A folder that may only be read has no room for the index of a write-ahead log. Where there is no such log, nobody
        # writes, and the file can be read as it is.
        if os.access(path.parent, os.W_OK) or path.with_name(f"{path.name}-wal").exists():
            raise
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        connection = apsw.Connection(f"{path.absolute().as_uri()}?immutable=1", flags=flags)
    return connection


def _prepared(connection: apsw.Connection, path: Path, busy_ms: int) -> Migrated:
    found = known_revision_of(connection)
    if connection.readonly("main"):
        if found < newest():
            raise PendingMigration(
                f"{path} is of revision {found} and may only be read; make it writable, then bring it to revision {newest()} "
                "with: attune migrate"
            )
        return Migrated(found, found, ())
    _write_ahead(connection, busy_ms)
    # Without secure_delete a page that is split keeps stale copies of rows, which no erasure would find.
    for pragma in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    return migrate(connection) if found < newest() else Migrated(found, found, ())


def _write_ahead(connection: apsw.Connection, busy_ms: int) -> None:
    """Turn on the write-ahead log; SQLite does not wait by itself where several connections do so to a new file at once."""
    end = time.monotonic() + busy_ms / 1e3
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except apsw.BusyError:
            if time.monotonic() >= end:
                raise
            time.sleep(RETRY_S)
        else:
            return
