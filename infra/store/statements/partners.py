"""Statements of partners and their API keys; of a key only the hash is known."""

from typing import Final

ADD_PARTNER: Final = "INSERT INTO partners (name, created_at_us) VALUES (?, ?) ON CONFLICT DO NOTHING"
IS_PARTNER: Final = "SELECT 1 FROM partners WHERE name = ?"
IS_KEY: Final = "SELECT 1 FROM api_keys WHERE key_hash = ?"
# (partner, kind, key_hash, hint, scopes, origins, requests_per_minute, created_at_us)
ADD_KEY: Final = (
    "INSERT INTO api_keys (partner, kind, key_hash, hint, scopes, origins, requests_per_minute, created_at_us) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
# Scopes and limit of a partner's newest server key, revoked or not: (partner).
NEWEST_KEY: Final = (
    "SELECT scopes, requests_per_minute FROM api_keys WHERE partner = ? AND kind = 'sk' ORDER BY id DESC LIMIT 1"
)
# Let a partner's server keys end, except one: (expires_at_us, partner, key_hash).
EXPIRE_OTHERS: Final = (
    "UPDATE api_keys SET expires_at_us = ?1 WHERE partner = ?2 AND kind = 'sk' AND revoked_at_us IS NULL "
    "AND (expires_at_us IS NULL OR expires_at_us > ?1) AND key_hash <> ?3"
)
# (revoked_at_us, partner)
REVOKE_ALL: Final = "UPDATE api_keys SET revoked_at_us = ? WHERE partner = ? AND revoked_at_us IS NULL"
COUNT_VALID: Final = "SELECT count(*) FROM api_keys WHERE revoked_at_us IS NULL"
VALID_KEYS: Final = (
    "SELECT key_hash, partner, scopes, kind, id, origins, requests_per_minute, expires_at_us FROM api_keys "
    "WHERE revoked_at_us IS NULL"
)
LISTED_COLUMNS: Final = (
    "partner", "kind", "hint", "scopes", "origins", "requests_per_minute", "created_at_us", "expires_at_us", "revoked_at_us",
)  # fmt: skip
# Every partner with its keys, oldest first; the key's columns are empty where there is none.
LIST_KEYS: Final = (
    f"SELECT p.name, {', '.join(f'k.{name}' for name in LISTED_COLUMNS[1:])} FROM partners p "
    "LEFT JOIN api_keys k ON k.partner = p.name ORDER BY p.created_at_us, k.id"
)
