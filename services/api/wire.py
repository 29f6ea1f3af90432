"""What travels: the structs of requests and answers. The OpenAPI document is built from them, so it cannot tell another story.

Requests ignore unknown fields: partners send more than we ask for. Ranges come from `models.schema`.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from models.schema import MAX_ID_LENGTH, MEASURES

MAX_ITEMS: Final = 100  # most items in one answer

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
Word = Annotated[str, Meta(max_length=MAX_ID_LENGTH)]


def _range(name: str) -> Meta:
    low, high = MEASURES[name]
    return Meta(ge=low, le=high)


# ---- requests ------------------------------------------------------------------------------------------------------


class Context(msgspec.Struct, gc=False):
    """Where the visit comes from; a device or referrer that we do not know counts as unknown.

    With `consent` false nothing about the visitor is kept or read.
    """

    device: Word | None = None
    timezone: Word | None = None
    referrer: Word | None = None
    consent: bool | None = None


class SessionEvent(msgspec.Struct, gc=False):
    """One thing a visitor did. `ts` is an RFC 3339 instant with a UTC offset; `type` is one of the event types."""

    type: str
    ts: str
    item_id: Id | None = None
    category: Id | None = None
    price: Annotated[float, _range("price")] | None = None
    dwell_ms: Annotated[float, _range("dwell_ms")] | None = None
    scroll_depth: Annotated[float, _range("scroll_depth")] | None = None
    zoom_level: Annotated[float, _range("zoom_level")] | None = None
    cursor_distance_px: Annotated[float, _range("cursor_distance_px")] | None = None
    query_length: Annotated[float, _range("query_length")] | None = None


class SessionData(msgspec.Struct, gc=False):
    """The session so far, as the partner's page saw it."""

    session_id: Id | None = None
    context: Context | None = None
    events: list[SessionEvent] = []


class RecommendationRequest(msgspec.Struct):
    """Which items go with this session?

    Items in the cart, bought ones and `item_id` itself are never recommended; `exclude_seen` leaves out the whole session's.
    By default the associations answer; `ranker` asks the ranker, which finds the next item more often and gives reasons only
    for items that the associations tie to the session. `interleave` lets both take turns in one list, to learn from what
    visitors take which of them they prefer.
    """

    user_id: Id
    item_id: Id | None = None
    session_data: SessionData | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_ITEMS)] = 20
    explain: bool = False
    exclude_seen: bool = False
    ranker: bool = False
    interleave: bool = False


class IntentRequest(msgspec.Struct):
    """What is this session about?"""

    session_data: SessionData | None = None


class CurrentState(msgspec.Struct):
    """What the visitor looks at right now."""

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

    label: str
    probabilities: dict[str, float]


class Contribution(msgspec.Struct, gc=False):
    """Why an item is there: an item of the session, the pair of event types that ties them, and its share of the score."""

    item_id: str
    source_event: str
    target_event: str
    share: float


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
    """Items that go with the session. `degraded` names every fallback that was taken."""

    decision_id: str
    intent: IntentEstimate
    weights: dict[str, float]
    items: list[RankedItem]
    experiment: Assignment
    models: dict[str, int]
    degraded: list[str]


class IntentAnswer(msgspec.Struct):
    """What the session is about."""

    intent: IntentEstimate
    models: dict[str, int]
    degraded: list[str]


class EngagementScore(msgspec.Struct, gc=False):
    """How engaged the visitor is, 0 to 1: now, and predicted as P(purchase within an hour)."""

    score: float
    immediate: float
    predicted: float


class NextAction(msgspec.Struct, gc=False):
    """Probability of each next action, leaving included, within 5 minutes and within an hour."""

    short_term: dict[str, float]
    medium_term: dict[str, float]


class Withheld(msgspec.Struct, gc=False):
    """The signal that the moment calls for, and why it is not sent."""

    type: str
    reason: str


class Signal(msgspec.Struct, gc=False, omit_defaults=True):
    """The nudge that would be sent; with `withheld`, what the partner's policy keeps back."""

    type: str
    payload: dict[str, Any]
    withheld: Withheld | None = None


class EngagementAnswer(msgspec.Struct):
    """Score, next action and the signal that follows from them."""

    engagement: EngagementScore
    next_action: NextAction
    signal: Signal
    models: dict[str, int]
    degraded: list[str]
