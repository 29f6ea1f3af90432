"""Trouble: the probability that something is in a visitor's way, from what she does again and again and what the shop tells.

    logit P = base + sum over causes of weight * count,

each count of what happened since the last purchase, halved every `HALF_LIFE_S`: refinements of a search from which nothing was
put into the cart, looks at the checkout after the first, returns to an item from another after the first, and errors that the
shop showed (`n_errors` of its events). Shops do not tell who was in trouble, so the weights are set and not learned: one cause
alone must happen several times, or two together, before the default threshold is reached. Whether help is *worth* it is learned
(`models.engagement.aims`).
"""

from typing import Final, NamedTuple

import numpy as np
from scipy.special import expit

from models.arrays import Flags, Floats
from models.events.encode import EventArray
from models.schema import EventType

HALF_LIFE_S: Final = 300.0
BASE: Final = -3.0  # one visitor in twenty, who does nothing of it
WEIGHTS: Final = {"errors": 1.5, "checkout": 0.9, "search": 0.8, "back_and_forth": 0.35}  # log odds, the gravest first


class Trouble(NamedTuple):
    """Trouble of a visitor at a moment.

    Attributes
    ----------
    p
        Probability, in [0, 1].
    reason
        Name in `WEIGHTS` of what speaks most for it; empty where nothing does.
    """

    p: float
    reason: str


CALM: Final = Trouble(float(expit(BASE)), "")


def trouble_of(events: EventArray, silent_s: float = 0.0) -> Trouble:
    """P(trouble) after the events of a session, and so many seconds of silence.

    Examples
    --------
    >>> from models.events.encode import EVENT_DTYPE
    >>> events = np.zeros(3, dtype=EVENT_DTYPE)
    >>> events["event_type"], events["n_errors"], events["item"] = EventType.CHECKOUT_VIEW, [np.nan, 1.0, 1.0], -1
    >>> found = trouble_of(events)
    >>> round(found.p, 3), found.reason
    (0.858, 'errors')
    """
    bought = np.flatnonzero(events["event_type"] == EventType.PURCHASE)
    events = events[int(bought[-1]) + 1 :] if len(bought) else events
    if not len(events):
        return CALM
    at_us = events["occurred_at_us"]
    fresh: Floats = np.exp2(-((at_us[-1] - at_us) / 1e6 + silent_s) / HALF_LIFE_S)
    kinds = events["event_type"]
    put_in = np.flatnonzero(kinds == EventType.ADD_TO_CART)
    refined = kinds == EventType.SEARCH_REFINE
    refined[: int(put_in[-1]) + 1 if len(put_in) else 0] = False
    counts = {
        "errors": float((np.nan_to_num(events["n_errors"]) * fresh).sum()),
        "checkout": float(fresh[_but_first(kinds == EventType.CHECKOUT_VIEW)].sum()),
        "search": float(fresh[refined].sum()),
        "back_and_forth": float(fresh[_but_first(_returns(events))].sum()),
    }
    parts = {name: weight * counts[name] for name, weight in WEIGHTS.items()}
    gravest = max(parts, key=lambda name: parts[name])
    return Trouble(float(expit(BASE + sum(parts.values()))), gravest if parts[gravest] > 0 else "")


def _returns(events: EventArray) -> Flags:
    """Events on an item that was met before, coming from another one."""
    found = np.zeros(len(events), dtype=bool)
    rows = np.flatnonzero(events["item"] >= 0)
    items = events["item"][rows]
    met_before = np.ones(len(items), dtype=bool)
    met_before[np.unique(items, return_index=True)[1]] = False
    found[rows[1:]] = met_before[1:] & (items[1:] != items[:-1])
    return found


def _but_first(rows: Flags) -> Flags:
    found = rows.copy()
    found[np.flatnonzero(rows)[:1]] = False
    return found
