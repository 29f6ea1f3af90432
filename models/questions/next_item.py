"""The next item of a session: hit rate and mean reciprocal rank of the first 20 that are answered.

A question is a prefix of a session, from its beginning, that ends with an item event, whose next item event is about another
item; the answer wanted is that item. Events that only say more about the item at hand (its engagement, its details) are no
question: everyone would be right. Nor is an item that lies in the cart or was bought: it may not be answered.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Flags, Floats, Ints
from models.events.encode import NO_CODE, EventArray
from models.questions.answers import LONGEST, answerable
from models.schema import EventType
from models.statistics import metrics

BUYING: Final = (EventType.ADD_TO_CART, EventType.CHECKOUT_VIEW, EventType.PURCHASE)


class Questions(NamedTuple):
    """Prefixes and what comes after them.

    Attributes
    ----------
    first, last
        Rows of the prefix's first and last event, shape (n_questions,).
    target
        Row of the event whose item is wanted, shape (n_questions,).
    """

    first: Ints
    last: Ints
    target: Ints


def questions(events: EventArray, starts: Flags, at_most: int, rng: np.random.Generator) -> Questions:
    """All questions of these sessions, or so many of them drawn without replacement.

    Parameters
    ----------
    events
        Whole sessions one after the other, shape (n_events,).
    starts
        First row of each session, shape (n_events,).

    Examples
    --------
    >>> from models.events.encode import EVENT_DTYPE
    >>> events = np.zeros(4, EVENT_DTYPE)
    >>> events["item"] = [7, 7, -1, 8]
    >>> asked = questions(events, np.array([True, False, False, False]), 10, np.random.default_rng(0))
    >>> asked.last.tolist(), asked.target.tolist()
    ([1], [3])
    """
    rows = np.flatnonzero(events["item"] != NO_CODE)
    session = np.cumsum(starts) - 1
    last, target = rows[:-1], rows[1:]
    first = np.flatnonzero(starts)[session[last]] if len(last) else last
    asked = (session[last] == session[target]) & (events["item"][last] != events["item"][target]) & (last - first < LONGEST)
    first, last, target = first[asked], last[asked], target[asked]
    kept = np.flatnonzero(answerable(events, first, last, np.arange(len(first)), events["item"][target]))
    if len(kept) > at_most:
        kept = np.sort(rng.choice(kept, at_most, replace=False))
    return Questions(first[kept], last[kept], target[kept])


def measures(found: Ints) -> dict[str, Any]:
    """Hit rate and mean reciprocal rank of the first 20; ``{"n_questions": 0}`` alone where nothing was asked.

    Parameters
    ----------
    found
        Ranks, 0 for a miss, shape (n_questions,).

    Examples
    --------
    >>> measures(np.array([1, 0, 4, 0]))
    {'n_questions': 4, 'hit_rate_20': 0.5, 'mrr_20': 0.3125}
    """
    if len(found) == 0:
        return {"n_questions": 0}
    return {
        "n_questions": len(found),
        "hit_rate_20": round(float((found > 0).mean()), 4),
        "mrr_20": round(float(reciprocal(found).mean()), 4),
    }


def reciprocal(found: Ints) -> Floats:
    """1 / rank, 0 for a miss, shape (n_questions,)."""
    return np.divide(1.0, found, out=np.zeros(len(found)), where=found > 0)


def compare(methods: Mapping[str, Ints], types: npt.NDArray[np.int8], groups: Ints, rng: np.random.Generator) -> dict[str, Any]:
    """Table of all methods, overall and where the wanted event is about buying, and the differences with intervals.

    Parameters
    ----------
    methods
        Ranks of each method, shape (n_questions,); ``dynamic`` and ``static`` among them. A ``ranker`` is compared, too.
    types
        Event type of each wanted event, shape (n_questions,).
    groups
        Session of each question, shape (n_questions,).
    """
    buying = np.isin(types, BUYING)
    table: dict[str, Any] = {
        "overall": {name: measures(found) for name, found in methods.items()},
        "buying": {name: measures(found[buying]) for name, found in methods.items()},
    }
    if len(types):
        gain = metrics.paired_interval(
            reciprocal(methods["dynamic"]), reciprocal(methods["static"]), rng, groups=groups, n_draws=500
        )
        clear = "dynamic" if gain.low > 0 else "static" if gain.high < 0 else "no difference"
        table["dynamic_minus_static_mrr"] = {name: round(value, 5) for name, value in gain._asdict().items()}
        table["better"] = clear
        if "ranker" in methods:
            more = metrics.paired_interval(
                reciprocal(methods["ranker"]), reciprocal(methods["dynamic"]), rng, groups=groups, n_draws=500
            )
            table["ranker_minus_dynamic_mrr"] = {name: round(value, 5) for name, value in more._asdict().items()}
    return table
