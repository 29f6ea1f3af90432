"""Tables of decisions and what they led to: one row per answer, its reward, and the posteriors that were learned from both.

A row in `decisions` is also the exposure of its experiment, since it is written when the answer is used. A request that failed
leaves a row in `failed_decisions` instead: its visitor was dealt a variant all the same. `user_id` is the pseudonym in all of
them.
"""

from typing import Final

from models.experiments.assignment import INTERLEAVED

DECISION_COLUMNS: Final = (
    "decision_id",
    "partner",
    "user_id",
    "session_id",
    "decided_at_us",
    "experiment",
    "variant",
    "profile",
    "propensity",
    "context",
    "models",
    "items",
    "latency_us",
    "degraded",
    "snapshot",
)

SCHEMA: Final = (
    """
    CREATE TABLE IF NOT EXISTS decisions (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice, so that no tail reader passes over a decision
        decision_id TEXT NOT NULL UNIQUE,
        partner TEXT NOT NULL,
        user_id TEXT NOT NULL,
        session_id TEXT,
        decided_at_us INTEGER NOT NULL,
        experiment TEXT NOT NULL,
        variant TEXT NOT NULL,
        profile TEXT NOT NULL,
        propensity REAL NOT NULL, -- of the profile, given the variant
        context TEXT NOT NULL, -- JSON object: device, hour, intent, segment
        models TEXT NOT NULL, -- JSON object: version of each model
        items TEXT NOT NULL, -- JSON array of the item ids shown, best first
        latency_us INTEGER NOT NULL,
        degraded TEXT NOT NULL, -- JSON array
        snapshot INTEGER -- version of the posteriors that chose the profile; NULL where the bandit did not choose
    )
    """,
    "CREATE INDEX IF NOT EXISTS decisions_by_user ON decisions (user_id, decided_at_us)",  # rewards, and erasure
    """
    CREATE TABLE IF NOT EXISTS failed_decisions (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        partner TEXT NOT NULL,
        user_id TEXT NOT NULL,
        failed_at_us INTEGER NOT NULL,
        experiment TEXT NOT NULL,
        variant TEXT NOT NULL,
        error TEXT NOT NULL -- the kind of error, never its words
    )
    """,
    "CREATE INDEX IF NOT EXISTS failed_decisions_by_user ON failed_decisions (user_id)",  # erasure
    """
    CREATE TABLE IF NOT EXISTS rewards (
        decision_id TEXT PRIMARY KEY,
        reward REAL NOT NULL, -- 1 once a shown item was bought, 0.5 once one was put into the cart
        revenue REAL NOT NULL, -- sum of the prices of shown items that were bought
        joined_at_us INTEGER NOT NULL
    )
    """,
    # Which event was credited to which decision: an event is credited once, however often it is looked at.
    """
    CREATE TABLE IF NOT EXISTS reward_events (
        seq INTEGER PRIMARY KEY, -- of the event
        decision_id TEXT NOT NULL,
        reward REAL NOT NULL,
        revenue REAL NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS reward_events_by_decision ON reward_events (decision_id)",
    # What the bandit believed, one row per version; body is JSON (`models.bandit.thompson.as_json`) with the parameters.
    """
    CREATE TABLE IF NOT EXISTS profile_snapshots (
        version INTEGER PRIMARY KEY AUTOINCREMENT,
        body TEXT NOT NULL,
        last_decision_seq INTEGER NOT NULL,
        created_at_us INTEGER NOT NULL
    )
    """,
    # The decision that the sender of an event named as its cause.
    """
    CREATE TABLE IF NOT EXISTS event_decisions (
        seq INTEGER PRIMARY KEY, -- of the event
        decision_id TEXT NOT NULL
    )
    """,
)

LOG_DECISION: Final = (
    f"INSERT INTO decisions ({', '.join(DECISION_COLUMNS)}) VALUES ({', '.join('?' * len(DECISION_COLUMNS))}) "
    "ON CONFLICT (decision_id) DO NOTHING"
)
# (partner, user_id, failed_at_us, experiment, variant, error).
LOG_FAILURE: Final = (
    "INSERT INTO failed_decisions (partner, user_id, failed_at_us, experiment, variant, error) VALUES (?, ?, ?, ?, ?, ?)"
)
# Events that may be a reward, with the decision that they name: (after_seq, until_seq).
REWARDING: Final = (
    "SELECT events.seq, partner, user_id, event_type, occurred_at_us, item_id, price, decision_id FROM events "
    "LEFT JOIN event_decisions USING (seq) WHERE events.seq > ? AND events.seq <= ? "
    "AND event_type IN ('add_to_cart', 'purchase') "
    "AND NOT EXISTS (SELECT 1 FROM quarantine WHERE quarantine.seq = events.seq AND replayed_at_us IS NULL) ORDER BY events.seq"
)
# One such event: (seq).
REWARDING_ONE: Final = REWARDING.replace("events.seq > ? AND events.seq <= ?", "events.seq = ?")
# The decision that an event names, if it was taken for that user in that time: (decision_id, partner, user_id, from_us, to_us).
NAMED: Final = (
    "SELECT decision_id FROM decisions WHERE decision_id = ? AND partner = ? AND user_id = ? AND decided_at_us BETWEEN ? AND ?"
)
# The last decision in that time that showed the user an item: (partner, user_id, from_us, to_us, item_id).
LAST_SHOWN: Final = (
    "SELECT decision_id FROM (SELECT seq, decision_id, decided_at_us, items FROM decisions "
    "WHERE partner = ? AND user_id = ? AND decided_at_us BETWEEN ? AND ? ORDER BY decided_at_us DESC LIMIT 200) AS lately "
    "WHERE EXISTS (SELECT 1 FROM json_each(items) WHERE value = ?) ORDER BY decided_at_us DESC, seq DESC LIMIT 1"
)
# (seq of the event, decision_id, reward, revenue).
CREDIT: Final = "INSERT INTO reward_events (seq, decision_id, reward, revenue) VALUES (?, ?, ?, ?) ON CONFLICT (seq) DO NOTHING"
# A decision's reward made anew from all its events: (joined_at_us, decision_id).
REWARD: Final = (
    "INSERT INTO rewards (decision_id, reward, revenue, joined_at_us) "
    "SELECT decision_id, max(reward), sum(revenue), ? FROM reward_events WHERE decision_id = ? GROUP BY decision_id "
    "ON CONFLICT (decision_id) DO UPDATE SET reward = excluded.reward, revenue = excluded.revenue, "
    "joined_at_us = excluded.joined_at_us"
)
# What tells of a profile: the bandit dealt it, and the list was its own; half of an interleaved one is the ranker's.
_DEALT: Final = f"snapshot IS NOT NULL AND experiment <> '{INTERLEAVED}'"
STRETCH: Final = 200  # decisions that the bandit looks at together
MOST_OF_ONE_USER: Final = 10  # decisions that count in a stretch: no visitor alone moves the posteriors
# What the bandit's decisions led to, by stretch, context and profile: (path of the context, after_seq, until_seq).
OUTCOMES: Final = {
    column: (
        "SELECT stretch, value, profile, count(*), sum(reward), sum(reward * reward) FROM ("
        f"SELECT decisions.seq / {STRETCH} AS stretch, coalesce(json_extract(context, ?), '') AS value, profile, "
        f"coalesce({column}, 0.0) AS reward, "
        f"row_number() OVER (PARTITION BY user_id, decisions.seq / {STRETCH} ORDER BY decisions.seq) AS nth "
        "FROM decisions LEFT JOIN rewards USING (decision_id) "
        f"WHERE {_DEALT} AND decisions.seq > ? AND decisions.seq <= ?) AS each_one "
        f"WHERE nth <= {MOST_OF_ONE_USER} GROUP BY stretch, value, profile ORDER BY stretch, value, profile"
    )
    for column in ("reward", "revenue")
}
# The last decision before the first one that is younger than an instant: (after_seq, instant).
MATURED: Final = (
    "SELECT coalesce((SELECT seq - 1 FROM decisions WHERE seq > ?1 AND decided_at_us > ?2 ORDER BY seq LIMIT 1), "
    "(SELECT max(seq) FROM decisions), ?1)"
)
# The decision that an event names: (decision_id, partner, event_id).
NAME_DECISION: Final = (
    "INSERT INTO event_decisions (seq, decision_id) SELECT seq, ? FROM events WHERE partner = ? AND event_id = ? "
    "ON CONFLICT (seq) DO NOTHING"
)
NEWEST_SNAPSHOT: Final = "SELECT max(version) FROM profile_snapshots"
READ_SNAPSHOT: Final = "SELECT body FROM profile_snapshots WHERE version = ?"
# (body, last_decision_seq, created_at_us); the version is given by the store.
KEEP_SNAPSHOT: Final = (
    "INSERT INTO profile_snapshots (body, last_decision_seq, created_at_us) VALUES (?, ?, ?) RETURNING version"
)
# Seconds after a decision within which the worker counts an event for it.
REWARD_WINDOW: Final = "SELECT json_extract(body, '$.params.window_s') FROM profile_snapshots ORDER BY version DESC LIMIT 1"
# Probability with which the worker deals each profile on trial; NULL or no row where it deals none.
TRIAL_SHARE: Final = (
    "SELECT CASE WHEN json_valid(body) THEN json_extract(body, '$.params.trial') END "
    "FROM profile_snapshots ORDER BY version DESC LIMIT 1"
)
# The newest decisions of the bandit whose time is over, with what came of them: (decided_until_us, limit).
JUDGED: Final = (
    "SELECT user_id, context, profile, propensity, snapshot, coalesce(reward, 0.0) "
    f"FROM decisions LEFT JOIN rewards USING (decision_id) WHERE {_DEALT} AND decided_at_us <= ? "
    "ORDER BY seq DESC LIMIT ?"
)
# Decisions that the bandit took, for a replay: (after_seq, limit).
BANDIT_DECISIONS: Final = (
    "SELECT seq, decision_id, snapshot, context, profile, propensity FROM decisions "
    "WHERE snapshot IS NOT NULL AND seq > ? ORDER BY seq LIMIT ?"
)
