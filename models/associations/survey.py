"""Compiled passes over a whole log, in its order: what is counted before rows are made, and where the events of items lie."""

from typing import Final

import numpy as np

from models.arrays import Floats32, Ints, Ints32
from models.associations.arrays import N_TYPES, Log, Touches
from models.associations.prefetch import prefetch
from models.kernels import kernel

_ROWS_AHEAD: Final = 16  # of the log, where each costs little


@kernel
def survey(log: Log, n_items: int, age_rate: float) -> tuple[Ints, Ints32, Floats32, Ints32, int]:
    """One pass over the log: what `Totals` are made of.

    Returns how many events each item has, shape (n_items,); the sessions in which each (item, type) occurs, plain and decayed
    by age, both of shape (n_items, N_TYPES); each item's category as its last event that has one knows it, -1 for none; and in
    how many sessions there is an item.
    """
    events, starts = log.events, log.starts
    n_touches, session, last_with_item, n_sessions = np.zeros(n_items, np.int64), 0, -1, 0
    plain = np.zeros((n_items, N_TYPES), np.int32)
    decayed = np.zeros((n_items, N_TYPES), np.float32)
    last_session, category = np.full((n_items, N_TYPES), -1, np.int32), np.full(n_items, -1, np.int32)
    for p in range(len(events)):
        ahead = min(p + _ROWS_AHEAD, len(events) - 1)
        cell = events[ahead].item * N_TYPES + events[ahead].event_type
        prefetch(plain, cell, 0)
        prefetch(decayed, cell, 0)
        prefetch(last_session, cell, 0)
        session += starts[p]
        item, kind = events[p].item, events[p].event_type
        if item < 0:
            continue
        n_touches[item] += 1
        if events[p].category >= 0:
            category[item] = events[p].category
        n_sessions += last_with_item != session
        last_with_item = session
        if last_session[item, kind] != session:
            last_session[item, kind] = session
            plain[item, kind] += 1
            decayed[item, kind] += np.exp(-age_rate * ((log.newest_us - events[p].occurred_at_us) / 1e6))
    return n_touches, plain, decayed, category, n_sessions


@kernel
def by_item(log: Log, first: int, last: int, n_touches: Ints) -> Touches:
    """Where the events of the items ``first <= item < last`` lie, grouped by item (counting sort)."""
    events, starts = log.events, log.starts
    n_items = last - first
    offsets, following = np.zeros(n_items + 1, np.int64), np.empty(n_items, np.int64)
    for i in range(n_items):
        following[i] = offsets[i]
        offsets[i + 1] = offsets[i] + n_touches[first + i]
    order, last_session, session = np.empty(offsets[n_items], np.int32), np.full(n_items, -1, np.int32), 0
    for p in range(len(events)):
        session += starts[p]
        i = events[p].item - first
        if 0 <= i < n_items:
            order[following[i]] = p if last_session[i] == session else ~p
            following[i] += 1
            last_session[i] = session
    return Touches(first, order, offsets)
