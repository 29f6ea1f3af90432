"""Statements of idempotency: answers kept for repeated writes, in the transaction of their effect."""

from typing import Final

IDEMPOTENT_HOURS: Final = 24  # how long the answer to a write with an Idempotency-Key is kept
UNDER_WAY: Final = 0  # in idempotent_answers.status

# (partner, key_hash, not_before_us)
ANSWER_OF: Final = (
    "SELECT fingerprint, status, body, created_at_us FROM idempotent_answers "
    "WHERE partner = ? AND key_hash = ? AND created_at_us > ?"
)
KEEP_ANSWER: Final = (
    "INSERT INTO idempotent_answers (partner, key_hash, fingerprint, status, body, created_at_us) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (partner, key_hash) DO UPDATE SET fingerprint = excluded.fingerprint, status = excluded.status, "
    "body = excluded.body, created_at_us = excluded.created_at_us"
)
# A claim whose work could not be done: (partner, key_hash).
FORGET_CLAIM: Final = f"DELETE FROM idempotent_answers WHERE partner = ? AND key_hash = ? AND status = {UNDER_WAY}"
# A few at a time, so that no other writer waits for long: (before_us, limit).
FORGET_ANSWERS: Final = (
    "DELETE FROM idempotent_answers WHERE (partner, key_hash) IN "
    "(SELECT partner, key_hash FROM idempotent_answers WHERE created_at_us < ? LIMIT ?)"
)
