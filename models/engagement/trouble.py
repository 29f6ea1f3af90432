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

from models.arrays import Floats, Ints, writeable
from models.events.encode import EventArray
from models.kernels import kernel
from models.schema import EventType
from models.statistics.log_odds import expit

HALF_LIFE_S: Final = 300.0
BASE: Final = -3.0  # one visitor in twenty, who does nothing of it
_PURCHASE, _ADD_TO_CART = int(EventType.PURCHASE), int(EventType.ADD_TO_CART)
_CHECKOUT_VIEW, _SEARCH_REFINE = int(EventType.CHECKOUT_VIEW), int(EventType.SEARCH_REFINE)
WEIGHTS: Final = {"errors": 1.5, "checkout": 0.9, "search": 0.8, "back_and_forth": 0.35}  # log odds, the gravest first

_WEIGHTS: Final = np.array(list(WEIGHTS.values()))


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


class Troubles(NamedTuple):
    """Troubles of many moments: probabilities, shape (n_rows,), and each one's reason, as of `Trouble`."""

    p: Floats
    reasons: list[str]


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
    if not len(events):
        return CALM
    counts = _counted(events, np.zeros(1, np.int64), np.array([len(events)]), np.array([silent_s]))
    if not counts.any():  # as in most sessions
        return CALM
    found = _told(counts)
    return Trouble(float(found.p[0]), found.reasons[0])


def troubles(events: EventArray, first: Ints, end: Ints, silent_s: Floats) -> Troubles:
    """`trouble_of` of many moments.

    Parameters
    ----------
    events
        Of all sessions, shape (n_events,); item codes mean the same in all.
    first, end, silent_s
        Where each moment's session begins, where it has come to, the end excluded, and how long nothing has happened since;
        shape (n_rows,).
    """
    return _told(_counted(events, first, end, silent_s))


def _counted(events: EventArray, first: Ints, end: Ints, silent_s: Floats) -> Floats:
    """Faded count of each cause, in the order of `WEIGHTS`, shape (n_rows, n_causes)."""
    counts = np.zeros((len(first), len(WEIGHTS)))
    met = np.full(int(events["item"].max(initial=-1)) + 1, -1)
    for_all = writeable(events), writeable(first, np.int64), writeable(end, np.int64), writeable(silent_s, np.float64)
    _counts(*for_all, met, counts)
    return counts


def _told(counts: Floats) -> Troubles:
    parts = counts * _WEIGHTS
    gravest = parts.argmax(axis=1)
    reasons = np.where(parts.max(axis=1, initial=0.0) > 0, np.array(list(WEIGHTS), dtype=object)[gravest], "")
    return Troubles(np.asarray(expit(BASE + parts.sum(axis=1))), reasons.tolist())


@kernel
def _counts(events: EventArray, first: Ints, end: Ints, silent_s: Floats, met: Ints, counts: Floats) -> None:
    """Write the faded count of each cause, in the order of `WEIGHTS`; `met` says in which moment an item was met last."""
    for moment in range(len(first)):
        _count(events[first[moment] : end[moment]], silent_s[moment], moment, met, counts[moment])


@kernel
def _count(events: EventArray, silent_s: float, moment: int, met: Ints, counts: Floats) -> None:
    n, first, put_in = len(events), 0, -1
    for k in range(n):
        if events[k].event_type == _PURCHASE:
            first = k + 1
        elif events[k].event_type == _ADD_TO_CART:
            put_in = k
    item_before, looked, returned = -1, False, False
    for k in range(first, n):
        one = events[k]
        fresh = 2.0 ** (-((events[n - 1].occurred_at_us - one.occurred_at_us) / 1e6 + silent_s) / HALF_LIFE_S)
        if one.n_errors > 0.0:  # NaN is not
            counts[0] += one.n_errors * fresh
        if one.event_type == _CHECKOUT_VIEW:
            counts[1] += fresh if looked else 0.0
            looked = True
        if one.event_type == _SEARCH_REFINE and k > put_in:
            counts[2] += fresh
        if one.item >= 0:
            if met[one.item] == moment and one.item != item_before:
                counts[3] += fresh if returned else 0.0
                returned = True
            met[one.item], item_before = moment, one.item
