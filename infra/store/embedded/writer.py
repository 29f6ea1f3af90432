"""Log writer of the embedded store, the only one of a process on the way of requests.

With FULL sync a group is on disk when COMMIT returns.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import apsw

from infra import layout
from infra.store.embedded.connection import connect, translated
from infra.store.embedded.migrate import immediate
from infra.store.embedded.store import EmbeddedTransaction
from infra.store.errors import ConflictingWrite, StoreUnavailable
from infra.store.free_space import FreeSpace
from infra.store.group import GroupWriter
from infra.store.protocol import Work

WAIT_MS: Final = 1_000  # a request must be refused before its client, or the server around it, gives up


class LogWriter(GroupWriter):
    """Group commit into the store of a home; a `Writer`.

    Parameters
    ----------
    now_us, space
        As `GroupWriter` takes them; without `space`, as long as the disk has room.
    """

    def __init__(self, home: Path, now_us: Callable[[], int], space: FreeSpace | None = None) -> None:
        self._home = home
        self._path = home / layout.STORE
        self._opened: tuple[int, int] | None = None
        self._connection: apsw.Connection | None = None
        super().__init__(now_us, space or FreeSpace(home, 0))

    def commit(self, works: Sequence[Work[Any]]) -> list[Any]:
        """Do pieces of work in one transaction; per piece its result, or what it raised."""
        try:
            if self._connection is not None and _identity(self._path) != self._opened:
                self._drop()  # what is written to a file that nobody can open any more is lost
            self._connection = self._connection or self._connect()
            return _commit(self._connection, works)
        except (apsw.Error, OSError) as error:
            self._drop()  # a fresh one may find the disk mended
            raise (translated(error, self._path) if isinstance(error, apsw.Error) else StoreUnavailable(str(error))) from error

    def let_go(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(force=True)

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


def _commit(connection: apsw.Connection, works: Sequence[Work[Any]]) -> list[Any]:
    """Do a group's work in one transaction; per piece its result, or what it raised."""
    with immediate(connection):
        return [_attempt(connection, work) for work in works]


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
