-- Aims of signals: what rules called for and chance decided about each visitor, and what was learned from it.

CREATE TABLE signal_deals (
    partner TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL, -- type of the signal; a visitor's first decision about it counts
    dealt_at_us BIGINT NOT NULL,
    arm TEXT COLLATE "C" NOT NULL CHECK (arm IN ('sent', 'held', 'passed')),
    p_sent DOUBLE PRECISION NOT NULL,
    p_held DOUBLE PRECISION NOT NULL,
    features BYTEA NOT NULL, -- float32, in the order of `models.schema.AIM_FEATURES`
    PRIMARY KEY (partner, kind, user_id)
);

CREATE INDEX signal_deals_by_user ON signal_deals (user_id);

CREATE INDEX signal_deals_by_age ON signal_deals (dealt_at_us);

CREATE TABLE signal_aims (
    partner TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    learned_at_us BIGINT NOT NULL,
    aim TEXT COLLATE "C" NOT NULL, -- JSON, as `models.experiments.targeting.to_json` has it
    PRIMARY KEY (partner, kind)
);
