"""Live session: one visit as the folds read it, whether a request brought it along or the log holds it."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from models.events.encode import EVENT_DTYPE, EncodedEvents, EventArray
from models.schema import EVENT_TYPES, EventType

_CART_EVENTS: Final = np.zeros(len(EVENT_TYPES), dtype=np.bool_)
_CART_EVENTS[[EventType.ADD_TO_CART, EventType.REMOVE_FROM_CART, EventType.PURCHASE]] = True


class LiveSession(NamedTuple):
    """Events of one session, with the texts behind their codes.

    Attributes
    ----------
    events
        Shape (n_events,), dtype `EVENT_DTYPE`, in time order; item codes index `item_ids`.
    item_ids
        Distinct items, in any order.
    categories
        Distinct categories, likewise.
    """

    events: EventArray
    item_ids: list[str]
    categories: list[str]


EMPTY: Final = LiveSession(np.zeros(0, dtype=EVENT_DTYPE), [], [])


def cut(encoded: EncodedEvents, rows: slice) -> LiveSession:
    """One session out of many, its items and categories counted from 0 in order of first appearance.

    Examples
    --------
    >>> events = np.zeros(3, dtype=EVENT_DTYPE)
    >>> events["item"], events["category"] = [7, 4, 7], -1
    >>> texts = np.array([f"sku-{k}" for k in range(9)], dtype=object)
    >>> session = cut(EncodedEvents(events, texts, texts), slice(1, 3))
    >>> session.item_ids, session.events["item"].tolist()
    (['sku-4', 'sku-7'], [0, 1])
    """
    events = encoded.events[rows].copy()
    texts = []
    for name, known in (("item", encoded.item_ids), ("category", encoded.categories)):
        codes: Sequence[int] = events[name].tolist()
        own = {code: place for place, code in enumerate(dict.fromkeys(code for code in codes if code >= 0))}
        events[name] = [own.get(code, -1) for code in codes]
        texts.append([str(known[code]) for code in own])
    return LiveSession(events, *texts)


def last_item(session: LiveSession) -> str | None:
    """Item of the newest event that has one."""
    codes = session.events["item"]
    known = codes[codes >= 0]
    return session.item_ids[int(known[-1])] if len(known) else None


def cart_and_bought(session: LiveSession) -> tuple[list[int], set[int]]:
    """Codes of the items that lie in the cart at the session's end, newest first, and of those that were bought."""
    cart: dict[int, None] = {}
    bought: set[int] = set()
    events = session.events
    for row in np.flatnonzero(_CART_EVENTS[events["event_type"]]):
        item, kind = int(events["item"][row]), int(events["event_type"][row])
        cart.pop(item, None)
        if kind == EventType.ADD_TO_CART:
            cart[item] = None
        elif kind == EventType.PURCHASE:
            bought.add(item)
    return list(reversed(cart)), bought


def in_cart(session: LiveSession) -> list[str]:
    """Items that lie in the cart at the session's end, newest first."""
    return [session.item_ids[item] for item in cart_and_bought(session)[0]]
