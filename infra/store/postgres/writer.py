"""Log writer of PostgreSQL: many requests, one durable commit, as the embedded one.

There is no savepoint for each piece: more than 64 of them in a transaction slow down the whole server. Where a piece fails
after it has written, the transaction is undone, and the group done again by halves until the piece is alone.
"""

from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from infra.store.errors import StoreUnavailable
from infra.store.free_space import FreeSpace
from infra.store.group import GroupWriter
from infra.store.postgres.connection import AGAIN, Connection, translated
from infra.store.postgres.pools import pool
from infra.store.postgres.store import PostgresTransaction, tried
from infra.store.protocol import Work


class _Spoilt(Exception):  # noqa: N818 - never leaves this file
    """A piece failed after it, or the server, had changed the transaction."""


class PostgresWriter(GroupWriter):
    """Group commit into a server, over one connection; a `Writer`.

    Parameters
    ----------
    space
        Of this machine; the server watches its own.
    """

    def __init__(self, url: str, now_us: Callable[[], int], space: FreeSpace) -> None:
        self._url = url
        self._connection: Connection | None = None
        super().__init__(now_us, space)

    def commit(self, works: Sequence[Work[Any]]) -> list[Any]:
        """Do pieces of work durably; per piece its result, or what it raised.

        Raises
        ------
        StoreUnavailable
            If some were not kept. Those that were, are done again by who repeats them, and are duplicates then.
        """
        try:
            return self._by_halves(works)
        except psycopg.Error as error:
            self.let_go()  # a fresh one may find the server mended
            ours = translated(error, self._url)
            raise (ours if isinstance(ours, StoreUnavailable) else StoreUnavailable(str(ours))) from error

    def let_go(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _by_halves(self, works: Sequence[Work[Any]]) -> list[Any]:
        try:
            return tried(lambda: self._once(works))
        except _Spoilt as spoilt:
            if len(works) == 1:
                return [spoilt.__cause__]
        middle = len(works) // 2
        return [*self._by_halves(works[:middle]), *self._by_halves(works[middle:])]

    def _once(self, works: Sequence[Work[Any]]) -> list[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = pool(self._url).fresh()
        with self._connection.transaction():
            transaction = PostgresTransaction(self._connection)
            return [self._attempt(transaction, work) for work in works]

    def _attempt(self, transaction: PostgresTransaction, work: Work[Any]) -> Any:
        before = transaction.n_written
        try:
            return work(transaction)
        except AGAIN:
            raise
        except (psycopg.IntegrityError, psycopg.DataError) as error:
            raise _Spoilt from translated(error, self._url)
        except (psycopg.Error, OSError):
            raise
        except Exception as error:
            if transaction.n_written != before:
                raise _Spoilt from error
            return error
