"""Indirect touches: what an event without an item speaks for, in a log, in the live tail and in a request alike.

- A cart or checkout view speaks for the items in the cart: added and neither removed nor bought in the session, the newest
  `MOST_IN_CART`.
- A search, a refinement or an article without an id is something done at the item in hand, so that its associations lead to
  what is viewed next; before the first item, at the first.
- A category browse is done on the category: an anchor of its own, under a name that no item can have (`anchor_of`).

Where a partner names the item, it stays. What is `source_only` leads somewhere and is never led to: categories and articles are
not recommended, and where a search was made says nothing of the item itself.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from models.arrays import Bytes, Flags, Ints, Objects
from models.events.encode import EventArray
from models.kernels import ZERO, kernel
from models.schema import MAX_ID_LENGTH, EventType

MOST_IN_CART: Final = 10
_ANCHOR: Final = "category:".rjust(MAX_ID_LENGTH)  # with a name behind it, longer than any id that is let in
_BROWSE, _SEARCH, _REFINE = int(EventType.CATEGORY_BROWSE), int(EventType.SEARCH), int(EventType.SEARCH_REFINE)
_CONTENT, _CART, _CHECKOUT = int(EventType.CONTENT_VIEW), int(EventType.CART_VIEW), int(EventType.CHECKOUT_VIEW)
_ADD, _REMOVE, _BUY = int(EventType.ADD_TO_CART), int(EventType.REMOVE_FROM_CART), int(EventType.PURCHASE)
SOURCE_ONLY: Final = (_BROWSE, _SEARCH, _REFINE, _CONTENT)


def anchor_of(category: str) -> str:
    """Name under which a category stands among the items of a store."""
    return _ANCHOR + category


def shown(item_id: str) -> str:
    """An item's own id, or a category's own name.

    Examples
    --------
    >>> shown(anchor_of("shoes")), shown("sku-9")
    ('shoes', 'sku-9')
    """
    return item_id.removeprefix(_ANCHOR)


@kernel
def is_source_only(kind: int) -> bool:
    """Whether associations lead from, but never to what was done so."""
    return kind in (_BROWSE, _SEARCH, _REFINE, _CONTENT)


@kernel
def is_of_cart(kind: int) -> bool:
    """Whether one event of the type may speak for several items at once."""
    return kind in (_CART, _CHECKOUT)


@kernel
def _following(item: Ints, kind: Bytes, starts: Flags) -> Ints:
    """First item of the same session after each event, shape (n_events,)."""
    found, following = np.empty(len(item), np.int64), -1
    for p in range(len(item) - 1, -1, -1):
        found[p] = following
        if item[p] >= 0 and kind[p] != _BROWSE:
            following = item[p]
        if starts[p]:
            following = -1
    return found


@kernel
def _dropped(cart: Ints, n: int, item: int) -> int:
    """Take an item out of a cart; returns how many are left."""
    kept = ZERO
    for k in range(n):
        if cart[k] != item:
            cart[kept] = cart[k]
            kept += 1
    return kept


@kernel
def touches(item: Ints, kind: Bytes, starts: Flags, counted: Flags) -> tuple[Ints, Ints]:
    """Touches of whole sessions: what each event is about.

    Parameters
    ----------
    item, kind, starts
        Of events in order, shape (n_events,); a browse already has its category's code.
    counted
        Which of those without an item speak for any, shape (n_events,).

    Returns
    -------
    Row and item of each touch, in order, shape (n_touches,) each; the items of a cart side by side, the newest last.
    """
    n = len(item)
    for p in range(len(item)):
        n += (MOST_IN_CART - 1) * (is_of_cart(kind[p]) and item[p] < 0)
    row, about, m = np.empty(n, np.int64), np.empty(n, np.int64), ZERO
    following, cart, n_cart, at_hand = _following(item, kind, starts), np.empty(MOST_IN_CART, np.int64), ZERO, -1
    for p in range(len(item)):
        one, what = item[p], kind[p]
        if starts[p]:
            n_cart, at_hand = ZERO, -1
        if one < 0 and counted[p] and is_of_cart(what) and n_cart > 0:
            for k in range(n_cart):
                row[m], about[m] = p, cart[k]
                m += 1
            continue
        if one >= 0 and what != _BROWSE:
            at_hand = one
            if what in (_ADD, _REMOVE, _BUY):
                n_cart = _dropped(cart, n_cart, one)
            if what == _ADD:
                if n_cart == len(cart):
                    n_cart = _dropped(cart, n_cart, cart[0])
                cart[n_cart] = one
                n_cart += 1
        elif one < 0 and counted[p] and what != _BROWSE and is_source_only(what):
            one = at_hand if at_hand >= 0 else following[p]
        row[m], about[m] = p, one
        m += 1
    return row[:m], about[:m]


class Touched(NamedTuple):
    """A log in which every event that speaks for an item has it: one row per touch."""

    events: EventArray
    starts: Flags


def touched(events: EventArray, starts: Flags, counted: Flags | None = None) -> Touched:
    """Events with what they are about; those given where all name their item.

    Parameters
    ----------
    events
        Whole sessions one after the other, shape (n_events,); a browse has its category's code as its item.
    counted
        As `touches` has it; all if None.

    Examples
    --------
    >>> from models.events.encode import EVENT_DTYPE
    >>> events = np.zeros(4, EVENT_DTYPE)
    >>> events["item"] = [7, 8, -1, -1]
    >>> events["event_type"] = [EventType.ADD_TO_CART, EventType.ADD_TO_CART, EventType.CART_VIEW, EventType.SEARCH]
    >>> touched(events, np.array([True, False, False, False])).events["item"].tolist()
    [7, 8, 7, 8, 8]
    """
    if not (events["item"] < 0).any():
        return Touched(events, starts)
    counted = np.ones(len(events), np.bool_) if counted is None else np.ascontiguousarray(counted)
    item, kind = (np.ascontiguousarray(events[name]) for name in ("item", "event_type"))
    row, about = touches(item, kind, np.ascontiguousarray(starts), counted)
    found = events[row]
    found["item"] = about
    return Touched(found, starts[row] & np.diff(row, prepend=-1).astype(np.bool_))


class Catalogue(NamedTuple):
    """Events whose category browses are about their category, and the text behind each item code, those of categories last."""

    events: EventArray
    item_ids: Sequence[str]


def with_categories(events: EventArray, item_ids: Sequence[str], categories: Sequence[str]) -> Catalogue:
    """Give each category that was browsed a code after the items'; what is in `events` is copied where anything changes."""
    browse = events["event_type"] == _BROWSE
    if browse.any():
        browse &= (events["item"] < 0) & (events["category"] >= 0) & (events["category"] < len(categories))
    if not browse.any():
        return Catalogue(events, item_ids)
    codes, place = np.unique(events["category"][browse], return_inverse=True)
    found = events.copy()
    found["item"][browse] = len(item_ids) + place
    return Catalogue(found, [*item_ids, *(anchor_of(categories[code]) for code in codes.tolist())])


def texts(item_ids: Objects, event_types: Objects, categories: Objects) -> Objects:
    """Names in an event frame: each row's item, or for a category browse its category; None for neither."""
    found = item_ids.copy()
    for row in np.flatnonzero(event_types == EventType.CATEGORY_BROWSE.name.lower()).tolist():
        if found[row] is None and categories[row] is not None:
            found[row] = anchor_of(categories[row])
    return found
