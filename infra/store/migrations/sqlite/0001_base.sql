-- The tables of the first version. Times are integer microseconds since 1970 UTC.

CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice, so that no tail reader passes over an event
    partner TEXT NOT NULL,
    event_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    session_id TEXT,
    event_type TEXT NOT NULL,
    occurred_at_us INTEGER NOT NULL,
    item_id TEXT,
    category TEXT,
    price REAL,
    dwell_ms REAL,
    scroll_depth REAL,
    zoom_level REAL,
    cursor_distance_px REAL,
    query_length REAL,
    device TEXT,
    referrer TEXT,
    utc_offset_min INTEGER NOT NULL DEFAULT 0,
    received_at_us INTEGER NOT NULL,
    UNIQUE (partner, event_id)
);

CREATE INDEX IF NOT EXISTS events_by_user ON events (user_id);

-- Rows that were refused at the door (raw text kept, seq NULL) or by validation (seq of the event, left out of every fold).
CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY,
    partner TEXT NOT NULL,
    source TEXT NOT NULL,
    format TEXT NOT NULL,
    line INTEGER,
    raw TEXT,
    seq INTEGER UNIQUE REFERENCES events (seq),
    reason TEXT NOT NULL,
    content_key TEXT NOT NULL UNIQUE,
    quarantined_at_us INTEGER NOT NULL,
    replayed_at_us INTEGER
);

CREATE TABLE IF NOT EXISTS partners (
    name TEXT PRIMARY KEY,
    created_at_us INTEGER NOT NULL
);

-- A key is shown once; only its hash is kept.
CREATE TABLE IF NOT EXISTS api_keys (
    id INTEGER PRIMARY KEY,
    partner TEXT NOT NULL REFERENCES partners (name),
    kind TEXT NOT NULL CHECK (kind IN ('sk', 'pk')),
    key_hash TEXT NOT NULL UNIQUE,
    hint TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    expires_at_us INTEGER,
    revoked_at_us INTEGER
);

CREATE TABLE IF NOT EXISTS model_versions (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    artifact TEXT NOT NULL,
    lineage TEXT NOT NULL,
    metrics TEXT NOT NULL,
    verdict TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    PRIMARY KEY (name, version)
);

CREATE TABLE IF NOT EXISTS model_aliases (
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    version INTEGER NOT NULL,
    set_at_us INTEGER NOT NULL,
    PRIMARY KEY (name, alias),
    FOREIGN KEY (name, version) REFERENCES model_versions (name, version)
);

-- Append-only; each row carries the hash of the row before.
CREATE TABLE IF NOT EXISTS model_audit (
    id INTEGER PRIMARY KEY,
    at_us INTEGER NOT NULL,
    action TEXT NOT NULL,
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    from_version INTEGER,
    to_version INTEGER,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL
);

CREATE TRIGGER IF NOT EXISTS model_audit_no_update BEFORE UPDATE ON model_audit BEGIN SELECT RAISE (ABORT, 'the audit is append-only'); END;

CREATE TRIGGER IF NOT EXISTS model_audit_no_delete BEFORE DELETE ON model_audit BEGIN SELECT RAISE (ABORT, 'the audit is append-only'); END;

-- Where a tail reader stands: worker folds, materialization.
CREATE TABLE IF NOT EXISTS cursors (
    name TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    moved_at_us INTEGER NOT NULL
);

-- Each visitor's decided actions. Rows can be written again at any time; what serves is made from them alone.
CREATE TABLE IF NOT EXISTS action_observations (
    user_id TEXT NOT NULL,
    day INTEGER NOT NULL,
    event_type INTEGER NOT NULL,
    context INTEGER NOT NULL,
    browser INTEGER NOT NULL, -- 1: a visitor known by browser keys only
    trials INTEGER NOT NULL, -- in units of action_weights.SCALE, as rewards
    rewards INTEGER NOT NULL,
    PRIMARY KEY (user_id, day, event_type, context)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS action_due (user_id TEXT PRIMARY KEY, due_us INTEGER NOT NULL) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS action_due_by_instant ON action_due (due_us);

-- Events that came with a browser key; all others came from a server or a file.
CREATE TABLE IF NOT EXISTS browser_events (seq INTEGER PRIMARY KEY);

-- One row: what serves now; and at most one in action_freeze: what serves instead while the weights are frozen.
CREATE TABLE IF NOT EXISTS action_posterior (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL,
    made_at_us INTEGER NOT NULL,
    counts TEXT NOT NULL -- JSON, see action_weights.counts_to_lists
);

CREATE TABLE IF NOT EXISTS action_freeze (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL,
    frozen_at_us INTEGER NOT NULL,
    counts TEXT NOT NULL
);

-- What a partner may recommend and offer. `change` counts up per partner, so that a reader fetches only what is new.
CREATE TABLE IF NOT EXISTS catalog_items (
    partner TEXT NOT NULL,
    item_id TEXT NOT NULL,
    kind TEXT NOT NULL, -- item or content
    category TEXT,
    price REAL,
    stock INTEGER, -- pieces; 0 is out of stock, NULL is not counted
    title TEXT,
    url TEXT,
    updated_at_us INTEGER NOT NULL,
    change INTEGER NOT NULL,
    PRIMARY KEY (partner, item_id)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS catalog_items_by_change ON catalog_items (partner, change);

CREATE TABLE IF NOT EXISTS offers (
    partner TEXT NOT NULL,
    offer_id TEXT NOT NULL,
    title TEXT,
    percent REAL, -- off the price, 0 to 100; either this or amount
    amount REAL, -- off the price, in currency
    currency TEXT, -- ISO 4217
    code TEXT, -- what the shopper types
    budget REAL, -- most that may be given away in all, in currency; NULL is no limit
    min_price REAL,
    categories TEXT NOT NULL, -- JSON array; empty is any
    item_ids TEXT NOT NULL, -- JSON array; empty is any
    valid_from_us INTEGER,
    valid_until_us INTEGER,
    active INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    change INTEGER NOT NULL,
    PRIMARY KEY (partner, offer_id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS catalog_changes (
    partner TEXT PRIMARY KEY,
    change INTEGER NOT NULL
) WITHOUT ROWID;

-- One row per answer, which is also the exposure of its experiment.
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
);

CREATE INDEX IF NOT EXISTS decisions_by_user ON decisions (user_id, decided_at_us);

-- A request that failed: its visitor was dealt a variant all the same.
CREATE TABLE IF NOT EXISTS failed_decisions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    partner TEXT NOT NULL,
    user_id TEXT NOT NULL,
    failed_at_us INTEGER NOT NULL,
    experiment TEXT NOT NULL,
    variant TEXT NOT NULL,
    error TEXT NOT NULL -- the kind of error, never its words
);

CREATE INDEX IF NOT EXISTS failed_decisions_by_user ON failed_decisions (user_id);

CREATE TABLE IF NOT EXISTS rewards (
    decision_id TEXT PRIMARY KEY,
    reward REAL NOT NULL, -- 1 once a shown item was bought, 0.5 once one was put into the cart
    revenue REAL NOT NULL, -- sum of the prices of shown items that were bought
    joined_at_us INTEGER NOT NULL
);

-- Which event was credited to which decision: an event is credited once, however often it is looked at.
CREATE TABLE IF NOT EXISTS reward_events (
    seq INTEGER PRIMARY KEY, -- of the event
    decision_id TEXT NOT NULL,
    reward REAL NOT NULL,
    revenue REAL NOT NULL
);

CREATE INDEX IF NOT EXISTS reward_events_by_decision ON reward_events (decision_id);

-- What the bandit believed, one row per version; body is JSON (`models.bandit.thompson.as_json`) with the parameters.
CREATE TABLE IF NOT EXISTS profile_snapshots (
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    body TEXT NOT NULL,
    last_decision_seq INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL
);

-- The decision that the sender of an event named as its cause.
CREATE TABLE IF NOT EXISTS event_decisions (
    seq INTEGER PRIMARY KEY, -- of the event
    decision_id TEXT NOT NULL
);

-- One message for one subscription. `cause` is signal, replay or test; `run` tells replays of one signal apart.
CREATE TABLE IF NOT EXISTS deliveries (
    delivery_id INTEGER PRIMARY KEY AUTOINCREMENT,
    subscription_id TEXT NOT NULL,
    partner TEXT NOT NULL,
    signal_id TEXT NOT NULL,
    cause TEXT NOT NULL CHECK (cause IN ('signal', 'replay', 'test')),
    run TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed', 'cancelled')),
    n_attempts INTEGER NOT NULL DEFAULT 0,
    due_at_us INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    finished_at_us INTEGER,
    UNIQUE (subscription_id, signal_id, run)
);

CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (subscription_id, due_at_us) WHERE state = 'pending';

CREATE INDEX IF NOT EXISTS deliveries_of_signal ON deliveries (signal_id);

-- `status` is empty where there was no answer; `answer` holds its first bytes.
CREATE TABLE IF NOT EXISTS delivery_attempts (
    id INTEGER PRIMARY KEY,
    delivery_id INTEGER NOT NULL REFERENCES deliveries (delivery_id) ON DELETE CASCADE,
    started_at_us INTEGER NOT NULL,
    latency_us INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER,
    answer TEXT
);

CREATE INDEX IF NOT EXISTS attempts_of_delivery ON delivery_attempts (delivery_id);

-- How an endpoint does: one row for each subscription that was ever tried.
CREATE TABLE IF NOT EXISTS endpoint_health (
    subscription_id TEXT PRIMARY KEY,
    last_success_at_us INTEGER,
    failing_since_us INTEGER,
    n_failures INTEGER NOT NULL DEFAULT 0,
    paused_until_us INTEGER NOT NULL DEFAULT 0
);

-- Written in the transaction of the effect. Key and request are kept as hashes only. Status 0 is a claim: what the request
-- does outside the store has begun.
CREATE TABLE IF NOT EXISTS idempotent_answers (
    partner TEXT NOT NULL,
    key_hash TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status INTEGER NOT NULL,
    body BLOB NOT NULL,
    created_at_us INTEGER NOT NULL,
    PRIMARY KEY (partner, key_hash)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idempotent_answers_by_age ON idempotent_answers (created_at_us);

CREATE TABLE IF NOT EXISTS key_options (
    key_hash TEXT PRIMARY KEY REFERENCES api_keys (key_hash),
    origins TEXT NOT NULL, -- JSON array of origins that a browser key may be used from
    requests_per_minute INTEGER -- NULL is the setting
) WITHOUT ROWID;

-- Who was erased. A tombstone holds a pseudonym and nothing else of the user; what was erased cannot come back.
CREATE TABLE IF NOT EXISTS tombstones (
    user_id TEXT PRIMARY KEY, -- a pseudonym, of one partner by its key
    partner TEXT NOT NULL,
    receipt_id TEXT NOT NULL UNIQUE,
    erased_at_us INTEGER NOT NULL, -- what happened until then stays out
    completed_at_us INTEGER, -- NULL while a copy outside the store may be left
    removed TEXT NOT NULL -- JSON object: rows removed, by table
) WITHOUT ROWID;

-- Receipts of users who were erased once more: an auditor finds every one that was given.
CREATE TABLE IF NOT EXISTS earlier_receipts (
    receipt_id TEXT PRIMARY KEY,
    tombstone TEXT NOT NULL, -- whose newer erasure also completes this one
    partner TEXT NOT NULL,
    erased_at_us INTEGER NOT NULL,
    completed_at_us INTEGER,
    removed TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS earlier_receipts_by_tombstone ON earlier_receipts (tombstone);

CREATE TRIGGER IF NOT EXISTS erased_events_stay_out BEFORE INSERT ON events
WHEN EXISTS (SELECT 1 FROM tombstones WHERE user_id = NEW.user_id AND erased_at_us >= NEW.occurred_at_us)
BEGIN SELECT RAISE (IGNORE); END;

-- What a challenger would have answered, summed up: no request and no visitor can be found in it.
CREATE TABLE IF NOT EXISTS shadow (
    id INTEGER PRIMARY KEY,
    written_at_us INTEGER NOT NULL,
    kind TEXT NOT NULL, -- recommendations or engagement
    champion TEXT NOT NULL, -- JSON object: version of each model that answered
    challenger TEXT NOT NULL, -- the same of the set that was tried
    n_requests INTEGER NOT NULL,
    n_failed INTEGER NOT NULL, -- the challenger raised an error
    n_same_label INTEGER NOT NULL,
    sum_overlap REAL NOT NULL, -- share of the first 20 items that both have
    sum_distance REAL NOT NULL, -- total variation distance of the probabilities
    sum_champion_us REAL NOT NULL,
    sum_challenger_us REAL NOT NULL
);

-- signal_types is a JSON array, empty for all. A secret is "whsec_" + base64; it is needed to sign, so it is kept.
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
);

CREATE INDEX IF NOT EXISTS subscriptions_by_partner ON subscriptions (partner);

-- policy is a JSON object, see `models.engagement.policy.SignalPolicy`.
CREATE TABLE IF NOT EXISTS signal_policies (
    partner TEXT PRIMARY KEY,
    policy TEXT NOT NULL,
    version INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL
);

-- The outbox. `sequence` counts a user's signals 1, 2, 3 ... without a gap; `cause_seq` is the event that made it.
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
);

CREATE INDEX IF NOT EXISTS signals_by_partner ON signals (partner, seq);

CREATE INDEX IF NOT EXISTS signals_by_user ON signals (user_id);

-- Signals that users of the hold-out group would have been sent; nobody delivers them, the uplift readout compares.
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
);

CREATE INDEX IF NOT EXISTS holdout_by_user ON holdout (partner, user_id);

CREATE INDEX IF NOT EXISTS held_out_users ON holdout (user_id);

-- Where a user stands: engagement after the newest event, and what caps and cool-down need, held-out signals included.
-- A row outlives the user's signals (retention), so that `sequence` goes on where it stood.
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
);

CREATE INDEX IF NOT EXISTS signal_users_by_id ON signal_users (user_id);

-- Discounts promised, by offer and UTC day, in hundredths of the shop's currency.
CREATE TABLE IF NOT EXISTS offer_spend (
    partner TEXT NOT NULL,
    offer_id TEXT NOT NULL,
    utc_day INTEGER NOT NULL,
    spent_cents INTEGER NOT NULL,
    n_signals INTEGER NOT NULL,
    PRIMARY KEY (partner, offer_id, utc_day)
);
