"""Compiled loops of a request under goal weights: associations by class, the visitor's own events, what the categories like.

`recommend` adds up what speaks for each item; `evidence` tells the same apart by the weight that it is multiplied by, for
reasons and for whoever learns the weights.

Beside the catalogue there may be guests: items of the visitor's own that the store does not know yet, with codes from `n_items`
on. Nothing leads to or from them, but the visitor may come back to them.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from models.arrays import Bytes, Flags, Floats, Floats32, Ints, Ints32
from models.associations.arrays import TYPE_BITS, TYPE_MASK
from models.associations.indirect import is_source_only
from models.associations.query import (
    OWN,
    Index,
    Overlay,
    Scratch,
    Session,
    best_of,
    category_of,
    columns_of,
    count_items,
    joined,
    last_items,
    next_request,
    only_allowed,
    popular,
    put,
    row_of,
)  # fmt: skip
from models.goal_weights import CLASSES, HALF_LIVES_S, MET, N_DECAYS, N_OWN, OTHER, RANK_DECAY, SAME, WHEN, Scale
from models.kernels import ZERO, kernel
from models.schema import N_EVENT_TYPES

MOST_GUESTS: Final = 64
MOST_IN_CATEGORY: Final = 50  # popular items of a category that are listed
MOST_OWN: Final = 500  # of the session's newest events that speak for their items
OWN_FROM: Final = len(CLASSES) * N_EVENT_TYPES * N_EVENT_TYPES  # kinds of evidence: associations, own events, popularity
POPULAR_AT: Final = OWN_FROM + N_OWN
_PER_HALF_HOUR, _PER_DAY = (float(np.log(2) / half_life_s) for half_life_s in HALF_LIVES_S)
_SHUT: Final = -2  # place of an item that must not come back


class Past(NamedTuple):
    """Own events of earlier sessions, newest first, shape (n,) each: item code, event type, age in seconds."""

    item: Ints
    kind: Bytes
    age_s: Floats


class Categories(NamedTuple):
    """Popular items of each category: those of category c stand at ``span[c, 0]:span[c, 1]``, with their share of it."""

    span: Ints  # (n_categories, 2)
    item: Ints32
    share: Floats32


class Evidence(NamedTuple):
    """Evidence of one moment: items, and by entry the place of its item among them, its kind, how much, and what it came from.

    Kinds below `OWN_FROM` are associations (class, source and target type, in this order of digits), those from there on own
    events (type, when, decay), the last is popularity within a category; `anchor` is an item code, or where an event without
    an item named a category, `n_items` + `MOST_GUESTS` + its code.
    """

    items: Ints
    place: Ints32
    kind: Ints32
    amount: Floats
    anchor: Ints


class Entries(NamedTuple):
    """Entries of `Evidence` while they are written, with room for more."""

    place: Ints32
    kind: Ints32
    amount: Floats
    anchor: Ints


@kernel
def _decayed(decay: int, rank: int, age_s: float) -> float:
    """How much an own event counts: by the items met since, or by its age."""
    if decay == 0:
        return float(RANK_DECAY**rank)
    age = age_s if age_s > 0.0 else 0.0
    return float(np.exp(-age * (_PER_HALF_HOUR if decay == 1 else _PER_DAY)))


@kernel
def _speaks(item: int, kind: int, n: int) -> bool:
    return 0 <= item < n and 0 <= kind < N_EVENT_TYPES and not is_source_only(kind)


@kernel
def _add_deed(
    own: Floats, when: int, item: int, kind: int, rank: int, age_s: float, number: float, n: int, sums: Floats, touched: Ints32
) -> int:  # fmt: skip
    """Add what one own event says of its item, and mark the item as met; returns how many items were touched."""
    score = 0.0
    for decay in range(N_DECAYS):
        score += own[kind, when, decay] * _decayed(decay, rank, age_s)
    n = put(sums, touched, item, score, number, n)
    sums[item, OWN] = number
    return n


@kernel
def _add_own(session: Session, past: Past, scale: Scale, n_known: int, scratch: Scratch, number: float) -> int:
    """Add what the visitor's own events say; returns how many items were touched."""
    own, sums, touched, n = scale.own, scratch.sums, scratch.touched, ZERO
    for back in range(min(len(session.item), MOST_OWN)):
        i = len(session.item) - 1 - back
        if _speaks(session.item[i], session.kind[i], n_known):
            n = _add_deed(own, 0, session.item[i], session.kind[i], n, session.age_s[i], number, n, sums, touched)
    for i in range(len(past.item)):
        if _speaks(past.item[i], past.kind[i], n_known):
            n = _add_deed(own, 1, past.item[i], past.kind[i], i, past.age_s[i], number, n, sums, touched)
    return n


@kernel
def _shares(category: Ints32, categories: Categories, session: Session, named: Ints) -> tuple[Ints, Floats, Ints]:
    """The session's newest categories, their shares of what it was about, and for each the newest event that is of it.

    An event is of the category that it names (`named`, shape (n_events,), -1 for none, or empty), else of its item's.
    """
    about, own = np.empty(session.max_anchors, np.int64), np.empty(session.max_anchors, np.int64)
    share, newest, total, n, m = np.zeros(session.max_anchors), np.empty(session.max_anchors, np.int64), 0.0, 0, ZERO
    for i in range(len(session.item) - 1, -1, -1):
        item = session.item[i]
        one = named[i] if len(named) else -1
        if one < 0 and item >= 0:
            one = category_of(category, item)
        key = item if item >= 0 else -2 - one
        at = 0
        while at < n and about[at] != key:
            at += 1
        if at < n or (item < 0 and one < 0):
            continue
        if n == len(about):
            break
        about[n] = key
        recency = session.rank_decay**n / (1.0 + max(session.age_s[i], 0.0) / session.age_scale_s)
        total += recency
        n += 1
        if one < 0 or one >= len(categories.span):
            continue
        at = 0
        while at < m and own[at] != one:
            at += 1
        if at == m:
            own[m], newest[m] = one, i
            m += 1
        share[at] += recency
    return own[:m], share[:m] / max(total, 1e-300), newest[:m]


@kernel
def _add_popular(
    category: Ints32, categories: Categories, weight: float, session: Session, named: Ints, number: float, n: int,
    scratch: Scratch,
) -> int:  # fmt: skip
    """Add what is popular within the session's categories."""
    own, share, _ = _shares(category, categories, session, named)
    sums, touched = scratch.sums, scratch.touched
    for c in range(len(own)):
        for e in range(categories.span[own[c], 0], categories.span[own[c], 1]):
            n = put(sums, touched, categories.item[e], weight * share[c] * categories.share[e], number, n)
    return n


@kernel
def _add_pairs(
    index: Index, overlay: Overlay, pairs: Floats, unmatched: float, item: Ints, done: Ints, recency: Floats, number: float,
    n: int, scratch: Scratch,
) -> int:  # fmt: skip
    """Add what the anchors' associations say."""
    sums, touched, category = scratch.sums, scratch.touched, index.category
    slot, ratio, live = overlay.slot, overlay.ratio, len(overlay.slot) > 0
    for a in range(len(item)):
        first, last, own = row_of(index, overlay, item[a])
        at_home = category_of(category, item[a])
        target, types, strength, factor = columns_of(index, overlay, own)
        for e in range(first, last):
            code, source, wanted = target[e], types[e] >> TYPE_BITS, types[e] & TYPE_MASK
            kin = MET if sums[code, OWN] == number else SAME if 0 <= at_home == category_of(category, code) else OTHER
            amount = factor * recency[a] * strength[e] * pairs[kin, source, wanted]
            if (done[a] >> source) & 1 == 0:
                amount *= unmatched
            if live and slot[code] > 0:
                amount *= ratio[slot[code], wanted]
            if amount > 0.0:
                n = put(sums, touched, code, amount, number, n)
    return n


@kernel
def recommend(
    index: Index, overlay: Overlay, categories: Categories, session: Session, named: Ints, past: Past, n_guests: int,
    scale: Scale, exclude: Ints, allowed: Flags, limit: int, scratch: Scratch,
) -> tuple[Ints, Floats, int]:  # fmt: skip
    """Items, scores and how many of them something speaks for; the rest are popular ones, with lower scores."""
    n_items = count_items(index, overlay)
    item, done = np.empty(session.max_anchors, np.int64), np.zeros(session.max_anchors, np.int64)
    recency = np.empty(session.max_anchors)
    n_anchors = last_items(session, n_items, item, done, recency)
    item, done, recency = item[:n_anchors], done[:n_anchors], recency[:n_anchors]
    number = next_request(scratch, exclude)
    n = _add_own(session, past, scale, n_items + n_guests, scratch, number)
    n = _add_pairs(index, overlay, scale.pairs, session.unmatched, item, done, recency, number, n, scratch)
    n = _add_popular(index.category, categories, scale.popular[0], session, named, number, n, scratch)
    items, scores = best_of(scratch, only_allowed(allowed, scratch.touched, n), limit)
    found = len(items)
    if found == limit:
        return items, scores, found
    more, counts = popular(index, session.weight, joined(exclude, items), allowed, limit - found, scratch)
    for k in range(len(more) - 1, -1, -1):  # a popular item stays below the last one that something speaks for
        counts[k] *= (0.99 * scores[found - 1] if found else 1.0) / counts[0]
    return joined(items, more), joined(scores, counts), found


@kernel
def recommend_plain(
    index: Any, overlay: Any, categories: Any, session: Any, named: Ints, past: Any, n_guests: int, scale: Any, exclude: Ints,
    allowed: Flags, limit: int, scratch: Any,
) -> tuple[Ints, Floats, int]:  # fmt: skip
    """`recommend` of plain tuples: to find out what a named one is takes numba longer than the answer."""
    return recommend(
        Index(*index), Overlay(*overlay), Categories(*categories), Session(*session), named, Past(*past), n_guests,
        Scale(*scale), exclude, allowed, limit, Scratch(*scratch),
    )  # fmt: skip


@kernel
def _placed(place_of: Ints, items: Ints, code: int, n: int) -> int:
    """Give an item a place if it has none; returns how many have one."""
    if place_of[code] == -1:
        place_of[code] = n
        items[n] = code
        return n + 1
    return n


@kernel
def _room(index: Index, overlay: Overlay, categories: Categories, item: Ints, own: Ints, n_own: int) -> int:
    room = N_DECAYS * n_own
    for a in range(len(item)):
        first, last, _ = row_of(index, overlay, item[a])
        room += last - first
    for one in own:
        room += categories.span[one, 1] - categories.span[one, 0]
    return room


@kernel
def _tell(entries: Entries, m: int, place: int, kind: int, amount: float, anchor: int) -> int:
    """Write one entry; returns how many there are."""
    entries.place[m], entries.kind[m], entries.amount[m], entries.anchor[m] = place, kind, amount, anchor
    return m + 1


@kernel
def _tell_own(session: Session, past: Past, n_known: int, place_of: Ints, items: Ints, entries: Entries) -> tuple[int, int]:
    """Tell the visitor's own events; how many items and entries there are."""
    n, m, n_session = ZERO, ZERO, min(len(session.item), MOST_OWN)
    for k in range(n_session + len(past.item)):
        if k < n_session:
            i = len(session.item) - 1 - k
            item, kind, age_s, rank, when = int(session.item[i]), int(session.kind[i]), session.age_s[i], n, 0
        else:
            i = k - n_session
            item, kind, age_s, rank, when = int(past.item[i]), int(past.kind[i]), past.age_s[i], i, 1
        if not _speaks(item, kind, n_known) or place_of[item] == _SHUT:
            continue
        n = _placed(place_of, items, item, n)
        for decay in range(N_DECAYS):
            told = OWN_FROM + (kind * len(WHEN) + when) * N_DECAYS + decay
            m = _tell(entries, m, place_of[item], told, _decayed(decay, rank, age_s), item)
    return n, m


@kernel
def _tell_pairs(
    index: Index, overlay: Overlay, anchor: int, done: int, recency: float, unmatched: float, n_met: int, n: int, m: int,
    place_of: Ints, items: Ints, entries: Entries,
) -> tuple[int, int]:  # fmt: skip
    """Tell the associations of one anchor; how many items and entries there are."""
    first, last, own = row_of(index, overlay, anchor)
    target, types, strength, factor = columns_of(index, overlay, own)
    at_home, live = category_of(index.category, anchor), len(overlay.slot) > 0
    for e in range(first, last):
        code, source, wanted = int(target[e]), int(types[e] >> TYPE_BITS), int(types[e] & TYPE_MASK)
        if place_of[code] == _SHUT:
            continue
        n = _placed(place_of, items, code, n)
        kin = MET if place_of[code] < n_met else SAME if 0 <= at_home == category_of(index.category, code) else OTHER
        amount = factor * recency * strength[e] * (1.0 if (done >> source) & 1 else unmatched)
        if live and overlay.slot[code] > 0:
            amount *= overlay.ratio[overlay.slot[code], wanted]
        m = _tell(entries, m, place_of[code], (kin * N_EVENT_TYPES + source) * N_EVENT_TYPES + wanted, amount, anchor)
    return n, m


@kernel
def evidence(
    index: Index, overlay: Overlay, categories: Categories, session: Session, named: Ints, past: Past, n_guests: int,
    exclude: Ints, place_of: Ints,
) -> tuple[Ints, Ints32, Ints32, Floats, Ints]:  # fmt: skip
    """The `Evidence` of a moment; `place_of`, shape (n_items + `MOST_GUESTS`,), holds -1 before and after."""
    n_items = count_items(index, overlay)
    anchors, done = np.empty(session.max_anchors, np.int64), np.zeros(session.max_anchors, np.int64)
    recency = np.empty(session.max_anchors)
    n_anchors = last_items(session, n_items, anchors, done, recency)
    own, share, newest = _shares(index.category, categories, session, named)
    room = _room(index, overlay, categories, anchors[:n_anchors], own, len(session.item) + len(past.item))
    items = np.empty(room, np.int64)
    entries = Entries(np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room), np.empty(room, np.int64))
    shut = exclude[(exclude >= 0) & (exclude < n_items + n_guests)]
    place_of[shut] = _SHUT
    n, m = _tell_own(session, past, n_items + n_guests, place_of, items, entries)
    n_met = n
    for a in range(n_anchors):
        n, m = _tell_pairs(
            index, overlay, anchors[a], done[a], recency[a], session.unmatched, n_met, n, m, place_of, items, entries
        )
    for c in range(len(own)):
        item = session.item[newest[c]]
        anchor = item if item >= 0 else n_items + MOST_GUESTS + own[c]
        for e in range(categories.span[own[c], 0], categories.span[own[c], 1]):
            code = int(categories.item[e])
            if place_of[code] != _SHUT:
                n = _placed(place_of, items, code, n)
                m = _tell(entries, m, place_of[code], POPULAR_AT, share[c] * categories.share[e], anchor)
    place_of[items[:n]] = -1
    place_of[shut] = -1
    return items[:n], entries.place[:m], entries.kind[:m], entries.amount[:m], entries.anchor[:m]


def popular_in(
    category: Ints32, popularity: Floats, most: int = MOST_IN_CATEGORY, total: Floats | None = None
) -> Categories:  # fmt: skip
    """The most popular items of each category.

    Parameters
    ----------
    category
        Of each item, -1 for none, shape (n_items,).
    popularity
        Of each item, shape (n_items,).
    total
        Popularity of each category, shape (n_categories,); the sum over the items given if None.

    Examples
    --------
    >>> found = popular_in(np.array([0, 1, 0, -1], np.int32), np.array([1.0, 2.0, 3.0, 9.0]))
    >>> found.span.tolist(), found.item.tolist(), found.share.tolist()
    ([[0, 2], [2, 3]], [2, 0, 1], [0.75, 0.25, 1.0])
    """
    known = np.flatnonzero((category >= 0) & (popularity[: len(category)] > 0))
    known = known[np.lexsort((known, -popularity[known], category[known]))]
    n_categories = int(category.max(initial=-1)) + 1 if total is None else len(total)
    of_all = np.bincount(category[known], weights=popularity[known], minlength=n_categories) if total is None else total
    begins = np.searchsorted(category[known], np.arange(n_categories + 1))
    known = known[np.arange(len(known)) - begins[category[known]] < most]
    share = popularity[known] / of_all[category[known]]
    offsets = np.searchsorted(category[known], np.arange(n_categories + 1)).astype(np.int64)
    span = np.stack((offsets[:-1], offsets[1:]), axis=1)
    return Categories(span, known.astype(np.int32), share.astype(np.float32))
