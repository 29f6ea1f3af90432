"""Exports of other tools as JSON lines, each read as events of ours: Segment, PostHog, Google Retail, Snowplow, Matomo.

Segment, PostHog and Google Retail are what `models.events.foreign` reads at the door. Snowplow: the enriched event as its
analytics SDKs write it, with the e-commerce action and products. Matomo: visits of ``Live.getLastVisitsDetails``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Final

import numpy as np

from models.events.consent import is_refused
from models.events.foreign import in_microseconds, own_events
from models.events.names import ADOBE, MATOMO, POSTHOG, RETAIL, SEGMENT, SNOWPLOW, UNIVERSAL
from models.events.plain import first_plain
from models.events.rules import instant_text
from models.events.sources.attune import ATTUNE
from models.events.sources.attune import flatten as flatten_own
from models.events.sources.frames import Flat, Json, Source, canonical, fingerprint
from models.events.sources.hits import adobe, universal_analytics
from models.schema import MAX_ID_LENGTH

_ACTION: Final = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"
_PRODUCT: Final = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1"


def read_as(own: Callable[[Json], Iterable[Json]]) -> Callable[[Sequence[Json]], Flat]:
    """Make `Source.flatten` of a function that reads a document as events of ours; missing ids are made of the content."""

    def flatten(documents: Sequence[Json]) -> Flat:
        groups = [_placed(document, own(document)) for document in documents]
        flat = flatten_own(list(chain.from_iterable(groups)))
        sizes = np.fromiter(map(len, groups), dtype=np.int64, count=len(groups))
        ends = np.cumsum(sizes)
        kept = np.concatenate([[0], np.cumsum(flat.n_rows)])
        return Flat(flat.columns, kept[ends] - kept[ends - sizes])

    return flatten


def _placed(document: Json, events: Iterable[Json]) -> list[Json]:
    """Events with an id, and an instant that has an offset: a time without one is UTC in all of these exports."""
    found = [dict(event) for event in events]
    for number, event in enumerate(found):
        if event.get("event_id") is None:
            event["event_id"] = fingerprint(f"{canonical(document)}{number}")
        if isinstance(ts := event.get("ts"), str):
            event["ts"] = instant_text(ts)
    return found


def segment_join(document: Json) -> tuple[str, str] | None:
    """Anonymous visitor and user of an ``identify`` or ``alias`` call of Segment.

    Examples
    --------
    >>> segment_join({"type": "identify", "anonymousId": "cookie", "userId": 17})
    ('cookie', '17')
    >>> segment_join({"type": "track", "anonymousId": "cookie", "userId": "u"})
    """
    before = {"identify": "anonymousId", "alias": "previousId"}.get(str(document.get("type")))
    return None if before is None else _join(document, document.get(before), document.get("userId"))


def posthog_join(document: Json) -> tuple[str, str] | None:
    """Anonymous visitor and user of ``$identify`` or ``$create_alias`` of PostHog.

    Examples
    --------
    >>> posthog_join({"event": "$identify", "distinct_id": "u", "properties": {"$anon_distinct_id": "cookie"}})
    ('cookie', 'u')
    """
    before = {"$identify": "$anon_distinct_id", "$create_alias": "alias"}.get(str(document.get("event")))
    inside = document.get("properties")
    if before is None or not isinstance(inside, Mapping):
        return None
    return _join(document, inside.get(before), document.get("distinct_id"))


def _join(document: Json, anonymous: Any, user: Any) -> tuple[str, str] | None:
    ids = first_plain([anonymous]), first_plain([user])
    if is_refused(document) or not all(one and len(one) <= MAX_ID_LENGTH for one in ids):
        return None
    return str(ids[0]), str(ids[1])


def snowplow(document: Json) -> list[Json]:
    """Read an enriched event: the e-commerce action about each product, a structured event, or the name of the event.

    Examples
    --------
    >>> snowplow({"event": "page_view", "domain_userid": "u", "collector_tstamp": "2024-01-01 10:00:00"})
    [{'name': 'content_view', 'event_id': None, 'user_id': 'u', 'session_id': None, 'timestamp': '2024-01-01 10:00:00'}]
    """
    action, products = document.get(_ACTION), document.get(_PRODUCT)
    named = [action.get("type") if isinstance(action, Mapping) else None, document.get("se_action"), document.get("event_name")]
    name = first_plain([*named, document.get("event")]) or ""
    event: Json = {
        "name": SNOWPLOW.get(name, name),
        "event_id": first_plain([document.get("event_id")]),
        "user_id": first_plain([document.get(n) for n in ("user_id", "domain_userid", "network_userid")]),
        "session_id": first_plain([document.get("domain_sessionid")]),
        "timestamp": first_plain([document.get(n) for n in ("derived_tstamp", "collector_tstamp", "dvce_created_tstamp")]),
    }
    if isinstance(products, list):
        event["products"] = products
    elif item := first_plain([document.get(n) for n in ("ti_sku", "se_label")]):
        event["item_id"] = item
    return [event]


def matomo(visit: Json) -> list[Json]:
    """Read a visit as its actions; orders and carts have an event per item.

    Examples
    --------
    >>> action = {"type": "action", "timestamp": 1700000000, "productViewSku": "a"}
    >>> [event["type"] for event in matomo({"idVisit": 1, "visitorId": "v", "actionDetails": [action]})]
    ['item_view']
    """
    whose = {
        "user_id": first_plain([visit.get("userId"), visit.get("visitorId")]),
        "session_id": first_plain([visit.get("idVisit")]),
    }
    actions = visit.get("actionDetails")
    found = [_matomo_action(action) for action in actions if isinstance(action, Mapping)] if isinstance(actions, list) else []
    return [{**event, **whose} for event in chain.from_iterable(found)] or [{"type": None, **whose}]


def _matomo_action(action: Mapping[str, Any]) -> list[Json]:
    kind = first_plain([action.get("type")]) or ""
    at = action.get("timestamp")
    ts = instant_text(in_microseconds(at)) if isinstance(at, int) else first_plain([at])
    event: Json = {"type": MATOMO.get(kind, kind), "ts": ts}
    if kind == "search" and (typed := first_plain([action.get("siteSearchKeyword")])):
        return [event | {"query_length": len(typed)}]
    items = action.get("itemDetails")
    if isinstance(items, list) and items:
        rows = [item for item in items if isinstance(item, Mapping)]
        order = {"order_id": order_id} if (order_id := first_plain([action.get("orderId")])) else {}
        return [event | order | _product(item, "itemSKU", "price", "itemCategory") for item in rows]
    seen = _product(action, "productViewSku", "productViewPrice", "productViewCategories")
    return [event | {"type": "item_view"} | seen] if "item_id" in seen else [event]


def _product(place: Mapping[str, Any], item: str, price: str, category: str) -> Json:
    categories = place.get(category)
    known = {
        "item_id": first_plain([place.get(item)]),
        "price": first_plain([place.get(price)]),
        "category": first_plain([categories[0] if isinstance(categories, list) and categories else categories]),
    }
    number = known["price"]
    told: Json = {name: value for name, value in known.items() if value and name != "price"}
    return told | ({"price": float(number)} if number and number.replace(".", "", 1).isdigit() else {})


def _exported(name: str, event_types: Mapping[str, str], own: Callable[[Json], Iterable[Json]], *needs: str) -> Source:
    return replace(ATTUNE, name=name, event_types=event_types, flatten=read_as(own), needs=needs, keyed=("event_id",))


def _through_door(own: Callable[[Json], Iterable[Json]]) -> Callable[[Json], Iterable[Json]]:
    return lambda document: chain.from_iterable(own_events(event) for event in own(document))


SEGMENT_SOURCE: Final = replace(_exported("segment", SEGMENT, own_events, "messageId"), joins=segment_join)
POSTHOG_SOURCE: Final = replace(_exported("posthog", POSTHOG, own_events, "distinct_id", "event"), joins=posthog_join)
RETAIL_SOURCE: Final = _exported("google_retail", RETAIL, own_events, "eventType", "visitorId")
SNOWPLOW_SOURCE: Final = _exported("snowplow", SNOWPLOW, _through_door(snowplow), "collector_tstamp")
MATOMO_SOURCE: Final = _exported("matomo", MATOMO, matomo, "actionDetails")
UNIVERSAL_SOURCE: Final = _exported("universal_analytics", UNIVERSAL, universal_analytics, "fullVisitorId", "hits")
ADOBE_SOURCE: Final = _exported("adobe", ADOBE, adobe, "hit_time_gmt")
