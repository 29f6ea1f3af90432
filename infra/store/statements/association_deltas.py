"""Statements of the deltas of live associations."""

from typing import Final

# The run that is under way, and what it began with.
RUN: Final = "SELECT run, parts FROM association_deltas WHERE partner = '' ORDER BY id DESC LIMIT 1"
# Behind a row, in their order: (after_id, limit).
SINCE: Final = (
    "SELECT id, run, partner, number, is_whole, until_seq, parts FROM association_deltas "
    "WHERE id > ? AND partner <> '' ORDER BY id LIMIT ?"
)
# (run, partner, number, is_whole, until_seq, parts)
ADD: Final = (
    "INSERT INTO association_deltas (run, partner, number, is_whole, until_seq, parts) VALUES (?, ?, ?, ?, ?, ?) RETURNING id"
)
END_RUN: Final = "DELETE FROM association_deltas"
# What a whole makes needless: (partner, before_id).
PASSED: Final = "DELETE FROM association_deltas WHERE partner = ? AND id < ?"
