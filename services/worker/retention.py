"""Retention duty: what is older than ATTUNE_RETENTION_DAYS goes, so that the store does not grow for ever."""

from typing import Final

import apsw
import msgspec

from infra.settings import Settings
from infra.store.connection import connect, rows
from infra.store.statements.erasure import DATED, WITH_OLD
from models.schema import DAY_US

POLL_S: Final = 600.0
ROWS_A_STEP: Final = 1_000  # so that no other writer waits for long


class RetentionDuty:
    """Duty that removes what is too old; it goes by age and needs no cursor.

    Parameters
    ----------
    days
        How long anything is kept; None keeps all.
    """

    name = "retention"
    poll_s = POLL_S

    def __init__(self, connection: apsw.Connection, days: int | None) -> None:
        self._connection = connection
        self._days = days

    def step(self, now_us: int) -> int:
        """Remove some of what is too old; how many rows that were."""
        if self._days is None:
            return 0
        before_us = now_us - self._days * DAY_US
        return sum(self._remove(table, column, before_us) for table, column in DATED.items())

    def _remove(self, table: str, column: str, before_us: int) -> int:
        # Looked for before the transaction: finding them may take long, and no other writer shall wait for it.
        found = rows(self._connection, f"SELECT rowid FROM {table} WHERE {column} < ? LIMIT ?", (before_us, ROWS_A_STEP))
        if not found:
            return 0
        before = self._connection.total_changes()
        old = f"FROM {table} WHERE rowid IN (SELECT value FROM json_each(?))"
        which = (msgspec.json.encode([row[0] for row in found]).decode(),)
        with self._connection:
            for dependent, key in WITH_OLD.get(table, ()):
                self._connection.execute(f"DELETE FROM {dependent} WHERE {key} IN (SELECT {key} {old})", which)
            self._connection.execute(f"DELETE {old}", which)
        return self._connection.total_changes() - before


def open_duty(settings: Settings) -> RetentionDuty:
    """The duty on a connection of its own."""
    return RetentionDuty(connect(settings.home), settings.retention_days)
