"""Statements of erasure: who was erased, up to when, and what went.

A tombstone holds a pseudonym and nothing else of the user. It outlives the data, so that what was erased cannot come back: an
event of before, sent again, replayed from quarantine or read from its file once more, is passed over by the log itself.
"""

from typing import Final, NamedTuple

from infra.store.statements.dialect import ROW, one_of

# Before a user is buried once more: (user_id).
KEEP_EARLIER: Final = (
    "INSERT INTO earlier_receipts (receipt_id, tombstone, partner, erased_at_us, completed_at_us, removed) "
    "SELECT receipt_id, user_id, partner, erased_at_us, completed_at_us, removed FROM tombstones WHERE user_id = ?"
)
# The receipts of before, of users whose newest is complete: (completed_at_us, user_ids as a JSON list).
COMPLETE_EARLIER: Final = (
    f"UPDATE earlier_receipts SET completed_at_us = ? WHERE completed_at_us IS NULL AND tombstone {one_of()} "
    "AND EXISTS (SELECT 1 FROM tombstones WHERE user_id = tombstone AND tombstones.completed_at_us IS NOT NULL)"
)
# (user_id, partner, receipt_id, erased_at_us); who is erased again gets a new receipt.
BURY: Final = (
    "INSERT INTO tombstones (user_id, partner, receipt_id, erased_at_us, removed) VALUES (?, ?, ?, ?, '{}') "
    "ON CONFLICT (user_id) DO UPDATE SET receipt_id = excluded.receipt_id, erased_at_us = excluded.erased_at_us, "
    "completed_at_us = NULL, removed = '{}'"
)
_OF_EVENTS: Final = "seq IN (SELECT seq FROM events WHERE user_id = ?1)"
# What a user leaves in the store, table and statement; rows that are found through another table's go before those:
# (user_id). A test compares them with the tables that name users.
ERASE: Final = tuple(
    (table, f"DELETE FROM {table} WHERE {condition}")
    for table, condition in (
        ("quarantine", _OF_EVENTS),
        ("reward_events", _OF_EVENTS),
        ("rewards", "decision_id IN (SELECT decision_id FROM decisions WHERE user_id = ?1)"),
        ("deliveries", "signal_id IN (SELECT signal_id FROM signals WHERE user_id = ?1)"),
        ("action_due", "user_id = ?1"),
        ("action_observations", "user_id = ?1"),
        ("decisions", "user_id = ?1"),
        ("events", "user_id = ?1"),
        ("failed_decisions", "user_id = ?1"),
        ("holdout", "user_id = ?1"),
        ("identities", "user_id = ?1"),
        ("signal_deals", "user_id = ?1"),
        ("signal_users", "user_id = ?1"),
        ("signals", "user_id = ?1"),
        ("silences", "user_id = ?1"),
        ("trust_visitors", "user_id = ?1"),
    )
)
# Who is erased, has not come back and left something all the same, which a step under way had read: (user_ids as a JSON list).
LEFT_BEHIND: Final = (
    f"SELECT user_id FROM tombstones AS gone WHERE user_id {one_of()} "
    "AND NOT EXISTS (SELECT 1 FROM events WHERE events.user_id = gone.user_id) AND ("
    + " OR ".join(
        f"EXISTS (SELECT 1 FROM {table} WHERE {table}.user_id = gone.user_id)"
        for table, statement in ERASE
        if table != "events" and statement.endswith("WHERE user_id = ?1")
    )
    + ")"
)
KEEP_RECEIPT: Final = "UPDATE tombstones SET removed = ?, completed_at_us = ? WHERE receipt_id = ?"
# (receipt_id, partner)
RECEIPT: Final = " UNION ALL ".join(
    f"SELECT receipt_id, erased_at_us, completed_at_us, removed FROM {table} WHERE receipt_id = ?1 AND partner = ?2"
    for table in ("tombstones", "earlier_receipts")
)
# What a copy may be left of, oldest first: (erased_before_us, limit).
UNFINISHED: Final = (
    "SELECT user_id, receipt_id, removed FROM tombstones WHERE completed_at_us IS NULL AND erased_at_us <= ? "
    "ORDER BY erased_at_us LIMIT ?"
)
# When the first and the last of them was erased; NULL for none.
UNFINISHED_SPAN: Final = "SELECT min(erased_at_us), max(erased_at_us) FROM tombstones WHERE completed_at_us IS NULL"
# Rejected rows, whose texts may name users, behind a row: (after_id, limit). And to let some go: (ids as a JSON list).
REJECTED_TEXTS: Final = "SELECT id, raw FROM quarantine WHERE id > ? AND raw IS NOT NULL ORDER BY id LIMIT ?"
FORGET_TEXTS: Final = f"DELETE FROM quarantine WHERE id {one_of()}"
# (partner)
IS_KNOWN: Final = (
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM partners WHERE name = ?1) OR EXISTS (SELECT 1 FROM events WHERE partner = ?1)"
)
N_ERASED: Final = "SELECT count(*), coalesce(max(erased_at_us), 0) FROM tombstones"


class Retention(NamedTuple):
    """Statements that let go of a table's old rows, a few at a time.

    Attributes
    ----------
    find
        Names rows: (before_us, limit).
    remove
        Each removes them, or what goes with them, in this order: (names as a JSON list).
    """

    find: str
    remove: tuple[str, ...]


def _retention(table: str, name: str, dated: str, *dependents: tuple[str, str]) -> Retention:
    """Of a table with the columns that name and date its rows, and of (table, the column that both have)."""
    old = f"FROM {table} WHERE {name} {one_of()}"
    return Retention(
        f"SELECT {name} FROM {table} WHERE {dated} < ? LIMIT ?",
        (*(f"DELETE FROM {other} WHERE {key} IN (SELECT {key} {old})" for other, key in dependents), f"DELETE {old}"),
    )


RETENTION: Final = (
    _retention("events", "seq", "occurred_at_us", ("quarantine", "seq"), ("reward_events", "seq")),
    _retention("decisions", "seq", "decided_at_us", ("rewards", "decision_id")),
    _retention("failed_decisions", "seq", "failed_at_us"),
    _retention("signals", "seq", "created_at_us", ("deliveries", "signal_id")),
    _retention("holdout", "seq", "created_at_us"),
    _retention("deliveries", "delivery_id", "created_at_us"),
    _retention("quarantine", "id", "quarantined_at_us"),
    _retention("signal_users", "user_id", "scored_at_us"),  # a pseudonym is of one partner
    _retention("signal_deals", ROW, "dealt_at_us"),  # written once
    _retention("discount_bids", ROW, "at_us"),  # likewise
)
