-- Which events came with which file: a batch is one transaction, so its events follow each other.

CREATE TABLE ingested (
    id INTEGER PRIMARY KEY,
    partner TEXT NOT NULL,
    source TEXT NOT NULL, -- name of the file, no folder
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL
);

CREATE INDEX ingested_by_source ON ingested (source);
