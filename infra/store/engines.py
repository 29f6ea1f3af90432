"""Engines of the store: the one place that knows which there are."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from infra.store.free_space import FreeSpace
from infra.store.protocol import Store, Writer

WAIT_MS: Final = 10_000


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
    from infra.store.embedded.writer import LogWriter

    return LogWriter(home, now_us, space)
