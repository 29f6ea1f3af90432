-- Silences: visitors who may be in one, and signals that they cause. An event and each step of the silence after it cause one signal.

CREATE TABLE silences (
    user_id TEXT PRIMARY KEY,
    partner TEXT NOT NULL,
    cause_seq INTEGER NOT NULL, -- the visitor's newest event
    since_us INTEGER NOT NULL, -- when that was
    utc_offset_min INTEGER NOT NULL,
    due_at_us INTEGER NOT NULL -- when the visitor is looked at again
) STRICT, WITHOUT ROWID;

CREATE INDEX silences_due ON silences (due_at_us);

CREATE TABLE signals_and_silences (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: the cursor of pull, stream and delivery
    signal_id TEXT NOT NULL UNIQUE,
    partner TEXT NOT NULL,
    user_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    type TEXT NOT NULL,
    payload TEXT NOT NULL,
    score REAL NOT NULL,
    predicted_action TEXT NOT NULL,
    cause_seq INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    silence_s INTEGER NOT NULL DEFAULT 0, -- step of the silence after the event; 0: the event itself
    UNIQUE (cause_seq, silence_s),
    UNIQUE (partner, user_id, sequence)
);

INSERT INTO signals_and_silences SELECT *, 0 FROM signals;

-- A number stays spent where the newest signals are gone.
DELETE FROM sqlite_sequence WHERE name = 'signals_and_silences';

INSERT INTO sqlite_sequence (name, seq) SELECT 'signals_and_silences', seq FROM sqlite_sequence WHERE name = 'signals';

DROP TABLE signals;

ALTER TABLE signals_and_silences RENAME TO signals;

CREATE INDEX signals_by_partner ON signals (partner, seq);

CREATE INDEX signals_by_user ON signals (user_id);

CREATE INDEX signals_by_age ON signals (created_at_us);

CREATE TABLE holdout_and_silences (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    partner TEXT NOT NULL,
    user_id TEXT NOT NULL,
    type TEXT NOT NULL,
    payload TEXT NOT NULL,
    score REAL NOT NULL,
    predicted_action TEXT NOT NULL,
    cause_seq INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    silence_s INTEGER NOT NULL DEFAULT 0, -- as of a signal
    UNIQUE (cause_seq, silence_s)
);

INSERT INTO holdout_and_silences SELECT *, 0 FROM holdout;

DROP TABLE holdout;

ALTER TABLE holdout_and_silences RENAME TO holdout;

CREATE INDEX holdout_by_user ON holdout (partner, user_id);

CREATE INDEX held_out_users ON holdout (user_id);

CREATE INDEX holdout_by_age ON holdout (created_at_us);
