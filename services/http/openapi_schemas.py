"""What the types of the structs cannot say about a schema: vocabularies, instants, and fields that depend on each other."""

from datetime import date
from typing import Any, Final

from models.engagement.policy import SENDABLE
from models.schema import DEVICES, EVENT_TYPES, INTENTS, ITEM_EVENT_TYPES, LATE_S, MAX_ID_LENGTH, NEXT_ACTIONS, REFERRERS
from models.schema import SIGNAL_TYPES as ALL_SIGNALS
from services.api.events import MAX_EVENTS

REF: Final = "#/components/schemas/{name}"
_DAYS: Final = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"  # no leap days
)
_CLOCK: Final = r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])"
INSTANT: Final = f"^(19(7[1-9]|[89][0-9])|2[0-9]{{3}})-{_DAYS}{_CLOCK}$"
HOOK: Final = r"^https://([a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?\.){1,3}[a-z]{2,20}(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?$"
_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH}


def ref(name: str) -> dict[str, str]:
    """A reference to a schema."""
    return {"$ref": REF.format(name=name)}


def complete(schemas: dict[str, Any], today: date) -> None:
    """Write into the schemas what their types cannot say.

    Parameters
    ----------
    today
        Events of a session must have happened by then, or soon after.
    """
    _events(schemas, today)
    schemas["IntentEstimate"]["properties"]["label"]["enum"] = list(INTENTS)
    schemas["Signal"]["properties"]["type"]["enum"] = list(ALL_SIGNALS)
    for horizon in schemas["NextAction"]["properties"].values():
        horizon["propertyNames"] = {"enum": list(NEXT_ACTIONS)}
    _offers(schemas["OfferPut"])
    for name in ("NewSubscription", "SubscriptionChange", "PolicyBody"):
        fields = schemas[name]["properties"]
        fields["signal_types"]["items"] = {"type": "string", "enum": list(SENDABLE)}
        if "url" in fields:
            fields["url"]["pattern"] = HOOK
            fields["url"]["description"] = "A public https address."
    replay = schemas["ReplayRequest"]
    for name in ("from", "until"):
        replay["properties"][name] = {"type": "string", "pattern": INSTANT}
    replay["oneOf"] = [{"required": ["signal_ids"]}, {"required": ["from", "until"]}]
    replay["dependentSchemas"] = {"signal_ids": {"properties": {"from": False, "until": False}}}
    _plain_patterns(schemas)


def _events(schemas: dict[str, Any], today: date) -> None:
    event = schemas["SessionEvent"]
    event["properties"]["type"]["enum"] = list(EVENT_TYPES)
    event["properties"]["ts"].update(
        pattern=until(today), description="RFC 3339, with a UTC offset; not before 1970, at most 24 hours ahead."
    )
    about_items = {"properties": {"type": {"enum": [EVENT_TYPES[t] for t in sorted(ITEM_EVENT_TYPES)]}}}
    event |= {"if": about_items, "then": {"required": ["item_id"], "properties": {"item_id": {"type": "string"}}}}
    context = schemas["Context"]["properties"]
    context["device"]["description"] = f"One of {', '.join(DEVICES)}; another counts as unknown."
    context["referrer"]["description"] = f"One of {', '.join(REFERRERS)}; another counts as unknown."
    schemas["Event"] = _logged(event)
    judged = "What is no Event is rejected by itself and told in `results`; GA4, Segment and Google Retail names are read too."
    schemas["EventBatch"] = {
        "type": "object",
        "description": "What the visitors of a shop did, in any order.",
        "required": ["events"],
        "properties": {
            "events": {"type": "array", "maxItems": MAX_EVENTS, "items": {"anyOf": [ref("Event"), {"description": judged}]}},
            "sent_at": {
                "anyOf": [{"type": "string", "pattern": INSTANT}, {"type": "null"}],
                "default": None,
                "description": "The sender's clock when it sent the batch; where it differs from ours, every ts is corrected.",
            },
        },
    }
    schemas["EventResult"]["properties"]["status"]["enum"] = ["accepted", "duplicate", "rejected"]


def _logged(session_event: dict[str, Any]) -> dict[str, Any]:
    """A logged event: one of a session, with the ids that place it."""
    fields = session_event["properties"] | {
        "ts": {"type": "string", "description": f"As in a session; at most {LATE_S // 86_400} days old."}
    }
    return session_event | {
        "description": "One thing a visitor did, with the ids that place it.",
        "title": "Event",
        "required": ["event_id", "user_id", *session_event["required"]],
        "properties": {
            "event_id": _TEXT,
            "user_id": _TEXT,
            "session_id": {"anyOf": [_TEXT, {"type": "null"}], "default": None},
            "context": {"anyOf": [ref("Context"), {"type": "null"}], "default": None},
            "decision_id": {"anyOf": [_TEXT, {"type": "null"}], "default": None},
            **fields,
        },
    }


def until(today: date) -> str:
    r"""A pattern of RFC 3339 instants from 1971 until a day, leap days aside.

    Examples
    --------
    >>> from re import match
    >>> days = ("2025-12-31", "2026-11-21", "2026-11-22", "2027-01-01", "2026-12-01", "2026-09-31")
    >>> [bool(match(until(date(2026, 11, 21)), f"{day}T10:00:00Z")) for day in days]
    [True, True, False, False, False, False]
    """
    years = [f"19(7[1-9]|[89][0-9])|20({'|'.join(f'{year:02d}' for year in range(today.year - 2000))})"]
    months = [f"{today.year}-{month:02d}-(0[1-9]|1[0-9]|2[0-8])" for month in range(1, today.month)]
    days = "|".join(f"{day:02d}" for day in range(1, today.day + 1))
    so_far = "|".join([*months, f"{today.year}-{today.month:02d}-({days})"])
    return f"^((({years[0]})-{_DAYS})|{so_far}){_CLOCK}$"


def _offers(offer: dict[str, Any]) -> None:
    fields = offer["properties"]
    for name in ("valid_from", "valid_until"):
        fields[name] = {"anyOf": [{"type": "string", "pattern": INSTANT}, {"type": "null"}], "default": None}
    given, text, missing = {"type": "number"}, {"type": "string"}, {"type": "null"}
    by_amount = {"amount": given, "percent": missing, "currency": text}
    by_percent = {"percent": given, "amount": missing}
    offer["oneOf"] = [
        {"properties": by_amount, "required": ["amount", "currency"]},
        {"properties": by_percent | {"budget": missing}, "required": ["percent"]},
        {"properties": by_percent | {"budget": given, "currency": text}, "required": ["percent", "budget", "currency"]},
    ]


def _plain_patterns(found: Any) -> None:
    r"""Python's ``\Z`` is no end in the regular expressions of JSON Schema."""
    if isinstance(found, dict):
        if isinstance(pattern := found.get("pattern"), str):
            found["pattern"] = pattern.replace(r"\Z", "$")
        for value in found.values():
            _plain_patterns(value)
    elif isinstance(found, list):
        for value in found:
            _plain_patterns(value)
