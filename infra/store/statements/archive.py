"""Statements of the archive of the log: which of its files count, and what has to be known of those who are gone."""

from typing import Final

from infra.store.statements.dialect import one_of
from infra.store.statements.events import APPEND_COLUMNS

# Events between two positions, as the archive holds them: (after_seq, until_seq).
ARCHIVED_COLUMNS: Final = ("seq", *APPEND_COLUMNS)
RANGE: Final = f"SELECT {', '.join(ARCHIVED_COLUMNS)} FROM events WHERE seq > ? AND seq <= ? ORDER BY seq"
# When the first event behind a position came: (after_seq).
WAITING_SINCE: Final = (
    "SELECT min(received_at_us) FROM (SELECT received_at_us FROM events WHERE seq > ? ORDER BY seq LIMIT 1) AS next"
)

# (name, first_seq, last_seq, day, shard, n_rows, at_us)
DRAFT: Final = (
    "INSERT INTO archive_files (name, first_seq, last_seq, day, shard, n_rows, state, at_us) "
    "VALUES (?, ?, ?, ?, ?, ?, 'draft', ?)"
)
# A draft counts from now on: (at_us, name).
KEEP: Final = "UPDATE archive_files SET state = 'kept', at_us = ? WHERE name = ? AND state = 'draft'"
# A file does not count any more: (at_us, name).
LET_GO: Final = "UPDATE archive_files SET state = 'gone', at_us = ? WHERE name = ? AND state <> 'gone'"
# What a killed step left: (at_us, drafted_before_us).
LET_DRAFTS_GO: Final = "UPDATE archive_files SET state = 'gone', at_us = ? WHERE state = 'draft' AND at_us < ?"
# All of days before one: (at_us, day).
LET_DAYS_GO: Final = "UPDATE archive_files SET state = 'gone', at_us = ? WHERE state <> 'gone' AND day < ?"
GONE: Final = "SELECT name, at_us FROM archive_files WHERE state = 'gone'"
FORGET: Final = "DELETE FROM archive_files WHERE name = ? AND state = 'gone'"

FILE_COLUMNS: Final = ("name", "first_seq", "last_seq", "day", "shard", "n_rows")
KEPT: Final = f"SELECT {', '.join(FILE_COLUMNS)} FROM archive_files WHERE state = 'kept' ORDER BY first_seq, name"
# Of some shards: (shards as a JSON list).
KEPT_OF: Final = (
    f"SELECT {', '.join(FILE_COLUMNS)} FROM archive_files WHERE state = 'kept' AND shard {one_of()} ORDER BY first_seq, name"
)
ANY_DRAFT: Final = "SELECT 1 FROM archive_files WHERE state = 'draft' LIMIT 1"

# Up to when each of some users is erased: (user_ids as a JSON list). And of all.
ERASED_AT: Final = f"SELECT user_id, erased_at_us FROM tombstones WHERE user_id {one_of()}"
ALL_ERASED: Final = "SELECT user_id, erased_at_us FROM tombstones"
ALL_JOINED: Final = "SELECT anonymous_id, user_id FROM identities"
HELD_BACK: Final = "SELECT seq FROM quarantine WHERE seq IS NOT NULL AND replayed_at_us IS NULL"
