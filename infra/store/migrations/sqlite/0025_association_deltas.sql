-- Deltas of live associations: counted by one process, added by all. A run begins where a build ends, with a row of no partner.

CREATE TABLE association_deltas (
    id INTEGER PRIMARY KEY, -- in the order in which they are added
    run TEXT NOT NULL, -- of all rows the same: a new run removes those of the one before
    partner TEXT NOT NULL,
    number INTEGER NOT NULL, -- counts up for each partner
    is_whole INTEGER NOT NULL, -- 1: the sum of all up to this number, instead of them
    until_seq INTEGER NOT NULL, -- the last event that was counted
    parts BLOB NOT NULL -- as `infra.packed` has it
) STRICT;
