"""Rest of a session: what is still to come, per kind of event, and how well a ranking foresees it.

A prefix ends at some event of a session that already had an item in hand; wanted are the items that will be viewed, put into
the cart, or bought in the rest of that session, as far as its next `LONGEST_REST` such events. The item in hand is neither
answered nor wanted, nor is what lies in the cart or was bought when the prefix ends.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Flags, Floats, Ints
from models.events.encode import NO_CODE, EventArray
from models.questions.answers import LIMIT, LONGEST, answerable
from models.schema import EventType

LONGEST_REST: Final = 50  # wanted events after a prefix: a machine's session of thousands would want millions in all
MEASURES: Final = ("recall_20", "mrr_20", "ndcg_20")
TARGETS: Final = {  # looking closer is looking: some logs have no plain views
    "view": (EventType.ITEM_VIEW, EventType.ITEM_ENGAGEMENT, EventType.DETAIL_VIEW, EventType.REVIEW_READ),
    "add_to_cart": (EventType.ADD_TO_CART,),
    "purchase": (EventType.PURCHASE,),
}
_GAIN: Final = np.append(0.0, 1.0 / np.log2(np.arange(1, LIMIT + 1) + 1))  # by rank, 0 = not among the first
_IDEAL: Final = np.cumsum(_GAIN)


class Prefixes(NamedTuple):
    """Questions and their answers; targets are sorted by prefix, each item once per prefix and kind.

    Attributes
    ----------
    first, last
        Rows of the prefix's first and last event, shape (n_prefixes,).
    at_hand
        Item (as in the events) of its last item event, shape (n_prefixes,).
    prefix, kind, item
        Prefix, kind (position in `TARGETS`) and item of each target, shape (n_targets,).
    """

    first: Ints
    last: Ints
    at_hand: Ints
    prefix: Ints
    kind: Ints
    item: Ints


def prefixes(events: EventArray, starts: Flags, at_most: int, rng: np.random.Generator) -> Prefixes:
    """All prefixes of these sessions after which something is wanted, or so many of them drawn without replacement.

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
    >>> events["item"] = [7, -1, 8, 7]
    >>> events["event_type"] = [EventType.ITEM_VIEW, EventType.SEARCH, EventType.ITEM_VIEW, EventType.PURCHASE]
    >>> asked = prefixes(events, np.array([True, False, False, False]), 10, np.random.default_rng(0))
    >>> asked.last.tolist(), asked.at_hand.tolist()
    ([0, 1, 2], [7, 7, 8])
    >>> [*zip(asked.prefix.tolist(), asked.kind.tolist(), asked.item.tolist(), strict=True)]
    [(0, 0, 8), (1, 0, 8), (2, 2, 7)]
    """
    n = len(events)
    rows = np.arange(n)
    begin = np.maximum.accumulate(np.where(starts, rows, 0)) if n else rows
    end = np.append(np.flatnonzero(starts)[1:], n)[np.cumsum(starts) - 1] if n else rows
    kind_of = _kinds(events["event_type"])
    is_target = (kind_of >= 0) & (events["item"] != NO_CODE)
    at_hand = _item_at_hand(events["item"], starts)
    following = np.append(np.cumsum(is_target[::-1])[::-1], 0)
    wanting = (at_hand != NO_CODE) & (following[rows + 1] > following[end]) & (rows - begin < LONGEST) if n else rows
    asked = np.flatnonzero(wanting)
    if len(asked) > at_most:
        asked = np.sort(rng.choice(asked, at_most, replace=False))
    prefix, target = _pairs(asked + 1, end[asked], is_target)
    wanted = events["item"][target] != at_hand[asked[prefix]]
    prefix, target = prefix[wanted], target[wanted]
    width = int(events["item"].max(initial=0)) + 1
    key, item = np.divmod(np.unique((prefix * len(TARGETS) + kind_of[target]) * width + events["item"][target]), width)
    may = answerable(events, begin[asked], asked, key // len(TARGETS), item)
    key, item = key[may], item[may]
    kept, prefix = np.unique(key // len(TARGETS), return_inverse=True)
    asked = asked[kept]
    return Prefixes(begin[asked], asked, at_hand[asked], prefix.astype(np.int64), key % len(TARGETS), item)


def _kinds(types: npt.NDArray[np.int8]) -> Ints:
    table = np.full(len(EventType), -1, dtype=np.int64)
    for k, members in enumerate(TARGETS.values()):
        table[list(members)] = k
    return table[types]


def _item_at_hand(item: Ints, starts: Flags) -> Ints:
    place = np.maximum.accumulate(np.where((item != NO_CODE) | starts, np.arange(len(item)), 0)) if len(item) else item
    return np.asarray(item[place])


def _pairs(low: Ints, high: Ints, is_target: Flags) -> tuple[Ints, Ints]:
    """(prefix, target row) with the row in the prefix's half-open range, the first `LONGEST_REST` of each prefix."""
    target = np.flatnonzero(is_target)
    begin, end = np.searchsorted(target, low), np.searchsorted(target, high)
    n = np.minimum(end - begin, LONGEST_REST)
    prefix = np.repeat(np.arange(len(low)), n)
    within = np.arange(int(n.sum())) - np.repeat(np.cumsum(n) - n, n)
    return prefix, target[begin[prefix] + within]


def met_before(asked: Prefixes, item: Ints) -> Flags:
    """Targets already met in the last `LONGEST_REST` events of their prefix, shape (n_targets,).

    Parameters
    ----------
    item
        Item of every event, shape (n_events,).
    """
    end = asked.last + 1
    prefix, row = _pairs(np.maximum(asked.first, end - LONGEST_REST), end, item != NO_CODE)
    width = int(max(item.max(initial=0), asked.item.max(initial=0))) + 1
    return np.isin(asked.prefix * width + asked.item, prefix * width + item[row])


def only(asked: Prefixes, targets: Flags) -> Prefixes:
    """The same prefixes with some of their targets; prefixes may be left without any."""
    return asked._replace(prefix=asked.prefix[targets], kind=asked.kind[targets], item=asked.item[targets])


def measures(rank: Ints, asked: Prefixes, kind: int) -> tuple[Ints, Floats]:
    """Recall, reciprocal rank and NDCG of the prefixes that want something of one kind.

    recall = found / min(wanted, 20); reciprocal rank of the first found; NDCG with gain 1/log2(1 + rank), over the best that so
    many wanted items allow (Järvelin and Kekäläinen, 2002).

    Returns
    -------
    Positions of these prefixes, ascending, shape (n,), and the measures, shape (n, len(MEASURES)).

    Examples
    --------
    >>> one = np.zeros(1, dtype=np.int64)
    >>> asked = Prefixes(one, one, one, np.array([0, 0]), np.array([0, 0]), np.array([5, 6]))
    >>> measures(np.array([2, 0]), asked, 0)[1].round(3).tolist()
    [[0.5, 0.5, 0.387]]
    """
    of_kind = asked.kind == kind
    rows, place = np.unique(asked.prefix[of_kind], return_inverse=True)
    rank = rank[of_kind]
    wanted = np.minimum(np.bincount(place, minlength=len(rows)), LIMIT)
    hits = np.bincount(place, weights=rank > 0, minlength=len(rows))
    best = np.full(len(rows), np.inf)
    np.minimum.at(best, place, np.where(rank > 0, rank, np.inf))
    gained = np.bincount(place, weights=_GAIN[rank], minlength=len(rows))
    return rows, np.column_stack(
        (np.minimum(hits / np.maximum(wanted, 1), 1.0), 1.0 / best, gained / _IDEAL[np.maximum(wanted, 1)])
    )
