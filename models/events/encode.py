"""Event array: the encoded events that every fold runs over, and how an event frame becomes one.

Two forms, one meaning. An *event frame* is a pandas frame with the columns `EVENT_COLUMNS`: texts are ``str`` or ``None``,
`occurred_at_us` is int64, measures are float64 with NaN for "not measured", `utc_offset_min` is int16. An *event array* has the
dtype `EVENT_DTYPE`; items and categories are integer codes there, because a fold only ever asks whether two are the same.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.schema import DEVICES, EVENT_TYPES, ITEM_EVENT_TYPES, MEASURES, REFERRERS, EventType

if TYPE_CHECKING:
    import pandas as pd

NO_CODE: Final = -1  # item or category code of an event that has none

EVENT_DTYPE: Final = np.dtype(
    [
        ("occurred_at_us", np.int64),
        ("item", np.int64),
        ("category", np.int64),
        *((name, np.float64) for name in MEASURES),
        ("utc_offset_min", np.int16),
        ("event_type", np.int8),
        ("device", np.int8),
        ("referrer", np.int8),
    ],
    align=True,
)
EventArray = npt.NDArray[np.void]  # dtype EVENT_DTYPE

TYPE_CODE: Final = {name: code for code, name in enumerate(EVENT_TYPES)}
DEVICE_CODE: Final = {name: code for code, name in enumerate(DEVICES)}
REFERRER_CODE: Final = {name: code for code, name in enumerate(REFERRERS)}


class EncodedEvents(NamedTuple):
    """An event frame as a fold reads it.

    Attributes
    ----------
    events
        Shape (n_events,), dtype `EVENT_DTYPE`, in the frame's order.
    item_ids
        Text of each item code, shape (n_items,), dtype object.
    categories
        Text of each category code, shape (n_categories,), dtype object.
    """

    events: EventArray
    item_ids: npt.NDArray[np.object_]
    categories: npt.NDArray[np.object_]


def encode(frame: "pd.DataFrame") -> EncodedEvents:
    """Turn a valid event frame into an event array; item and category codes count up in order of first appearance."""
    import pandas as pd  # only here: what serves has no frames

    events = np.zeros(len(frame), dtype=EVENT_DTYPE)
    events["item"], item_ids = pd.factorize(frame["item_id"].to_numpy(dtype=object))
    events["category"], categories = pd.factorize(frame["category"].to_numpy(dtype=object))
    events["occurred_at_us"] = frame["occurred_at_us"]
    for name in MEASURES:
        events[name] = frame[name]
    events["utc_offset_min"] = frame["utc_offset_min"]
    events["event_type"] = frame["event_type"].map(TYPE_CODE)
    events["device"] = frame["device"].map(DEVICE_CODE).fillna(0)
    events["referrer"] = frame["referrer"].map(REFERRER_CODE).fillna(0)
    return EncodedEvents(events, item_ids, categories)


def is_item_event() -> npt.NDArray[np.bool_]:
    """Whether each event type is about one item, shape (n_event_types,)."""
    return np.array([t in ITEM_EVENT_TYPES for t in EventType])
