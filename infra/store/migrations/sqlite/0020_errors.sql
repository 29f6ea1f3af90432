-- How many errors the shop showed the visitor since the event before.

ALTER TABLE events ADD COLUMN n_errors REAL;
