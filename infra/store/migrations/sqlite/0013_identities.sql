-- Who an anonymous visitor turned out to be, by the partner's word. Both are pseudonyms.

CREATE TABLE identities (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: the cursor of the online features
    partner TEXT NOT NULL,
    anonymous_id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    joined_at_us INTEGER NOT NULL,
    first_us INTEGER, -- the earliest event that moved; NULL: none
    is_split INTEGER NOT NULL, -- 1: a session had events of both
    deals INTEGER NOT NULL -- 1: the user goes on being dealt what the anonymous visitor was dealt
);

CREATE INDEX identities_by_user ON identities (user_id);

CREATE INDEX identities_by_age ON identities (joined_at_us);

-- The pseudonym by which a decision was dealt, where its visitor has another one since.
ALTER TABLE decisions ADD COLUMN dealt_as TEXT;
