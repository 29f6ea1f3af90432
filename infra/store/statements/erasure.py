"""Statements of erasure: who was erased, up to when, and what went.

A tombstone holds a pseudonym and nothing else of the user. It outlives the data, so that what was erased cannot come back: an
event of before, sent again, replayed from quarantine or read from its file once more, is passed over by the log itself.
"""

from typing import Final

# Before a user is buried once more: (user_id).
KEEP_EARLIER: Final = (
    "INSERT INTO earlier_receipts (receipt_id, tombstone, partner, erased_at_us, completed_at_us, removed) "
    "SELECT receipt_id, user_id, partner, erased_at_us, completed_at_us, removed FROM tombstones WHERE user_id = ?"
)
COMPLETE_EARLIER: Final = "UPDATE earlier_receipts SET completed_at_us = ? WHERE tombstone = ? AND completed_at_us IS NULL"
# (user_id, partner, receipt_id, erased_at_us); who is erased again gets a new receipt.
BURY: Final = (
    "INSERT INTO tombstones (user_id, partner, receipt_id, erased_at_us, removed) VALUES (?, ?, ?, ?, '{}') "
    "ON CONFLICT (user_id) DO UPDATE SET receipt_id = excluded.receipt_id, erased_at_us = excluded.erased_at_us, "
    "completed_at_us = NULL, removed = '{}'"
)
# Rows that belong to a user through another table, before that table's own rows go: table -> (condition on one user_id).
DEPENDENT: Final = {
    "quarantine": "seq IN (SELECT seq FROM events WHERE user_id = ?1) OR instr(raw, ?1) > 0",
    "reward_events": "seq IN (SELECT seq FROM events WHERE user_id = ?1)",
    "rewards": "decision_id IN (SELECT decision_id FROM decisions WHERE user_id = ?1)",
    "deliveries": "signal_id IN (SELECT signal_id FROM signals WHERE user_id = ?1)",
}
# Every table that names users itself, whatever part brought it.
TABLES_OF_USERS: Final = (
    "SELECT m.name FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c "
    "WHERE m.type = 'table' AND c.name = 'user_id' AND m.name <> 'tombstones' ORDER BY m.name"
)
KEEP_RECEIPT: Final = "UPDATE tombstones SET removed = ?, completed_at_us = ? WHERE receipt_id = ?"
# (receipt_id, partner)
RECEIPT: Final = " UNION ALL ".join(
    f"SELECT receipt_id, erased_at_us, completed_at_us, removed FROM {table} WHERE receipt_id = ?1 AND partner = ?2"
    for table in ("tombstones", "earlier_receipts")
)
# What a copy may be left of: (erased_before_us).
UNFINISHED: Final = (
    "SELECT user_id, partner, receipt_id, removed FROM tombstones WHERE completed_at_us IS NULL AND erased_at_us <= ? "
    "ORDER BY erased_at_us LIMIT 1"
)
# (partner)
IS_KNOWN: Final = "SELECT 1 FROM partners WHERE name = ?1 UNION SELECT 1 FROM events WHERE partner = ?1"
N_ERASED: Final = "SELECT count(*), coalesce(max(erased_at_us), 0) FROM tombstones"

# Retention, a few rows at a time: the column that dates a table's rows.
DATED: Final = {
    "events": "occurred_at_us",
    "decisions": "decided_at_us",
    "failed_decisions": "failed_at_us",
    "signals": "created_at_us",
    "holdout": "created_at_us",
    "deliveries": "created_at_us",
    "quarantine": "quarantined_at_us",
    "signal_users": "scored_at_us",
}
# What goes with rows of `DATED`: (table, the column that both have).
WITH_OLD: Final = {
    "events": (("quarantine", "seq"), ("reward_events", "seq")),
    "decisions": (("rewards", "decision_id"),),
    "signals": (("deliveries", "signal_id"),),
}
