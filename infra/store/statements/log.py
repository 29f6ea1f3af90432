"""Statements under their old names, until all callers name the subject's own file."""

from infra.store.statements.cursors import MOVE_CURSOR, RELEASED_SINCE
from infra.store.statements.events import (
    APPEND_COLUMNS,
    APPEND_EVENT,
    BUSY_USERS,
    LOG_COLUMNS,
    READ_EVENTS,
    READ_TOUCHES,
    READ_USERS,
    TOUCH_COLUMNS,
    USERS_SINCE,
)
from infra.store.statements.quarantine import (
    QUARANTINE_EVENT,
    QUARANTINE_ROW,
    QUARANTINED_EVENTS,
    QUARANTINED_ROWS,
    REPLAYED,
    STILL_REFUSED,
)
from infra.store.statements.registry import ALIASED

ALIASED_AT = "SELECT set_at_us FROM model_aliases WHERE name = ? AND alias = ?"

CHAMPIONS = (
    "SELECT v.name, v.version, v.artifact FROM model_versions v "
    "JOIN model_aliases a ON a.name = v.name AND a.version = v.version WHERE a.alias = 'champion'"
)

__all__ = [
    "ALIASED", "ALIASED_AT", "APPEND_COLUMNS", "APPEND_EVENT", "BUSY_USERS", "CHAMPIONS", "LOG_COLUMNS", "MOVE_CURSOR",
    "QUARANTINED_EVENTS", "QUARANTINED_ROWS", "QUARANTINE_EVENT", "QUARANTINE_ROW", "READ_EVENTS", "READ_TOUCHES",
    "READ_USERS", "RELEASED_SINCE", "REPLAYED", "STILL_REFUSED", "TOUCH_COLUMNS", "USERS_SINCE",
]  # fmt: skip
