"""Tables of the partner's side of signals: who wants them, by what policy, which were sent, which were held back.

`signals` is the outbox: a row is written in the transaction that moves the worker's cursor past its cause, and whoever delivers
(webhooks, pull, stream) reads it from there. Times are integer microseconds since 1970 UTC.
"""

from typing import Final

SCHEMA: Final = (
    # signal_types is a JSON array, empty for all. A secret is the text "whsec_" + base64; it is needed to sign, so it is kept.
    """
    CREATE TABLE IF NOT EXISTS subscriptions (
        id TEXT PRIMARY KEY,
        partner TEXT NOT NULL,
        url TEXT NOT NULL,
        signal_types TEXT NOT NULL,
        min_score REAL NOT NULL DEFAULT 0,
        secret TEXT NOT NULL,
        previous_secret TEXT,
        previous_secret_until_us INTEGER,
        state TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
        disabled_reason TEXT,
        created_at_us INTEGER NOT NULL,
        updated_at_us INTEGER NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS subscriptions_by_partner ON subscriptions (partner)",
    # policy is a JSON object, see `models.engagement.policy.SignalPolicy`.
    """
    CREATE TABLE IF NOT EXISTS signal_policies (
        partner TEXT PRIMARY KEY,
        policy TEXT NOT NULL,
        version INTEGER NOT NULL,
        updated_at_us INTEGER NOT NULL
    )
    """,
    # The outbox. `sequence` counts a user's signals 1, 2, 3 … without a gap; `cause_seq` is the event that made it.
    """
    CREATE TABLE IF NOT EXISTS signals (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: the cursor of pull, stream and delivery
        signal_id TEXT NOT NULL UNIQUE,
        partner TEXT NOT NULL,
        user_id TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        type TEXT NOT NULL,
        payload TEXT NOT NULL,
        score REAL NOT NULL,
        predicted_action TEXT NOT NULL,
        cause_seq INTEGER NOT NULL UNIQUE,
        created_at_us INTEGER NOT NULL,
        UNIQUE (partner, user_id, sequence)
    )
    """,
    "CREATE INDEX IF NOT EXISTS signals_by_partner ON signals (partner, seq)",
    "CREATE INDEX IF NOT EXISTS signals_by_user ON signals (user_id)",  # erasure
    # Signals that users of the hold-out group would have been sent; nobody delivers them, the uplift readout compares.
    """
    CREATE TABLE IF NOT EXISTS holdout (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        partner TEXT NOT NULL,
        user_id TEXT NOT NULL,
        type TEXT NOT NULL,
        payload TEXT NOT NULL,
        score REAL NOT NULL,
        predicted_action TEXT NOT NULL,
        cause_seq INTEGER NOT NULL UNIQUE,
        created_at_us INTEGER NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS holdout_by_user ON holdout (partner, user_id)",
    "CREATE INDEX IF NOT EXISTS held_out_users ON holdout (user_id)",  # erasure
    # Where a user stands: engagement after the newest event, and what caps and cool-down need, held-out signals included.
    # A row outlives the user's signals (retention), so that `sequence` goes on where it stood.
    """
    CREATE TABLE IF NOT EXISTS signal_users (
        partner TEXT NOT NULL,
        user_id TEXT NOT NULL,
        score REAL NOT NULL,
        predicted_action TEXT NOT NULL,
        scored_at_us INTEGER NOT NULL,
        sequence INTEGER NOT NULL DEFAULT 0,
        last_signal_at_us INTEGER,
        local_day INTEGER, -- days since 1970 on the user's clock
        n_that_day INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (partner, user_id)
    )
    """,
    "CREATE INDEX IF NOT EXISTS signal_users_by_id ON signal_users (user_id)",  # erasure
    # Discounts promised, by offer and UTC day, in hundredths of the shop's currency.
    """
    CREATE TABLE IF NOT EXISTS offer_spend (
        partner TEXT NOT NULL,
        offer_id TEXT NOT NULL,
        utc_day INTEGER NOT NULL,
        spent_cents INTEGER NOT NULL,
        n_signals INTEGER NOT NULL,
        PRIMARY KEY (partner, offer_id, utc_day)
    )
    """,
)

SUBSCRIPTION_COLUMNS: Final = (
    "id", "partner", "url", "signal_types", "min_score", "secret", "previous_secret", "previous_secret_until_us",
    "state", "disabled_reason", "created_at_us", "updated_at_us",
)  # fmt: skip
SIGNAL_COLUMNS: Final = (
    "seq", "signal_id", "partner", "user_id", "sequence", "type", "payload", "score", "predicted_action",
    "cause_seq", "created_at_us",
)  # fmt: skip
# A partner's signals behind a cursor, in the order of the outbox: (partner, after_seq, limit).
READ_SIGNALS: Final = f"SELECT {', '.join(SIGNAL_COLUMNS)} FROM signals WHERE partner = ? AND seq > ? ORDER BY seq LIMIT ?"
# Everybody's: (after_seq, limit).
READ_OUTBOX: Final = f"SELECT {', '.join(SIGNAL_COLUMNS)} FROM signals WHERE seq > ? ORDER BY seq LIMIT ?"
READ_POLICY: Final = "SELECT policy, version FROM signal_policies WHERE partner = ?"
# (partner, policy, updated_at_us)
PUT_POLICY: Final = (
    "INSERT INTO signal_policies (partner, policy, version, updated_at_us) VALUES (?, ?, 1, ?) "
    "ON CONFLICT (partner) DO UPDATE "
    "SET policy = excluded.policy, version = version + 1, updated_at_us = excluded.updated_at_us"
)
_SUBSCRIPTION: Final = f"SELECT {', '.join(SUBSCRIPTION_COLUMNS)} FROM subscriptions WHERE partner = ?"
SUBSCRIPTION: Final = f"{_SUBSCRIPTION} AND id = ?"
SUBSCRIPTIONS_OF: Final = f"{_SUBSCRIPTION} ORDER BY created_at_us, id"
COUNT_SUBSCRIPTIONS: Final = "SELECT count(*) FROM subscriptions WHERE partner = ?"
# (id, partner, url, signal_types, min_score, secret, created_at_us, updated_at_us)
ADD_SUBSCRIPTION: Final = (
    "INSERT INTO subscriptions (id, partner, url, signal_types, min_score, secret, created_at_us, updated_at_us) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
# (previous_secret_until_us, secret, updated_at_us, partner, id)
ROTATE_SECRET: Final = (
    "UPDATE subscriptions SET previous_secret = secret, previous_secret_until_us = ?, secret = ?, updated_at_us = ? "
    "WHERE partner = ? AND id = ?"
)
DELETE_SUBSCRIPTION: Final = "DELETE FROM subscriptions WHERE partner = ? AND id = ?"
# `models.engagement.policy.Standing` of a user: (partner, user_id).
READ_STANDING: Final = (
    "SELECT sequence, last_signal_at_us, local_day, n_that_day FROM signal_users WHERE partner = ? AND user_id = ?"
)
# What was promised, per offer: in all, and on a day: (utc_day, partner).
READ_SPENT: Final = (
    "SELECT offer_id, sum(spent_cents), sum(CASE WHEN utc_day = ? THEN spent_cents ELSE 0 END) FROM offer_spend "
    "WHERE partner = ? GROUP BY offer_id"
)
# (partner, user_id, score, predicted_action, scored_at_us, sequence, last_signal_at_us, local_day, n_that_day)
PUT_USER: Final = (
    "INSERT INTO signal_users VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (partner, user_id) DO UPDATE SET "
    "score = excluded.score, predicted_action = excluded.predicted_action, scored_at_us = excluded.scored_at_us, "
    "sequence = excluded.sequence, last_signal_at_us = excluded.last_signal_at_us, local_day = excluded.local_day, "
    "n_that_day = excluded.n_that_day"
)
# (signal_id, partner, user_id, sequence, type, payload, score, predicted_action, cause_seq, created_at_us)
ADD_SIGNAL: Final = f"INSERT INTO signals ({', '.join(SIGNAL_COLUMNS[1:])}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
# (partner, user_id, type, payload, score, predicted_action, cause_seq, created_at_us)
ADD_HELD_OUT: Final = (
    "INSERT INTO holdout (partner, user_id, type, payload, score, predicted_action, cause_seq, created_at_us) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
# (partner, offer_id, utc_day, cents)
SPEND: Final = (
    "INSERT INTO offer_spend (partner, offer_id, utc_day, spent_cents, n_signals) VALUES (?, ?, ?, ?, 1) "
    "ON CONFLICT (partner, offer_id, utc_day) DO UPDATE SET spent_cents = spent_cents + excluded.spent_cents, "
    "n_signals = n_signals + 1"
)
# Whether an event is there and has caused nothing yet: (seq).
IS_OPEN: Final = (
    "SELECT 1 FROM events WHERE seq = ? AND NOT EXISTS (SELECT 1 FROM signals WHERE cause_seq = events.seq) "
    "AND NOT EXISTS (SELECT 1 FROM holdout WHERE cause_seq = events.seq)"
)
SIGNAL_PARTNERS: Final = "SELECT partner FROM signals UNION SELECT partner FROM holdout ORDER BY partner"
# Each user's first signal, sent or held back: (partner).
FIRST_SENT: Final = "SELECT user_id, type, min(created_at_us) FROM signals WHERE partner = ? GROUP BY user_id"
FIRST_HELD_OUT: Final = "SELECT user_id, type, min(created_at_us) FROM holdout WHERE partner = ? GROUP BY user_id"
# What some users paid and were promised: (partner, users).
PURCHASES_OF: Final = (
    "SELECT user_id, occurred_at_us, price FROM events WHERE partner = ? AND event_type = 'purchase' "
    "AND user_id IN (SELECT value FROM json_each(?))"
)
DISCOUNTS_OF: Final = (
    "SELECT user_id, created_at_us, json_extract(payload, '$.amount') FROM signals WHERE partner = ? "
    "AND type = 'offer_discount' AND user_id IN (SELECT value FROM json_each(?))"
)
