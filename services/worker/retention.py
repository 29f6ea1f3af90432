"""Retention duty: what is older than ATTUNE_RETENTION_DAYS goes, so that the store does not grow for ever."""

import time
from collections.abc import Callable
from typing import Final

import msgspec

from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.protocol import Store
from infra.store.statements.erasure import RETENTION, Retention
from models.schema import DAY_US

POLL_S: Final = 600.0
ROWS_A_STEP: Final = 200  # so that no other writer waits for long
LEAST_REST_S: Final = 0.02  # after each transaction, or as long as it took: others write too


class RetentionDuty:
    """Duty that removes what is too old, and has the log's next part made in time; it goes by age and needs no cursor.

    Parameters
    ----------
    days
        How long anything is kept; None keeps all.
    rest
        Waits some seconds.
    """

    name = "retention"
    poll_s = POLL_S

    def __init__(self, store: Store, days: int | None, rest: Callable[[float], None] = time.sleep) -> None:
        self._store = store
        self._days = days
        self._rest = rest

    def step(self, now_us: int) -> int:
        """Remove some of what is too old; how many rows that were."""
        before_us = None if self._days is None else now_us - self._days * DAY_US
        n_rows = self._store.roll(before_us)
        if before_us is None:
            return n_rows
        return n_rows + sum(self._remove(table, before_us) for table in RETENTION)

    def _remove(self, table: Retention, before_us: int) -> int:
        old = [row for (row,) in self._store.read(table.find, (before_us, ROWS_A_STEP))]
        if not old:
            return 0
        which = (msgspec.json.encode(old).decode(),)
        began = time.perf_counter()
        n_rows = self._store.write(lambda transaction: sum(transaction.execute(one, which) for one in table.remove))
        self._rest(max(LEAST_REST_S, time.perf_counter() - began))
        return n_rows


def open_duty(settings: Settings) -> RetentionDuty:
    """The duty on a store of its own."""
    return RetentionDuty(open_store(settings.home), settings.retention_days)
