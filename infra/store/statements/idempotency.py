"""Tables of the door: answers kept for repeated writes, and what a key may do beside its scopes."""

from typing import Final

IDEMPOTENT_HOURS: Final = 24  # how long the answer to a write with an Idempotency-Key is kept
UNDER_WAY: Final = 0  # in idempotent_answers.status
REJECTED_DAYS: Final = 14  # how long an event that the door rejected is kept
REJECTED_SOURCE: Final = "/v1/events"  # in quarantine.source; the name of a file has no slash

SCHEMA: Final = (
    # Written in the transaction of the effect. Key and request are kept as hashes only. Status `UNDER_WAY` is a claim: what the
    # request does outside the store has begun.
    """
    CREATE TABLE IF NOT EXISTS idempotent_answers (
        partner TEXT NOT NULL,
        key_hash TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        status INTEGER NOT NULL,
        body BLOB NOT NULL,
        created_at_us INTEGER NOT NULL,
        PRIMARY KEY (partner, key_hash)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS idempotent_answers_by_age ON idempotent_answers (created_at_us)",
    """
    CREATE TABLE IF NOT EXISTS key_options (
        key_hash TEXT PRIMARY KEY REFERENCES api_keys (key_hash),
        origins TEXT NOT NULL, -- JSON array of origins that a browser key may be used from
        requests_per_minute INTEGER -- NULL is the setting
    ) WITHOUT ROWID
    """,
)

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
# Lines that are no rows, kept with their text as versions before 0.1 did: (limit). And what is kept instead: (raw, id).
WITH_TEXT: Final = (
    "SELECT id, partner, raw FROM quarantine WHERE seq IS NULL AND NOT json_valid(raw) "
    "AND raw NOT GLOB '([0-9]* characters, [0-9a-f]*)' LIMIT ?"
)
WITHOUT_TEXT: Final = "UPDATE quarantine SET raw = ? WHERE id = ?"
# (source, before_us, limit)
FORGET_REJECTED: Final = (
    "DELETE FROM quarantine WHERE id IN "
    "(SELECT id FROM quarantine WHERE seq IS NULL AND source = ? AND quarantined_at_us < ? LIMIT ?)"
)
