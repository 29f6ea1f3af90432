-- Whether an event counts in what is learned for others. Decided once, when the event is appended; see docs/trust.md.

ALTER TABLE events ADD COLUMN believed INTEGER NOT NULL DEFAULT 1; -- 0: from a browser key, beyond what such keys may add

-- Also tells whether a server or a file has ever spoken of a user.
DROP INDEX IF EXISTS events_by_user;

CREATE INDEX events_by_user ON events (user_id, browser);

CREATE INDEX events_not_believed ON events (received_at_us) WHERE believed = 0;
