"""Events as the folds of items and users are given them in their tests."""

import numpy as np

from models.events.encode import EVENT_DTYPE, NO_CODE, TYPE_CODE, EventArray
from models.schema import MEASURES


def events_of(*rows: tuple[str, int, int, float]) -> EventArray:
    """An event array of (type, at_us, item code, price)."""
    array = np.zeros(len(rows), dtype=EVENT_DTYPE)
    for name in MEASURES:
        array[name] = np.nan
    array["category"] = NO_CODE
    for row, (kind, at_us, item, price) in enumerate(rows):
        array["event_type"][row], array["occurred_at_us"][row] = TYPE_CODE[kind], at_us
        array["item"][row], array["price"][row] = item, price
    return array
