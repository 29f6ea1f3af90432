"""Statements of the aims of signals: what was decided about visitors, and what was learned from it."""

from typing import Final

# (partner, user_id, kind, dealt_at_us, arm, p_sent, p_held, features, groups); the first decision about a visitor counts.
ADD_DEAL: Final = (
    "INSERT INTO signal_deals (partner, user_id, kind, dealt_at_us, arm, p_sent, p_held, features, visitor_groups) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (partner, kind, user_id) DO NOTHING"
)
# (partner, kind, dealt_since_us, dealt_until_us)
DEALS_OF: Final = (
    "SELECT user_id, dealt_at_us, arm, p_sent, p_held, features, visitor_groups FROM signal_deals "
    "WHERE partner = ? AND kind = ? AND dealt_at_us >= ? AND dealt_at_us <= ? ORDER BY user_id"
)
DEALT: Final = "SELECT DISTINCT partner, kind FROM signal_deals ORDER BY partner, kind"
PUT_AIM: Final = (
    "INSERT INTO signal_aims (partner, kind, learned_at_us, aim) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (partner, kind) DO UPDATE SET learned_at_us = excluded.learned_at_us, aim = excluded.aim"
)
AIMS_OF: Final = "SELECT kind, learned_at_us FROM signal_aims WHERE partner = ?"
AIM: Final = "SELECT aim FROM signal_aims WHERE partner = ? AND kind = ?"
