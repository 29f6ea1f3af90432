"""PostgreSQL store: `infra.store.protocol.Store` over a server that many processes share.

Every piece of work is one SERIALIZABLE transaction, and is done again where another was in its way. Whoever holds a lease is
fenced: stores that the same thread opened under it write nothing any more once another holder has it.
"""

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from contextvars import ContextVar
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeVar

import psycopg

from infra.store.errors import ConflictingWrite, StoreBusy, StoreUnavailable
from infra.store.postgres import parts
from infra.store.postgres import rows as arrays
from infra.store.postgres.connection import AGAIN, Connection, translated
from infra.store.postgres.forms import CLOCK_US, form
from infra.store.postgres.pools import Pool, pool
from infra.store.protocol import Work
from infra.store.statements.events import APPEND_EVENT
from infra.store.tail import LogTail
from infra.store.transaction import Bindings, Row

Result = TypeVar("Result")
TRIES: Final = 12
LONGEST_PAUSE_S: Final = 0.25
READ_ROWS: Final = 5_000  # that a stream fetches at a time
# Take a lease or keep it, as `TAKE_LEASE`: (name, holder, duration_us).
_TAKE: Final = (
    f"INSERT INTO leases (name, holder, until_us, epoch) VALUES ($1, $2, {CLOCK_US} + $3, 1) ON CONFLICT (name) DO UPDATE SET "
    "epoch = leases.epoch + CASE WHEN leases.holder = excluded.holder THEN 0 ELSE 1 END, holder = excluded.holder, "
    f"until_us = excluded.until_us WHERE leases.holder = excluded.holder OR leases.until_us <= {CLOCK_US} RETURNING epoch"
)
_GIVE: Final = "UPDATE leases SET until_us = 0, holder = '' WHERE name = $1 AND holder = $2 RETURNING epoch"
_IS_HELD: Final = "SELECT 1 FROM leases WHERE name = $1 AND holder = $2 AND epoch = $3"
# What transactions are visible: another one after any commit in the cluster.
_SNAPSHOT: Final = "SELECT pg_current_snapshot()::text"
_NTH_BEHIND: Final = (
    "SELECT max(seq) FROM (SELECT seq FROM events WHERE seq > $1 AND seq < log_horizon() ORDER BY seq LIMIT $2) AS step"
)
_BETWEEN: Final = "SELECT count(*) FROM events WHERE seq > $1 AND seq <= $2"
_DAMAGED: Final = "SELECT coalesce(sum(checksum_failures), 0) FROM pg_stat_database WHERE datname = current_database()"
_ERASABLE: Final = (
    "VACUUM (SKIP_LOCKED) events, quarantine, decisions, failed_decisions, signals, holdout, signal_users, silences, identities"
)


class Fence(NamedTuple):
    """A lease as it was taken: who has it, and for which time; of which server."""

    name: str
    holder: str
    epoch: int
    url: str


_fence: Final[ContextVar[Fence | None]] = ContextVar("fence", default=None)  # the lease that this thread works under


class PostgresTransaction:
    """A `Transaction` on a connection; whoever hands it out has begun it and ends it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._n_appended = 0
        self.n_written = 0  # statements that may have changed something

    def read(self, statement: str, bindings: Bindings = ()) -> list[Row]:
        """All rows of a statement."""
        if not statement.startswith("SELECT"):
            self.n_written += 1
        return self._connection.execute(form(statement), bindings).fetchall()

    def execute(self, statement: str, bindings: Bindings = ()) -> int:
        """Run one statement; how many rows it changed."""
        self.n_written += 1
        return self._connection.execute(form(statement), bindings).rowcount

    def executemany(self, statement: str, rows: Iterable[Bindings]) -> int:
        """Run one statement once per row; how many rows they changed in all."""
        if statement == APPEND_EVENT:
            return sum(self.append(tuple(row) for row in rows))
        self.n_written += 1
        with self._connection.cursor() as cursor:
            cursor.executemany(form(statement), list(rows))
            return max(cursor.rowcount, 0)

    def append(self, rows: Iterable[Row]) -> list[bool]:
        """Append events; per row, whether it is new."""
        self.n_written += 1
        news = arrays.append(self._connection, rows, self._n_appended)
        self._n_appended += len(news)
        return news


class PositionTail(LogTail):
    """Position in a log whose numbers have wide gaps: a step is counted in events."""

    def until(self, after: int, most: int) -> int:
        """Where a step behind a position ends that reads at most `most` events; the same position if nothing is new."""
        return int(self._read(_NTH_BEHIND, (after, most))[0][0] or after)

    def passed(self, after: int, until: int) -> int:
        """Number of events that a step has read which went from a position to another."""
        return int(self._read(_BETWEEN, (after, until))[0][0]) if until > after else 0


class PostgresStore:
    """The store as one thread sees it; connections are the process's.

    Parameters
    ----------
    url
        ``postgresql://…``
    wait_ms
        How long to wait for a free connection, milliseconds.
    only_read
        Whether writing is refused.
    """

    def __init__(self, url: str, wait_ms: int, *, only_read: bool = False) -> None:
        self._url = url
        self._wait_s = wait_ms / 1_000
        self._only_read = only_read
        self._fence = _under(url)

    @property
    def _pool(self) -> Pool:
        return pool(self._url, only_read=self._only_read)

    def read(self, statement: str, bindings: Bindings = ()) -> list[Row]:
        """All rows of a statement; asked once more where the connection was of a server that has gone."""
        text = form(statement)
        return self._done(lambda connection: connection.execute(text, bindings).fetchall(), again=True)

    def stream(self, statement: str, bindings: Bindings = ()) -> Iterator[Row]:
        """Rows of a statement one by one, over a connection of its own."""
        connection = self._pool.fresh()
        try:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.execute("SET idle_in_transaction_session_timeout = 0")  # whoever reads may think
            with connection.transaction(), psycopg.RawServerCursor(connection, "stream") as cursor:
                cursor.itersize = READ_ROWS
                yield from cursor.execute(form(statement), bindings)
        except psycopg.Error as error:
            raise translated(error, self._url) from error
        finally:
            connection.close()

    def write(self, work: Work[Result], *, serializable: bool = True) -> Result:
        """Do a piece of work in one transaction, and again where another one was in its way."""
        level = psycopg.IsolationLevel.SERIALIZABLE if serializable else psycopg.IsolationLevel.READ_COMMITTED

        def once(connection: Connection) -> Result:
            if connection.isolation_level != level:
                connection.isolation_level = level
            with connection.transaction():
                self._require_fence(connection)
                return work(PostgresTransaction(connection))

        return tried(lambda: self._done(once))

    def append(self, rows: Sequence[Row]) -> list[bool]:
        """Append events in a transaction of their own."""
        return self.write(lambda transaction: transaction.append(rows))

    def tail(self, name: str) -> LogTail:
        """Position of a reader of the event log."""
        return PositionTail(self.read, name)

    def stamp(self, topics: Collection[str] = ()) -> int:
        """Changes whenever any transaction of the cluster has been committed."""
        ((snapshot,),) = self.read(_SNAPSHOT)
        return int.from_bytes(blake2b(snapshot.encode(), digest_size=7).digest(), "big")

    def lease(self, name: str, holder: str, seconds: float) -> int | None:
        """Take a lease, or keep it; its epoch. It lapses by the server's clock, whatever became of its holder."""
        if seconds <= 0:
            return self._give_back(name, holder)
        bindings = (name, holder, round(seconds * 1e6))
        found = self._done(lambda connection: connection.execute(_TAKE, bindings).fetchall())
        if not found:
            return None
        taken = Fence(name, holder, int(found[0][0]), self._url)
        _fence.set(taken)
        return taken.epoch

    def _give_back(self, name: str, holder: str) -> int | None:
        found = self._done(lambda connection: connection.execute(_GIVE, (name, holder)).fetchall())
        fence = _under(self._url)
        if fence is not None and (fence.name, fence.holder) == (name, holder):
            _fence.set(None)
        return int(found[0][0]) if found else None

    def roll(self, before_us: int | None) -> int:
        """Make the log's next part in time, and drop the oldest one if it is too old; or later, if others are in the way."""
        with suppress(StoreBusy):
            return parts.roll(self, before_us)
        return 0

    def is_sound(self) -> bool:
        """Whether the server has found no page whose checksum is wrong; it looks at a page when it reads it."""
        return self.read(_DAMAGED) == [(0,)]

    def scrub(self) -> bool:
        """Always True: the files are the server's, whose vacuum gives the room of deleted rows to others."""
        return True

    def scrub_pages(self) -> bool:
        """Have the server give the room of deleted rows free."""
        self._done(lambda connection: connection.execute(_ERASABLE))
        return True

    def close(self) -> None:
        """Nothing is held between two uses."""

    def _require_fence(self, connection: Connection) -> None:
        if self._fence is not None and not connection.execute(_IS_HELD, self._fence[:3]).fetchall():
            raise StoreBusy(f"another process has taken the lease {self._fence.name}: what was begun under it is not written")

    def _done(self, what: Callable[[Connection], Result], *, again: bool = False) -> Result:
        try:
            with self._pool.connection(self._wait_s) as connection:
                return what(connection)
        except AGAIN:
            raise
        except psycopg.OperationalError as error:
            ours = translated(error, self._url)
            if type(ours) is StoreUnavailable:  # the server has gone: so have all idle connections to it
                self._pool.forget()
                if again:
                    return self._done(what)
            raise ours from error
        except psycopg.Error as error:
            raise translated(error, self._url) from error


def _under(url: str) -> Fence | None:
    """The lease of a server that this thread works under."""
    fence = _fence.get()
    return fence if fence is not None and fence.url == url else None


def tried(once: Callable[[], Result]) -> Result:
    """Do something that another transaction may be in the way of, at most `TRIES` times.

    A key that another transaction takes at the same moment may be told as a conflict; the second try sees that one's row.

    Raises
    ------
    StoreBusy
        If others were in the way each time.
    """
    n_conflicts = 0
    for n in range(TRIES):
        try:
            return once()
        except AGAIN as error:
            last: Any = error
        except ConflictingWrite as error:
            n_conflicts += 1
            if n_conflicts > 1 or not isinstance(error.__cause__, psycopg.errors.UniqueViolation):
                raise
        time.sleep(random.random() * min(LONGEST_PAUSE_S, 0.001 * 2**n))
    raise StoreBusy(f"other writers were in the way {TRIES} times") from last
