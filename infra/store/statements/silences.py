"""Statements of silences: who may be in one, and when each visitor is looked at again."""

from typing import Final

# A visitor's newest event opens a silence, unless it was erased: (since_us, due_at_us, seq).
BEGIN: Final = (
    "INSERT INTO silences (user_id, partner, cause_seq, since_us, utc_offset_min, due_at_us) "
    "SELECT user_id, partner, seq, ?1, utc_offset_min, ?2 FROM events WHERE seq = ?3 ON CONFLICT (user_id) DO UPDATE SET "
    "partner = excluded.partner, cause_seq = excluded.cause_seq, since_us = excluded.since_us, "
    "utc_offset_min = excluded.utc_offset_min, due_at_us = excluded.due_at_us WHERE excluded.since_us >= silences.since_us"
)
_HAS_COME_BACK: Final = "SELECT 1 FROM events WHERE user_id = {} AND browser IN (0, 1) AND seq > ?"
# Whether a visitor did anything behind an event of the log: (user_id, after_seq).
HAS_COME_BACK: Final = f"{_HAS_COME_BACK.format('?')} LIMIT 1"
# Whether a visitor has bought since an instant, in whatever session: (user_id, since_us).
HAS_BOUGHT: Final = (
    "SELECT 1 FROM events WHERE user_id = ? AND browser IN (0, 1) AND event_type = 'purchase' AND occurred_at_us >= ? LIMIT 1"
)
# Who is to be looked at again, without those who have come back, by when: (now_us, after_seq, limit).
DUE: Final = (
    "SELECT user_id, partner, cause_seq, since_us, utc_offset_min, due_at_us FROM silences WHERE due_at_us <= ? "
    f"AND NOT EXISTS ({_HAS_COME_BACK.format('silences.user_id')}) ORDER BY due_at_us, user_id LIMIT ?"
)
# As it was found, a silence goes on until its next step, or ends: (due_at_us, user_id, cause_seq, due_at_us),
# (user_id, cause_seq, due_at_us). And whatever its step: (user_id).
GO_ON: Final = "UPDATE silences SET due_at_us = ? WHERE user_id = ? AND cause_seq = ? AND due_at_us = ?"
END: Final = "DELETE FROM silences WHERE user_id = ? AND cause_seq = ? AND due_at_us = ?"
FORGET: Final = "DELETE FROM silences WHERE user_id = ?"
