-- What a person decided about a row of quarantine.

ALTER TABLE quarantine ADD COLUMN verdict TEXT; -- held, accepted or dropped; NULL: nobody has decided

ALTER TABLE quarantine ADD COLUMN verdict_reason TEXT; -- what the person says

ALTER TABLE quarantine ADD COLUMN verdict_at_us INTEGER;
