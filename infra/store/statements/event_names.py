"""Statements of a partner's own names of event types."""

from typing import Final

OWN_NAMES: Final = "SELECT names FROM event_names WHERE partner = ?"
ALL_OWN_NAMES: Final = "SELECT partner, names FROM event_names ORDER BY partner"
# (partner, names, updated_at_us)
PUT_OWN_NAMES: Final = (
    "INSERT INTO event_names (partner, names, updated_at_us) VALUES (?, ?, ?) "
    "ON CONFLICT (partner) DO UPDATE SET names = excluded.names, updated_at_us = excluded.updated_at_us"
)
