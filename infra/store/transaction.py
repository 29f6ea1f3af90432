"""Transaction: what a piece of work may do to the store, all of it or nothing."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

Row = tuple[Any, ...]
Bindings = Sequence[Any]


class Transaction(Protocol):
    """One serializable transaction, as the work sees it that `Store.write` was given."""

    def read(self, statement: str, bindings: Bindings = ()) -> list[Row]:
        """All rows of a statement, also those that a ``RETURNING`` gives."""
        ...

    def execute(self, statement: str, bindings: Bindings = ()) -> int:
        """Run one statement that writes; how many rows it changed."""
        ...

    def executemany(self, statement: str, rows: Iterable[Bindings]) -> int:
        """Run one statement once per row of bindings; how many rows they changed in all."""
        ...

    def append(self, rows: Iterable[Row]) -> list[bool]:
        """Append events to the log.

        Parameters
        ----------
        rows
            In the order of `infra.store.statements.events.APPEND_COLUMNS`.

        Returns
        -------
        Per row, whether it is new (False: the partner's log holds its id already, or its user was erased).
        """
        ...
