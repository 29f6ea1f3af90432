"""Associations that follow later sessions, kept as they stood every so many events: what a service asks at each moment."""

import numpy as np

from models.arrays import Ints, Objects
from models.associations.live import LiveAssociations
from models.associations.model import AssociationStore
from models.inference.examples import Log
from models.replay import Views
from models.schema import EVENT_TYPES

_SETTLED = 20  # views between two times that all rows are made again


def followed(store: AssociationStore, log: Log, every: int) -> Views:
    """Views of associations that follow sessions which began after the build.

    Parameters
    ----------
    every
        Events from one view to the next; a service makes one ten times a second.
    """
    live, at_us = LiveAssociations(store), np.ascontiguousarray(log.events["occurred_at_us"])
    session, order = np.cumsum(log.starts) - 1, np.argsort(at_us, kind="stable")
    told, until_us = np.zeros(len(at_us), np.bool_), np.zeros(0, np.int64)
    stores: list[AssociationStore] = []
    for first in range(0, len(order), every):
        new = order[first : first + every]
        told[new] = True
        rows = np.flatnonzero(told & np.isin(session, session[new]))
        view = live.fold(_columns(log, rows, session), np.isin(rows, new))
        if len(stores) % _SETTLED == _SETTLED - 1:
            view = live.settle()
        until_us = np.append(until_us, at_us[new[-1]])
        stores.append(view)
    return Views(until_us, stores)


def _columns(log: Log, rows: Ints, session: Ints) -> dict[str, Ints | Objects]:
    """Events as the tail of a log reads them."""
    events = log.events[rows]
    items, categories = (np.array([*texts, None], dtype=object) for texts in (log.item_ids, log.categories))
    return {
        "seq": rows + 1,
        "user_id": log.user_codes[rows].astype(str).astype(object),
        "session_id": session[rows].astype(str).astype(object),
        "event_type": np.array(EVENT_TYPES, dtype=object)[events["event_type"]],
        "occurred_at_us": events["occurred_at_us"].copy(),
        "item_id": items[events["item"]],
        "category": categories[events["category"]],
    }
