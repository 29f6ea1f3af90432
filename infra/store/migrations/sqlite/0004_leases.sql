-- Who may do what only one may do at a time, and until when.

CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until_us INTEGER NOT NULL,
    epoch INTEGER NOT NULL -- one more whenever the lease changes hands
) WITHOUT ROWID;
