"""Statements of materialization: which visitors a fold has to look at, and their events."""

from typing import Final

from infra.store.statements.dialect import one_of
from infra.store.statements.events import LOG_COLUMNS

_HELD_BACK: Final = "SELECT seq FROM quarantine WHERE seq IS NOT NULL AND replayed_at_us IS NULL"
_VALID: Final = f"seq <= ? AND occurred_at_us <= ? AND seq NOT IN ({_HELD_BACK})"
FIRST_SEQ: Final = "SELECT coalesce(min(seq), 0) FROM events"
# The visitor so many events behind another, in the order of visitors: (after_user, n_events).
NEXT_VISITOR: Final = "SELECT user_id FROM events WHERE user_id > ? ORDER BY user_id LIMIT 1 OFFSET ?"
# Valid events, each with whether it is believed, in no order: (until_seq, until_us).
FOLDED_COLUMNS: Final = ("seq", *(name for name in LOG_COLUMNS if name not in ("event_id", "received_at_us")), "believed")
EVENTS_UNTIL: Final = f"SELECT {', '.join(FOLDED_COLUMNS)} FROM events WHERE {_VALID}"
# Those behind a position: (after_seq, until_seq, until_us).
EVENTS_BEHIND: Final = f"SELECT {', '.join(FOLDED_COLUMNS)} FROM events WHERE seq > ? AND {_VALID}"
# The first of the events that had not happened yet: (after_seq, until_seq, as_of_us).
FIRST_AHEAD: Final = "SELECT min(+seq) FROM events WHERE +seq > ? AND +seq <= ? AND occurred_at_us > ?"  # by age, not by number
# Instant of the earliest valid event behind a position: (after_seq, until_seq, until_us).
EARLIEST_SINCE: Final = f"SELECT min(+occurred_at_us) FROM events WHERE seq > ? AND {_VALID}"
# The same of some events: (seqs as a JSON list, until_seq, until_us).
EARLIEST_OF: Final = f"SELECT min(occurred_at_us) FROM events WHERE seq {one_of()} AND {_VALID}"
# Visitors of whom something was held back, released or decided since an instant, or with whom another was joined, and the
# earliest event concerned: (until_seq, since_us).
CHANGED: Final = (
    "SELECT user_id, min(first_us) FROM (SELECT user_id, occurred_at_us AS first_us FROM quarantine JOIN events USING (seq) "
    "WHERE quarantine.seq <= ?1 AND (quarantined_at_us >= ?2 OR replayed_at_us >= ?2 OR verdict_at_us >= ?2) "
    "UNION ALL SELECT user_id, first_us FROM identities WHERE joined_at_us >= ?2 AND first_us IS NOT NULL) AS both_ways "
    "GROUP BY user_id"
)
# Visitors who were erased since an instant, whose erasure was completed since, or who are known by another name: (since_us).
ERASED: Final = (
    "SELECT user_id FROM tombstones WHERE erased_at_us >= ?1 OR completed_at_us >= ?1 "
    "UNION SELECT anonymous_id FROM identities WHERE joined_at_us >= ?1"
)
# Earliest event of those that another visitor brought along since a reader moved: (name of the reader).
EARLIEST_JOINED: Final = (
    "SELECT min(first_us) FROM identities WHERE joined_at_us >= (SELECT moved_at_us FROM cursors WHERE name = ?)"
)
# What the item fold needs; of believed events from an instant on: (from_us, until_seq, until_us).
ITEM_COLUMNS: Final = ("seq", "occurred_at_us", "event_type", "item_id", "price")
TOUCHED_COLUMNS: Final = (*ITEM_COLUMNS, "believed")
ITEM_EVENTS: Final = (
    f"SELECT {', '.join(TOUCHED_COLUMNS)} FROM events "
    f"WHERE occurred_at_us >= ? AND {_VALID} AND believed = 1 AND item_id IS NOT NULL"
)
