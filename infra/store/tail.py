"""Log tail: how far a reader has come in a log, under a name, kept in the store.

A reader moves its position in the transaction that holds the effect of what it read. So it may be killed at any moment, and
does its last step again. Positions are compared, never counted: they grow in the order in which events may be read, with gaps.
"""

from collections.abc import Callable

from infra.store.statements.cursors import MOVE_CURSOR, POSITION, RELEASED_SINCE
from infra.store.statements.events import NEWEST_EVENT
from infra.store.transaction import Bindings, Row, Transaction


class LogTail:
    """Position of one reader.

    Parameters
    ----------
    read
        All rows of a statement.
    name
        Of the reader.
    newest
        Statement that tells where the log ends: the event log, if not given.
    """

    def __init__(self, read: Callable[[str, Bindings], list[Row]], name: str, newest: str = NEWEST_EVENT) -> None:
        self._read = read
        self._newest = newest
        self.name = name

    def position(self) -> int | None:
        """Position of the last event that was read; None for a reader that has not begun."""
        found = self._read(POSITION, (self.name,))
        return int(found[0][0]) if found else None

    def end(self) -> int:
        """Position of the newest event; 0 for an empty log."""
        return int(self._read(self._newest, ())[0][0])

    def until(self, after: int, most: int) -> int:
        """Where a step behind a position ends that reads about `most` events; the same position if nothing is new."""
        return max(after, min(self.end(), after + most))

    def passed(self, after: int, until: int) -> int:
        """Number of events that a step has read which went from a position to another, those erased since included."""
        return until - after

    def released(self) -> list[int]:
        """Events that were passed while quarantine held them, and that a replay has released since; ascending."""
        return [int(seq) for (seq,) in self._read(RELEASED_SINCE, (self.name,))]

    def move(self, transaction: Transaction, until: int, now_us: int) -> None:
        """Move to a position, in the transaction of the effect."""
        transaction.execute(MOVE_CURSOR, (self.name, until, now_us))

    def move_from(self, transaction: Transaction, after: int, until: int, now_us: int) -> bool:
        """Move as `move` does, but only from a position: whether no other reader of this name has been faster."""
        found = transaction.read(POSITION, (self.name,))
        if (int(found[0][0]) if found else 0) != after:
            return False
        self.move(transaction, until, now_us)
        return True
