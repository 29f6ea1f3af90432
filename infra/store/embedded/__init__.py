"""Embedded engine of the store: one SQLite file, through apsw."""
