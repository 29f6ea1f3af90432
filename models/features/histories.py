"""Histories: what a user did on items, newest first, each thing once per item and event type.

One walk over a user's events from the newest back makes what the online store holds, what the offline table holds, and what
a moment of the log is judged with.
"""

from typing import NamedTuple

import numpy as np

from models.arrays import Bytes, Ints
from models.events.encode import EventArray
from models.kernels import kernel
from models.schema import N_RECENT_EVENTS


class Histories(NamedTuple):
    """Item events of many users, by user and time; those of user u stand at ``bounds[u]:bounds[u + 1]``."""

    item: Ints
    kind: Bytes
    at_us: Ints
    bounds: Ints


def of(events: EventArray, user_codes: Ints) -> Histories:
    """Sort the item events of a log by user; of events at one instant the later row counts as later."""
    order = np.lexsort((events["occurred_at_us"], user_codes))
    order = order[events["item"][order] >= 0]
    bounds = np.searchsorted(user_codes[order], np.arange(int(user_codes.max(initial=-1)) + 2))
    rows = events[order]
    item, kind, at_us = (np.ascontiguousarray(rows[name]) for name in ("item", "event_type", "occurred_at_us"))
    return Histories(item, kind, at_us, bounds.astype(np.int64))


def until(histories: Histories, user: int, last_us: int, before_us: int | None = None) -> Ints:
    """Places of a user's newest events up to an instant, at most `N_RECENT_EVENTS`, each item and type once, newest first.

    Parameters
    ----------
    before_us
        Of these, only those before this instant: what happened before a session.

    Examples
    --------
    >>> from models.events.encode import EVENT_DTYPE
    >>> events = np.zeros(3, EVENT_DTYPE)
    >>> events["item"], events["occurred_at_us"] = [7, 7, 8], [1, 2, 3]
    >>> until(of(events, np.zeros(3, np.int64)), 0, 3).tolist(), until(of(events, np.zeros(3, np.int64)), 0, 3, 3).tolist()
    ([2, 1], [1])
    """
    first, end = histories.bounds[user : user + 2].tolist()
    found = np.empty(N_RECENT_EVENTS, np.int64)
    n = _walk(histories.item, histories.kind, histories.at_us, first, end, last_us, found)
    places = found[:n]
    return places if before_us is None else places[histories.at_us[places] < before_us]


@kernel
def _walk(item: Ints, kind: Bytes, at_us: Ints, first: int, end: int, last_us: int, found: Ints) -> int:
    n, place = 0, end - 1
    while place >= first and n < len(found):
        if at_us[place] <= last_us:
            known = False
            for k in range(n):
                known = known or (item[found[k]] == item[place] and kind[found[k]] == kind[place])
            if not known:
                found[n] = place
                n += 1
        place -= 1
    return n
