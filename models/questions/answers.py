"""Answers to questions about items: what may be answered, and where the wanted item stands.

An answer is a list of items, best first, as they are coded in the log that is asked about, `NO_CODE` where there are fewer. Who
answers is not this folder's business (`models.replay` asks the functions that serve).
"""

from typing import Final

import numpy as np

from models.arrays import Flags, Ints
from models.events.encode import NO_CODE, EventArray
from models.live_session import CART_EVENTS, cart_and_bought

LIMIT: Final = 20
LONGEST: Final = 500  # events of a session after which nothing is asked any more: it is a machine's


def ranks(lists: Ints, wanted: Ints) -> Ints:
    """Place of each wanted item in its answer, from 1; 0 where it is not there; shape (n,).

    Parameters
    ----------
    lists
        Answers, shape (n, limit).
    wanted
        Shape (n,).

    Examples
    --------
    >>> ranks(np.array([[8, 9], [8, -1], [8, -1]]), np.array([9, 9, -1])).tolist()
    [2, 0, 0]
    """
    same = (lists == wanted[:, None]) & (wanted != NO_CODE)[:, None]
    return np.where(same.any(axis=1), same.argmax(axis=1) + 1, 0).astype(np.int64)


def answerable(events: EventArray, first: Ints, last: Ints, prefix: Ints, item: Ints) -> Flags:
    """Wanted items that may be answered: not what lies in the cart when its prefix ends, nor what was bought in it.

    Parameters
    ----------
    first, last
        Rows of each prefix's first and last event, shape (n_prefixes,).
    prefix, item
        Prefix of each wanted item, ascending, and the item, shape (n_wanted,).
    """
    found = np.ones(len(item), dtype=np.bool_)
    n_before = np.concatenate(([0], np.cumsum(CART_EVENTS[events["event_type"]])))
    with_cart = n_before[last + 1] > n_before[first]
    bounds = np.searchsorted(prefix, np.arange(len(first) + 1))
    for k in np.flatnonzero(with_cart & (bounds[1:] > bounds[:-1])):
        cart, bought = cart_and_bought(events[first[k] : last[k] + 1])
        wanted = slice(bounds[k], bounds[k + 1])
        found[wanted] = [one not in bought and one not in cart for one in item[wanted].tolist()]
    return found
