"""Live session: one visit as the folds read it, whether a request brought it along or the log holds it."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.events.encode import EVENT_DTYPE, EventArray
from models.schema import EVENT_TYPES, EventType

Texts = Sequence[str] | npt.NDArray[np.object_]
CART_EVENTS: Final = np.zeros(len(EVENT_TYPES), dtype=np.bool_)  # by event type: what changes the cart, or buys
CART_EVENTS[[EventType.ADD_TO_CART, EventType.REMOVE_FROM_CART, EventType.PURCHASE]] = True


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


def cut(events: EventArray, item_ids: Texts, categories: Texts | None = None) -> LiveSession:
    """One session out of many, its items and categories counted from 0 in order of first appearance.

    Parameters
    ----------
    events
        Of the session, shape (n_events,).
    item_ids, categories
        Texts behind all codes. Without categories, the session names none.

    Examples
    --------
    >>> events = np.zeros(3, dtype=EVENT_DTYPE)
    >>> events["item"], events["category"] = [7, 4, 7], -1
    >>> session = cut(events[1:3], [f"sku-{k}" for k in range(9)])
    >>> session.item_ids, session.events["item"].tolist()
    (['sku-4', 'sku-7'], [0, 1])
    """
    own = events.copy()
    return LiveSession(own, _recoded(own, "item", item_ids), _recoded(own, "category", categories))


def _recoded(events: EventArray, name: str, texts: Texts | None) -> list[str]:
    """Count the codes of a column from 0, in place; the texts behind them."""
    codes: Sequence[int] = events[name].tolist()
    place = {code: k for k, code in enumerate(dict.fromkeys(code for code in codes if code >= 0))}
    events[name] = [place.get(code, -1) for code in codes]
    return [] if texts is None else [str(texts[code]) for code in place]


def last_item(session: LiveSession) -> str | None:
    """Item of the newest event that has one."""
    codes = session.events["item"]
    known = codes[codes >= 0]
    return session.item_ids[int(known[-1])] if len(known) else None


def cart_and_bought(events: EventArray) -> tuple[list[int], set[int]]:
    """Codes of the items that lie in the cart after some events of a session, newest first, and of those that were bought."""
    cart: dict[int, None] = {}
    bought: set[int] = set()
    for row in np.flatnonzero(CART_EVENTS[events["event_type"]]):
        item, kind = int(events["item"][row]), int(events["event_type"][row])
        cart.pop(item, None)
        if kind == EventType.ADD_TO_CART:
            cart[item] = None
        elif kind == EventType.PURCHASE:
            bought.add(item)
    return list(reversed(cart)), bought


def in_cart(session: LiveSession) -> list[str]:
    """Items that lie in the cart at the session's end, newest first."""
    return [session.item_ids[item] for item in cart_and_bought(session.events)[0]]
