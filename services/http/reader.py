"""Store reader of requests: short queries on the event loop's thread, which never wait for a lock."""

from pathlib import Path
from typing import Any, Final

import apsw

from infra.store.connection import connect, rows
from services.http.problems import Refusal

RETRY_AFTER: Final = ((b"retry-after", b"1"),)


class Reader:
    """Reader over one connection, opened again after a failure.

    Parameters
    ----------
    home
        Whose store to read.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._connection: apsw.Connection | None = None

    def rows(self, statement: str, bindings: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of a statement.

        Raises
        ------
        Refusal
            503 where the store cannot be read.
        """
        try:
            return rows(self.connection, statement, bindings)
        except (apsw.Error, OSError) as error:
            if not isinstance(error, apsw.BusyError):
                self._connection = None
            raise Refusal(503, "the store cannot be read now; send the request again", headers=RETRY_AFTER) from None

    @property
    def connection(self) -> apsw.Connection:
        """The connection, which a first use opens."""
        if self._connection is None:
            self._connection = connect(self._home, busy_ms=0)  # all other requests wait behind this one
        return self._connection
