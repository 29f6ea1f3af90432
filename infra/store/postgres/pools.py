"""Pools of PostgreSQL connections: few per process, shared by its threads, opened when they are needed.

There is no thread that keeps them: a server that was away is asked again by the next use, at once.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from infra.store.errors import StoreBusy
from infra.store.postgres.connection import Connection, connect_server, shown
from infra.store.postgres.migrate import require_newest, require_ready

MOST: Final = 12  # connections at work in one process
MOST_IDLE: Final = 4  # kept for the next use


class Pool:
    """Connections of a process to one server; any thread may ask.

    Parameters
    ----------
    prepare
        Is called with the first connection, and again after it has failed: migrates, or refuses the server.
    """

    def __init__(self, url: str, *, only_read: bool, prepare: Callable[[Connection], object]) -> None:
        self.url = url
        self._only_read = only_read
        self._prepare = prepare
        self._is_prepared = False
        self._preparing = threading.Lock()
        self._idle: deque[Connection] = deque()
        self._free = threading.BoundedSemaphore(MOST)

    @contextmanager
    def connection(self, wait_s: float) -> Iterator[Connection]:
        """Borrow a connection.

        Raises
        ------
        StoreBusy
            If none becomes free in time.
        StoreUnavailable
            If none can be opened.
        """
        if not self._free.acquire(timeout=max(wait_s, 0.05)):
            raise StoreBusy(f"all {MOST} connections of this process to {shown(self.url)} are in use")
        try:
            connection = self._taken()
            try:
                yield connection
            finally:
                self._put_back(connection)
        finally:
            self._free.release()

    def fresh(self) -> Connection:
        """A connection of the caller's own, to be closed by it."""
        opened = connect_server(self.url, only_read=self._only_read)
        with self._preparing:
            if not self._is_prepared:
                try:
                    self._prepare(opened)
                except BaseException:
                    opened.close()
                    raise
                self._is_prepared = True
        return opened

    def forget(self) -> None:
        """Close what is idle: it may be of a server that has been started anew."""
        while self._idle:
            self._idle.pop().close()

    def _taken(self) -> Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return self.fresh()

    def _put_back(self, connection: Connection) -> None:
        is_whole = not connection.closed and connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        if is_whole and len(self._idle) < MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.close()


_pools: Final[dict[tuple[str, bool, int], Pool]] = {}
_opening: Final = threading.Lock()


def pool(url: str, *, only_read: bool = False) -> Pool:
    """The pool of this process for a server, whose tables it brings to the newest revision."""
    with _opening:
        key = (url, only_read, os.getpid())  # connections are not shared with a process that was forked
        if key not in _pools:
            for other in _pools.values():  # of another home, which is seldom asked again
                other.forget()
            _pools[key] = Pool(url, only_read=only_read, prepare=require_newest if only_read else require_ready)
        return _pools[key]


def forget_pools(url: str) -> None:
    """Close what is idle of a server, and look at its revision again."""
    with _opening:
        for key in [key for key in _pools if key[0] == url]:
            _pools.pop(key).forget()
