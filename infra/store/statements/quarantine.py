"""Statements of quarantine: rows refused at the door, with the text that may be kept, and events held back by validation."""

from typing import Final

from models.schema import EVENT_COLUMNS

REJECTED_SOURCE: Final = "/v1/events"  # in `source`; the name of a file has no slash
REJECTED_DAYS: Final = 14  # how long an event that the door rejected is kept
WAITING_COLUMNS: Final = (
    "id", "partner", "source", "format", "line", "seq", "reason", "raw", "quarantined_at_us", "replayed_at_us",
)  # fmt: skip

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
# An event of the log refused by validation: (reason, content_key, quarantined_at_us, seq). Released ones are held back again.
QUARANTINE_EVENT: Final = (
    "INSERT INTO quarantine (partner, source, format, line, raw, seq, reason, content_key, quarantined_at_us) "
    "SELECT partner, 'validation', 'log', NULL, NULL, seq, ?, ?, ? FROM events WHERE seq = ? "
    "ON CONFLICT (seq) DO UPDATE SET reason = excluded.reason, quarantined_at_us = excluded.quarantined_at_us, "
    "replayed_at_us = NULL WHERE quarantine.replayed_at_us IS NOT NULL OR quarantine.reason <> excluded.reason"
)
# What waits, newest first: (limit).
WAITING: Final = f"SELECT {', '.join(WAITING_COLUMNS)} FROM quarantine WHERE replayed_at_us IS NULL ORDER BY id DESC LIMIT ?"
COUNT_WAITING: Final = "SELECT count(*) FROM quarantine WHERE replayed_at_us IS NULL"
_AT_DOOR: Final = f"source = '{REJECTED_SOURCE}'"
# Partner, format, whether the door rejected it and whether a browser key sent it, of the rows that wait for a replay.
WAITING_GROUPS: Final = (
    f"SELECT DISTINCT partner, format, {_AT_DOOR}, browser FROM quarantine WHERE seq IS NULL AND replayed_at_us IS NULL"
)
# Rows of one such group: (partner, format, at_door, browser, after_id, limit).
QUARANTINED_ROWS: Final = (
    "SELECT id, raw, reason, quarantined_at_us FROM quarantine WHERE partner = ? AND format = ? "
    f"AND ({_AT_DOOR}) = ? AND browser = ? AND seq IS NULL AND replayed_at_us IS NULL AND id > ? ORDER BY id LIMIT ?"
)
QUARANTINED_EVENTS: Final = (
    f"SELECT quarantine.id, {', '.join(f'events.{name}' for name in EVENT_COLUMNS)} FROM quarantine "
    "JOIN events USING (seq) WHERE replayed_at_us IS NULL ORDER BY seq"
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
