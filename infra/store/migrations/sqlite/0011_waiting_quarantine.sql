-- What waits in quarantine, and what it holds back, are found without reading the texts of all that was ever refused.

CREATE INDEX quarantine_undecided ON quarantine (id) WHERE replayed_at_us IS NULL AND verdict IS NULL;

CREATE INDEX quarantine_held_back ON quarantine (seq) WHERE seq IS NOT NULL AND replayed_at_us IS NULL;
