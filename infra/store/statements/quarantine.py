"""Statements of quarantine: rows refused at the door, with the text that may be kept, and events held back by validation."""

from typing import Final

from infra.store.statements.dialect import holds, one_of
from models.schema import DAY_US, EVENT_COLUMNS

REJECTED_SOURCE: Final = "/v1/events"  # in `source`; the name of a file has no slash
REJECTED_DAYS: Final = 14  # how long an event that the door rejected is kept
VALIDATION: Final = "validation"  # in `source`: who holds an event of the log back
OPERATOR: Final = "operator"
TOLD_TWICE: Final = "a page told of the order, and then the shop"
HELD, ACCEPTED, DROPPED = "held", "accepted", "dropped"  # in `verdict`: what a person decided
WAITING_COLUMNS: Final = (
    "id", "partner", "source", "format", "line", "seq", "visitor", "reason", "raw", "quarantined_at_us", "replayed_at_us",
    "verdict", "verdict_reason",
)  # fmt: skip
_WAITS: Final = f"replayed_at_us IS NULL AND coalesce(verdict, '') <> '{DROPPED}'"
_UNDECIDED: Final = "replayed_at_us IS NULL AND verdict IS NULL"

# A row refused at the door: (partner, source, format, line, raw, reason, content_key, quarantined_at_us).
QUARANTINE_ROW: Final = (
    "INSERT INTO quarantine (partner, source, format, line, raw, reason, content_key, quarantined_at_us) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (content_key) DO NOTHING"
)
# The same, of a browser key.
QUARANTINE_ROW_OF_BROWSER: Final = (
    "INSERT INTO quarantine (partner, source, format, line, raw, reason, content_key, quarantined_at_us, browser) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT (content_key) DO NOTHING"
)
_EVENT: Final = (
    "INSERT INTO quarantine (partner, source, format, line, raw, seq, reason, content_key, quarantined_at_us) "
    f"SELECT partner, '{VALIDATION}', 'log', NULL, NULL, seq, ?, ?, ? FROM events WHERE seq = ? "
    "ON CONFLICT (seq) DO UPDATE SET reason = excluded.reason, quarantined_at_us = excluded.quarantined_at_us, "
    "replayed_at_us = NULL"
)
# An event of the log refused by validation: (reason, content_key, quarantined_at_us, seq). Released ones are held back again;
# what a person decided stays.
QUARANTINE_EVENT: Final = (
    f"{_EVENT} WHERE quarantine.verdict IS NULL "
    "AND (quarantine.replayed_at_us IS NOT NULL OR quarantine.reason <> excluded.reason)"
)
# The same of an event that no feature table can be made with, whatever a person decided.
QUARANTINE_ANYWAY: Final = f"{_EVENT}, verdict = NULL, verdict_reason = NULL"
# Events of a visitor, or some by number, that a person holds back; (reason, held_at_us, visitor or seqs as a JSON list).
_HOLD: Final = (
    "INSERT INTO quarantine (partner, source, format, line, raw, seq, reason, content_key, quarantined_at_us, verdict) "
    f"SELECT partner, '{OPERATOR}', 'log', NULL, NULL, seq, ?, 'seq:' || seq, ?, '{HELD}' FROM events WHERE"
)
_HOLD_TOO: Final = (
    f"ON CONFLICT (seq) DO UPDATE SET source = '{OPERATOR}', reason = excluded.reason, verdict = '{HELD}', "
    "quarantined_at_us = excluded.quarantined_at_us, replayed_at_us = NULL"
)
HOLD_VISITOR: Final = f"{_HOLD} user_id = ? {_HOLD_TOO}"
HOLD_EVENTS: Final = f"{_HOLD} seq {one_of()} {_HOLD_TOO}"
# Those that came with a file (its name), that were received since an instant, or that validation holds back (no matter what).
HOLD_SOURCE: Final = (
    f"{_HOLD} EXISTS (SELECT 1 FROM ingested WHERE source = ? AND events.seq BETWEEN first_seq AND last_seq) {_HOLD_TOO}"
)
HOLD_SINCE: Final = f"{_HOLD} received_at_us >= ? {_HOLD_TOO}"
HOLD_FAILED: Final = (
    f"{_HOLD} CAST(? AS TEXT) IS NOT NULL AND seq IN (SELECT q.seq FROM quarantine AS q WHERE q.seq IS NOT NULL "
    f"AND q.source = '{VALIDATION}' AND q.replayed_at_us IS NULL AND q.verdict IS NULL) {_HOLD_TOO}"
)
# Purchases that their order's server tells of itself stay out for good: (told_at_us, told_at_us, seqs as a JSON list).
SUPERSEDE: Final = (
    "INSERT INTO quarantine (partner, source, format, seq, reason, content_key, quarantined_at_us, verdict, verdict_at_us) "
    f"SELECT partner, '{VALIDATION}', 'log', seq, '{TOLD_TWICE}', 'seq:' || seq, ?, '{DROPPED}', ? "
    f"FROM events WHERE seq {one_of()} ON CONFLICT (seq) DO NOTHING"
)
_WITH_VISITOR: Final = "quarantine LEFT JOIN events USING (seq)"
_SHOWN: Final = ", ".join(
    "user_id AS visitor" if name == "visitor" else "seq" if name == "seq" else f"quarantine.{name}" for name in WAITING_COLUMNS
)
# What waits, newest first: (limit).
WAITING: Final = f"SELECT {_SHOWN} FROM {_WITH_VISITOR} WHERE {_WAITS} ORDER BY quarantine.id DESC LIMIT ?"
COUNT_WAITING: Final = f"SELECT count(*) FROM quarantine WHERE {_UNDECIDED}"
# The same in few lines: what was failed, rows, visitors, and one of the visitors.
WAITING_SUMS: Final = (
    "SELECT quarantine.source, reason, count(*), count(DISTINCT user_id), min(user_id) "
    f"FROM {_WITH_VISITOR} WHERE {_WAITS} GROUP BY quarantine.source, reason ORDER BY count(*) DESC, reason"
)
# One row, whatever became of it, and the event behind it: (id).
ONE_COLUMNS: Final = (*WAITING_COLUMNS, *EVENT_COLUMNS)
ONE: Final = (
    f"SELECT {_SHOWN}, {', '.join(f'events.{name}' for name in EVENT_COLUMNS)} FROM {_WITH_VISITOR} WHERE quarantine.id = ?"
)
# Ids of rows that wait, and the number of their event: some (ids as a JSON list), those that failed an expectation (its name),
# those of a visitor, or all.
_CHOSEN: Final = f"SELECT quarantine.id, seq FROM {_WITH_VISITOR} WHERE {_WAITS}"
CHOSEN_IDS: Final = f"{_CHOSEN} AND quarantine.id {one_of()}"
CHOSEN_NAMED: Final = f"{_CHOSEN} AND {holds('reason', '?')}"
CHOSEN_VISITOR: Final = f"{_CHOSEN} AND user_id = ?"
CHOSEN: Final = _CHOSEN
# (verdict, verdict_reason, now_us, replayed_at_us, id)
DECIDE: Final = "UPDATE quarantine SET verdict = ?, verdict_reason = ?, verdict_at_us = ?, replayed_at_us = ? WHERE id = ?"
# Events behind a position that validation holds back and nobody has decided about: (after_seq).
HELD_SINCE: Final = (
    "SELECT quarantine.seq, reason, user_id, events.browser FROM quarantine JOIN events USING (seq) "
    f"WHERE quarantine.seq > ? AND quarantine.source = '{VALIDATION}' AND {_UNDECIDED}"
)
ACCEPTED_SINCE: Final = f"SELECT seq FROM quarantine WHERE seq > ? AND verdict = '{ACCEPTED}'"  # (after_seq)
# Rows and visitors of which servers and files told between two events: (after_seq, until_seq).
TOLD_BY_SERVERS: Final = "SELECT count(*), count(DISTINCT user_id) FROM events WHERE seq > ? AND seq <= ? AND browser = 0"
_HELD_BACK: Final = "SELECT seq FROM quarantine WHERE seq IS NOT NULL AND replayed_at_us IS NULL"
_OF_VISITORS: Final = f"FROM events WHERE user_id {one_of()} AND seq > ? AND seq <= ? AND seq NOT IN ({_HELD_BACK})"
# Valid events of some visitors between two events, and how many there are in each session, or day without a session id, with
# the day on which it began: (users, after_seq, until_seq).
EVENTS_OF: Final = f"SELECT seq {_OF_VISITORS}"
SESSION_SIZES: Final = (
    f"SELECT user_id, count(*), min(occurred_at_us) / {DAY_US} {_OF_VISITORS} "
    f"GROUP BY partner, user_id, session_id, CASE WHEN session_id IS NULL THEN occurred_at_us / {DAY_US} END"
)
_AT_DOOR: Final = f"source = '{REJECTED_SOURCE}'"
# Partner, format, whether the door rejected it and whether a browser key sent it, of the rows that wait for a replay.
WAITING_GROUPS: Final = (
    f"SELECT DISTINCT partner, format, {_AT_DOOR}, browser FROM quarantine WHERE seq IS NULL AND {_UNDECIDED}"
)
# Rows of one such group: (partner, format, at_door, browser, after_id, limit).
QUARANTINED_ROWS: Final = (
    "SELECT id, raw, reason, quarantined_at_us FROM quarantine WHERE partner = ? AND format = ? "
    f"AND ({_AT_DOOR}) = (? = 1) AND browser = ? AND seq IS NULL AND {_UNDECIDED} AND id > ? ORDER BY id LIMIT ?"
)
QUARANTINED_EVENTS: Final = (
    f"SELECT quarantine.id, {', '.join(f'events.{name}' for name in EVENT_COLUMNS)} FROM quarantine "
    f"JOIN events USING (seq) WHERE {_UNDECIDED} ORDER BY seq"
)
REPLAYED: Final = "UPDATE quarantine SET replayed_at_us = ? WHERE id = ?"
STILL_REFUSED: Final = "UPDATE quarantine SET reason = ? WHERE id = ?"
# (source, before_us, limit)
FORGET_REJECTED: Final = (
    "DELETE FROM quarantine WHERE id IN "
    "(SELECT id FROM quarantine WHERE seq IS NULL AND source = ? AND quarantined_at_us < ? LIMIT ?)"
)
# Lines that are no rows, kept with their text as versions before 0.1 did: (limit). And what is kept instead: (raw, id).
# SQLite only: `json_valid` and `GLOB`; no other engine ever held such lines.
WITH_TEXT: Final = (
    "SELECT id, partner, raw FROM quarantine WHERE seq IS NULL AND NOT json_valid(raw) "
    "AND raw NOT GLOB '([0-9]* characters, [0-9a-f]*)' LIMIT ?"
)
WITHOUT_TEXT: Final = "UPDATE quarantine SET raw = ? WHERE id = ?"
