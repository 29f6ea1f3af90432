"""A second opinion on intent, held out: never learned from, only to test a model that was taught by `intent_rules`.

A model can repeat the mistakes of its own labelling rules. These rules look at the *rest* of the session, at what the visitor
did after the prefix, and know no votes, no chain and no measures:

====================  ======================================================================================================
intent_to_purchase    something is put into the cart, looked at in the cart, checked out or bought in the rest of the session
comparative           else, specifications are compared, or an item met before is looked at again after another one
research              else, a review, an article or details are opened
exploratory           else, an item that was not met before, or a category, is looked at
====================  ======================================================================================================

A prefix after which nothing of this happens has no label.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from models.arrays import Flags
from models.events.encode import NO_CODE, EventArray
from models.schema import EventType, Intent

NO_LABEL: Final = -1
_BUYING: Final = (EventType.ADD_TO_CART, EventType.CART_VIEW, EventType.CHECKOUT_VIEW, EventType.PURCHASE)
_READING: Final = (EventType.DETAIL_VIEW, EventType.REVIEW_READ, EventType.CONTENT_VIEW)
_LOOKING: Final = (EventType.ITEM_VIEW, EventType.CATEGORY_BROWSE, EventType.ITEM_ENGAGEMENT)


def label(events: EventArray, starts: Flags) -> npt.NDArray[np.int8]:
    """Intent of each prefix by what follows it: codes of `Intent` or `NO_LABEL`, shape (n_events,).

    Parameters
    ----------
    events
        Whole sessions, one after the other, shape (n_events,).
    starts
        First row of each session, shape (n_events,).

    Examples
    --------
    >>> from models.events.encode import EVENT_DTYPE
    >>> events = np.zeros(3, EVENT_DTYPE)
    >>> events["event_type"] = [EventType.SEARCH, EventType.ITEM_VIEW, EventType.ADD_TO_CART]
    >>> label(events, np.array([True, False, False])).tolist()
    [2, 2, -1]
    """
    kind = events["event_type"]
    found = np.full(len(events), NO_LABEL, dtype=np.int8)
    # From the weakest to the strongest: the later one overwrites.
    for intent, marks in (
        (Intent.EXPLORATORY, np.isin(kind, _LOOKING)),
        (Intent.RESEARCH, np.isin(kind, _READING)),
        (Intent.COMPARATIVE, (kind == EventType.SPEC_COMPARE) | _returns(events, starts)),
        (Intent.INTENT_TO_PURCHASE, np.isin(kind, _BUYING)),
    ):
        found[_follows(marks, starts)] = intent
    return found


def _follows(marks: Flags, starts: Flags) -> Flags:
    """Whether a marked row follows later in the session."""
    n = len(marks)
    if n == 0:
        return marks
    total = np.append(0, np.cumsum(marks))
    end = np.append(np.flatnonzero(starts)[1:], n)[np.cumsum(starts) - 1]
    return np.asarray(total[end] - total[np.arange(n) + 1] > 0)


def _returns(events: EventArray, starts: Flags) -> Flags:
    """Rows with an item that the session met before, another one in between."""
    rows = np.flatnonzero(events["item"] != NO_CODE)
    session, item = (np.cumsum(starts) - 1)[rows], events["item"][rows]
    key = session.astype(np.int64) * (int(item.max(initial=0)) + 1) + item
    first = np.zeros(len(rows), dtype=np.bool_)
    first[np.unique(key, return_index=True)[1]] = True
    moved = np.append(True, key[1:] != key[:-1])
    marks = np.zeros(len(events), dtype=np.bool_)
    marks[rows[~first & moved]] = True
    return marks
