"""Engines of the store: the one place that knows which there are.

A home's own file, unless ``ATTUNE_STORE_URL`` names a server: the same one for every process of an installation.
"""

import os
from collections.abc import Callable
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from infra import layout
from infra.store.free_space import FreeSpace
from infra.store.protocol import Store, Writer

WAIT_MS: Final = 10_000
URL: Final = "ATTUNE_STORE_URL"  # `infra.settings.Settings.store_url`


def server(home: Path) -> str | None:
    """Address of the server that holds a home's store; None where it is the home's own file.

    ``{home}`` in the database's name stands for the home, so that several may be on one server.
    """
    url = os.environ.get(URL)
    if not url:
        return None
    return url.replace("{home}", blake2b(bytes(home.absolute()), digest_size=8).hexdigest())


def open_store(home: Path, *, wait_ms: int = WAIT_MS, bulk: bool = False) -> Store:
    """Open the store of a home, creating or migrating it where need be; for one thread.

    Parameters
    ----------
    wait_ms
        How long a statement waits for another connection's lock, milliseconds.
    bulk
        Whether rows will be appended by the million.

    Raises
    ------
    StoreUnavailable
        If it cannot be opened; in one line that says what to do.
    """
    store = closed_store(home, wait_ms=wait_ms, bulk=bulk)
    store.stamp()
    return store


def closed_store(home: Path, *, wait_ms: int = WAIT_MS, bulk: bool = False, only_read: bool = False) -> Store:
    """The same store, not opened before its first use: for who must begin while it cannot be opened.

    Parameters
    ----------
    only_read
        Whether every statement that would write is refused.
    """
    if url := server(home):
        from infra.store.postgres.store import PostgresStore

        return PostgresStore(url, wait_ms, only_read=only_read)
    from infra.store.embedded.store import EmbeddedStore

    return EmbeddedStore(home, wait_ms, bulk=bulk, only_read=only_read)


def open_writer(home: Path, now_us: Callable[[], int], space: FreeSpace | None = None) -> Writer:
    """Start the writer of a process; the store is opened by its first group.

    Parameters
    ----------
    now_us
        The clock that dates `received_at_us`.
    space
        While it is short, nothing is taken; without it, as long as the disk has room.
    """
    if url := server(home):
        from infra.store.postgres.writer import PostgresWriter

        return PostgresWriter(url, now_us, space or FreeSpace(home, 0))
    from infra.store.embedded.writer import LogWriter

    return LogWriter(home, now_us, space)


class Revisions(NamedTuple):
    """Revision of a store as it is found, the newest that this Attune knows, and what was applied to bring it there."""

    before: int
    newest: int
    applied: tuple[str, ...] = ()


def migrate(home: Path) -> Revisions:
    """Bring a store to the newest revision.

    Raises
    ------
    StoreUnavailable
        If it cannot be opened, or a newer Attune made it.
    """
    if url := server(home):
        from infra.store.postgres.connection import connect_server
        from infra.store.postgres.migrate import migrate as migrate_server

        with closing(connect_server(url)) as connection:
            return Revisions(*migrate_server(connection))
    from infra.store.embedded.connection import migrated

    opened, done = migrated(home)
    opened.close()
    return Revisions(*done)


def move(home: Path) -> dict[str, int]:
    """Copy the store of a home's file to the server that holds the home's store from now on; rows by table.

    Raises
    ------
    ValueError
        If no server is named, or the home has no file.
    StoreUnavailable
        If one of them cannot be used, or the database is not empty.
    """
    url = server(home)
    if url is None or not (home / layout.STORE).exists():
        raise ValueError(f"set {URL}, and ATTUNE_HOME to a home that has {layout.STORE}")
    from infra.store.postgres.move import move as moved

    return moved(home, url)


def revisions(home: Path) -> Revisions:
    """Look at a store's revision as it lies there; nothing is created or migrated.

    Raises
    ------
    StoreUnavailable
        If it cannot be read.
    """
    if url := server(home):
        from infra.store.postgres.connection import connect_server
        from infra.store.postgres.migrate import newest as newest_of_server
        from infra.store.postgres.migrate import revision_of

        with closing(connect_server(url)) as connection:
            return Revisions(revision_of(connection), newest_of_server())
    from infra.store.embedded.connection import found_revision
    from infra.store.embedded.migrate import newest

    return Revisions(found_revision(home), newest())


def is_shared(home: Path) -> bool:
    """Whether several machines may use a home's store at once."""
    return server(home) is not None


def is_there(home: Path) -> bool:
    """Whether a home has a store, or a server is to have it."""
    return server(home) is not None or (home / layout.STORE).exists()


def place(home: Path) -> str:
    """Where the store is, for people: a path, or an address without user and password."""
    if url := server(home):
        from infra.store.postgres.connection import shown

        return shown(url)
    return str(home / layout.STORE)


def health(home: Path) -> list[tuple[str, str, str, str]]:
    """Findings about the engine: part, state, what is seen, and the mend; nothing raises."""
    if url := server(home):
        from infra.store.postgres.health import examine

        return examine(url)
    from infra.store.embedded.connection import sqlite_is_safe, sqlite_version

    safe = sqlite_is_safe()
    return [("sqlite", "ok" if safe else "fail", sqlite_version(), "" if safe else "install apsw 3.54 or newer")]
