"""Live session: one visit as the folds read it, whether a request brought it along or the log holds it."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.events.encode import EVENT_DTYPE, NO_CODE, EventArray
from models.schema import EVENT_TYPES, MEASURES, EventType
from models.visitor_groups import NO_GROUPS, Groups

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
    is_moved
        Whether the sender's clock was ahead, and the events have been moved back.
    groups
        Whom the shop takes the visitor for.
    """

    events: EventArray
    item_ids: list[str]
    categories: list[str]
    is_moved: bool = False
    groups: Groups = NO_GROUPS


EMPTY: Final = LiveSession(np.zeros(0, dtype=EVENT_DTYPE), [], [])


def cut(events: EventArray, item_ids: Texts, categories: Texts | None = None, groups: Groups = NO_GROUPS) -> LiveSession:
    """One session out of many, its items and categories counted from 0 in order of first appearance.

    Parameters
    ----------
    events
        Of the session, shape (n_events,).
    item_ids, categories
        Texts behind all codes. Without categories, the session names none.
    groups
        Of the visitor.

    Examples
    --------
    >>> events = np.zeros(3, dtype=EVENT_DTYPE)
    >>> events["item"], events["category"] = [7, 4, 7], -1
    >>> session = cut(events[1:3], [f"sku-{k}" for k in range(9)])
    >>> session.item_ids, session.events["item"].tolist()
    (['sku-4', 'sku-7'], [0, 1])
    """
    own = events.copy()
    return LiveSession(own, _recoded(own, "item", item_ids), _recoded(own, "category", categories), groups=groups)


def _recoded(events: EventArray, name: str, texts: Texts | None) -> list[str]:
    """Count the codes of a column from 0, in place; the texts behind them."""
    codes: Sequence[int] = events[name].tolist()
    place = {code: k for k, code in enumerate(dict.fromkeys(code for code in codes if code >= 0))}
    events[name] = [place.get(code, -1) for code in codes]
    return [] if texts is None else [str(texts[code]) for code in place]


class CurrentState(NamedTuple):
    """State of a visitor: the item she looks at, else the category, and the search that led there; None where unknown.

    Attributes
    ----------
    query_length
        Of the words searched for, in characters; the words themselves go no further than the door.
    """

    item_id: str | None = None
    category: str | None = None
    query_length: int | None = None


def looking_at(session: LiveSession, state: CurrentState, now_us: int) -> LiveSession:
    """The session as it is when the visitor has come to a state: with the events that brought her there, if it lacks them.

    So every fold and model that reads events reads the state too, as it was trained to. A search precedes what it led to.

    Parameters
    ----------
    now_us
        When she is there, microseconds since 1970.

    Examples
    --------
    >>> session = looking_at(EMPTY, CurrentState(category="shoes", query_length=12), 0)
    >>> [EVENT_TYPES[kind] for kind in session.events["event_type"]], session.categories
    (['search', 'category_browse'], ['shoes'])
    """
    last = session.events[-1] if len(session.events) else None
    missing: list[tuple[EventType, str | None, str | None, float]] = []
    if state.query_length is not None and not _searched(last, state.query_length):
        missing.append((EventType.SEARCH, None, None, float(state.query_length)))
    if state.item_id is not None:
        if last_item(session) != state.item_id:
            missing.append((EventType.ITEM_VIEW, state.item_id, state.category, np.nan))
    elif state.category is not None and not _browsed(session, state.category):
        missing.append((EventType.CATEGORY_BROWSE, None, state.category, np.nan))
    if not missing:
        return session
    items, categories = list(session.item_ids), list(session.categories)
    more = np.zeros(len(missing), dtype=EVENT_DTYPE)
    for name in MEASURES:
        more[name] = np.nan
    for name in ("utc_offset_min", "device", "referrer"):
        more[name] = 0 if last is None else last[name]
    more["occurred_at_us"] = now_us if last is None else max(now_us, int(last["occurred_at_us"]))
    for row, (kind, item_id, category, query_length) in zip(more, missing, strict=True):
        row["event_type"], row["query_length"] = kind, query_length
        row["item"], row["category"] = _code(items, item_id), _code(categories, category)
    return session._replace(events=np.concatenate((session.events, more)), item_ids=items, categories=categories)


def _searched(last: Any, query_length: int) -> bool:
    kinds = (EventType.SEARCH, EventType.SEARCH_REFINE)
    return last is not None and last["event_type"] in kinds and last["query_length"] == query_length


def _browsed(session: LiveSession, category: str) -> bool:
    """Whether the newest event that names a category names this one."""
    codes = session.events["category"]
    known = codes[codes >= 0]
    return bool(len(known)) and session.categories[int(known[-1])] == category


def _code(texts: list[str], text: str | None) -> int:
    """Place of a text, which is added if it is new; `NO_CODE` for None."""
    if text is None:
        return NO_CODE
    if text not in texts:
        texts.append(text)
    return texts.index(text)


def last_item(session: LiveSession) -> str | None:
    """Item of the newest event that has one."""
    codes = session.events["item"]
    known = codes[codes >= 0]
    return session.item_ids[int(known[-1])] if len(known) else None


def cart_and_bought(events: EventArray) -> tuple[list[int], set[int]]:
    """Codes of the items that lie in the cart after some events of a session, newest first, and of those that were bought."""
    cart: dict[int, None] = {}
    bought: set[int] = set()
    kinds, items = events["event_type"], events["item"]
    rows = np.flatnonzero(CART_EVENTS[kinds])
    for item, kind in zip(items[rows].tolist(), kinds[rows].tolist(), strict=True):
        cart.pop(item, None)
        if kind == EventType.ADD_TO_CART:
            cart[item] = None
        elif kind == EventType.PURCHASE:
            bought.add(item)
    return list(reversed(cart)), bought


def in_cart(session: LiveSession) -> list[str]:
    """Items that lie in the cart at the session's end, newest first."""
    return [session.item_ids[item] for item in cart_and_bought(session.events)[0]]
