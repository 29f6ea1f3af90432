"""One home for every name that crosses a folder.

Event types, intents, signals, event columns and feature names are spelled here and nowhere else; the Feast views, the
Great Expectations suites, the OpenAPI document and the source adapters are all derived from these tables.
"""

from enum import IntEnum
from typing import Final


class EventType(IntEnum):
    """Types of events. The value is the code inside kernels and model files; append only."""

    ITEM_VIEW = 0
    ITEM_ENGAGEMENT = 1
    DETAIL_VIEW = 2
    REVIEW_READ = 3
    SPEC_COMPARE = 4
    CATEGORY_BROWSE = 5
    SEARCH = 6
    SEARCH_REFINE = 7
    CONTENT_VIEW = 8
    WISHLIST_ADD = 9
    ADD_TO_CART = 10
    REMOVE_FROM_CART = 11
    CART_VIEW = 12
    CHECKOUT_VIEW = 13
    PURCHASE = 14


class Intent(IntEnum):
    """Intents: what a session is about, at a moment of it."""

    EXPLORATORY = 0
    COMPARATIVE = 1
    INTENT_TO_PURCHASE = 2
    RESEARCH = 3


EVENT_TYPES: Final = tuple(t.name.lower() for t in EventType)
INTENTS: Final = tuple(i.name.lower() for i in Intent)
N_EVENT_TYPES: Final = len(EVENT_TYPES)
N_INTENTS: Final = len(INTENTS)

SIGNAL_TYPES: Final = (
    "no_action",
    "recommend_product",
    "recommend_content",
    "offer_discount",
    "proactive_support",
    "start_workflow",
)

GOALS: Final = ("view", "add_to_cart", "purchase")  # what an answer may be asked to lead to

# The next action is an event type, or leaving: no event within the horizon.
NEXT_ACTIONS: Final = (*EVENT_TYPES, "leave")
HORIZONS_S: Final = {"short_term": 300, "medium_term": 3600}

# Context of a visit. A value outside the vocabulary is "unknown", never an error: partners invent devices.
DEVICES: Final = ("unknown", "desktop", "mobile", "tablet", "app")
REFERRERS: Final = ("unknown", "direct", "search", "social", "email", "ad", "internal")

DAY_US: Final = 86_400_000_000  # microseconds
SESSION_IDLE_S: Final = 1800  # a visitor idle for longer starts a new session
CLOCK_SKEW_S: Final = 86_400  # an event dated further ahead than this is refused
LATE_S: Final = 30 * 86_400  # an event that the door receives later than this is refused
SAME_CLOCK_S: Final = 2  # a sender's clock this close to ours is taken to be ours
TRANSIT_S: Final = 120  # a batch may be so long on its way: a clock that is behind by less cannot be told from that

# Numeric fields of an event: name -> (lowest, highest) admitted value. Missing is NaN.
MEASURES: Final = {
    "price": (0.0, 1e9),
    "dwell_ms": (0.0, 86_400_000.0),
    "scroll_depth": (0.0, 1.0),
    "zoom_level": (0.0, 100.0),
    "n_errors": (0.0, 1_000.0),  # that the shop showed the visitor since the event before
    "cursor_distance_px": (0.0, 1e7),
    "query_length": (0.0, 10_000.0),
}
# What a sender may say of an event beside the columns of all events: `models.events.said`.
MONEY: Final = {"quantity": (0.0, 1e6), "revenue": (0.0, 1e9)}
VISITOR_GROUPS: Final = ("segment", "region", "customer_group")  # of the context: whom the shop takes the visitor for
GROUPS: Final = "visitor_groups"  # column of a frame: all of them as one text, `models.visitor_groups.packed`
SAID_COLUMNS: Final = ("decision_id", "order_id", "quantity", "currency", "revenue", *VISITOR_GROUPS)
# Formats that a file of events may have; `models.events.sources` has the adapter of each.
SOURCE_FORMATS: Final = (
    *("attune", "trivago", "rees46", "retailrocket", "taobao", "jdata", "otto", "ga4"),
    *("segment", "posthog", "google_retail", "snowplow", "matomo", "universal_analytics", "adobe"),
)
MAX_ID_LENGTH: Final = 256  # of event, user, session, item ids and category names, in characters

# The columns of an event frame, in the order of the log's table.
EVENT_COLUMNS: Final = (
    "event_id",
    "user_id",
    "session_id",
    "event_type",
    "occurred_at_us",
    "item_id",
    "category",
    *MEASURES,
    "device",
    "referrer",
    "utc_offset_min",
)
# Event types that say something about one item; for them `item_id` is required.
ITEM_EVENT_TYPES: Final = frozenset(
    {
        EventType.ITEM_VIEW,
        EventType.ITEM_ENGAGEMENT,
        EventType.DETAIL_VIEW,
        EventType.REVIEW_READ,
        EventType.WISHLIST_ADD,
        EventType.ADD_TO_CART,
        EventType.REMOVE_FROM_CART,
        EventType.PURCHASE,
    }
)

# ---- features (all float32; order is the order of the model's columns) ------------------------------------------

SESSION_FEATURES: Final = (
    *(f"n_{t}" for t in EVENT_TYPES),  # events of the type so far
    *(f"recent_{t}" for t in EVENT_TYPES),  # the same, halved every two minutes
    "n_events",
    "session_age_s",
    "gap_s",  # since the event before
    "mean_gap_s",
    "recent_gap_s",  # exponentially weighted over events
    "n_items",  # distinct
    "n_categories",
    "n_item_repeats",  # item events on an item met before
    "n_item_returns",  # the same, coming from another item
    "max_item_events",  # events on the item that got most
    "item_focus_rate",  # its share of the item events
    "n_category_switches",
    "category_breadth_rate",  # distinct categories per event that has one
    "category_focus_rate",  # share of the category that got most events
    "sum_dwell_ms",
    "mean_dwell_ms",
    "max_dwell_ms",
    "last_dwell_ms",
    "mean_scroll_depth",
    "max_scroll_depth",
    "mean_zoom_level",
    "max_zoom_level",
    "sum_cursor_distance_px",
    "mean_cursor_distance_px",
    "cart_size",  # put in, minus taken out or bought
    "n_carts_abandoned",  # items taken out, or left while the visitor went back to browsing
    "since_cart_s",  # since the last add while the cart is not empty, else -1
    "n_events_since_cart",  # the same in events, else -1
    "mean_query_length",
    "last_query_length",
    "search_refine_rate",
    "last_price",
    "mean_price",
    "price_spread_rate",  # (highest - lowest) / mean
    "last_price_rate",  # last / mean
    "since_item_s",  # since the last item event, -1 if none
    "since_search_s",  # since the last search or refinement, -1 if none
    "last_event_type",
    "previous_event_type",  # -1 if none
    "hour_sin",
    "hour_cos",
    "is_weekend",
    "device",
    "referrer",
)

# Per user, decayed with a half-life of three days.
USER_FEATURES: Final = (
    *(f"decayed_{t}" for t in EVENT_TYPES),
    "n_user_sessions",
    "cart_per_view_rate",
    "purchase_per_view_rate",
    "user_mean_price",
    "user_n_prices",  # decayed number of prices seen: the weight behind the mean, so that a stored row can be continued
    "user_n_events",
)
USER_RECENT_ITEMS: Final = "recent_item_ids"  # newest first, at most N_RECENT_ITEMS
N_RECENT_ITEMS: Final = 10
USER_RECENT_EVENTS: Final = "recent_events"  # on items, newest first, each item and type once: `models.events.touches`
N_RECENT_EVENTS: Final = 100
LAST_EVENT_AT: Final = "last_event_at_us"  # int64, the instant the user features stand at
RECENT_ITEMS_AT: Final = "recent_items_at_us"  # int64, the same of the recent items

# Per item, as of the end of an hour, decayed with a half-life of three days.
ITEM_FEATURES: Final = (
    "item_popularity",
    "item_n_views",
    "item_n_carts",
    "item_n_purchases",
    "item_conversion_rate",
    "item_mean_price",
    "item_price_band",  # 0 cheapest fifth of the catalogue … 4 dearest, -1 unknown
)

# Feast views (tables of features): join key, and the numeric features, all float32.
INSTANT: Final = "occurred_at"  # timestamp column of every table, UTC, microseconds
SESSIONS_VIEW: Final = "session_features"
USERS_VIEW: Final = "user_features"
RECENT_ITEMS_VIEW: Final = "user_recent_items"
ITEMS_VIEW: Final = "item_features"
VIEW_KEY: Final = {SESSIONS_VIEW: "session_id", USERS_VIEW: "user_id", RECENT_ITEMS_VIEW: "user_id", ITEMS_VIEW: "item_id"}
VIEW_FEATURES: Final[dict[str, tuple[str, ...]]] = {
    SESSIONS_VIEW: SESSION_FEATURES,
    USERS_VIEW: USER_FEATURES,
    RECENT_ITEMS_VIEW: (),
    ITEMS_VIEW: ITEM_FEATURES,
}
# The feature service each model version is trained from and served with; a change of a view's columns starts a new number.
LOCAL_PARTNER: Final = "local"  # of files that are said to be nobody's, and of the key that `attune up` makes
FEATURE_SERVICES: Final = {"intent": "intent_v1", "next_action": "next_action_v1", "associations": "associations_v1"}
ENGAGEMENT_SERVICE: Final = "engagement_v1"  # the part of next_action_v1 that is read online

NEXT_ACTION_FEATURES: Final = (*SESSION_FEATURES, *USER_FEATURES, *ITEM_FEATURES)
INTENT_FEATURES: Final = SESSION_FEATURES
# What is known of a visitor when a signal is called for: the session's, what the models make of it, and the cart's value.
AIM_FEATURES: Final = (*SESSION_FEATURES, *(f"p_{name}" for name in INTENTS), "engagement_score", "cart_value", "silent_s")
CODES: Final = ("last_event_type", "previous_event_type", "device", "referrer")  # features that are names, and not numbers
