"""How well associations foresee the next item of a session: hit rate and mean reciprocal rank of the first 20.

A question is a prefix of a session that ends with an item event, whose next item event is about another item; the answer wanted
is that item. Events that only say more about the item at hand (its engagement, its details) are no question: everyone would be
right.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.associations.model import AssociationStore
from models.events.encode import NO_CODE, EventArray
from models.schema import EventType
from models.statistics import metrics

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

LIMIT: Final = 20
LONGEST_PREFIX: Final = 50  # events before that cannot matter to the first 20
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
    >>> from models.events import EVENT_DTYPE
    >>> events = np.zeros(4, EVENT_DTYPE)
    >>> events["item"] = [7, 7, -1, 8]
    >>> asked = questions(events, np.array([True, False, False, False]), 10, np.random.default_rng(0))
    >>> asked.last.tolist(), asked.target.tolist()
    ([1], [3])
    """
    rows = np.flatnonzero(events["item"] != NO_CODE)
    session = np.cumsum(starts) - 1
    last, target = rows[:-1], rows[1:]
    asked = (session[last] == session[target]) & (events["item"][last] != events["item"][target])
    last, target = last[asked], target[asked]
    if len(last) > at_most:
        drawn = np.sort(rng.choice(len(last), at_most, replace=False))
        last, target = last[drawn], target[drawn]
    first = np.flatnonzero(starts)[session[last]] if len(last) else last
    return Questions(np.maximum(first, last - LONGEST_PREFIX + 1), last, target)


def ranks(
    store: AssociationStore, events: EventArray, codes: Ints, asked: Questions, weights: Floats, relation: Floats | None = None
) -> Ints:
    """Rank at which the wanted item stands in the store's answer, 1 to `LIMIT`; 0 where it is not among them.

    Parameters
    ----------
    codes
        Code in the store of each event's item, `NO_CODE` where the store does not know it, shape (n_events,).
    weights
        Weight of each event type for each question, shape (n_questions, n_event_types).
    relation
        As `AssociationStore.recommend` has it, for each question, shape (n_questions, 2).
    """
    found = np.zeros(len(asked.last), dtype=np.int64)
    at_us, types = events["occurred_at_us"], events["event_type"]
    for k, (first, last, target) in enumerate(zip(asked.first, asked.last, asked.target, strict=True)):
        rows = slice(first, last + 1)
        ages_s, related = (at_us[last] - at_us[rows]) / 1e6, None if relation is None else relation[k]
        answer = store.recommend(codes[rows], types[rows], ages_s, weights[k], LIMIT, codes[last : last + 1], related)
        found[k] = rank_of(answer.items, codes[target])
    return found


def popularity_ranks(store: AssociationStore, codes: Ints, asked: Questions) -> Ints:
    """The same for the baseline that always answers the most popular items, without the one at hand."""
    popular = store.popular(LIMIT + 1).items
    answers = (popular[popular != codes[last]][:LIMIT] for last in asked.last)
    return np.array([rank_of(answer, codes[t]) for answer, t in zip(answers, asked.target, strict=True)], dtype=np.int64)


def rank_of(items: Ints, wanted: int) -> int:
    """Place of the wanted item in an answer, from 1; 0 where it is not there."""
    at = np.flatnonzero((items == wanted) & (wanted != NO_CODE))
    return int(at[0]) + 1 if len(at) else 0


def measures(found: Ints) -> dict[str, Any]:
    """Hit rate and mean reciprocal rank of the first `LIMIT`; ``{"n_questions": 0}`` alone where nothing was asked.

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


def compare(methods: dict[str, Ints], types: npt.NDArray[np.int8], groups: Ints, rng: np.random.Generator) -> dict[str, Any]:
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
