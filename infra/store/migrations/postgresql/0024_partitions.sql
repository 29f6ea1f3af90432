-- The log in ranges of positions, so that a reader of its end looks at its newest part alone, and old parts go whole. An event's
-- id, and the item of an order, must be unique over all parts, which an index of a partitioned table cannot say: they have
-- tables of their own.

ALTER TABLE quarantine DROP CONSTRAINT quarantine_seq_fkey;
ALTER TABLE events RENAME TO events_first;
ALTER TABLE events_first RENAME CONSTRAINT events_pkey TO events_first_pkey;
ALTER INDEX events_by_user RENAME TO events_first_by_user;
ALTER INDEX events_not_believed RENAME TO events_first_not_believed;
ALTER INDEX events_by_age RENAME TO events_first_by_age;

CREATE TABLE event_ids (
    partner TEXT COLLATE "C" NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (partner, event_id)
);

CREATE TABLE order_items (
    partner TEXT COLLATE "C" NOT NULL,
    order_id TEXT COLLATE "C" NOT NULL,
    item_id TEXT COLLATE "C" NOT NULL,
    browser BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (partner, order_id, item_id, browser)
);

INSERT INTO event_ids (partner, event_id, seq) SELECT partner, event_id, seq FROM events_first;

INSERT INTO order_items (partner, order_id, item_id, browser, seq) SELECT partner, order_id, item_id, browser, seq
FROM events_first WHERE event_type = 'purchase' AND order_id IS NOT NULL AND item_id IS NOT NULL;

ALTER TABLE events_first DROP CONSTRAINT events_partner_event_id_key;
DROP INDEX events_of_orders;

CREATE TABLE events (LIKE events_first INCLUDING DEFAULTS) PARTITION BY RANGE (seq);
ALTER TABLE events ADD PRIMARY KEY (seq);
CREATE INDEX events_by_user ON events (user_id, browser);
CREATE INDEX events_by_age ON events (occurred_at_us);
CREATE INDEX events_not_believed ON events (received_at_us) WHERE believed = 0;
CREATE INDEX events_of_orders ON events (partner, order_id, item_id) WHERE order_id IS NOT NULL AND event_type = 'purchase';

-- What no part was made for in time; it stays empty where a worker runs.
CREATE TABLE events_rest PARTITION OF events DEFAULT;

-- Parts of the log, by the positions that they hold; when each was made, and how far the log was then.
CREATE TABLE event_ranges (
    name TEXT COLLATE "C" PRIMARY KEY,
    from_seq BIGINT NOT NULL,
    until_seq BIGINT NOT NULL,
    made_at_us BIGINT NOT NULL,
    made_seq BIGINT NOT NULL
);

-- Where the next transaction's events would stand.
CREATE FUNCTION log_end() RETURNS BIGINT LANGUAGE sql STABLE AS
$$ SELECT (pg_snapshot_xmax(pg_current_snapshot())::text::bigint + log_offset) << 20 FROM log_base $$;

-- A new part, where less than one is left: as long as a day's transactions, by those since the last part was made.
CREATE FUNCTION extend_events() RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    last event_ranges;
    now_us BIGINT := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    here BIGINT := log_end();
    span BIGINT := 1::bigint << 40; -- a million transactions
    first BIGINT;
    name TEXT;
BEGIN
    LOCK TABLE event_ranges IN SHARE ROW EXCLUSIVE MODE; -- by one process at a time
    SELECT * INTO last FROM event_ranges ORDER BY until_seq DESC LIMIT 1;
    IF now_us - last.made_at_us > 60000000 THEN
        span := least(greatest((here - last.made_seq)::numeric * 86400000000 / (now_us - last.made_at_us), span), 1::bigint << 48);
    END IF;
    IF last.until_seq - here >= span THEN
        RETURN 0;
    END IF;
    -- Where parts were not made in time, the default one takes what comes until the next one begins.
    first := CASE WHEN last.until_seq >= here THEN last.until_seq ELSE here + (1::bigint << 30) END;
    name := 'events_' || first;
    EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING DEFAULTS)', name);
    EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', name, first, first + span);
    INSERT INTO event_ranges VALUES (name, first, first + span, now_us, here);
    RETURN 1;
END $$;

-- Ids of events that are removed go with them.
CREATE FUNCTION forget_ids() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM event_ids USING gone WHERE event_ids.partner = gone.partner AND event_ids.event_id = gone.event_id;
    DELETE FROM order_items USING gone WHERE gone.order_id IS NOT NULL AND order_items.partner = gone.partner
    AND order_items.order_id = gone.order_id AND order_items.seq = gone.seq;
    RETURN NULL;
END $$;

CREATE TRIGGER events_gone AFTER DELETE ON events REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_ids();

DO $$
DECLARE
    until BIGINT := log_end() + (1::bigint << 40);
BEGIN
    EXECUTE format('ALTER TABLE events ATTACH PARTITION events_first FOR VALUES FROM (MINVALUE) TO (%s)', until);
    INSERT INTO event_ranges VALUES
    ('events_first', -9223372036854775808, until, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, log_end());
    PERFORM extend_events();
END $$;

ALTER TABLE quarantine ADD CONSTRAINT quarantine_seq_fkey FOREIGN KEY (seq) REFERENCES events (seq);
