"""Parts of the log on a PostgreSQL server: made ahead of its end, and dropped whole where all in them is too old.

Nobody waits for this: a part that readers are in the way of is made, or dropped, another time.
"""

from functools import partial
from typing import Final

from infra.store.protocol import Store, Transaction
from infra.store.transaction import Row

# What is unique over all parts, of a log that came here whole.
UNIQUE: Final = (
    "INSERT INTO event_ids (partner, event_id, seq) SELECT partner, event_id, seq FROM events",
    "INSERT INTO order_items (partner, order_id, item_id, browser, seq) SELECT partner, order_id, item_id, browser, seq "
    "FROM events WHERE event_type = 'purchase' AND order_id IS NOT NULL AND item_id IS NOT NULL",
)
_PATIENCE: Final = "SET LOCAL lock_timeout = '200ms'"  # whoever reads or appends queues behind a lock that is waited for
_EXTEND: Final = "SELECT extend_events()"
# Parts that no transaction appends to any more, oldest first.
_CLOSED: Final = "SELECT name, from_seq, until_seq FROM event_ranges WHERE until_seq <= log_horizon() ORDER BY from_seq"
_NEWEST: Final = "SELECT max(occurred_at_us) FROM {0}"
_HANGS_ON: Final = ("quarantine", "reward_events")
_FORGET: Final = (
    "DELETE FROM order_items USING {0} WHERE {0}.order_id IS NOT NULL AND order_items.partner = {0}.partner "
    "AND order_items.order_id = {0}.order_id AND order_items.seq = {0}.seq",
    "DELETE FROM event_ids USING {0} WHERE event_ids.partner = {0}.partner AND event_ids.event_id = {0}.event_id",
)
_DROP: Final = ("ALTER TABLE events DETACH PARTITION {0}", "DROP TABLE {0}", "DELETE FROM event_ranges WHERE name = '{0}'")


def roll(store: Store, before_us: int | None) -> int:
    """Make the next part of the log where it is time, and drop the oldest one if all its events occurred before an instant.

    Returns
    -------
    Number of events that are gone.

    Raises
    ------
    StoreBusy
        If somebody was in the way.
    """
    store.write(_extended, serializable=False)
    if before_us is None:
        return 0
    for part in store.read(_CLOSED):
        ((newest_us,),) = store.read(_NEWEST.format(part[0]))
        if newest_us is None or newest_us < before_us:
            # First what hangs on it: the lock that drops it is held for a moment then.
            n_rows = store.write(partial(_forgotten, part), serializable=False)
            store.write(partial(_dropped, part[0]), serializable=False)
            return n_rows
    return 0


def _extended(transaction: Transaction) -> None:
    transaction.execute(_PATIENCE)
    transaction.read(_EXTEND)


def _forgotten(part: Row, transaction: Transaction) -> int:
    name, from_seq, until_seq = part
    for table in _HANGS_ON:
        transaction.execute(f"DELETE FROM {table} WHERE seq >= ? AND seq < ?", (from_seq, until_seq))
    return [transaction.execute(statement.format(name)) for statement in _FORGET][-1]


def _dropped(name: str, transaction: Transaction) -> None:
    transaction.execute(_PATIENCE)
    for statement in _DROP:
        transaction.execute(statement.format(name))
