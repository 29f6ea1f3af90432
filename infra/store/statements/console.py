"""Statements of the console: what people look at, newest first, and never more than they can look at."""

from typing import Final

from infra.store.statements.dialect import field, one_of

# The event before the newest so many; and how many there are behind an event, as far as anybody wants to know.
BEFORE_NEWEST: Final = "SELECT coalesce(min(seq), 1) - 1 FROM (SELECT seq FROM events ORDER BY seq DESC LIMIT ?) AS newest"
BEHIND: Final = "SELECT count(*) FROM (SELECT 1 FROM events WHERE seq > ? LIMIT 1000000) AS behind"
RECENT: Final = 3_000  # events from which the newest sessions are told
# Events and decisions by second: (after_seq, until_seq).
EVENTS_BY_SECOND: Final = (
    "SELECT received_at_us / 1000000, count(*) FROM events WHERE seq > ? AND seq <= ? GROUP BY 1 ORDER BY 1"
)
DECISIONS_BY_SECOND: Final = (
    "SELECT decided_at_us / 1000000, count(*) FROM decisions WHERE seq > ? AND seq <= ? GROUP BY 1 ORDER BY 1"
)
BEFORE_NEWEST_DECISIONS: Final = BEFORE_NEWEST.replace("events", "decisions")
_INTENT: Final = "'$.intent'"
# Newest decisions, and whether they were made with a fallback: (limit).
DECIDED: Final = (
    f"SELECT latency_us, {field('context', _INTENT)}, CASE WHEN degraded = '[]' THEN 0 ELSE 1 END "
    "FROM decisions ORDER BY seq DESC LIMIT ?"
)
OLDEST_ALIAS: Final = "SELECT min(set_at_us) FROM model_aliases WHERE alias = ?"
CURSORS: Final = "SELECT name, seq, moved_at_us FROM cursors ORDER BY name"
PENDING_DELIVERIES: Final = "SELECT count(*), min(due_at_us) FROM deliveries WHERE state = 'pending'"
# One row a session among the newest events: (after_seq, limit).
SESSIONS: Final = (
    "SELECT partner, user_id, coalesce(session_id, ''), count(*), min(occurred_at_us), max(received_at_us), max(seq), "
    "sum(CASE WHEN event_type = 'add_to_cart' THEN 1 ELSE 0 END), sum(CASE WHEN event_type = 'purchase' THEN 1 ELSE 0 END), "
    "max(browser) FROM events WHERE seq > ? "
    "GROUP BY partner, user_id, session_id ORDER BY max(seq) DESC LIMIT ?"
)
# The same of the newest event of a user, for a link that stays: (user_id).
LAST_OF: Final = "SELECT partner, max(seq) FROM events WHERE user_id = ? GROUP BY partner"
# (user_id, limit)
DECISIONS_OF: Final = (
    "SELECT d.decision_id, d.decided_at_us, d.variant, d.profile, d.propensity, d.items, d.context, d.degraded, r.reward, "
    "r.revenue FROM decisions d LEFT JOIN rewards r USING (decision_id) WHERE d.user_id = ? "
    "ORDER BY d.decided_at_us DESC LIMIT ?"
)
SIGNALS_OF: Final = (
    "SELECT created_at_us, type, score, predicted_action, payload, silence_s, 'sent' FROM signals WHERE user_id = ?1 UNION ALL "
    "SELECT created_at_us, type, score, predicted_action, payload, silence_s, 'held out' FROM holdout WHERE user_id = ?1 "
    "ORDER BY 1 DESC LIMIT ?2"
)
_N_WITH: Final = (
    "sum(CASE WHEN EXISTS (SELECT 1 FROM deliveries d WHERE d.signal_id = g.signal_id AND d.state = '{}') THEN 1 ELSE 0 END)"
)
# What was sent and what became of it, by partner and type: (since_us).
FUNNEL: Final = (
    "SELECT g.partner, g.type, count(*), count(DISTINCT g.user_id), "
    f"{_N_WITH.format('delivered')}, {_N_WITH.format('failed')} "
    "FROM signals g WHERE g.created_at_us >= ? GROUP BY g.partner, g.type ORDER BY g.partner, g.type"
)
HELD_OUT: Final = "SELECT partner, type, count(*) FROM holdout WHERE created_at_us >= ? GROUP BY partner, type"
POLICIES: Final = "SELECT partner, policy, version, updated_at_us FROM signal_policies ORDER BY partner"
SPENT: Final = (
    "SELECT partner, offer_id, sum(spent_cents), sum(n_signals), max(utc_day) FROM offer_spend GROUP BY partner, offer_id "
    "ORDER BY partner, offer_id"
)
SUBSCRIPTIONS: Final = (
    "SELECT s.id, s.partner, s.url, s.state, coalesce(s.disabled_reason, ''), h.last_success_at_us, h.failing_since_us, "
    "coalesce(h.n_failures, 0), (SELECT count(*) FROM deliveries d WHERE d.subscription_id = s.id AND d.state = 'pending') "
    "FROM subscriptions s LEFT JOIN endpoint_health h ON h.subscription_id = s.id ORDER BY s.partner, s.created_at_us"
)
# Newest deliveries with their last attempt: (subscription_id or NULL, state or NULL, before_id, limit).
DELIVERIES: Final = (
    "SELECT d.delivery_id, d.subscription_id, d.partner, coalesce(g.type, d.cause), d.cause, d.state, d.n_attempts, "
    "d.created_at_us, d.finished_at_us, a.outcome, a.status, a.latency_us, d.signal_id FROM deliveries d "
    "LEFT JOIN signals g USING (signal_id) LEFT JOIN delivery_attempts a ON a.id = "
    "(SELECT max(id) FROM delivery_attempts WHERE delivery_id = d.delivery_id) "
    "WHERE (CAST(?1 AS TEXT) IS NULL OR d.subscription_id = ?1) AND (CAST(?2 AS TEXT) IS NULL OR d.state = ?2) "
    "AND d.delivery_id < ?3 ORDER BY d.delivery_id DESC LIMIT ?4"
)
ATTEMPTS: Final = "SELECT started_at_us, latency_us, outcome, status FROM delivery_attempts WHERE delivery_id = ? ORDER BY id"
# By partner and hour, of the newest events: (after_seq).
ACCEPTED: Final = (
    "SELECT partner, browser, count(*), count(DISTINCT user_id), sum(believed), min(received_at_us), max(received_at_us) "
    "FROM events WHERE seq > ? GROUP BY partner, browser ORDER BY partner, browser"
)
# When each partner was heard of last, among the newest events: (after_seq).
HEARD: Final = "SELECT partner, max(received_at_us) FROM events WHERE seq > ? GROUP BY partner ORDER BY partner"
BY_TYPE: Final = "SELECT event_type, count(*) FROM events WHERE seq > ? GROUP BY event_type ORDER BY 2 DESC, 1"
INGESTED: Final = (
    "SELECT partner, source, min(first_seq), max(last_seq), sum(last_seq - first_seq + 1) FROM ingested "
    "GROUP BY partner, source"
)
RECEIPTS: Final = (
    "SELECT receipt_id, partner, erased_at_us, completed_at_us, removed FROM tombstones UNION ALL "
    "SELECT receipt_id, partner, erased_at_us, completed_at_us, removed FROM earlier_receipts ORDER BY 3 DESC, 1 LIMIT ?"
)
# Titles of items: (items as a JSON list).
TITLES: Final = f"SELECT item_id, title FROM catalog_items WHERE title IS NOT NULL AND item_id {one_of()}"
# Items by a part of their id or title, for a search: (text, text, limit).
FOUND_ITEMS: Final = (
    "SELECT DISTINCT item_id, title FROM catalog_items WHERE instr(lower(item_id), ?1) > 0 "
    "OR instr(lower(coalesce(title, '')), ?1) > 0 ORDER BY item_id LIMIT ?2"
)
# Use of weights by profile and variant among the newest decisions: (limit).
PROFILES: Final = (
    "SELECT profile, count(*), avg(propensity), avg(coalesce(reward, 0)) FROM (SELECT profile, propensity, decision_id FROM "
    "decisions WHERE variant = 'dynamic' ORDER BY seq DESC LIMIT ?) AS lately LEFT JOIN rewards USING (decision_id) "
    "GROUP BY profile ORDER BY 2 DESC, 1"
)
