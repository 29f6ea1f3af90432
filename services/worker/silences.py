"""Silences: a timer for every visitor who has just done something, kept in the store.

Nobody waits: the newest event of a visitor says when the next step of a silence is due, and one row holds that instant. It is
moved in the transaction of what follows from it, so a killed worker does a step again or not at all. A newer event replaces
the row. An event that has not been looked at yet keeps its visitor's row from falling due: she has come back.
"""

from collections.abc import Sequence
from typing import NamedTuple

from infra.store.protocol import Store, Transaction
from infra.store.statements import silences as sql
from models.engagement.silence import SECOND_US, newest_step_s, next_step_s, put_in_at_us
from models.live_session import LiveSession


class Open(NamedTuple):
    """Row of a silence, in the order of the statements."""

    user_id: str
    partner: str
    cause_seq: int
    since_us: int
    utc_offset_min: int
    due_at_us: int


class Silences:
    """Timers of all visitors.

    Parameters
    ----------
    store
        Used by one thread.
    steps_s
        After so many seconds of silence a visitor is looked at again, rising; none: never.
    """

    def __init__(self, store: Store, steps_s: Sequence[int]) -> None:
        self._store = store
        self._steps_s = steps_s

    def may_come(self, since_us: int, oldest_us: int) -> bool:
        """Whether a silence since an instant has a step that is due at `oldest_us` or behind it."""
        return next_step_s(since_us, self._steps_s, oldest_us - 1) is not None

    def begin(self, transaction: Transaction, seq: int, since_us: int, oldest_us: int) -> None:
        """Set the timer of the visitor of an event, unless every step of the silence is due before `oldest_us`."""
        step_s = next_step_s(since_us, self._steps_s, oldest_us - 1)
        if step_s is not None:
            transaction.execute(sql.BEGIN, (since_us, since_us + step_s * SECOND_US, seq))

    def due(self, position: int, now_us: int, most: int) -> dict[str, tuple[Open, int]]:
        """Silences that are due at an instant, at most so many, by user, and the newest step of each; longest due first.

        Parameters
        ----------
        position
            Up to which the log has been followed: who did anything behind it has come back.
        """
        rows = [Open(*row) for row in self._store.read(sql.DUE, (now_us, position, most))]
        return {one.user_id: (one, newest_step_s(one.since_us, self._steps_s, now_us) or 0) for one in rows}

    def go_on(self, transaction: Transaction, one: Open, position: int, now_us: int) -> bool:
        """Set a timer to the step after an instant, or end it; False if the visitor has come back, or another was faster."""
        if transaction.read(sql.HAS_COME_BACK, (one.user_id, position)):
            return False
        step_s = next_step_s(one.since_us, self._steps_s, now_us)
        found = (one.user_id, one.cause_seq, one.due_at_us)
        if step_s is None:
            return transaction.execute(sql.END, found) == 1
        return transaction.execute(sql.GO_ON, (one.since_us + step_s * SECOND_US, *found)) == 1

    def is_settled(self, transaction: Transaction, user_id: str, session: LiveSession) -> bool:
        """Whether what lies there has been bought: shops tell of orders in sessions of their own, and late."""
        return bool(transaction.read(sql.HAS_BOUGHT, (user_id, put_in_at_us(session))))

    def end(self, transaction: Transaction, user_id: str) -> None:
        """End a silence: one signal comes of it at most."""
        transaction.execute(sql.FORGET, (user_id,))
