-- Releases: sets of model versions that were packed together, here or in the image that this home was first served from.

CREATE TABLE releases (
    id TEXT PRIMARY KEY,
    models TEXT NOT NULL, -- JSON object: version of each model, as this home numbers them
    bento TEXT, -- tag of the Bento that was built of it here; NULL: it came with an image
    smoke TEXT NOT NULL, -- JSON object: what the smoke test saw
    made_at_us INTEGER NOT NULL
) STRICT;
