"""The duty that forgets: answers to repeated writes after a day, rejected events after a fortnight."""

from typing import Final

import apsw

from models.schema import DAY_US
from models.stored.door_tables import FORGET_ANSWERS, FORGET_REJECTED, IDEMPOTENT_HOURS, REJECTED_DAYS, REJECTED_SOURCE
from services.settings import Settings
from services.store import connect

POLL_S: Final = 60.0
ROWS_A_STEP: Final = 1_000


class Upkeep:
    """Removes what the door kept for a time. A `Duty`; it needs no cursor, since it goes by age."""

    name = "upkeep"
    poll_s = POLL_S

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def step(self, now_us: int) -> int:
        """Remove some of what is too old; how many rows that were."""
        before = self._connection.total_changes()
        with self._connection:
            self._connection.execute(FORGET_ANSWERS, (now_us - IDEMPOTENT_HOURS * 3_600_000_000, ROWS_A_STEP))
            rejected_before_us = now_us - REJECTED_DAYS * DAY_US
            self._connection.execute(FORGET_REJECTED, (REJECTED_SOURCE, rejected_before_us, ROWS_A_STEP))
        return self._connection.total_changes() - before


def open_upkeep(settings: Settings) -> Upkeep:
    """The duty on a connection of its own."""
    return Upkeep(connect(settings.home))
