"""Reports: pages and texts for people, made from the tables of the core."""
