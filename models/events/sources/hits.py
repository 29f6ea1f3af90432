"""Hits of web analytics of before: Universal Analytics' sessions in BigQuery, and Adobe Analytics' data feed.

Both tell what happened by codes. A session of Universal Analytics holds its hits, each so many milliseconds after its start; a
hit of Adobe's is a row of a table with lists in its cells.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from models.events.foreign import number_of
from models.events.names import ADOBE, UNIVERSAL
from models.events.plain import first_plain, plain
from models.events.rules import instant_text
from models.events.sources.frames import Json, fingerprint
from models.schema import EVENT_TYPES, ITEM_EVENT_TYPES

_ABOUT_ITEMS: Final = frozenset(EVENT_TYPES[t] for t in ITEM_EVENT_TYPES)
_MILLION: Final = 1e6  # in which prices of Universal Analytics are written
_SKU, _PIECES, _TOTAL = 1, 2, 3  # places in a product of Adobe's list, behind its category


def universal_analytics(session: Json) -> list[Json]:
    """Read a session of the BigQuery export as its hits, one event per product where the type is about one.

    Examples
    --------
    >>> hit = {"time": 1000, "eCommerceAction": {"action_type": "3"}, "product": [{"productSKU": "a", "productPrice": 2500000}]}
    >>> (event,) = universal_analytics({"fullVisitorId": "v", "visitId": 5, "visitStartTime": 1700000000, "hits": [hit]})
    >>> event["type"], event["ts"], event["item_id"], event["price"]
    ('add_to_cart', '2023-11-14T22:13:21+00:00', 'a', 2.5)
    """
    who = first_plain([session.get(name) for name in ("userId", "fullVisitorId", "clientId", "visitorId")])
    visit, start = first_plain([session.get("visitId")]), number_of(first_plain([session.get("visitStartTime")]) or "")
    hits = session.get("hits")
    found: list[Json] = []
    for hit in hits if isinstance(hits, list) else ():
        kind = _kind_of_hit(hit) if isinstance(hit, Mapping) else None
        late_ms = number_of(first_plain([hit.get("time")]) or "0") if kind else None
        if kind is None or not isinstance(start, float) or not isinstance(late_ms, float):
            continue
        at = instant_text(round(start) * 1_000_000 + round(late_ms) * 1_000)
        event: Json = {"type": kind, "ts": at, "user_id": who, "session_id": visit}
        found += _numbered(f"{who}.{visit}.{hit.get('hitNumber')}.{late_ms}", _per_product(event, _bought(hit)))
    return found or [{"type": None, "user_id": who}]


def _kind_of_hit(hit: Mapping[str, Any]) -> str | None:
    page, action = hit.get("page"), hit.get("eCommerceAction")
    code = first_plain([action.get("action_type")]) if isinstance(action, Mapping) else None
    if code in UNIVERSAL:
        return UNIVERSAL[code]
    if isinstance(page, Mapping) and first_plain([page.get("searchKeyword")]):
        return "search"
    return UNIVERSAL.get(str(hit.get("type")))


def _bought(hit: Mapping[str, Any]) -> list[Json]:
    products, order = hit.get("product"), hit.get("transaction")
    told = {"order_id": first_plain([order.get("transactionId")])} if isinstance(order, Mapping) else {}
    found = []
    for product in products if isinstance(products, list) else ():
        if not isinstance(product, Mapping) or product.get("isImpression") in (True, "true"):
            continue
        price, pieces = (number_of(first_plain([product.get(n)]) or "") for n in ("productPrice", "productQuantity"))
        values: Json = {
            "item_id": first_plain([product.get("productSKU"), product.get("v2ProductName")]),
            "category": first_plain([product.get("v2ProductCategory")]),
            "price": price / _MILLION if isinstance(price, float) else None,
            "quantity": pieces if isinstance(pieces, float) else None,
        }
        found.append(told | values)
    return found


def adobe(hit: Json) -> list[Json]:
    """Read a row of a data feed with a header: each known code of its list of events, about each product.

    Examples
    --------
    >>> hit = {"hit_time_gmt": "1700000000", "visid_high": "3", "visid_low": "7", "post_event_list": "1,100=2"}
    >>> [event] = adobe(hit | {"post_product_list": "Shoes;sku-1;2;59.8", "purchaseid": "77"})
    >>> event["type"], event["user_id"], event["item_id"], event["price"], event["order_id"]
    ('purchase', '3_7', 'sku-1', 29.9, '77')
    """

    def cell(*names: str) -> str | None:
        return first_plain([hit.get(f"post_{name}") for name in names] + [hit.get(name) for name in names])

    high, low = cell("visid_high"), cell("visid_low")
    who = cell("cust_visid", "mcvisid") or (f"{high}_{low}" if high and low else None)
    at = number_of(cell("cust_hit_time_gmt", "hit_time_gmt") or "")
    codes = [code.partition("=")[0].partition(":")[0].strip() for code in (cell("event_list") or "").split(",")]
    kinds = list(dict.fromkeys(ADOBE[code] for code in codes if code in ADOBE)) or ["content_view"]
    visit = [cell("visit_start_time_gmt"), cell("visit_num")]
    event: Json = {
        "ts": instant_text(round(at * 1_000_000)) if isinstance(at, float) else None,
        "user_id": who,
        "session_id": "_".join(part for part in visit if part) or None,
    }
    products = _listed(cell("product_list") or "", cell("purchaseid"))
    told = ".".join(cell(name) or "" for name in ("hitid_high", "hitid_low", "hit_time_gmt", "visit_page_num", "event_list"))
    rows = [one for kind in kinds for one in _per_product(event | {"type": kind}, products)]
    return list(_numbered(f"{who}.{told}.{cell('product_list')}", rows))


def _listed(text: str, order_id: str | None) -> list[Json]:
    """Products of a list such as ``Shoes;sku;2;59.8;event1=3;eVar2=x,Hats;sku2``; the price is that of all pieces."""
    found = []
    for product in text.split(","):
        fields = [plain(field) for field in product.split(";")]
        if len(fields) <= _SKU or not fields[_SKU]:
            continue
        pieces, total = (number_of(fields[at]) if len(fields) > at else None for at in (_PIECES, _TOTAL))
        n_pieces = pieces if isinstance(pieces, float) and pieces > 0 else None
        price = total / n_pieces if isinstance(total, float) and n_pieces else None
        told: Json = {"price": price, "quantity": n_pieces, "order_id": order_id}
        found.append({"item_id": fields[_SKU], "category": fields[0] or None, **told})
    return found


def _per_product(event: Json, products: list[Json]) -> list[Json]:
    if event["type"] not in _ABOUT_ITEMS or not products:
        return [event]
    of_orders = () if event["type"] == "purchase" else ("order_id", "quantity")
    return [event | {n: v for n, v in one.items() if v is not None and n not in of_orders} for one in products]


def _numbered(told: str, events: list[Json]) -> Iterable[Json]:
    """Events with ids that are made of what tells their hit from others."""
    return [one | {"event_id": fingerprint(f"{told}.{one['type']}.{i}")} for i, one in enumerate(events)]
