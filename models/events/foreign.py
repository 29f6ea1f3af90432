"""Other people's events, read as ours: the names that GA4, Segment and Google Retail give to what visitors do.

An event whose `type` is one of ours is taken as it is, without query texts. Otherwise its name is looked for in `type`,
`event`, `name`, `event_name` and `eventType`, and its fields under the names of `FIELDS`: at the top, then inside `properties`
(Segment), `params` (GA4) or `ecommerce`, then in the products. A foreign event about several products becomes one event per
product, the second with ``~2`` behind its event id, and so on. A query text is measured and left behind. What a partner's own
names say (`models.events.own_names`) comes before what the vocabularies say.

Values come as their senders' tools write them: a placeholder ("(not set)", "undefined", "") is nothing, a number where an id is
due is its text, and a text where a price is due its number.
"""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from models.events.encode import TYPE_CODE
from models.events.names import NAMES
from models.events.own_names import NONE, OwnNames
from models.events.plain import EARLIEST_US, LATEST_US, is_placeholder, text_of, without_placeholders
from models.events.said import sound
from models.schema import EVENT_TYPES, ITEM_EVENT_TYPES, MEASURES, MONEY

# Our field -> the names it may come under, tried in this order.
FIELDS: Final = {
    "event_id": ("event_id", "messageId", "eventId", "uuid"),
    "user_id": ("user_id", "userId", "visitorId", "anonymousId", "client_id", "user_pseudo_id", "distinct_id"),
    "session_id": ("session_id", "sessionId", "ga_session_id", "$session_id"),
    "ts": ("ts", "timestamp", "eventTime", "timestamp_micros", "event_timestamp", "originalTimestamp"),
    "item_id": ("item_id", "product_id", "sku"),
    "category": ("category", "item_category"),
    **{name: (name,) for name in MEASURES},
    "dwell_ms": ("dwell_ms", "engagement_time_msec"),
    "decision_id": ("decision_id",),
    "order_id": ("order_id", "transaction_id", "orderId", "transactionId"),
    "quantity": ("quantity",),
    "currency": ("currency", "currencyCode"),
    "revenue": ("revenue", "value", "total"),
    "context": ("context",),
}
QUERIES: Final = ("query", "search_term", "searchQuery")
_NAMED_BY: Final = ("type", "event", "name", "event_name", "eventType")
_KINDS_OF_CALL: Final = frozenset({"track", "page", "screen"})  # Segment's `type`; what happened stands in `event`
_PAGES: Final = ("page", "screen")  # Segment's calls without a name that says more
_INSIDE: Final = ("properties", "params", "ecommerce", "purchaseTransaction")
_PRODUCTS: Final = ("items", "products", "productDetails")
_PRODUCT_FIELDS: Final = ("item_id", "category", "price", "quantity")
_IDS: Final = frozenset({"event_id", "user_id", "session_id", "item_id", "category", "order_id"})
_NUMBERS: Final = frozenset({*MEASURES, *MONEY})
_OF_ORDERS: Final = ("order_id", "revenue")  # said of purchases only: GA4 has a `value` everywhere
_MICROS: Final = ("timestamp_micros", "event_timestamp")
_number: Final = re.compile(r"[+-]?([0-9]{1,15}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,2})?").fullmatch
MICROS_DIGITS: Final = 17  # enough until the year 5138
_ABOUT_ITEMS: Final = frozenset(EVENT_TYPES[t] for t in ITEM_EVENT_TYPES)


def own_events(event: Mapping[str, Any], own_names: OwnNames = NONE) -> list[dict[str, Any]]:
    """Read one event as ours; what no table knows comes back as it is, and the rules will say what is wrong with it.

    Parameters
    ----------
    own_names
        What the sender calls event types, beside what everybody does.

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
    >>> own_events({"type": "look", "sku": 7}, {"look": "item_view"})
    [{'type': 'item_view', 'item_id': '7'}]
    """
    kind = event.get("type")
    if isinstance(kind, str) and kind in TYPE_CODE:
        return [_measured(without_placeholders(event))]
    names = [name for key in _NAMED_BY if isinstance(name := event.get(key), str) and name not in _KINDS_OF_CALL]
    words = [*names, kind] if isinstance(kind, str) else names
    known = next((table[word] for table in (own_names, NAMES) for word in words if word in table), None)
    if known is not None:
        return _per_product(*_read(event, known))
    if kind in _PAGES:
        return _per_product(*_read(event, "content_view"))
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
        value = _value(ours, places, names)
        if value is not None:
            found[ours] = value
    order = event.get("purchaseTransaction")  # Google Retail's
    if isinstance(order, Mapping) and (order_id := _value("order_id", [order], ("id",))) is not None:
        found["order_id"] = order_id
    ts = found.get("ts")
    if isinstance(ts, str) and ts.isascii() and ts.isdigit() and len(ts) <= MICROS_DIGITS:
        ts = int(ts)  # BigQuery writes its integers as texts
    if isinstance(ts, int) and not isinstance(ts, bool):
        found["ts"] = _instant(ts if _first(places, _MICROS) is not None else in_microseconds(ts))
    query = _first(places, QUERIES)
    if isinstance(query, str):
        found.setdefault("query_length", len(query))
    percent = _first(places, ("percent_scrolled",))
    if isinstance(percent, int | float):
        found.setdefault("scroll_depth", percent / 100)
    pages = event.get("pageCategories")
    if isinstance(pages, list) and pages:
        found.setdefault("category", pages[0])
    return sound(found), _products(places)


def _first(places: list[Mapping[str, Any]], names: tuple[str, ...]) -> Any:
    return next((place[name] for place in places for name in names if place.get(name) is not None), None)


def _value(ours: str, places: list[Mapping[str, Any]], names: tuple[str, ...]) -> Any:
    """A field as we have it: the first that is there, an id as a text, a measure as a number where a text holds one."""
    if ours in _IDS:
        given = (place[name] for place in places for name in names if place.get(name) is not None)
        found = next((value for value in given if not is_placeholder(value)), None)
        return text_of(found) if isinstance(found, int | float) and not isinstance(found, bool) else found
    found = _first(places, names)
    return number_of(found) if ours in _NUMBERS and isinstance(found, str) else found


def number_of(text: str) -> Any:
    """The number that a text holds, nothing for a placeholder; else the text itself, which will be refused.

    Examples
    --------
    >>> [number_of(text) for text in ("12.50", "(not set)", "1,299", "inf")]
    [12.5, None, '1,299', 'inf']
    """
    if is_placeholder(text):
        return None
    return float(text) if _number(text.strip()) else text


def in_microseconds(unix: int) -> int:
    """A Unix time of unknown unit: seconds, milliseconds, microseconds or nanoseconds, whichever gives a time that can be.

    Examples
    --------
    >>> [in_microseconds(t) // 10**6 for t in (1_795_000_000, 1_795 * 10**9, 1_795 * 10**12, 1_795 * 10**15, 5_000_000)]
    [1795000000, 1795000000, 1795000000, 1795000000, 5]
    """
    possible = (unix * step_us for step_us in (1, 1_000, 1_000_000) if EARLIEST_US <= unix * step_us < LATEST_US)
    return next(possible, unix // 1_000 if unix // 1_000 >= EARLIEST_US else unix)


def _instant(micros: int) -> Any:
    """Microseconds since 1970 as a text; a number that is no instant stays, and is refused."""
    try:
        return datetime.fromtimestamp(micros / 1e6, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return micros


def _products(places: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    listed = _first(places, _PRODUCTS)
    products = []
    for product in listed if isinstance(listed, list) else ():
        if not isinstance(product, Mapping):
            continue
        inner = product.get("product")  # Google Retail's
        named = [product, inner] if isinstance(inner, Mapping) else [product]
        values = {name: _value(name, named, FIELDS[name]) for name in _PRODUCT_FIELDS}
        if values["item_id"] is None:
            values["item_id"] = _value("item_id", named, ("id",))
        if found := {name: value for name, value in values.items() if value is not None}:
            products.append(sound(found))
    return products


def _per_product(event: dict[str, Any], products: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if event["type"] not in _ABOUT_ITEMS:  # the first of a list is not what was looked at
        first = {name: value for name, value in (products[0] if products else {}).items() if name == "category"}
        return [first | {name: value for name, value in event.items() if name not in ("item_id", "price", *_OF_ORDERS)}]
    if event["type"] != "purchase":
        event = {name: value for name, value in event.items() if name not in _OF_ORDERS}
    if not products:
        return [event]
    event_id, order_id, met = event.get("event_id"), event.get("order_id"), Counter[str]()
    event = _shared_revenue(event, products)
    several = []
    for number, product in enumerate(products, start=1):
        own = {"event_id": f"{event_id}~{number}"} if number > 1 and isinstance(event_id, str) else {}
        item = str(product.get("item_id"))
        met[item] += 1
        if order_id is not None and met[item] > 1:  # a line of its own, of another size or colour
            own["order_id"] = f"{order_id}~{met[item]}"
        several.append(event | product | own)
    return several


def _shared_revenue(event: dict[str, Any], products: list[dict[str, Any]]) -> dict[str, Any]:
    """An order without the revenue of all of it: the prices of its products tell, else each has an equal share."""
    whole = event.get("revenue")
    rest = {name: value for name, value in event.items() if name != "revenue"}
    if whole is None or any("price" in product for product in products):
        return rest
    return rest | {"revenue": whole / len(products)}
