"""Google Analytics 4: the BigQuery export, one event a line as JSON.

An event with several items becomes one event per item where our type is about one item. Parameters may be the export's list of
``{"key", "value": {"string_value" …}}`` or a plain object. A search term is measured and left behind here: no row holds it.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from models.events.names import GA4 as EVENT_TYPES
from models.events.plain import plain
from models.events.sources.cells import Times
from models.events.sources.columns import Reasons, kept, numbers, text_of
from models.events.sources.frames import Json, by_document, canonical, fingerprint
from models.events.sources.tables import Table, source_of
from models.schema import EVENT_TYPES as OUR_TYPES
from models.schema import ITEM_EVENT_TYPES

DEVICES: Final = {"desktop": "desktop", "mobile": "mobile", "tablet": "tablet", "app": "app"}
REFERRERS: Final = {
    "(none)": "direct",
    "organic": "search",
    "cpc": "ad",
    "ppc": "ad",
    "display": "ad",
    "cpm": "ad",
    "email": "email",
    "social": "social",
}
COLUMNS: Final = (
    *(
        "event_name",
        "event_timestamp",
        "user_pseudo_id",
        "ga_session_id",
        "bundle",
        "item_position",
        "item_id",
        "item_category",
    ),
    *("price", "query_length", "percent_scrolled", "engagement_time_msec", "device", "medium", "utc_offset_s", "digest"),
)
# What tells two events of one batch at one instant apart; what describes the visitor or is filled in later does not.
_TOLD: Final = (
    *("event_bundle_sequence_id", "batch_event_index", "batch_ordering_id", "batch_page_id", "event_server_timestamp_offset"),
    *("event_previous_timestamp", "event_value_in_usd", "event_dimensions", "ecommerce", "items"),
)
_PER_ITEM: Final = frozenset(name for name, ours in EVENT_TYPES.items() if OUR_TYPES.index(ours) in ITEM_EVENT_TYPES)
_VALUES: Final = ("string_value", "int_value", "float_value", "double_value")


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _parameters(found: object) -> Mapping[str, Any]:
    if not isinstance(found, list):
        return _object(found)
    pairs = [(p.get("key"), _object(p.get("value"))) for p in found if isinstance(p, dict)]
    return {k: next((v[t] for t in _VALUES if v.get(t) is not None), None) for k, v in pairs if isinstance(k, str)}


def rows(document: Json) -> list[tuple[str, ...]]:
    """Rows of one exported event, in the order of `COLUMNS`: one per item for a type that is about an item, else one.

    Examples
    --------
    >>> rows({"event_name": "purchase", "items": [{"item_id": "a"}, {"item_id": "b"}]})[1][:7]
    ('purchase', '', '', '', '', '1', 'b')
    """
    given = _parameters(document.get("event_params"))
    device, name = _object(document.get("device")), text_of(document.get("event_name"))
    in_app = text_of(document.get("platform")) in ("ANDROID", "IOS")
    term = plain(text_of(given.get("search_term")))
    before = (
        name,
        text_of(document.get("event_timestamp")),
        text_of(document.get("user_pseudo_id")),
        text_of(given.get("ga_session_id")),
        text_of(document.get("event_bundle_sequence_id")),
    )
    after = (
        str(len(term)) if term else "",
        text_of(given.get("percent_scrolled")),
        text_of(given.get("engagement_time_msec")),
        "app" if in_app else text_of(device.get("category")),
        text_of(_object(document.get("traffic_source")).get("medium")).lower(),
        text_of(device.get("time_zone_offset_seconds")),
        fingerprint(canonical({"event_params": given, **{name: document.get(name) for name in _TOLD}})),
    )
    found = document.get("items")
    items = [_object(item) for item in (found if isinstance(found, list) else [found] if isinstance(found, dict) else [])]
    shown = items if name in _PER_ITEM and items else items[:1] or [{}]
    return [(*before, str(i), *_item_texts(item), *after) for i, item in enumerate(shown)]


def _item_texts(item: Mapping[str, Any]) -> tuple[str, str, str]:
    return text_of(item.get("item_id")), text_of(item.get("item_category")), text_of(item.get("price"))


def _refine(raw: pd.DataFrame, columns: dict[str, Any]) -> None:
    about_items = raw["event_name"].isin(_PER_ITEM).to_numpy()
    columns["item_id"] = kept(columns["item_id"], about_items)  # the first of a list is not what was looked at
    columns["price"] = np.where(about_items, columns["price"], np.nan)
    ahead_s = numbers(raw["utc_offset_s"], Reasons(len(raw)))
    sane = np.abs(ahead_s) <= 16 * 3600
    columns["utc_offset_min"] = np.where(sane, ahead_s // 60, 0).astype(np.int16)
    columns["scroll_depth"] = np.clip(numbers(raw["percent_scrolled"], Reasons(len(raw))) / 100, 0, 1)
    columns["dwell_ms"] = np.clip(numbers(raw["engagement_time_msec"], Reasons(len(raw))), 0, 86_400_000)


TABLE: Final = Table(
    source="ga4",
    kind="event_name",
    event_types=EVENT_TYPES,
    times=Times("event_timestamp", unit_us=1),
    added=("digest",),
    user="user_pseudo_id",
    item="item_id",
    session="ga_session_id",
    category="item_category",
    price="price",
    query_length="query_length",
    device="device",
    devices=DEVICES,
    referrer="medium",
    referrers=REFERRERS,
    refine=_refine,
)
GA4: Final = source_of(
    TABLE, COLUMNS, container="jsonl", flatten=by_document(len(COLUMNS), rows), needs=COLUMNS[:3], keyed=("digest",)
)
