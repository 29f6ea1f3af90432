"""Cleanup duty: answers to repeated writes go after a day, rejected events after a fortnight.

A home that an early version made may hold texts of lines that were no rows; they go when the worker starts.
"""

from collections.abc import Callable
from typing import Final

import apsw

from infra.secret import secret
from infra.settings import Settings
from infra.store.connection import connect, rows
from infra.store.statements.idempotency import (
    FORGET_ANSWERS,
    FORGET_REJECTED,
    IDEMPOTENT_HOURS,
    REJECTED_DAYS,
    REJECTED_SOURCE,
    WITH_TEXT,
    WITHOUT_TEXT,
)
from models.events.identity import partner_keys
from models.events.rejected import stand_in
from models.schema import DAY_US

POLL_S: Final = 60.0
ROWS_A_STEP: Final = 1_000


class CleanupDuty:
    """Duty that removes what requests left for a time; it needs no cursor, since it goes by age.

    Parameters
    ----------
    key
        The pseudonym key of a partner.
    """

    name = "cleanup"
    poll_s = POLL_S

    def __init__(self, connection: apsw.Connection, key: Callable[[str], bytes]) -> None:
        self._connection = connection
        self._key = key
        self._may_hold_texts = True

    def step(self, now_us: int) -> int:
        """Remove some of what is too old; how many rows that were."""
        before = self._connection.total_changes()
        with self._connection:
            self._connection.execute(FORGET_ANSWERS, (now_us - IDEMPOTENT_HOURS * 3_600_000_000, ROWS_A_STEP))
            rejected_before_us = now_us - REJECTED_DAYS * DAY_US
            self._connection.execute(FORGET_REJECTED, (REJECTED_SOURCE, rejected_before_us, ROWS_A_STEP))
            if self._may_hold_texts:
                found = rows(self._connection, WITH_TEXT, (ROWS_A_STEP,))
                kept = [(stand_in(raw, self._key(partner)), row) for row, partner, raw in found]
                self._connection.executemany(WITHOUT_TEXT, kept)
                self._may_hold_texts = bool(found)
        return self._connection.total_changes() - before


def open_duty(settings: Settings) -> CleanupDuty:
    """The duty on a connection of its own."""
    return CleanupDuty(connect(settings.home), partner_keys(secret(settings.home)))
