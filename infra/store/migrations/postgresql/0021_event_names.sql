-- Own names of event types: what a partner calls what its visitors do.

CREATE TABLE event_names (
    partner TEXT COLLATE "C" PRIMARY KEY,
    names TEXT COLLATE "C" NOT NULL, -- JSON object: name -> our event type
    updated_at_us BIGINT NOT NULL
);
