"""Statements of the experiment's runs."""

from typing import Final

# Newest first.
RUNS: Final = (
    "SELECT run, share, state, winner, began_at_us, changed_at_us, actor, reason FROM experiment_runs ORDER BY run DESC"
)
# (run, share, state, winner, began_at_us, changed_at_us, actor, reason)
PUT_RUN: Final = (
    "INSERT INTO experiment_runs (run, share, state, winner, began_at_us, changed_at_us, actor, reason) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run) DO UPDATE SET state = excluded.state, winner = excluded.winner, "
    "changed_at_us = excluded.changed_at_us, actor = excluded.actor, reason = excluded.reason"
)
