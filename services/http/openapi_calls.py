"""What the OpenAPI document says about each endpoint: one entry each; a test compares them with the endpoints themselves."""

from typing import Any, Final, NamedTuple

from services.api import deliveries as delivery_routes
from services.api import signals as signal_pull
from services.api import wire
from services.api.catalog import ItemsPut, OffersPut, Stored
from services.api.deliveries import DeliveryList, ReplayAnswer, ReplayRequest, Trial
from services.api.events import EventsAnswer
from services.api.signals import SignalPage
from services.api.subscriptions import NewSubscription, Subscription, SubscriptionChange, SubscriptionList
from services.privacy.erasure import Receipt
from services.signals.policies import PolicyBody

_SESSION: Final = {
    "session_id": "s-81",
    "context": {"device": "mobile", "timezone": "Europe/Berlin", "referrer": "search"},
    "events": [
        {"type": "search", "query_length": 12, "ts": "2025-11-21T10:00:00Z"},
        {"type": "item_view", "item_id": "sku-9", "category": "shoes", "price": 79.0, "ts": "2025-11-21T10:00:07Z"},
        {
            "type": "item_engagement", "item_id": "sku-9", "dwell_ms": 5300, "scroll_depth": 0.7, "zoom_level": 1.5,
            "cursor_distance_px": 1200, "ts": "2025-11-21T10:00:13Z",
        },
    ],
}  # fmt: skip
# Shown in the document, and asked by the service itself before it says that it is ready.
EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "/v1/recommendations": {"user_id": "u-1", "item_id": "sku-9", "session_data": _SESSION, "limit": 5, "explain": True},
    "/v1/intent": {"session_data": _SESSION},
    "/v1/engagement": {"user_id": "u-1", "session_data": _SESSION, "current_state": {"category": "shoes", "item_id": "sku-9"}},
}
_EVENT: Final = {"event_id": "e-1", "user_id": "u-1", "session_id": "s-81", "type": "item_view", "item_id": "sku-9"}
_ITEM: Final = {"item_id": "sku-9", "category": "shoes", "price": 79.0, "stock": 12, "title": "Trail shoe"}
_OFFER: Final = {"offer_id": "autumn", "percent": 10, "currency": "EUR", "budget": 500, "categories": ["shoes"]}
_HOOK: Final = {"url": "https://shop.example/attune", "signal_types": ["offer_discount"], "min_score": 0.5}


class Parameter(NamedTuple):
    """A parameter behind the question mark, or a header."""

    name: str
    schema: dict[str, Any]
    description: str


def _number(name: str, default: int, most: int, description: str) -> Parameter:
    return Parameter(name, {"type": "integer", "minimum": 1, "maximum": most, "default": default}, description)


class Described(NamedTuple):
    """What the document says about an endpoint beside its address, scope and status.

    Attributes
    ----------
    name
        The `operationId`.
    request, answer
        Structs, the name of a schema of our own making, or None for no body.
    media_type
        Of the answer.
    headers
        Those of its own.
    """

    name: str
    summary: str
    request: Any
    answer: Any
    example: dict[str, Any] | None = None
    query: tuple[Parameter, ...] = ()
    media_type: str = "application/json"
    headers: tuple[Parameter, ...] = ()


_CURSOR: Final = {"type": "string", "pattern": "^[0-9]{1,18}$"}
_AFTER: Final = Parameter("after", _CURSOR, "Where to go on: `next_cursor` of an earlier answer.")
_GPC: Final = Parameter(
    "Sec-GPC", {"type": "string"}, "`1`, as browsers send it: the visitor does not consent, as with `context.consent` false."
)
_STATE: Final = Parameter("state", {"type": "string", "enum": list(delivery_routes.STATES)}, "Only deliveries in this state.")
_ONE: Final = "/v1/subscriptions/{id}"

CALLS: Final[dict[tuple[str, str], Described]] = {
    ("POST", "/v1/recommendations"): Described(
        "recommendations", "Items that go with a session", wire.RecommendationRequest, wire.Recommendation,
        EXAMPLES["/v1/recommendations"], headers=(_GPC,),
    ),
    ("POST", "/v1/intent"): Described(
        "intent", "What a session is about", wire.IntentRequest, wire.IntentAnswer, EXAMPLES["/v1/intent"], headers=(_GPC,)
    ),
    ("POST", "/v1/engagement"): Described(
        "engagement", "Engagement, next action, and the signal that follows", wire.EngagementRequest, wire.EngagementAnswer,
        EXAMPLES["/v1/engagement"], headers=(_GPC,),
    ),
    ("POST", "/v1/events"): Described(
        "events", "Transmit what visitors did; 202 means durable", "EventBatch", EventsAnswer, {"events": [_EVENT]},
        headers=(_GPC,),
    ),
    ("PUT", "/v1/catalog/items"): Described(
        "put_items", "What may be recommended: items and articles", ItemsPut, Stored, {"items": [_ITEM]}
    ),
    ("PUT", "/v1/offers"): Described("put_offers", "Which discounts may be offered", OffersPut, Stored, {"offers": [_OFFER]}),
    ("POST", "/v1/subscriptions"): Described("subscribe", "Register a webhook", NewSubscription, Subscription, _HOOK),
    ("GET", "/v1/subscriptions"): Described("subscriptions", "All webhooks", None, SubscriptionList),
    ("GET", _ONE): Described("subscription", "One webhook", None, Subscription),
    ("PATCH", _ONE): Described(
        "change_subscription", "Change a webhook, or enable it again", SubscriptionChange, Subscription, {"state": "active"}
    ),
    ("DELETE", _ONE): Described("unsubscribe", "Remove a webhook", None, None),
    ("POST", f"{_ONE}/rotate-secret"): Described(
        "rotate_secret", "A new secret; the old one signs too for a day", None, Subscription
    ),
    ("POST", f"{_ONE}/test"): Described("test_subscription", "Send a test message now", None, Trial),
    ("GET", f"{_ONE}/deliveries"): Described(
        "deliveries", "What became of the signals, newest first", None, DeliveryList, None,
        (
            _number("limit", delivery_routes.PAGE, delivery_routes.MAX_PAGE, "How many."),
            _number("before", 2**62, 2**62, "`next` of an earlier answer."),
            _STATE,
        ),
    ),
    ("POST", f"{_ONE}/replay"): Described(
        "replay", "Send signals again, by id or by time", ReplayRequest, ReplayAnswer, {"signal_ids": ["sig_1"]}
    ),
    ("GET", "/v1/signals"): Described(
        "signals", "Signals in the order they were made, for those who cannot receive webhooks", None, SignalPage, None,
        (_AFTER, _number("limit", signal_pull.PAGE, signal_pull.MAX_PAGE, "How many.")),
    ),
    ("GET", "/v1/signals/stream"): Described(
        "stream", "Signals as server-sent events", None, None, None, (_AFTER,), "text/event-stream"
    ),
    ("GET", "/v1/signals/policy"): Described("policy", "What may be sent to visitors, and when", None, PolicyBody),
    ("PUT", "/v1/signals/policy"): Described(
        "put_policy", "Set what may be sent to visitors, and when", PolicyBody, PolicyBody, {"max_per_day": 2}
    ),
    ("DELETE", "/v1/users/{user_id}"): Described("erase", "Erase everything about a user", None, Receipt),
    ("GET", "/v1/erasures/{receipt_id}"): Described("erasure", "How far an erasure is", None, Receipt),
}  # fmt: skip
