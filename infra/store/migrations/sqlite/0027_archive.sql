-- Archive of the event log: which files in object storage hold it. The cursor `archive` says how far it is whole.

CREATE TABLE archive_files (
    name TEXT PRIMARY KEY, -- below the prefix of the object store
    first_seq INTEGER NOT NULL, -- of its rows
    last_seq INTEGER NOT NULL,
    day INTEGER NOT NULL, -- on which its events happened, in days since 1970 UTC
    shard INTEGER NOT NULL, -- of its visitors
    n_rows INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('draft', 'kept', 'gone')), -- only kept ones hold the log; the others are to be removed
    at_us INTEGER NOT NULL -- since when
) STRICT, WITHOUT ROWID;

CREATE INDEX archive_files_by_shard ON archive_files (shard, day);
