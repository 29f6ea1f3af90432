-- The signal that a visitor's newest moment called for, sent or not: within the dead band of its thresholds it goes on.

ALTER TABLE signal_users ADD COLUMN chosen TEXT NOT NULL DEFAULT 'no_action';
