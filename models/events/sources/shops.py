"""The public data sets of shops: REES46, RetailRocket, Taobao, JData and OTTO."""

from typing import Any, Final

import pandas as pd

from models.events.sources.cells import Times
from models.events.sources.columns import text_of, texts
from models.events.sources.frames import Json, by_document
from models.events.sources.tables import Table, source_of

BEIJING_MIN: Final = 480


def _rees46_category(raw: pd.DataFrame, columns: dict[str, Any]) -> None:
    # The code is empty for a third of the products; the id is not.
    columns["category"] = texts(raw["category_code"].where(raw["category_code"] != "", raw["category_id"]))


def otto_rows(document: Json) -> list[tuple[str, ...]]:
    """Rows of one OTTO line: a visitor with all events; a line without readable events gives one row that is refused.

    Examples
    --------
    >>> otto_rows({"session": 7, "events": [{"aid": 1, "ts": 1659304800025, "type": "clicks"}]})
    [('7', '1', '1659304800025', 'clicks')]
    >>> otto_rows({"session": 7})
    [('7', '', '', '')]
    """
    visitor = text_of(document.get("session"))
    events = document.get("events")
    found = [e if isinstance(e, dict) else {} for e in events] if isinstance(events, list) else []
    return [(visitor, *(text_of(e.get(name)) for name in ("aid", "ts", "type"))) for e in found or [{}]]


REES46_TABLE: Final = Table(
    source="rees46",
    kind="event_type",
    event_types={
        "view": "item_view",
        "cart": "add_to_cart",
        "remove_from_cart": "remove_from_cart",
        "purchase": "purchase",
    },
    times=Times("event_time", suffix=" UTC"),
    user="user_id",
    item="product_id",
    session="user_session",
    category="category_code",
    price="price",
    refine=_rees46_category,
)
RETAILROCKET_TABLE: Final = Table(
    source="retailrocket",
    kind="event",
    event_types={"view": "item_view", "addtocart": "add_to_cart", "transaction": "purchase"},
    times=Times("timestamp", unit_us=1_000),
    user="visitorid",
    item="itemid",
)
TAOBAO_TABLE: Final = Table(
    source="taobao",
    kind="behavior",
    event_types={"pv": "item_view", "fav": "wishlist_add", "cart": "add_to_cart", "buy": "purchase"},
    times=Times("timestamp", unit_us=1_000_000),
    user="user_id",
    item="item_id",
    category="category_id",
    zone="Asia/Shanghai",
)
JDATA_TABLE: Final = Table(
    source="jdata",
    kind="type",
    event_types={
        "1": "item_view",
        "2": "add_to_cart",
        "3": "remove_from_cart",
        "4": "purchase",
        "5": "wishlist_add",
        "6": "item_engagement",
    },
    times=Times("time", ahead_min=BEIJING_MIN),
    user="user_id",
    item="sku_id",
    category="cate",
    zone="Asia/Shanghai",
)
OTTO_TABLE: Final = Table(
    source="otto",
    kind="type",
    event_types={"clicks": "item_view", "carts": "add_to_cart", "orders": "purchase"},
    times=Times("ts", unit_us=1_000),
    user="session",
    item="aid",
    zone="Europe/Berlin",
)

REES46: Final = source_of(
    REES46_TABLE,
    ("event_time", "event_type", "product_id", "category_id", "category_code", "brand", "price", "user_id", "user_session"),
)
RETAILROCKET: Final = source_of(RETAILROCKET_TABLE, ("timestamp", "visitorid", "event", "itemid", "transactionid"))
TAOBAO: Final = source_of(TAOBAO_TABLE, ("user_id", "item_id", "category_id", "behavior", "timestamp"), has_header=False)
JDATA: Final = source_of(JDATA_TABLE, ("user_id", "sku_id", "time", "model_id", "type", "cate", "brand"))
OTTO: Final = source_of(
    OTTO_TABLE,
    ("session", "aid", "ts", "type"),
    container="jsonl",
    flatten=by_document(4, otto_rows),
    needs=("session", "events"),
)
