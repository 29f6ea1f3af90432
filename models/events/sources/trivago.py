"""The trivago sessions of the RecSys Challenge 2019: hotels, ten kinds of action, the price list shown at a clickout.

A reference is an item id, or a text that a visitor typed or chose (destination, point of interest, filter). Texts are masked
before anything is stored: only their length stays. The city of the search stays as an opaque code, so that a change of category
can be seen, but not which city it was.
"""

from hashlib import blake2b
from typing import Any, Final

import numpy as np
import pandas as pd

from models.events.sources.cells import Times
from models.events.sources.columns import kept, object_array
from models.events.sources.frames import replaced
from models.events.sources.tables import Table, source_of

MASK: Final = "x"
CITY: Final = "city-"

EVENT_TYPES: Final = {
    "clickout item": "purchase",
    "interaction item rating": "review_read",
    "interaction item info": "detail_view",
    "interaction item image": "item_engagement",
    "interaction item deals": "spec_compare",
    "change of sort order": "search_refine",
    "filter selection": "search_refine",
    "search for item": "search",
    "search for destination": "search",
    "search for poi": "search",
}
DEVICES: Final = {"desktop": "desktop", "mobile": "mobile", "tablet": "tablet"}
# The platform is the country of the site; countries with several zones have the one where most people live.
ZONES: Final = {
    "AA": "Asia/Riyadh",
    "AE": "Asia/Dubai",
    "AR": "America/Argentina/Buenos_Aires",
    "AT": "Europe/Vienna",
    "AU": "Australia/Sydney",
    "BE": "Europe/Brussels",
    "BG": "Europe/Sofia",
    "BR": "America/Sao_Paulo",
    "CA": "America/Toronto",
    "CH": "Europe/Zurich",
    "CL": "America/Santiago",
    "CN": "Asia/Shanghai",
    "CO": "America/Bogota",
    "CZ": "Europe/Prague",
    "DE": "Europe/Berlin",
    "DK": "Europe/Copenhagen",
    "EC": "America/Guayaquil",
    "ES": "Europe/Madrid",
    "FI": "Europe/Helsinki",
    "FR": "Europe/Paris",
    "GR": "Europe/Athens",
    "HK": "Asia/Hong_Kong",
    "HR": "Europe/Zagreb",
    "HU": "Europe/Budapest",
    "ID": "Asia/Jakarta",
    "IE": "Europe/Dublin",
    "IL": "Asia/Jerusalem",
    "IN": "Asia/Kolkata",
    "IT": "Europe/Rome",
    "JP": "Asia/Tokyo",
    "KR": "Asia/Seoul",
    "MX": "America/Mexico_City",
    "MY": "Asia/Kuala_Lumpur",
    "NL": "Europe/Amsterdam",
    "NO": "Europe/Oslo",
    "NZ": "Pacific/Auckland",
    "PE": "America/Lima",
    "PH": "Asia/Manila",
    "PL": "Europe/Warsaw",
    "PT": "Europe/Lisbon",
    "RO": "Europe/Bucharest",
    "RS": "Europe/Belgrade",
    "RU": "Europe/Moscow",
    "SE": "Europe/Stockholm",
    "SG": "Asia/Singapore",
    "SI": "Europe/Ljubljana",
    "SK": "Europe/Bratislava",
    "TH": "Asia/Bangkok",
    "TR": "Europe/Istanbul",
    "TW": "Asia/Taipei",
    "UK": "Europe/London",
    "US": "America/New_York",
    "UY": "America/Montevideo",
    "VN": "Asia/Ho_Chi_Minh",
    "ZA": "Africa/Johannesburg",
}


def mask_texts(raw: pd.DataFrame) -> pd.DataFrame:
    """Mask references that are no item ids by as many letters, and write cities as codes; a masked chunk stays as it is.

    Examples
    --------
    >>> masked = mask_texts(pd.DataFrame({"reference": ["815", "Paris"], "city": ["Paris, France", ""]}))
    >>> masked["reference"].tolist()
    ['815', 'xxxxx']
    >>> mask_texts(masked).equals(masked)
    True
    """
    references = [text if text.isdecimal() else MASK * len(text) for text in raw["reference"].tolist()]
    cities = raw["city"].tolist()
    codes = {city: _city_code(city) for city in set(cities)}
    return replaced(raw, {"reference": object_array(references), "city": object_array([codes[city] for city in cities])})


def _city_code(city: str) -> str:
    if not city or city.startswith(CITY):
        return city
    return CITY + blake2b(city.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _read_references(raw: pd.DataFrame, columns: dict[str, Any]) -> None:
    references = raw["reference"].tolist()
    is_item = np.array([text.isdecimal() for text in references], dtype=bool)
    columns["item_id"] = kept(columns["item_id"], is_item)
    typed = raw["action_type"].isin(["search for destination", "search for poi"]).to_numpy() & ~is_item
    columns["query_length"] = np.where(typed, np.fromiter(map(len, references), dtype=np.float64), np.nan)
    listed = is_item & (raw["prices"] != "").to_numpy()
    shown = raw.loc[listed, ["reference", "impressions", "prices"]].itertuples(index=False, name=None)
    columns["price"][listed] = [shown_price(item, impressions, prices) for item, impressions, prices in shown]


def shown_price(item: str, impressions: str, prices: str) -> float:
    """Price at which an item stood in the list that was shown; NaN if it did not stand there.

    Examples
    --------
    >>> shown_price("8", "7|8|9", "70|80|90")
    80.0
    """
    try:
        return float(prices.split("|")[impressions.split("|").index(item)])
    except (ValueError, IndexError):
        return float("nan")


TABLE: Final = Table(
    source="trivago",
    kind="action_type",
    event_types=EVENT_TYPES,
    times=Times("timestamp", unit_us=1_000_000),
    user="user_id",
    item="reference",
    session="session_id",
    category="city",
    device="device",
    devices=DEVICES,
    zones=("platform", ZONES),
    refine=_read_references,
)
TRIVAGO: Final = source_of(
    TABLE,
    (
        *("user_id", "session_id", "timestamp", "step", "action_type", "reference", "platform", "city", "device"),
        *("current_filters", "impressions", "prices"),
    ),
    mask=mask_texts,
)
