"""Other people's events, read as ours: the names that GA4, Segment and Google Retail give to what visitors do.

An event whose `type` is one of ours is taken as it is, without query texts. Otherwise its name is looked for in `type`,
`event`, `name`, `event_name` and `eventType`, and its fields under the names of `FIELDS`: at the top, then inside `properties`
(Segment), `params` (GA4) or `ecommerce`, then in the products. A foreign event about several products becomes one event per
product, the second with ``~2`` behind its event id, and so on. A query text is measured and left behind.

Sources: Google Analytics 4 recommended events; Segment's "V2 Ecommerce Events"; Google Cloud Retail's ``UserEvent.event_type``.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from models.events.encode import TYPE_CODE
from models.events.sources.ga4 import EVENT_TYPES as GA4
from models.schema import EVENT_TYPES, ITEM_EVENT_TYPES, MEASURES

SEGMENT: Final = {
    "Products Searched": "search",
    "Product List Viewed": "category_browse",
    "Product List Filtered": "search_refine",
    "Promotion Viewed": "content_view",
    "Promotion Clicked": "content_view",
    "Product Clicked": "item_engagement",
    "Product Viewed": "item_view",
    "Product Added": "add_to_cart",
    "Product Removed": "remove_from_cart",
    "Cart Viewed": "cart_view",
    "Checkout Started": "checkout_view",
    "Checkout Step Viewed": "checkout_view",
    "Checkout Step Completed": "checkout_view",
    "Payment Info Entered": "checkout_view",
    "Order Completed": "purchase",
    "Product Added to Wishlist": "wishlist_add",
    "Wishlist Product Added to Cart": "add_to_cart",
}
RETAIL: Final = {
    "home-page-view": "content_view",
    "category-page-view": "category_browse",
    "search": "search",
    "detail-page-view": "item_view",
    "add-to-list": "wishlist_add",
    "add-to-cart": "add_to_cart",
    "remove-from-cart": "remove_from_cart",
    "shopping-cart-page-view": "cart_view",
    "checkout-start": "checkout_view",
    "purchase-complete": "purchase",
}
NAMES: Final[Mapping[str, str]] = {**GA4, **SEGMENT, **RETAIL}

# Our field -> the names it may come under, tried in this order.
FIELDS: Final = {
    "event_id": ("event_id", "messageId", "eventId"),
    "user_id": ("user_id", "userId", "visitorId", "anonymousId", "client_id", "user_pseudo_id"),
    "session_id": ("session_id", "sessionId", "ga_session_id"),
    "ts": ("ts", "timestamp", "eventTime", "timestamp_micros", "event_timestamp"),
    "item_id": ("item_id", "product_id", "sku"),
    "category": ("category", "item_category"),
    **{name: (name,) for name in MEASURES},
    "dwell_ms": ("dwell_ms", "engagement_time_msec"),
    "decision_id": ("decision_id",),
    "context": ("context",),
}
QUERIES: Final = ("query", "search_term", "searchQuery")
_NAMED_BY: Final = ("type", "event", "name", "event_name", "eventType")
_KINDS_OF_CALL: Final = frozenset({"track", "page", "screen"})  # Segment's `type`; what happened stands in `event`
_INSIDE: Final = ("properties", "params", "ecommerce")
_PRODUCTS: Final = ("items", "products", "productDetails")
_PRODUCT_FIELDS: Final = ("item_id", "category", "price")
MAX_PRODUCTS: Final = 100  # of one foreign event
MICROS_DIGITS: Final = 17  # enough until the year 5138
_ABOUT_ITEMS: Final = frozenset(EVENT_TYPES[t] for t in ITEM_EVENT_TYPES)


def own_events(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Read one event as ours; what no table knows comes back as it is, and the rules will say what is wrong with it.

    Returns
    -------
    At least one event in the public form; none of them is checked yet.

    Examples
    --------
    >>> own_events({"name": "view_item", "params": {"items": [{"item_id": "a", "price": 3}]}, "client_id": "c"})
    [{'type': 'item_view', 'user_id': 'c', 'item_id': 'a', 'price': 3}]
    >>> order = {"type": "track", "event": "Order Completed", "messageId": "m"}
    >>> products = {"products": [{"product_id": "a"}, {"product_id": "b"}]}
    >>> [e["event_id"] for e in own_events({**order, "properties": products})]
    ['m', 'm~2']
    >>> own_events({"type": "search", "query": "red shoes"})
    [{'type': 'search', 'query_length': 9}]
    """
    kind = event.get("type")
    if isinstance(kind, str) and kind in TYPE_CODE:
        return [_measured(event)]
    names = [name for key in _NAMED_BY if isinstance(name := event.get(key), str) and name not in _KINDS_OF_CALL]
    known = next((NAMES[name] for name in names if name in NAMES), None)
    if known is not None:
        return _per_product(*_read(event, known))
    if not names:
        return [dict(event)]
    unknown, products = _read(event, names[0])
    return [unknown | products[0] if len(products) == 1 else unknown]


def _measured(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event of our own form without query texts."""
    given = [event[name] for name in QUERIES if name in event]
    if not given:
        return dict(event)
    kept = {name: value for name, value in event.items() if name not in QUERIES}
    return kept if "query_length" in kept or not isinstance(given[0], str) else kept | {"query_length": len(given[0])}


def _read(event: Mapping[str, Any], kind: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An event in our words, and its products."""
    places = [event, *(inside for key in _INSIDE if isinstance(inside := event.get(key), Mapping))]
    found: dict[str, Any] = {"type": kind}
    for ours, names in FIELDS.items():
        value = _first(places, names)
        if value is not None:
            found[ours] = value
    ts = found.get("ts")
    if isinstance(ts, str) and ts.isascii() and ts.isdigit() and len(ts) <= MICROS_DIGITS:
        ts = int(ts)  # BigQuery writes its integers as texts
    if isinstance(ts, int):
        found["ts"] = _instant(ts)
    query = _first(places, QUERIES)
    if isinstance(query, str):
        found.setdefault("query_length", len(query))
    percent = _first(places, ("percent_scrolled",))
    if isinstance(percent, int | float):
        found.setdefault("scroll_depth", percent / 100)
    pages = event.get("pageCategories")
    if isinstance(pages, list) and pages:
        found.setdefault("category", pages[0])
    return found, _products(places)


def _first(places: list[Mapping[str, Any]], names: tuple[str, ...]) -> Any:
    return next((place[name] for place in places for name in names if place.get(name) is not None), None)


def _instant(micros: int) -> Any:
    """Microseconds since 1970 as a text; a number that is no instant stays, and is refused."""
    try:
        return datetime.fromtimestamp(micros / 1e6, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return micros


def _products(places: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    listed = _first(places, _PRODUCTS)
    products = []
    for product in listed[:MAX_PRODUCTS] if isinstance(listed, list) else ():
        if not isinstance(product, Mapping):
            continue
        inner = product.get("product")  # Google Retail's
        named = [product, inner] if isinstance(inner, Mapping) else [product]
        values = {name: _first(named, FIELDS[name]) for name in _PRODUCT_FIELDS}
        if values["item_id"] is None:
            values["item_id"] = _first(named, ("id",))
        products.append({name: value for name, value in values.items() if value is not None})
    return products


def _per_product(event: dict[str, Any], products: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if event["type"] not in _ABOUT_ITEMS:  # the first of a list is not what was looked at
        first = {name: value for name, value in (products[0] if products else {}).items() if name == "category"}
        return [first | {name: value for name, value in event.items() if name not in ("item_id", "price")}]
    if not products:
        return [event]
    event_id = event.get("event_id")
    several = []
    for number, product in enumerate(products, start=1):
        own_id = {"event_id": f"{event_id}~{number}"} if number > 1 and isinstance(event_id, str) else {}
        several.append(event | product | own_id)
    return several
