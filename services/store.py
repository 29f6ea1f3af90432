"""The services' connection to the store: SQLite through apsw, one connection per thread that writes."""

import os
import secrets
from pathlib import Path
from typing import Any

import apsw

from models import layout
from models.stored import tables

OLDEST_SAFE_SQLITE = (3, 51, 3)  # older libraries can corrupt a WAL file that several connections write
BUSY_MS = 10_000
SECRET_BYTES = 32


def connect(home: Path, busy_ms: int = BUSY_MS) -> apsw.Connection:
    """Open the store of a home, creating it and its tables where they are missing.

    Parameters
    ----------
    busy_ms
        How long a statement waits for another connection's lock, milliseconds.

    Raises
    ------
    OSError
        If the home cannot be written, or the SQLite library is too old for several writers.
    """
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < OLDEST_SAFE_SQLITE:
        raise OSError(f"SQLite {apsw.sqlite_lib_version()} is too old for write-ahead logging; install apsw 3.54 or newer")
    home.mkdir(mode=0o700, parents=True, exist_ok=True)  # the store holds what webhooks are signed with
    try:
        connection = apsw.Connection(str(home / layout.STORE))
        connection.set_busy_timeout(busy_ms)
        # Without secure_delete a page that is split keeps stale copies of rows, which no erasure would find.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")
        _make_tables(connection)
    except apsw.CantOpenError as error:
        raise OSError(f"cannot open {home / layout.STORE}: check that the folder may be written") from error
    return connection


def _make_tables(connection: apsw.Connection) -> None:
    """Make the tables that are missing in one transaction; the file remembers which tables it has by their checksum."""
    if connection.pragma("user_version") == tables.SCHEMA_MARK:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in tables.SCHEMA:
            connection.execute(statement)
        connection.pragma("user_version", tables.SCHEMA_MARK)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def rows(connection: apsw.Connection, statement: str, bindings: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All rows of a statement whose column types we know better than the driver's types do."""
    found: list[tuple[Any, ...]] = connection.execute(statement, bindings).fetchall()
    return found


def secret(home: Path) -> bytes:
    """Read the installation's secret; the first caller makes it. Readable by the owner only.

    Raises
    ------
    ValueError
        If the file does not hold `SECRET_BYTES` bytes.
    """
    path = home / layout.SECRET
    if not path.exists():  # else nothing is written: the disk may be read-only by now
        _make_secret(home, path)
    found = path.read_bytes()
    if len(found) != SECRET_BYTES:
        raise ValueError(f"{path} must hold {SECRET_BYTES} bytes, found {len(found)}: restore it from a backup")
    return found


def _make_secret(home: Path, path: Path) -> None:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Written whole under another name and linked: whoever comes second reads a complete key.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
