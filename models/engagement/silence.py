"""Silence of a visitor: what she left lying, and at which instants of it she is looked at again.

Nothing arrives when somebody goes silent, so the instants follow from the newest event alone: a number of seconds after it.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from models.live_session import LiveSession, cart_and_bought
from models.schema import SESSION_IDLE_S, EventType

SECOND_US: Final = 1_000_000
STEPS_S: Final = (60, 300, 1200, SESSION_IDLE_S, 3600)  # one of them is the session's end
LEAST_COMPARED: Final = 2  # comparisons that make somebody who compares


class Left(NamedTuple):
    """Something that a visitor left lying.

    Attributes
    ----------
    kind
        ``checkout``, ``cart`` or ``comparison``.
    item_ids
        What lies there, newest first; none at a checkout of what was put into the cart before the session.
    """

    kind: str
    item_ids: list[str]


class Silence(NamedTuple):
    """Silence of a visitor so far, seconds, and what she left lying; 0 seconds: the newest event is the moment."""

    seconds: float = 0.0
    left: Left | None = None


PRESENT: Final = Silence()


def left_lying(session: LiveSession) -> Left | None:
    """The checkout, else the cart, else the comparison that a visitor who went silent left lying since the last purchase.

    Examples
    --------
    >>> from models.events.encode import EVENT_DTYPE
    >>> events = np.zeros(3, dtype=EVENT_DTYPE)
    >>> events["event_type"] = EventType.ADD_TO_CART, EventType.CHECKOUT_VIEW, EventType.PURCHASE
    >>> [left_lying(LiveSession(events[:n], ["sku-1"], [])) for n in (0, 1, 2, 3)]
    [None, Left(kind='cart', item_ids=['sku-1']), Left(kind='checkout', item_ids=['sku-1']), None]
    """
    kinds = session.events["event_type"]
    bought = np.flatnonzero(kinds == EventType.PURCHASE)
    events = session.events[int(bought[-1]) + 1 :] if len(bought) else session.events
    kinds = events["event_type"]
    in_cart = cart_and_bought(events)[0]
    if len(bought) and not in_cart:
        return None  # a look at the order, or around, is nothing left lying
    if (kinds == EventType.CHECKOUT_VIEW).any() and (in_cart or not (kinds == EventType.REMOVE_FROM_CART).any()):
        return Left("checkout", _names(session, in_cart))
    if in_cart:
        return Left("cart", _names(session, in_cart))
    compared = events["item"][kinds == EventType.SPEC_COMPARE]
    if len(compared) >= LEAST_COMPARED:
        return Left("comparison", _names(session, list(dict.fromkeys(reversed(compared.tolist())))))
    return None


def put_in_at_us(session: LiveSession) -> int:
    """Instant of the newest thing put into the cart, else of the session's beginning: a purchase since then settles it.

    Raises
    ------
    IndexError
        If the session is empty.
    """
    put_in = np.flatnonzero(session.events["event_type"] == EventType.ADD_TO_CART)
    return int(session.events["occurred_at_us"][put_in[-1] if len(put_in) else 0])


def _names(session: LiveSession, items: Sequence[int]) -> list[str]:
    return [session.item_ids[item] for item in items if item >= 0]


def next_step_s(since_us: int, steps_s: Sequence[int], after_us: int) -> int | None:
    """The first step of a silence that is due behind an instant; None: there is no more.

    Parameters
    ----------
    since_us
        When the silence began, microseconds since 1970.
    steps_s
        Rising, seconds.

    Examples
    --------
    >>> next_step_s(0, (60, 300), -1), next_step_s(0, (60, 300), 60_000_000), next_step_s(0, (60, 300), 300_000_000)
    (60, 300, None)
    """
    return next((step for step in steps_s if since_us + step * SECOND_US > after_us), None)


def newest_step_s(since_us: int, steps_s: Sequence[int], now_us: int) -> int | None:
    """The newest step of a silence that is due at an instant: earlier ones that were missed are passed over.

    Examples
    --------
    >>> newest_step_s(0, (60, 300), 59_999_999), newest_step_s(0, (60, 300), 1_000_000_000)
    (None, 300)
    """
    return next((step for step in reversed(steps_s) if since_us + step * SECOND_US <= now_us), None)
