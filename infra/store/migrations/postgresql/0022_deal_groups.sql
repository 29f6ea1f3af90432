-- Whom the shop took a visitor for when a signal was decided: all names as one text (`models.visitor_groups.packed`).

ALTER TABLE signal_deals ADD COLUMN visitor_groups TEXT COLLATE "C";
