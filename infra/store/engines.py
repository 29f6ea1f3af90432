"""Engines of the store: the one place that knows which there are.

A home's own file, unless ``ATTUNE_STORE_URL`` names a server: the same one for every process of an installation.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from infra.store.free_space import FreeSpace
from infra.store.protocol import Store, Writer

WAIT_MS: Final = 10_000
URL: Final = "ATTUNE_STORE_URL"  # `infra.settings.Settings.store_url`


def server() -> str | None:
    """Address of the server that holds the store; None where it is the home's own file."""
    return os.environ.get(URL) or None


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
    if url := server():
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
    if url := server():
        from infra.store.postgres.writer import PostgresWriter

        return PostgresWriter(url, now_us, space or FreeSpace(home, 0))
    from infra.store.embedded.writer import LogWriter

    return LogWriter(home, now_us, space)
