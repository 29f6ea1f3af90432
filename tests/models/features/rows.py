"""Events as the folds of items and users are given them in their tests."""

from models.events.encode import TYPE_CODE, EventArray
from tests.builders import event_array


def events_of(*rows: tuple[str, int, int, float]) -> EventArray:
    """An event array of (type, at_us, item code, price)."""
    array = event_array(len(rows))
    for row, (kind, at_us, item, price) in enumerate(rows):
        array["event_type"][row], array["occurred_at_us"][row] = TYPE_CODE[kind], at_us
        array["item"][row], array["price"][row] = item, price
    return array
