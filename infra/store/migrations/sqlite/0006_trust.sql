-- What browser keys have added today, and which events a server sends; see docs/trust.md.

-- A visitor who counts, and the newest day of that: days since 1970 UTC.
CREATE TABLE trust_visitors (
    user_id TEXT PRIMARY KEY,
    utc_day INTEGER NOT NULL,
    n_events INTEGER NOT NULL -- believed that day
) WITHOUT ROWID;

-- Visitors that count by way of a network or a key. A network is a keyed hash that differs every day.
CREATE TABLE trust_senders (
    utc_day INTEGER NOT NULL,
    partner TEXT NOT NULL,
    sender TEXT NOT NULL,
    n_strangers INTEGER NOT NULL,
    n_vouched INTEGER NOT NULL,
    PRIMARY KEY (utc_day, partner, sender)
) WITHOUT ROWID;

-- Items of a partner without a catalogue: by which networks visitors who count came to them.
CREATE TABLE trust_items (
    partner TEXT NOT NULL,
    item_id TEXT NOT NULL,
    marks TEXT NOT NULL, -- four hexadecimal digits a network, of a hash that differs for every item; empty once they are enough
    is_known INTEGER NOT NULL, -- 1: they are enough
    utc_day INTEGER NOT NULL, -- of the newest mark
    PRIMARY KEY (partner, item_id)
) WITHOUT ROWID;

CREATE INDEX trust_items_unknown ON trust_items (utc_day) WHERE is_known = 0;

-- When a partner's server or file last spoke of an outcome: a page is not believed about it then.
CREATE TABLE server_outcomes (
    partner TEXT NOT NULL,
    event_type TEXT NOT NULL,
    newest_us INTEGER NOT NULL,
    PRIMARY KEY (partner, event_type)
) WITHOUT ROWID;

INSERT INTO server_outcomes (partner, event_type, newest_us)
SELECT partner, event_type, max(occurred_at_us) FROM events
WHERE browser = 0 AND event_type IN ('add_to_cart', 'purchase') GROUP BY partner, event_type;

-- A visitor's actions that a browser key told of are kept apart, action by action.
CREATE TABLE action_observations_apart (
    user_id TEXT NOT NULL,
    day INTEGER NOT NULL,
    event_type INTEGER NOT NULL,
    context INTEGER NOT NULL,
    browser INTEGER NOT NULL, -- 1: told by a browser key
    trials INTEGER NOT NULL, -- in units of action_weights.SCALE, as rewards
    rewards INTEGER NOT NULL,
    PRIMARY KEY (user_id, day, event_type, context, browser)
) WITHOUT ROWID;

INSERT INTO action_observations_apart (user_id, day, event_type, context, browser, trials, rewards)
SELECT user_id, day, event_type, context, browser, trials, rewards FROM action_observations;

DROP TABLE action_observations;

ALTER TABLE action_observations_apart RENAME TO action_observations;

-- What visitors were promised of whom only browser keys told.
ALTER TABLE offer_spend ADD COLUMN strangers_cents INTEGER NOT NULL DEFAULT 0;

-- Replayed, it is a browser's event again.
ALTER TABLE quarantine ADD COLUMN browser INTEGER NOT NULL DEFAULT 0; -- 1: refused at the door of a browser key
