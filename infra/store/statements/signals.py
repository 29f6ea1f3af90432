"""Statements of the partner's side of signals: who wants them, by what policy, which were sent, which were held back.

`signals` is the outbox: a row is written in the transaction that moves the worker's cursor past its cause, and whoever delivers
(webhooks, pull, stream) reads it from there. Times are integer microseconds since 1970 UTC.
"""

from typing import Final

from infra.store.statements.dialect import field, firsts, one_of
from infra.store.statements.events import IS_BELIEVED
from infra.store.statements.trust import PAID

SUBSCRIPTION_COLUMNS: Final = (
    "id", "partner", "url", "signal_types", "min_score", "secret", "previous_secret", "previous_secret_until_us",
    "state", "disabled_reason", "created_at_us", "updated_at_us",
)  # fmt: skip
SIGNAL_COLUMNS: Final = (
    "seq", "signal_id", "partner", "user_id", "sequence", "type", "payload", "score", "predicted_action",
    "cause_seq", "created_at_us",
)  # fmt: skip
# A partner's signals behind a cursor, in the order of the outbox: (partner, after_seq, limit).
READ_SIGNALS: Final = f"SELECT {', '.join(SIGNAL_COLUMNS)} FROM signals WHERE partner = ? AND seq > ? ORDER BY seq LIMIT ?"
# Everybody's: (after_seq, limit).
READ_OUTBOX: Final = f"SELECT {', '.join(SIGNAL_COLUMNS)} FROM signals WHERE seq > ? ORDER BY seq LIMIT ?"
READ_POLICY: Final = "SELECT policy, version FROM signal_policies WHERE partner = ?"
# (partner, policy, updated_at_us)
PUT_POLICY: Final = (
    "INSERT INTO signal_policies (partner, policy, version, updated_at_us) VALUES (?, ?, 1, ?) "
    "ON CONFLICT (partner) DO UPDATE "
    "SET policy = excluded.policy, version = signal_policies.version + 1, updated_at_us = excluded.updated_at_us"
)
SEALED: Final = "sealed1:"  # before a secret that is kept encrypted
# Secrets that versions before 0.2 kept in clear, and what is kept instead: (secret, previous_secret, id).
IN_CLEAR: Final = (
    f"SELECT id, secret, previous_secret FROM subscriptions WHERE substr(secret, 1, {len(SEALED)}) <> '{SEALED}' "
    f"OR substr(previous_secret, 1, {len(SEALED)}) <> '{SEALED}'"
)
SEAL: Final = "UPDATE subscriptions SET secret = ?, previous_secret = ? WHERE id = ?"
_SUBSCRIPTION: Final = f"SELECT {', '.join(SUBSCRIPTION_COLUMNS)} FROM subscriptions WHERE partner = ?"
SUBSCRIPTION: Final = f"{_SUBSCRIPTION} AND id = ?"
SUBSCRIPTIONS_OF: Final = f"{_SUBSCRIPTION} ORDER BY created_at_us, id"
COUNT_SUBSCRIPTIONS: Final = "SELECT count(*) FROM subscriptions WHERE partner = ?"
# (id, partner, url, signal_types, min_score, secret, created_at_us, updated_at_us)
ADD_SUBSCRIPTION: Final = (
    "INSERT INTO subscriptions (id, partner, url, signal_types, min_score, secret, created_at_us, updated_at_us) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
# (previous_secret_until_us, secret, updated_at_us, partner, id)
ROTATE_SECRET: Final = (
    "UPDATE subscriptions SET previous_secret = secret, previous_secret_until_us = ?, secret = ?, updated_at_us = ? "
    "WHERE partner = ? AND id = ?"
)
# NULL leaves a value as it is; a new state brings its reason: (url, signal_types, min_score, state, state, updated_at_us,
# partner, id).
CHANGE_SUBSCRIPTION: Final = (
    "UPDATE subscriptions SET url = coalesce(?, url), signal_types = coalesce(?, signal_types), "
    "min_score = coalesce(?, min_score), state = coalesce(?, state), disabled_reason = CASE ? WHEN 'active' THEN NULL "
    "WHEN 'disabled' THEN 'disabled by the partner' ELSE disabled_reason END, updated_at_us = ? WHERE partner = ? AND id = ?"
)
DELETE_SUBSCRIPTION: Final = "DELETE FROM subscriptions WHERE partner = ? AND id = ?"
# `models.engagement.policy.Standing` of a user: (partner, user_id).
READ_STANDING: Final = (
    "SELECT sequence, last_signal_at_us, local_day, n_that_day, chosen, scored_at_us FROM signal_users "
    "WHERE partner = ? AND user_id = ?"
)
# What was promised, per offer: in all, and on a day; and the same of strangers (`models.trust`): (utc_day, partner).
READ_SPENT: Final = (
    "SELECT offer_id, sum(spent_cents), sum(CASE WHEN utc_day = ?1 THEN spent_cents ELSE 0 END), "
    "sum(strangers_cents), sum(CASE WHEN utc_day = ?1 THEN strangers_cents ELSE 0 END) FROM offer_spend "
    "WHERE partner = ?2 GROUP BY offer_id"
)
# (partner, user_id, score, predicted_action, sequence, last_signal_at_us, local_day, n_that_day, chosen, scored_at_us)
PUT_USER: Final = (
    "INSERT INTO signal_users (partner, user_id, score, predicted_action, sequence, last_signal_at_us, local_day, n_that_day, "
    "chosen, scored_at_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (partner, user_id) DO UPDATE SET "
    "score = excluded.score, predicted_action = excluded.predicted_action, scored_at_us = excluded.scored_at_us, "
    "sequence = excluded.sequence, last_signal_at_us = excluded.last_signal_at_us, local_day = excluded.local_day, "
    "n_that_day = excluded.n_that_day, chosen = excluded.chosen"
)
# (signal_id, partner, user_id, sequence, type, payload, score, predicted_action, cause_seq, created_at_us, silence_s)
ADD_SIGNAL: Final = f"INSERT INTO signals ({', '.join(SIGNAL_COLUMNS[1:])}, silence_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
# (partner, user_id, type, payload, score, predicted_action, cause_seq, created_at_us, silence_s)
ADD_HELD_OUT: Final = (
    "INSERT INTO holdout (partner, user_id, type, payload, score, predicted_action, cause_seq, created_at_us, silence_s) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# (partner, offer_id, utc_day, cents, cents of strangers)
SPEND: Final = (
    "INSERT INTO offer_spend (partner, offer_id, utc_day, spent_cents, strangers_cents, n_signals) VALUES (?, ?, ?, ?, ?, 1) "
    "ON CONFLICT (partner, offer_id, utc_day) DO UPDATE SET "
    "spent_cents = offer_spend.spent_cents + excluded.spent_cents, "
    "strangers_cents = offer_spend.strangers_cents + excluded.strangers_cents, n_signals = offer_spend.n_signals + 1"
)
# What visitors were worth to a day's budget for discounts, newest first: (partner, until_us, limit).
READ_BIDS: Final = (
    "SELECT at_us, worth, cents FROM discount_bids WHERE partner = ? AND at_us <= ? ORDER BY at_us DESC, worth LIMIT ?"
)
# (partner, at_us, worth, cents)
ADD_BID: Final = "INSERT INTO discount_bids (partner, at_us, worth, cents) VALUES (?, ?, ?, ?)"
# Whether an event is there and has caused nothing yet, or the step of the silence after it has not: (seq, silence_s).
IS_OPEN: Final = (
    "SELECT 1 FROM events WHERE seq = ?1 AND NOT EXISTS (SELECT 1 FROM signals WHERE cause_seq = ?1 AND silence_s = ?2) "
    "AND NOT EXISTS (SELECT 1 FROM holdout WHERE cause_seq = ?1 AND silence_s = ?2)"
)
NEWEST_SIGNAL: Final = "SELECT coalesce(max(seq), 0) FROM signals"
SIGNAL_PARTNERS: Final = "SELECT partner FROM signals UNION SELECT partner FROM holdout ORDER BY partner"
# Each user's first signal, sent or held back: (partner).
FIRST_SENT: Final = firsts("user_id, type, created_at_us", "signals", "partner = ?")
FIRST_HELD_OUT: Final = firsts("user_id, type, created_at_us", "holdout", "partner = ?")
# What some users paid and were promised: (partner, users).
PURCHASES_OF: Final = (
    f"SELECT user_id, occurred_at_us, {PAID} FROM events WHERE partner = ? AND event_type = 'purchase' AND user_id {one_of()} "
    f"AND {IS_BELIEVED}"
)
_AMOUNT: Final = "'$.amount'"
DISCOUNTS_OF: Final = (
    f"SELECT user_id, created_at_us, {field('payload', _AMOUNT)} FROM signals WHERE partner = ? "
    f"AND type = 'offer_discount' AND user_id {one_of()}"
)
