-- Own names of event types: what a partner calls what its visitors do.

CREATE TABLE event_names (
    partner TEXT PRIMARY KEY,
    names TEXT NOT NULL, -- JSON object: name -> our event type
    updated_at_us INTEGER NOT NULL
) STRICT;
