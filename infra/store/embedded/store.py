"""Embedded store: `infra.store.protocol.Store` over one SQLite connection."""

import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import apsw

from infra import layout, lock
from infra.store.embedded.connection import BUSY_MS, connect, is_immutable, translated
from infra.store.embedded.gaps import clear_gaps
from infra.store.embedded.migrate import immediate
from infra.store.errors import ConflictingWrite, StoreBusy, StoreUnavailable
from infra.store.protocol import Work
from infra.store.statements.events import APPEND_EVENT
from infra.store.statements.leases import TAKE_LEASE
from infra.store.tail import LogTail
from infra.store.transaction import Bindings, Row

Result = TypeVar("Result")
ANY_TIME_US: Final = 2**62
SCRUB_MS: Final = 200  # nobody else can write while it waits for readers
PATIENCE_S: Final = 5.0  # with readers who come one after the other


class EmbeddedTransaction:
    """A `Transaction` on a connection; whoever hands it out has begun it and ends it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def read(self, statement: str, bindings: Bindings = ()) -> list[Row]:
        """All rows of a statement."""
        found: list[Row] = self._connection.execute(statement, bindings).fetchall()
        return found

    def execute(self, statement: str, bindings: Bindings = ()) -> int:
        """Run one statement; how many rows it changed."""
        self._connection.execute(statement, bindings)
        return int(self._connection.changes())

    def executemany(self, statement: str, rows: Iterable[Bindings]) -> int:
        """Run one statement once per row; how many rows they changed in all."""
        before = self._connection.total_changes()
        self._connection.executemany(statement, rows)
        return int(self._connection.total_changes() - before)

    def append(self, rows: Iterable[Row]) -> list[bool]:
        """Append events; per row, whether it is new."""
        execute, changes = self._connection.execute, self._connection.changes
        news = []
        for row in rows:
            execute(APPEND_EVENT, row)
            news.append(changes() == 1)
        return news


class EmbeddedStore:
    """A connection to the store of a home, opened by its first use, and anew after a failure that may have been its own.

    Parameters
    ----------
    wait_ms
        How long a statement waits for another connection's lock, milliseconds.
    bulk
        Whether rows will be appended by the million.
    only_read
        Whether writing is refused.
    """

    def __init__(self, home: Path, wait_ms: int = BUSY_MS, *, bulk: bool = False, only_read: bool = False) -> None:
        self._home = home
        self._wait_ms = wait_ms
        self._bulk = bulk
        self._only_read = only_read
        self._connection: apsw.Connection | None = None
        self._n_opened = 0
        self._leases: dict[str, tuple[int, int]] = {}  # by name: the lock's file descriptor, and the epoch

    @property
    def connection(self) -> apsw.Connection:
        """The engine's own connection: for whoever sits in this folder."""
        if self._connection is None:
            self._connection = connect(self._home, self._wait_ms, bulk=self._bulk, only_read=self._only_read)
            self._n_opened += 1
        return self._connection

    def read(self, statement: str, bindings: Bindings = ()) -> list[Row]:
        """All rows of a statement."""
        connection = self.connection
        try:
            found: list[Row] = connection.execute(statement, bindings).fetchall()
        except apsw.Error as error:
            raise self._failed(error) from error
        if is_immutable(connection):  # it would never see that somebody may write again
            self.close()
        return found

    def stream(self, statement: str, bindings: Bindings = ()) -> Iterator[Row]:
        """Rows of a statement one by one."""
        connection = self.connection
        try:
            yield from connection.execute(statement, bindings)
        except apsw.Error as error:
            raise self._failed(error) from error

    def write(self, work: Work[Result], *, serializable: bool = True) -> Result:
        """Do a piece of work in one transaction. It takes its lock at once, waiting `wait_ms`; so it is never called again."""
        connection = self.connection
        try:
            with immediate(connection):
                return work(EmbeddedTransaction(connection))
        except apsw.Error as error:
            raise self._failed(error) from error

    def append(self, rows: Sequence[Row]) -> list[bool]:
        """Append events in a transaction of their own."""
        return self.write(lambda transaction: transaction.append(rows))

    def tail(self, name: str) -> LogTail:
        """Position of a reader of the event log."""
        return LogTail(self.read, name)

    def stamp(self, topics: Collection[str] = ()) -> int:
        """Changes whenever another connection has committed anything, and where this one was opened anew."""
        try:
            version = int(self.connection.pragma("data_version"))
        except apsw.Error as error:
            raise self._failed(error) from error
        return self._n_opened << 32 | version

    def lease(self, name: str, holder: str, seconds: float) -> int | None:
        """Take a lease, or keep it; its epoch.

        One file has one machine, which knows when a holder dies: the lease is a file lock, so that one holder who was killed is
        followed at once, and one who stands still is not followed at all. Keeping it writes nothing.
        """
        if name not in self._leases and not self._take_lease(name, holder, seconds):
            return None
        descriptor, epoch = self._leases[name]
        if seconds <= 0:
            del self._leases[name]
            os.close(descriptor)
        return epoch

    def _take_lease(self, name: str, holder: str, seconds: float) -> bool:
        try:
            descriptor = lock.kept(self._home / f"{name}.lock", holder)
        except OSError as error:
            raise StoreUnavailable(error.errno, error.strerror, error.filename) from error
        if descriptor is None:
            return False
        try:
            until_us = time.time_ns() // 1_000 + round(seconds * 1e6)
            ((epoch,),) = self.write(lambda transaction: transaction.read(TAKE_LEASE, (name, holder, until_us, ANY_TIME_US)))
        except BaseException:
            os.close(descriptor)
            raise
        self._leases[name] = descriptor, int(epoch)
        return True

    def roll(self, before_us: int | None) -> int:
        """Always 0: the log is one table."""
        return 0

    def is_sound(self) -> bool:
        """Whether the file is whole."""
        return self.read("PRAGMA quick_check(1)") == [("ok",)]

    def scrub(self) -> bool:
        """Bring the write-ahead log into the file, and empty it; False while somebody reads a state of before."""
        self.connection.set_busy_timeout(SCRUB_MS)
        ((is_busy, _, _),) = self.read("PRAGMA wal_checkpoint(TRUNCATE)")
        self.connection.set_busy_timeout(self._wait_ms)
        return not is_busy

    def scrub_pages(self) -> bool:
        """As `scrub`, as soon as nobody reads for a moment, and clear the gaps of pages: `infra.store.embedded.gaps`."""
        if not self._scrub_soon():
            return False
        try:
            return clear_gaps(self._home / layout.STORE, self._wait_ms, self._scrub_soon) and self._scrub_soon()
        except apsw.Error as error:
            raise self._failed(error) from error

    def _scrub_soon(self) -> bool:
        until = time.monotonic() + PATIENCE_S
        while not self.scrub():
            if time.monotonic() > until:
                return False
            time.sleep(SCRUB_MS / 1_000)  # who waited to write may
        return True

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(force=True)

    def _failed(self, error: apsw.Error) -> Exception:
        """What to raise in place of an error of the driver's."""
        if isinstance(error, apsw.ConstraintError):
            return ConflictingWrite(str(error))
        ours = translated(error, self._home / layout.STORE)
        if not isinstance(ours, StoreBusy) and not isinstance(error, apsw.SQLError):
            self.close()  # a fresh one may find the disk mended
        return ours
