-- Aims of signals: what rules called for and chance decided about each visitor, and what was learned from it.

CREATE TABLE signal_deals (
    partner TEXT NOT NULL,
    user_id TEXT NOT NULL,
    kind TEXT NOT NULL, -- type of the signal; a visitor's first decision about it counts
    dealt_at_us INTEGER NOT NULL,
    arm TEXT NOT NULL CHECK (arm IN ('sent', 'held', 'passed')),
    p_sent REAL NOT NULL,
    p_held REAL NOT NULL,
    features BLOB NOT NULL, -- float32, in the order of `models.schema.AIM_FEATURES`
    PRIMARY KEY (partner, kind, user_id)
) STRICT;

CREATE INDEX signal_deals_by_user ON signal_deals (user_id);

CREATE INDEX signal_deals_by_age ON signal_deals (dealt_at_us);

CREATE TABLE signal_aims (
    partner TEXT NOT NULL,
    kind TEXT NOT NULL,
    learned_at_us INTEGER NOT NULL,
    aim TEXT NOT NULL, -- JSON, as `models.experiments.targeting.to_json` has it
    PRIMARY KEY (partner, kind)
) STRICT;
