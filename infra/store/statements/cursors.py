"""Statements of cursors: how far each tail reader has come. `infra.store.tail.LogTail` runs them."""

from typing import Final

POSITION: Final = "SELECT seq FROM cursors WHERE name = ?"
MOVE_CURSOR: Final = (
    "INSERT INTO cursors (name, seq, moved_at_us) VALUES (?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, moved_at_us = excluded.moved_at_us"
)
# Events below a cursor that a replay released after the cursor had moved past them: (cursor).
RELEASED_SINCE: Final = (
    "SELECT quarantine.seq FROM quarantine JOIN cursors ON cursors.name = ? "
    "WHERE quarantine.seq <= cursors.seq AND replayed_at_us >= moved_at_us ORDER BY quarantine.seq"
)
# Where a reader begins that has not yet: (name, seq, moved_at_us).
BEGIN_CURSOR: Final = "INSERT INTO cursors (name, seq, moved_at_us) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING"
