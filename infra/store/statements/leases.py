"""Statements of leases: who may do what only one may do at a time."""

from typing import Final

# Take a lease or keep it, its epoch one more where it changes hands; no row while another has it:
# (name, holder, until_us, now_us).
TAKE_LEASE: Final = (
    "INSERT INTO leases (name, holder, until_us, epoch) VALUES (?1, ?2, ?3, 1) ON CONFLICT (name) DO UPDATE SET "
    "epoch = leases.epoch + CASE WHEN leases.holder = ?2 THEN 0 ELSE 1 END, holder = ?2, until_us = ?3 "
    "WHERE leases.holder = ?2 OR leases.until_us <= ?4 RETURNING epoch"
)
# Leases that are held now, by name: (from_name, to_name, now_us).
N_HELD: Final = "SELECT count(*) FROM leases WHERE name >= ? AND name < ? AND until_us > ?"
# Until when a lease is held: (name).
UNTIL: Final = "SELECT until_us FROM leases WHERE name = ?"
