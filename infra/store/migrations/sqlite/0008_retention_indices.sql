-- What is old is found by its age, not by looking at every row.

CREATE INDEX events_by_age ON events (occurred_at_us);

CREATE INDEX decisions_by_age ON decisions (decided_at_us);

CREATE INDEX failed_decisions_by_age ON failed_decisions (failed_at_us);

CREATE INDEX signals_by_age ON signals (created_at_us);

CREATE INDEX holdout_by_age ON holdout (created_at_us);

CREATE INDEX deliveries_by_age ON deliveries (created_at_us);

CREATE INDEX quarantine_by_age ON quarantine (quarantined_at_us);

CREATE INDEX signal_users_by_age ON signal_users (scored_at_us);

-- Erasures that are not complete, oldest first.
CREATE INDEX tombstones_unfinished ON tombstones (erased_at_us) WHERE completed_at_us IS NULL;
