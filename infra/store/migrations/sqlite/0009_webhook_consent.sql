-- The address at which a subscription has answered the challenge; NULL: none.

ALTER TABLE subscriptions ADD COLUMN consented_url TEXT;
