"""Log writer, the only one of a process on the way of requests: many requests, one durable commit.

Requests hand over what is to be written and wait; a thread takes all that is waiting, does it in one transaction and then
answers everyone. With FULL sync it is on disk when COMMIT returns. While it writes, the next group gathers; a failed commit
acknowledges nothing.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import apsw

from infra import layout
from infra.store.embedded.connection import connect, translated
from infra.store.embedded.migrate import immediate
from infra.store.embedded.store import EmbeddedTransaction
from infra.store.errors import ConflictingWrite, StoreBusy, StoreFull, StoreUnavailable
from infra.store.free_space import FreeSpace
from infra.store.protocol import Work
from infra.store.statements.events import FROM_SERVER
from infra.store.transaction import Row

MAX_WAITING: Final = 1_000  # jobs; above it the door answers 503 at once
MAX_GROUP: Final = 200  # jobs in one commit
WAIT_MS: Final = 1_000  # a request must be refused before its client, or the server around it, gives up
Result = TypeVar("Result")


class _Waiting(NamedTuple):
    work: Work[Any]
    done: "Future[Any]"


class LogWriter:
    """Group commit into the store of a home; a `Writer`.

    Parameters
    ----------
    now_us
        The clock that dates `received_at_us`.
    space
        While it is short, nothing is taken: a commit that finds the disk full may leave no room to recover in.
    """

    def __init__(self, home: Path, now_us: Callable[[], int], space: FreeSpace | None = None) -> None:
        self._now_us = now_us
        self._space = space or FreeSpace(home, 0)
        self._home = home
        self._path = home / layout.STORE
        self._opened: tuple[int, int] | None = None
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work[Result]) -> "Future[Result]":
        """Hand over something to write."""
        done: Future[Result] = Future()
        try:
            self._space.require()
        except StoreFull as error:
            done.set_exception(error)
            return done
        # Not the queue's own limit: the writer's thread puts into it too, and would wait for itself.
        if self._waiting.qsize() < MAX_WAITING:
            self._waiting.put(_Waiting(work, done))
        else:
            done.set_exception(StoreBusy("too many writes wait for the store"))
        return done

    def append(self, partner: str, rows: Sequence[Row]) -> "Future[list[bool]]":
        """Hand over events in the order of `EVENT_COLUMNS`."""
        sent = (self._now_us(), *FROM_SERVER)
        return self.submit(lambda transaction: transaction.append((partner, *row, *sent) for row in rows))

    def close(self) -> None:
        """Write what is waiting, then end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        connection: apsw.Connection | None = None
        while (first := self._waiting.get()) is not None:
            group = self._group(first)
            if not group:
                continue
            try:
                if connection is not None and _identity(self._path) != self._opened:
                    connection.close(force=True)  # what is written to a file that nobody can open any more is lost
                    connection = None
                connection = connection or self._connect()
                outcomes = _commit(connection, group)
            except (apsw.Error, OSError) as error:
                if connection is not None:
                    connection.close(force=True)
                connection = None  # a fresh one may find the disk mended
                ours = translated(error, self._path) if isinstance(error, apsw.Error) else StoreUnavailable(str(error))
                for one in group:
                    one.done.set_exception(ours)
                continue
            for one, outcome in zip(group, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    one.done.set_exception(outcome)
                else:
                    one.done.set_result(outcome)
        if connection is not None:
            connection.close()

    def _group(self, first: _Waiting) -> list[_Waiting]:
        """All that waits, without what nobody waits for any more."""
        group = [first]
        while len(group) < MAX_GROUP and not self._waiting.empty():
            if (more := self._waiting.get()) is None:
                self._waiting.put(None)
                break
            group.append(more)
        return [one for one in group if one.done.set_running_or_notify_cancel()]

    def _connect(self) -> apsw.Connection:
        connection = connect(self._home, WAIT_MS)
        self._opened = _identity(self._path)
        return connection


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file a path means now; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _commit(connection: apsw.Connection, group: Sequence[_Waiting]) -> list[Any]:
    """Do a group's work in one transaction; per piece its result, or what it raised."""
    with immediate(connection):
        return [_attempt(connection, one.work) for one in group]


def _attempt(connection: apsw.Connection, work: Work[Any]) -> Any:
    """Do one piece of work; what goes wrong in it must not sink its neighbours, unless it is the store itself."""
    connection.execute("SAVEPOINT piece")
    outcome: Any
    try:
        outcome = work(EmbeddedTransaction(connection))
    except apsw.ConstraintError as error:
        outcome = ConflictingWrite(str(error))
    except (apsw.Error, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - raised again where somebody waits for it
        outcome = error
    if isinstance(outcome, Exception):
        connection.execute("ROLLBACK TO piece")
    connection.execute("RELEASE piece")
    return outcome
