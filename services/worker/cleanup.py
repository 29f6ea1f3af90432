"""Cleanup duty: answers to repeated writes and the counters of trust go after a day, rejected events after a fortnight.

Of the bandit's snapshots the newest `SNAPSHOTS_KEPT` stay. A decision keeps its propensity; without its snapshot it cannot be
dealt once more to see that it comes out the same (`services.serving.profiles.replay`).

A home that an early version made may hold texts of lines that were no rows, and secrets in clear; they go when the worker
starts.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from infra.secret import secret
from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.protocol import Store, Transaction
from infra.store.statements import signals as signal_tables
from infra.store.statements.decisions import FORGET_SNAPSHOTS
from infra.store.statements.idempotency import FORGET_ANSWERS, IDEMPOTENT_HOURS
from infra.store.statements.quarantine import FORGET_REJECTED, REJECTED_DAYS, REJECTED_SOURCE, WITH_TEXT, WITHOUT_TEXT
from infra.store.statements.trust import FORGET, FORGET_ITEMS
from models.events.identity import partner_keys
from models.events.rejected import stand_in
from models.schema import DAY_US
from models.trust import PARAMS as TRUST
from services.delivery.seals import Seals

POLL_S: Final = 60.0
ROWS_A_STEP: Final = 1_000
SNAPSHOTS_KEPT: Final = 10_000  # one is written where probabilities have moved, at most every 5 s


class CleanupDuty:
    """Duty that removes what requests left for a time; it needs no cursor, since it goes by age.

    Parameters
    ----------
    key
        The pseudonym key of a partner.
    seals
        For secrets that are kept in clear.
    """

    name = "cleanup"
    poll_s = POLL_S

    def __init__(self, store: Store, key: Callable[[str], bytes], seals: Seals) -> None:
        self._store = store
        self._key = key
        self._seals = seals
        self._may_hold_texts = self._may_hold_secrets = True

    def step(self, now_us: int) -> int:
        """Remove some of what is too old; how many rows that were."""
        n_rows = self._store.write(partial(self._forget, now_us))
        if self._may_hold_secrets:
            n_rows += self._store.write(self._sealed)
            self._may_hold_secrets = not self._store.scrub()
        if self._may_hold_texts:
            n_texts = self._store.write(self._without_texts)
            self._may_hold_texts = n_texts > 0
            n_rows += n_texts
        return n_rows

    def _forget(self, now_us: int, transaction: Transaction) -> int:
        n_rows = transaction.execute(FORGET_ANSWERS, (now_us - IDEMPOTENT_HOURS * 3_600_000_000, ROWS_A_STEP))
        today = now_us // DAY_US
        for statement in FORGET:
            n_rows += transaction.execute(statement, (today - 1, ROWS_A_STEP))
        n_rows += transaction.execute(FORGET_ITEMS, (today - TRUST.unknown_days, ROWS_A_STEP))
        n_rows += transaction.execute(FORGET_SNAPSHOTS, (SNAPSHOTS_KEPT, ROWS_A_STEP))
        return n_rows + transaction.execute(FORGET_REJECTED, (REJECTED_SOURCE, now_us - REJECTED_DAYS * DAY_US, ROWS_A_STEP))

    def _sealed(self, transaction: Transaction) -> int:
        def sealed(name: str, text: str | None) -> str | None:
            return text and self._seals.sealed(name, self._seals.opened(name, text))

        found = transaction.read(signal_tables.IN_CLEAR)
        rows = [(sealed(name, now), sealed(name, before), name) for name, now, before in found]
        return transaction.executemany(signal_tables.SEAL, rows)

    def _without_texts(self, transaction: Transaction) -> int:
        texts = transaction.read(WITH_TEXT, (ROWS_A_STEP,))
        return transaction.executemany(WITHOUT_TEXT, [(stand_in(raw, self._key(partner)), row) for row, partner, raw in texts])


def open_duty(settings: Settings) -> CleanupDuty:
    """The duty on a store of its own."""
    master = secret(settings.home)
    return CleanupDuty(open_store(settings.home), partner_keys(master), Seals(master))
