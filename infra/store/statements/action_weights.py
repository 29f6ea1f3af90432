"""Statements of the action weights: each visitor's decided actions, who waits for a decision, and the posterior that serves.

Observations can be written again for a visitor at any time; what serves is made from them alone, so flow and worker agree.
"""

from typing import Final

from infra.store.statements.dialect import greater, one_of
from infra.store.statements.events import IS_BELIEVED, LOG_COLUMNS

CURSOR: Final = "action_weights"

# Events behind the cursor that were held back, or released from quarantine, since it moved or not long before; (margin_us).
_CHANGED_AT: Final = greater("quarantined_at_us", "coalesce(replayed_at_us, 0)")
CHANGED: Final = (
    f"SELECT events.seq, {_CHANGED_AT} AS changed_at_us, user_id "
    f"FROM quarantine JOIN events USING (seq) JOIN cursors ON cursors.name = '{CURSOR}' "
    f"WHERE quarantine.seq <= cursors.seq AND {_CHANGED_AT} >= moved_at_us - ? ORDER BY changed_at_us, events.seq"
)
DUE: Final = "SELECT user_id FROM action_due WHERE due_us <= ? ORDER BY due_us LIMIT ?"  # (now_us, limit)
# Of some visitors, as a JSON list.
FORGET_OBSERVATIONS: Final = f"DELETE FROM action_observations WHERE user_id {one_of()}"
FORGET_DUE: Final = f"DELETE FROM action_due WHERE user_id {one_of()}"
# Of the visitors between two, the second included: (after_user, until_user).
FORGET_OBSERVATIONS_OF_RANGE: Final = "DELETE FROM action_observations WHERE user_id > ? AND user_id <= ?"
FORGET_DUE_OF_RANGE: Final = "DELETE FROM action_due WHERE user_id > ? AND user_id <= ?"
# Valid and believed events of those visitors: (after_user, until_user, until_seq).
BELIEVED_OF_RANGE: Final = (
    f"SELECT seq, {', '.join(LOG_COLUMNS)}, browser FROM events "
    f"WHERE user_id > ? AND user_id <= ? AND seq <= ? AND believed = 1 AND {IS_BELIEVED}"
)
KEEP_OBSERVATION: Final = (
    "INSERT INTO action_observations (user_id, day, event_type, context, browser, trials, rewards) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
KEEP_DUE: Final = "INSERT INTO action_due (user_id, due_us) VALUES (?, ?)"
SUMS: Final = (
    "SELECT day, event_type, context, browser, sum(trials), sum(rewards) FROM action_observations "
    "GROUP BY day, event_type, context, browser"
)
# (seq, made_at_us, counts)
SET_POSTERIOR: Final = (
    "INSERT INTO action_posterior (id, seq, made_at_us, counts) VALUES (1, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
    "seq = excluded.seq, made_at_us = excluded.made_at_us, counts = excluded.counts"
)
POSTERIOR: Final = "SELECT seq, made_at_us, counts FROM action_posterior"
# What serves, the frozen posterior where there is one: whether it is frozen, seq, the instant it is of, and the counts.
_SERVING: Final = (
    "FROM (SELECT 1 AS is_frozen, seq, frozen_at_us AS at_us, counts FROM action_freeze "
    "UNION ALL SELECT 0, seq, made_at_us, counts FROM action_posterior) AS either ORDER BY is_frozen DESC LIMIT 1"
)
SERVING: Final = f"SELECT is_frozen, seq, at_us, counts {_SERVING}"
SERVING_STAMP: Final = f"SELECT is_frozen, seq, at_us {_SERVING}"  # tells whether another one serves
FREEZE: Final = (
    "INSERT INTO action_freeze (id, seq, frozen_at_us, counts) SELECT 1, seq, ?, counts FROM action_posterior WHERE true "
    "ON CONFLICT (id) DO NOTHING"
)
THAW: Final = "DELETE FROM action_freeze"
