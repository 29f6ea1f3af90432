"""Statements of the console's operators, their sessions, and the audit of what they did."""

from typing import Final

# (name, role, created_at_us); one who is there, or was, gets the role.
ADD_OPERATOR: Final = (
    "INSERT INTO operators (name, role, created_at_us) VALUES (?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET role = excluded.role, revoked_at_us = NULL"
)
SET_PASSWORD: Final = "UPDATE operators SET password = ? WHERE name = ?"
REVOKE_OPERATOR: Final = "UPDATE operators SET revoked_at_us = ? WHERE name = ? AND revoked_at_us IS NULL"
FORGET_SESSIONS_OF: Final = "DELETE FROM console_sessions WHERE operator = ?"
FORGET_LINKS_OF: Final = "DELETE FROM operator_links WHERE operator = ?"
OPERATORS: Final = (
    "SELECT o.name, o.role, o.password IS NOT NULL, o.created_at_us, o.revoked_at_us, max(s.began_at_us) FROM operators o "
    "LEFT JOIN console_sessions s ON s.operator = o.name GROUP BY o.name, o.role, o.password, o.created_at_us, o.revoked_at_us "
    "ORDER BY o.name"
)
# Role and password: (name).
OPERATOR: Final = "SELECT role, password FROM operators WHERE name = ? AND revoked_at_us IS NULL"
# (token_hash, operator, expires_at_us)
ADD_LINK: Final = "INSERT INTO operator_links (token_hash, operator, expires_at_us) VALUES (?, ?, ?)"
# (token_hash, now_us)
LINK: Final = (
    "SELECT operator, role FROM operator_links JOIN operators ON name = operator "
    "WHERE token_hash = ? AND expires_at_us > ? AND revoked_at_us IS NULL"
)
USE_LINK: Final = "DELETE FROM operator_links WHERE token_hash = ?"
# (token_hash, operator, began_at_us, expires_at_us)
BEGIN_SESSION: Final = "INSERT INTO console_sessions (token_hash, operator, began_at_us, expires_at_us) VALUES (?, ?, ?, ?)"
# (token_hash, now_us)
SESSION: Final = (
    "SELECT operator, role FROM console_sessions JOIN operators ON name = operator "
    "WHERE token_hash = ? AND expires_at_us > ? AND revoked_at_us IS NULL"
)
END_SESSION: Final = "DELETE FROM console_sessions WHERE token_hash = ?"
# (now_us), twice
FORGET_EXPIRED: Final = (
    "DELETE FROM console_sessions WHERE expires_at_us <= ?",
    "DELETE FROM operator_links WHERE expires_at_us <= ?",
)
AUDIT_COLUMNS: Final = ("at_us", "actor", "role", "action", "subject", "reason", "outcome", "previous_hash", "hash")
LAST_HASH: Final = "SELECT hash FROM console_audit ORDER BY id DESC LIMIT 1"
APPEND_AUDIT: Final = f"INSERT INTO console_audit ({', '.join(AUDIT_COLUMNS)}) VALUES ({', '.join('?' * len(AUDIT_COLUMNS))})"
AUDIT: Final = f"SELECT {', '.join(AUDIT_COLUMNS)} FROM console_audit ORDER BY id"
