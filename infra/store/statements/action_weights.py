"""Tables of the action weights: each visitor's decided actions, who waits for a decision, and the posterior that serves.

Observations can be written again for a visitor at any time; what serves is made from them alone, so flow and worker agree.
"""

from typing import Final

CURSOR: Final = "action_weights"

SCHEMA: Final = (
    """
    CREATE TABLE IF NOT EXISTS action_observations (
        user_id TEXT NOT NULL,
        day INTEGER NOT NULL,
        event_type INTEGER NOT NULL,
        context INTEGER NOT NULL,
        browser INTEGER NOT NULL, -- 1: a visitor known by browser keys only
        trials INTEGER NOT NULL, -- in units of action_weights.SCALE, as rewards
        rewards INTEGER NOT NULL,
        PRIMARY KEY (user_id, day, event_type, context)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE IF NOT EXISTS action_due (user_id TEXT PRIMARY KEY, due_us INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS action_due_by_instant ON action_due (due_us)",
    # Events that came with a browser key; all others came from a server or a file.
    "CREATE TABLE IF NOT EXISTS browser_events (seq INTEGER PRIMARY KEY)",
    # One row: what serves now; and at most one: what serves instead while the weights are frozen.
    """
    CREATE TABLE IF NOT EXISTS action_posterior (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        seq INTEGER NOT NULL,
        made_at_us INTEGER NOT NULL,
        counts TEXT NOT NULL -- JSON, see action_weights.counts_to_lists
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS action_freeze (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        seq INTEGER NOT NULL,
        frozen_at_us INTEGER NOT NULL,
        counts TEXT NOT NULL
    )
    """,
)

# The event that was appended under this id came with a browser key: (partner, event_id).
MARK_BROWSER: Final = (
    "INSERT INTO browser_events (seq) SELECT seq FROM events WHERE partner = ? AND event_id = ? ON CONFLICT DO NOTHING"
)
# Visitors of some (JSON list), or all with NULL, who are known by browser keys only, up to an event: (users, until_seq).
BROWSER_ONLY: Final = (
    "SELECT user_id FROM events WHERE (?1 IS NULL OR user_id IN (SELECT value FROM json_each(?1))) AND seq <= ?2 "
    "GROUP BY user_id HAVING sum(NOT EXISTS (SELECT 1 FROM browser_events WHERE browser_events.seq = events.seq)) = 0"
)
TOUCHED: Final = "SELECT DISTINCT user_id FROM events WHERE seq > ? AND seq <= ?"
# Events behind the cursor that were held back, or released from quarantine, since it moved or not long before; (margin_us).
CHANGED: Final = (
    "SELECT events.seq, max(quarantined_at_us, coalesce(replayed_at_us, 0)) AS changed_at_us, user_id "
    f"FROM quarantine JOIN events USING (seq) JOIN cursors ON cursors.name = '{CURSOR}' "
    "WHERE quarantine.seq <= cursors.seq AND changed_at_us >= moved_at_us - ? ORDER BY changed_at_us, events.seq"
)
DUE: Final = "SELECT user_id FROM action_due WHERE due_us <= ? ORDER BY due_us LIMIT ?"  # (now_us, limit)
# Of some visitors, as a JSON list.
FORGET_OBSERVATIONS: Final = "DELETE FROM action_observations WHERE user_id IN (SELECT value FROM json_each(?))"
FORGET_DUE: Final = "DELETE FROM action_due WHERE user_id IN (SELECT value FROM json_each(?))"
KEEP_OBSERVATION: Final = (
    "INSERT INTO action_observations (user_id, day, event_type, context, trials, rewards, browser) VALUES (?, ?, ?, ?, ?, ?, ?)"
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
    "UNION ALL SELECT 0, seq, made_at_us, counts FROM action_posterior) AS both ORDER BY is_frozen DESC LIMIT 1"
)
SERVING: Final = f"SELECT is_frozen, seq, at_us, counts {_SERVING}"
SERVING_STAMP: Final = f"SELECT is_frozen, seq, at_us {_SERVING}"  # tells whether another one serves
FREEZE: Final = (
    "INSERT INTO action_freeze (id, seq, frozen_at_us, counts) SELECT 1, seq, ?, counts FROM action_posterior WHERE true "
    "ON CONFLICT (id) DO NOTHING"
)
THAW: Final = "DELETE FROM action_freeze"
