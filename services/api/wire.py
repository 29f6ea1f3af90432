"""Structs of requests and answers. The OpenAPI document is built from them, so it cannot tell another story.

Requests ignore unknown fields: partners send more than we ask for. Vocabularies, measures and ranges come from
`models.schema`; what a schema needs beyond the types stands beside the field, or in `session_schemas`.
"""

from datetime import date
from math import nan
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from models.schema import (
    DEVICES,
    EVENT_TYPES,
    INTENTS,
    ITEM_EVENT_TYPES,
    MAX_ID_LENGTH,
    MEASURES,
    NEXT_ACTIONS,
    REFERRERS,
    SIGNAL_TYPES,
)
from services.http.endpoints import Parameter, Schemas
from services.http.openapi_schemas import components, until, words

MAX_ITEMS: Final = 100  # most items in one answer

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
Word = Annotated[str, Meta(max_length=MAX_ID_LENGTH)]
Actions = Annotated[dict[str, float], Meta(extra_json_schema={"propertyNames": words(NEXT_ACTIONS)})]


def _one_of(vocabulary: tuple[str, ...]) -> Meta:
    return Meta(description=f"One of {', '.join(vocabulary)}; another counts as unknown.")


# ---- requests ------------------------------------------------------------------------------------------------------


class Context(msgspec.Struct, gc=False):
    """Where the visit comes from, and whom the shop takes the visitor for; an unknown device or referrer is no error.

    With `consent` false nothing about the visitor is kept or read.
    """

    device: Annotated[Word | None, _one_of(DEVICES)] = None
    timezone: Word | None = None
    referrer: Annotated[Word | None, _one_of(REFERRERS)] = None
    segment: Word | None = None
    region: Word | None = None
    customer_group: Word | None = None
    consent: bool | None = None


class _Event(msgspec.Struct, gc=False):
    """One thing a visitor did. `ts` is an RFC 3339 instant with a UTC offset; `type` is one of the event types.

    A name of your own that ``PUT /v1/event-types`` has told is taken for the type that it means.
    """

    type: Annotated[str, Meta(extra_json_schema=words(EVENT_TYPES))]
    ts: str
    item_id: Id | None = None
    category: Id | None = None


if TYPE_CHECKING:
    SessionEvent = _Event
else:  # with a field per measure, behind the others; what was not measured is NaN, as in an event array
    SessionEvent = msgspec.defstruct(
        "SessionEvent",
        [(name, Annotated[float, Meta(ge=low, le=high)] | None, nan) for name, (low, high) in MEASURES.items()],
        bases=(_Event,),
        module=__name__,
        namespace={"__doc__": _Event.__doc__},
        gc=False,
    )


class SessionData(msgspec.Struct, gc=False):
    """The session so far, as the partner's page saw it."""

    session_id: Id | None = None
    context: Context | None = None
    events: list[SessionEvent] = []


class RecommendationRequest(msgspec.Struct):
    """Which items go with this session?

    Items in the cart, bought ones and the one on screen (`item_id`, else the session's last) are never recommended;
    `exclude_seen` leaves out the whole session's.
    By default the associations answer; `ranker` asks the ranker, which finds the next item more often and gives reasons only
    for items that the associations tie to the session. `interleave` lets both take turns in one list, to learn from what
    visitors take which of them they prefer. `goal` is what the items shall lead to; `auto` mixes the goals by what the session
    is likely to come to.
    """

    user_id: Id
    item_id: Id | None = None
    session_data: SessionData | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_ITEMS)] = 20
    explain: bool = False
    exclude_seen: bool = False
    ranker: bool = False
    interleave: bool = False
    goal: Literal["auto", "view", "add_to_cart", "purchase"] = "auto"


class IntentRequest(msgspec.Struct):
    """Question for the intent of a session."""

    session_data: SessionData | None = None


class CurrentState(msgspec.Struct):
    """Current view of the visitor: item, category, and the words searched for, of which only the number of characters is used.

    Counts as if the session had been told of it: what is not in `session_data` yet is taken to have just happened.
    """

    category: Id | None = None
    query: Annotated[str, Meta(max_length=10_000)] | None = None
    item_id: Id | None = None


class EngagementRequest(msgspec.Struct):
    """Is a nudge worth it?"""

    user_id: Id
    session_data: SessionData | None = None
    current_state: CurrentState | None = None


# ---- answers -------------------------------------------------------------------------------------------------------


class IntentEstimate(msgspec.Struct, gc=False):
    """The likeliest intent, and the probability of each; they sum to 1."""

    label: Annotated[str, Meta(extra_json_schema=words(INTENTS))]
    probabilities: dict[str, float]


class Contribution(msgspec.Struct, gc=False, omit_defaults=True):
    """Why an item is there: an item of the session, the pair of event types that ties them, and its share of the score.

    `via` is `session`, `history` (the visitor did this on the item in an earlier session) or `category` (popular in that of
    `item_id`, or in the category of that name where the event named no item); `relation` is `met`, `same_category` or `other`.
    Where `source_event` is `category_browse`, `item_id` is the category that was browsed.
    """

    item_id: str
    source_event: str
    target_event: str
    share: float
    via: str = "session"
    relation: str | None = None


class RankedItem(msgspec.Struct, gc=False, omit_defaults=True):
    """One recommended item; `because` is there when the request says ``explain``."""

    item_id: str
    score: float
    because: list[Contribution] | None = None


class Assignment(msgspec.Struct, gc=False):
    """The experiment this answer belongs to, and the user's variant."""

    name: str
    variant: str


class Recommendation(msgspec.Struct):
    """Items that go with the session. `degraded` names every fallback that was taken.

    `goal` is each goal's share of the answer; they sum to 1. The static variant's list is one for all goals.
    """

    decision_id: str
    intent: IntentEstimate
    weights: dict[str, float]
    items: list[RankedItem]
    experiment: Assignment
    models: dict[str, int]
    degraded: list[str]
    goal: dict[str, float]


class IntentAnswer(msgspec.Struct):
    """Intent of the session."""

    intent: IntentEstimate
    models: dict[str, int]
    degraded: list[str]


class EngagementScore(msgspec.Struct, gc=False):
    """Engagement of the visitor, 0 to 1: now, and predicted as P(purchase within an hour)."""

    score: float
    immediate: float
    predicted: float


class NextAction(msgspec.Struct, gc=False):
    """Probability of each next action, leaving included, within 5 minutes and within an hour."""

    short_term: Actions
    medium_term: Actions


class Purchase(msgspec.Struct, gc=False):
    """Probability of a purchase within 5 minutes and within an hour: never less than within 5 minutes."""

    short_term: float
    medium_term: float


class Trouble(msgspec.Struct, gc=False):
    """Probability that something is in the visitor's way, and what speaks most for it; empty where nothing does."""

    probability: float
    reason: str


class Withheld(msgspec.Struct, gc=False):
    """The signal that the moment calls for, and why it is not sent."""

    type: str
    reason: str


class Signal(msgspec.Struct, gc=False, omit_defaults=True):
    """The nudge that would be sent; with `withheld`, what the partner's policy keeps back."""

    type: Annotated[str, Meta(extra_json_schema=words(SIGNAL_TYPES))]
    payload: dict[str, Any]
    withheld: Withheld | None = None


class EngagementAnswer(msgspec.Struct):
    """Score, next action and the signal that follows from them; `user` is the pseudonym by which signals name the visitor."""

    engagement: EngagementScore
    next_action: NextAction
    signal: Signal
    models: dict[str, int]
    degraded: list[str]
    purchase: Purchase | None = None
    user: str | None = None
    trouble: Trouble | None = None


# ---- beyond the types ----------------------------------------------------------------------------------------------

EXAMPLE_SESSION: Final = {
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
SEC_GPC: Final = Parameter(
    "Sec-GPC", {"type": "string"}, "`1`, as browsers send it: the visitor does not consent, as with `context.consent` false."
)


def session_schemas(today: date) -> Schemas:
    """Schemas of a session's events: until when they may have happened, and which of them need an item."""
    schemas = components(SessionEvent, Context)
    event = schemas["SessionEvent"]
    fields = event["properties"] | {name: event["properties"][name] | {"default": None} for name in MEASURES}
    fields["ts"] |= {
        "pattern": until(today),
        "description": "RFC 3339, with a UTC offset; not before 1970, at most 24 hours ahead.",
    }
    about_items = {"properties": {"type": words(tuple(EVENT_TYPES[t] for t in sorted(ITEM_EVENT_TYPES)))}}
    with_item = {"required": ["item_id"], "properties": {"item_id": {"type": "string"}}}
    return schemas | {"SessionEvent": event | {"properties": fields, "if": about_items, "then": with_item}}
