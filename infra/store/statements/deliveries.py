"""Statements of deliveries: what is owed to which subscription, and every attempt to bring it.

A row in `deliveries` is one message for one subscription: made by a signal, or by a replay of it. It holds neither user nor
body: the body is made of the signal's row each time, so that erasing the signal erases it here too. An attempt and what follows
from it (delivered, next try, given up) are written in one transaction.
"""

from typing import Final

from infra.store.statements.dialect import greater, one_of
from infra.store.statements.signals import SIGNAL_COLUMNS

CURSOR: Final = "delivery"  # in `cursors`: how far the outbox has become deliveries

_WANTED: Final = (
    f"s.partner = g.partner AND s.min_score <= g.score AND (s.signal_types = '[]' OR g.type {one_of('s.signal_types')})"
)
_NEW: Final = "INSERT INTO deliveries (subscription_id, partner, signal_id, cause, run, state, due_at_us, created_at_us) "
# Make deliveries of the outbox: (now_us, now_us, after_seq, until_seq). Nobody is sent what was made before they subscribed.
FAN_OUT: Final = (
    f"{_NEW} SELECT s.id, s.partner, g.signal_id, 'signal', '', 'pending', ?, ? FROM signals g "
    f"JOIN subscriptions s ON {_WANTED} "
    "AND s.state = 'active' AND s.created_at_us <= g.created_at_us WHERE g.seq > ? AND g.seq <= ? ORDER BY g.seq "
    "ON CONFLICT DO NOTHING"
)
# Once more, by id: (run, now_us, now_us, subscription_id, signal_ids as a JSON list).
REPLAY_IDS: Final = (
    f"{_NEW} SELECT s.id, s.partner, g.signal_id, 'replay', ?, 'pending', ?, ? FROM signals g JOIN subscriptions s "
    f"ON s.partner = g.partner WHERE s.id = ? AND g.signal_id {one_of()} ORDER BY g.seq"
)
# Once more, all that the subscription wants of a span of time: (run, now_us, now_us, subscription_id, from_us, until_us,
# limit).
REPLAY_SPAN: Final = (
    f"{_NEW} SELECT s.id, s.partner, g.signal_id, 'replay', ?, 'pending', ?, ? FROM signals g "
    f"JOIN subscriptions s ON {_WANTED} "
    "WHERE s.id = ? AND g.created_at_us >= ? AND g.created_at_us < ? ORDER BY g.seq LIMIT ?"
)
# Replays that wait, of all subscriptions of a partner: (partner).
COUNT_REPLAYED: Final = (
    "SELECT count(*) FROM subscriptions s JOIN deliveries d ON d.subscription_id = s.id "
    "WHERE s.partner = ? AND d.state = 'pending' AND d.cause = 'replay'"
)
# Who has something due: (now_us, now_us).
ENDPOINTS_DUE: Final = (
    "SELECT s.id, s.partner, s.url, CASE WHEN s.consented_url = s.url THEN 1 ELSE 0 END, s.secret, s.previous_secret, "
    "s.previous_secret_until_us FROM subscriptions s LEFT JOIN endpoint_health h ON h.subscription_id = s.id "
    "WHERE s.state = 'active' AND coalesce(h.paused_until_us, 0) <= ? AND (SELECT min(d.due_at_us) FROM deliveries d "
    "WHERE d.subscription_id = s.id AND d.state = 'pending') <= ?"
)
# What is due to one: (subscription_id, now_us, limit). The signal's columns are empty where it was erased.
_DUE: Final = (
    f"SELECT d.delivery_id, d.n_attempts, {', '.join(f'g.{name}' for name in SIGNAL_COLUMNS)} FROM deliveries d "
    "LEFT JOIN signals g USING (signal_id)"
)
DELIVERIES_DUE: Final = (
    f"{_DUE} WHERE d.subscription_id = ? AND d.state = 'pending' AND d.due_at_us <= ? ORDER BY d.due_at_us LIMIT ?"
)
# Claim what is due to one and nobody has claimed, for a span, where several workers deliver:
# (holder, span_us, subscription_id, now_us, limit). What was claimed: (ids as a JSON list), as above.
CLAIM: Final = (
    "UPDATE deliveries SET claimed_by = ?1, claimed_until_us = ?4 + ?2 WHERE delivery_id IN (SELECT delivery_id "
    "FROM deliveries WHERE subscription_id = ?3 AND state = 'pending' AND due_at_us <= ?4 AND claimed_until_us <= ?4 "
    "ORDER BY due_at_us LIMIT ?5) RETURNING delivery_id"
)
CLAIMED: Final = f"{_DUE} WHERE d.delivery_id {one_of()} ORDER BY d.due_at_us, d.delivery_id"
# Go on with claims, or give them back: (holder, span_us, now_us, ids as a JSON list), (holder, ids as a JSON list).
KEEP_CLAIMS: Final = (
    "UPDATE deliveries SET claimed_until_us = ?3 + ?2 WHERE claimed_by = ?1 AND state = 'pending' "
    f"AND delivery_id {one_of('?4')}"
)
GIVE_BACK: Final = (
    f"UPDATE deliveries SET claimed_until_us = 0 WHERE claimed_by = ?1 AND state = 'pending' AND delivery_id {one_of('?2')}"
)
# An attempt changes its delivery: (state, due_at_us, finished_at_us, delivery_id, holder); it may have been erased meanwhile,
# or another worker has claimed it.
ATTEMPTED: Final = (
    "UPDATE deliveries SET n_attempts = n_attempts + 1, state = ?, due_at_us = coalesce(?, due_at_us), finished_at_us = ?, "
    "claimed_until_us = 0 WHERE delivery_id = ? AND state = 'pending' AND coalesce(claimed_by, '') IN ('', ?)"
)
ATTEMPT: Final = (
    "INSERT INTO delivery_attempts (delivery_id, started_at_us, latency_us, outcome, status, answer) VALUES (?, ?, ?, ?, ?, ?)"
)
CANCELLED: Final = "UPDATE deliveries SET state = 'cancelled', finished_at_us = ? WHERE delivery_id = ?"
# An endpoint answered well: (subscription_id, now_us).
SUCCEEDED: Final = (
    "INSERT INTO endpoint_health (subscription_id, last_success_at_us) VALUES (?, ?) ON CONFLICT (subscription_id) DO UPDATE "
    "SET last_success_at_us = excluded.last_success_at_us, failing_since_us = NULL, n_failures = 0, paused_until_us = 0"
)
# It has answered the challenge at an address: (url, subscription_id).
CONSENTED: Final = "UPDATE subscriptions SET consented_url = ? WHERE id = ?"
# It did not: (subscription_id, now_us, paused_until_us).
FAILED: Final = (
    "INSERT INTO endpoint_health (subscription_id, failing_since_us, n_failures, paused_until_us) VALUES (?, ?, 1, ?) "
    "ON CONFLICT (subscription_id) DO UPDATE SET "
    "failing_since_us = coalesce(endpoint_health.failing_since_us, excluded.failing_since_us), "
    "n_failures = endpoint_health.n_failures + 1, "
    f"paused_until_us = {greater('endpoint_health.paused_until_us', 'excluded.paused_until_us')}"
)
FAILING_SINCE: Final = (
    "SELECT h.failing_since_us, s.updated_at_us FROM endpoint_health h JOIN subscriptions s ON s.id = h.subscription_id "
    "WHERE s.id = ? AND h.failing_since_us IS NOT NULL"
)
# Leave an endpoint alone, unless it has got another address meanwhile: (reason, now_us, subscription_id, url).
DISABLE: Final = (
    "UPDATE subscriptions SET state = 'disabled', disabled_reason = ?, updated_at_us = ? "
    "WHERE id = ? AND url = ? AND state = 'active'"
)
# Of a subscription that was deleted: (now_us, subscription_id), and (subscription_id).
CANCEL_PENDING: Final = (
    "UPDATE deliveries SET state = 'cancelled', finished_at_us = ? WHERE subscription_id = ? AND state = 'pending'"
)
FORGET_HEALTH: Final = "DELETE FROM endpoint_health WHERE subscription_id = ?"
# A subscription's deliveries, newest first: (subscription_id, before_id, state or NULL, limit).
LIST_DELIVERIES: Final = (
    "SELECT d.delivery_id, d.signal_id, g.type, d.cause, d.state, d.created_at_us, d.due_at_us FROM deliveries d "
    "LEFT JOIN signals g USING (signal_id) WHERE d.subscription_id = ?1 AND d.delivery_id < ?2 "
    "AND (CAST(?3 AS TEXT) IS NULL OR d.state = ?3) "
    "ORDER BY d.delivery_id DESC LIMIT ?4"
)
LIST_ATTEMPTS: Final = (
    "SELECT delivery_id, started_at_us, latency_us, outcome, status, answer FROM delivery_attempts "
    f"WHERE delivery_id {one_of()} ORDER BY id"
)
# A test that was sent, and its id: (subscription_id, partner, message_id, message_id, state, now_us, now_us, now_us).
TESTED: Final = (
    "INSERT INTO deliveries (subscription_id, partner, signal_id, cause, run, state, n_attempts, due_at_us, created_at_us, "
    "finished_at_us) VALUES (?, ?, ?, 'test', ?, ?, 1, ?, ?, ?) RETURNING delivery_id"
)
