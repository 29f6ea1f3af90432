-- Claims of deliveries: which worker brings one, and until when the others leave it alone.

ALTER TABLE deliveries ADD COLUMN claimed_by TEXT;
ALTER TABLE deliveries ADD COLUMN claimed_until_us INTEGER NOT NULL DEFAULT 0;
