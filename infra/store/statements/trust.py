"""Statements of trust: quotas of browser keys, which outcomes a server speaks of, and what a page's price is worth.

The rule is in `models.trust`. Counters are of one UTC day and go soon after it.
"""

from typing import Final

# Whether a server or a file has spoken of a user, and how many of their events count today: (user_id, utc_day).
VISITOR: Final = (
    "SELECT EXISTS (SELECT 1 FROM events WHERE user_id = ?1 AND browser = 0), "
    "(SELECT n_events FROM trust_visitors WHERE user_id = ?1 AND utc_day = ?2)"
)
# Visitors that count by way of a network and of a key: (utc_day, partner, network, key).
ADMITTED: Final = (
    "SELECT sender, n_strangers, n_vouched FROM trust_senders WHERE utc_day = ? AND partner = ? AND sender IN (?, ?)"
)
HAS_CATALOG: Final = "SELECT EXISTS (SELECT 1 FROM catalog_items WHERE partner = ? AND kind = 'item')"
# Whether the catalogue has an item, and what is known of who came to it: (partner, item_id).
ITEM: Final = (
    "SELECT EXISTS (SELECT 1 FROM catalog_items WHERE partner = ?1 AND item_id = ?2), "
    "(SELECT is_known FROM trust_items WHERE partner = ?1 AND item_id = ?2), "
    "(SELECT marks FROM trust_items WHERE partner = ?1 AND item_id = ?2)"
)
TOLD_BY_SERVER: Final = "SELECT event_type FROM server_outcomes WHERE partner = ? AND newest_us >= ?"
# (partner, event_type, newest_us)
SERVER_TOLD: Final = (
    "INSERT INTO server_outcomes (partner, event_type, newest_us) VALUES (?, ?, ?) "
    "ON CONFLICT (partner, event_type) DO UPDATE SET newest_us = excluded.newest_us "
    "WHERE excluded.newest_us > server_outcomes.newest_us"
)
# (user_id, utc_day, n_events)
KEEP_VISITOR: Final = (
    "INSERT INTO trust_visitors (user_id, utc_day, n_events) VALUES (?, ?, ?) "
    "ON CONFLICT (user_id) DO UPDATE SET utc_day = excluded.utc_day, n_events = excluded.n_events"
)
# (utc_day, partner, sender, n_strangers, n_vouched)
KEEP_ADMITTED: Final = (
    "INSERT INTO trust_senders (utc_day, partner, sender, n_strangers, n_vouched) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (utc_day, partner, sender) DO UPDATE SET n_strangers = excluded.n_strangers, n_vouched = excluded.n_vouched"
)
# (partner, item_id, marks, is_known, utc_day)
KEEP_ITEM: Final = (
    "INSERT INTO trust_items (partner, item_id, marks, is_known, utc_day) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (partner, item_id) DO UPDATE SET marks = excluded.marks, is_known = excluded.is_known, "
    "utc_day = excluded.utc_day"
)
# A few of each at a time: (before_day, limit).
FORGET: Final = (
    "DELETE FROM trust_visitors WHERE user_id IN (SELECT user_id FROM trust_visitors WHERE utc_day < ? LIMIT ?)",
    "DELETE FROM trust_senders WHERE (utc_day, partner, sender) IN "
    "(SELECT utc_day, partner, sender FROM trust_senders WHERE utc_day < ? LIMIT ?)",
)
FORGET_ITEMS: Final = (
    "DELETE FROM trust_items WHERE (partner, item_id) IN "
    "(SELECT partner, item_id FROM trust_items WHERE is_known = 0 AND utc_day < ? LIMIT ?)"
)
# Of a row of events: what was paid, as far as it is believed. A page's word is worth one piece at the catalogue's price.
PAID: Final = (
    "CASE WHEN events.browser = 0 THEN coalesce(events.revenue, events.price * coalesce(events.quantity, 1)) ELSE "
    "(SELECT CASE WHEN c.price < events.price THEN c.price ELSE events.price END FROM catalog_items AS c "
    "WHERE c.partner = events.partner AND c.item_id = events.item_id AND c.price IS NOT NULL) END"
)
