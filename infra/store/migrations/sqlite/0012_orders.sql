-- What a sender says of an event beside what all events have: the order, its money, and whom the shop takes the visitor for.

ALTER TABLE events ADD COLUMN order_id TEXT;

ALTER TABLE events ADD COLUMN quantity REAL; -- pieces; NULL is one

ALTER TABLE events ADD COLUMN currency TEXT; -- ISO 4217

ALTER TABLE events ADD COLUMN revenue REAL; -- of all pieces; NULL is price times quantity

ALTER TABLE events ADD COLUMN segment TEXT;

ALTER TABLE events ADD COLUMN region TEXT;

ALTER TABLE events ADD COLUMN customer_group TEXT;

-- An item of an order is bought once, however often it is told; a page's word is kept apart from a server's.
CREATE UNIQUE INDEX events_of_orders ON events (partner, order_id, item_id, browser)
WHERE order_id IS NOT NULL AND event_type = 'purchase';
