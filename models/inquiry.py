"""Compiled pass over a session: what its events are about in the codes of a model, and what must not come back.

It stands between the events of a request and every model that ranks items, so it is one call, not forty small ones.
"""

from typing import Final

import numpy as np

from models.arrays import Bytes, Flags, Floats, Ints, Records
from models.associations.indirect import touches
from models.events.encode import NO_CODE
from models.kernels import ZERO, kernel
from models.schema import EventType

SESSIONS_LAST: Final = -2  # on screen is the session's last item
_ADD, _REMOVE, _BUY = int(EventType.ADD_TO_CART), int(EventType.REMOVE_FROM_CART), int(EventType.PURCHASE)
_BROWSE: Final = int(EventType.CATEGORY_BROWSE)


@kernel
def _subjects(events: Records, n_items: int, n_categories: int, all_touches: bool) -> tuple[Ints, Ints]:
    """Row and subject of each touch: an item, a category from `n_items` on, or `NO_CODE`."""
    n, is_plain = len(events), True
    item, kind = np.empty(n, np.int64), np.empty(n, np.int8)
    for k in range(n):
        item[k], kind[k] = events[k].item, events[k].event_type
        if item[k] < 0:
            is_plain = False
            if all_touches and kind[k] == _BROWSE and 0 <= events[k].category < n_categories:
                item[k] = n_items + events[k].category
    if is_plain or not all_touches:
        return np.arange(n), item
    starts = np.zeros(n, np.bool_)
    starts[0] = True
    return touches(item, kind, starts, np.ones(n, np.bool_))


@kernel
def _shut(events: Records, n_items: int, on_screen: int, seen: bool) -> Flags:
    """Which items of the session must not come back, shape (n_items,)."""
    shut, last = np.zeros(n_items, np.bool_), NO_CODE
    if seen:
        shut[:] = True
        return shut
    bought = np.zeros(n_items, np.bool_)
    for k in range(len(events)):
        item, kind = events[k].item, events[k].event_type
        if item < 0:
            continue
        last = item
        if kind == _ADD:
            shut[item] = True
        elif kind == _REMOVE:
            shut[item] = False
        elif kind == _BUY:
            shut[item], bought[item] = False, True
    if on_screen == SESSIONS_LAST and last >= 0:
        shut[last] = True
    return shut | bought


@kernel
def inquired(
    events: Records, codes: Ints, named_codes: Ints, n_items: int, on_screen: int, all_touches: bool, seen: bool
) -> tuple[Ints, Bytes, Floats, Ints, Ints]:  # fmt: skip
    """Put a session into the codes of a model.

    Parameters
    ----------
    events
        The session in order, shape (n_events,), dtype `EVENT_DTYPE`.
    codes
        Of the session's items, then of its categories, in the model; shape (n_items + n_categories,).
    named_codes
        Of the session's categories as the model knows them by name, shape (n_categories,) or longer; empty where it knows none.
    on_screen
        Code of the item on screen, which must not come back; `SESSIONS_LAST` for the session's last item.
    all_touches
        Whether events without an item speak for theirs, as `models.associations.indirect` has it.
    seen
        Whether all items of the session must not come back, instead of those in the cart, bought and on screen.

    Returns
    -------
    Codes, event types, ages in seconds (from the last event) and named categories of the touches, oldest first, shape
    (n_touches,) each, the last one empty for a model that knows none; and the codes that must not come back.
    """
    n = len(events)
    left_out, n_out = np.empty(n_items + 1, np.int64), ZERO
    shut = _shut(events, n_items, on_screen, seen)
    for k in range(n_items):
        if shut[k] and codes[k] != NO_CODE:
            left_out[n_out] = codes[k]
            n_out += 1
    if on_screen >= 0:
        left_out[n_out] = on_screen
        n_out += 1
    if n == 0:
        return np.empty(0, np.int64), np.empty(0, np.int8), np.empty(0), np.empty(0, np.int64), left_out[:n_out]
    row, about = _subjects(events, n_items, len(codes) - n_items, all_touches)
    items, types, ages_s = np.empty(len(row), np.int64), np.empty(len(row), np.int8), np.empty(len(row))
    named = np.empty(len(row) if len(named_codes) else 0, np.int64)
    for k in range(len(row)):
        event = events[row[k]]
        items[k] = codes[about[k]] if about[k] >= 0 else NO_CODE
        types[k] = event.event_type
        ages_s[k] = (events[n - 1].occurred_at_us - event.occurred_at_us) / 1e6
        if len(named):
            named[k] = named_codes[event.category] if event.category >= 0 else NO_CODE
    return items, types, ages_s, named, left_out[:n_out]
