"""Public form of an event: its fields, as ``POST /v1/events`` and JSON lines name them."""

from typing import Final

from models.events.said import SAID_AT_TOP
from models.schema import MEASURES, VISITOR_GROUPS

TEXTS: Final = ("event_id", "user_id", "session_id", "type", "item_id", "category")
FIELDS: Final = (*TEXTS, "ts", *MEASURES, *SAID_AT_TOP)
CONTEXT: Final = ("device", "referrer", "timezone", *VISITOR_GROUPS)
REFUSED_USER: Final = "!"  # before the pseudonym of a user id that breaks the rules: the row stays refused when replayed
