-- Runs of the experiment: a person starts one with a split, stops it, or ships what won. Without a row the first one runs, half and half.

CREATE TABLE experiment_runs (
    run INTEGER PRIMARY KEY, -- counts up
    share REAL NOT NULL CHECK (share > 0 AND share < 1), -- of the visitors, dealt the treatment
    state TEXT NOT NULL CHECK (state IN ('running', 'stopped', 'shipped')),
    winner TEXT, -- the variant that all visitors get, once shipped
    began_at_us INTEGER NOT NULL,
    changed_at_us INTEGER NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
