"""Where events come from: one adapter per format, each a table of the source's names and ours.

A row's way: `protect` (pseudonyms, masks) → `Source.to_events` (events, and a reason for each row that is refused).
docs/sources.md shows every table; a test compares them.
"""

from typing import Final

from models.events.sources.attune import ATTUNE
from models.events.sources.columns import object_array, text_of
from models.events.sources.documents import (
    ADOBE_SOURCE,
    MATOMO_SOURCE,
    POSTHOG_SOURCE,
    RETAIL_SOURCE,
    SEGMENT_SOURCE,
    SNOWPLOW_SOURCE,
    UNIVERSAL_SOURCE,
)
from models.events.sources.frames import Json, Mapped, Source, as_lines, former_ids, in_plain_form, protect, raw_chunk, replaced
from models.events.sources.ga4 import GA4
from models.events.sources.shops import JDATA, OTTO, REES46, RETAILROCKET, TAOBAO
from models.events.sources.trivago import TRIVAGO

_SHOPS: Final = (ATTUNE, TRIVAGO, REES46, RETAILROCKET, TAOBAO, JDATA, OTTO, GA4)
_TOOLS: Final = (SEGMENT_SOURCE, POSTHOG_SOURCE, RETAIL_SOURCE, SNOWPLOW_SOURCE, MATOMO_SOURCE, UNIVERSAL_SOURCE, ADOBE_SOURCE)
SOURCES: Final = {s.name: s for s in (*_SHOPS, *_TOOLS)}


def source(name: str) -> Source:
    """Find a format by its name.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if name not in SOURCES:
        raise ValueError(f"unknown format {name!r}: use one of {', '.join(SOURCES)}")
    return SOURCES[name]


__all__ = [
    "SOURCES",
    "Json",
    "Mapped",
    "Source",
    "as_lines",
    "former_ids",
    "in_plain_form",
    "object_array",
    "protect",
    "raw_chunk",
    "replaced",
    "source",
    "text_of",
]
