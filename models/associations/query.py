"""Compiled loops of one recommendation request: merge the rows of the session's items, keep the best, say why.

Nothing here costs time in proportion to the catalogue: sums stand in dense scratch whose cells are valid only where they
carry the number of the request that wrote them.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Bytes, Flags, Floats, Floats32, Ints, Ints32, frozen
from models.associations.arrays import N_TYPES, PAIR, TYPE_BITS, TYPE_MASK, PairTypes
from models.kernels import ZERO, kernel

N_BECAUSE: Final = 3  # contributions kept per explained item
_REQUEST: Final = 0  # columns of the sums: which request wrote the cell, and what it has added up
_SUM: Final = 1
OWN: Final = 2  # which request found it among the visitor's own items


class Index(NamedTuple):
    """The store as the kernels read it; every array may be a read-only memory map.

    Entries of anchor i stand at ``offsets[i]:offsets[i + 1]``. The popular lists hold the best items of each event type,
    padded with item -1.
    """

    offsets: Ints  # (n_items + 1,)
    target: Ints32  # (n_entries,)
    types: PairTypes  # (n_entries,), source << TYPE_BITS | target
    strength: Floats32  # (n_entries,)
    popular_item: Ints32  # (N_TYPES, n_popular)
    popular_count: Floats32  # (N_TYPES, n_popular)
    category: Ints32  # (n_items,), -1 = unknown; items beyond its end have none


class Overlay(NamedTuple):
    """Changes since the index was built (`models.associations.live`); no items at all for a finished store.

    An item with a slot has been touched since: its entries stand in the overlay, at ``span[slot, 0]:span[slot, 1]``, instead of
    in the index; and entries that lead to it, wherever they stand, count `ratio` times.
    """

    slot: Ints32  # (n_items,), 0 = as in the index; new items follow those of the index
    span: Ints  # (n_slots, 2)
    ratio: Floats32  # (n_slots, N_TYPES), by target type: how the target's popularity damps now, over how it did
    target: Ints32
    types: PairTypes
    strength: Floats32
    index_factor: float  # the index's strengths have aged by it
    overlay_factor: float


class Scratch(NamedTuple):
    """Scratch memory of one thread, reused from request to request."""

    sums: Floats  # (n_items, 3): request number, sum, request as own; side by side, so that an update touches one cache line
    touched: Ints32  # (n_items,)
    request: Ints  # (1,)


class Session(NamedTuple):
    """The visitor's events about items, oldest first, each array of shape (n_events,), and how they are weighed."""

    item: Ints
    kind: Bytes
    age_s: Floats
    weight: Floats  # (n_event_types,)
    max_anchors: int
    rank_decay: float
    age_scale_s: float
    unmatched: float
    relation: Floats  # (2,): how much an entry counts that leads to the anchor's category, and to another; () = 1 both


def no_overlay() -> Overlay:
    """The overlay of a finished store; its arrays are read-only, as those of every other."""
    some = (np.zeros(0, np.int32), np.zeros((1, 2), np.int64), np.ones((1, N_TYPES), np.float32))
    return frozen(Overlay(*some, np.zeros(0, np.int32), np.zeros(0, PAIR), np.zeros(0, np.float32), 1.0, 1.0))


def new_scratch(n_items: int) -> Scratch:
    """Scratch for a catalogue of this size."""
    return Scratch(np.zeros((n_items, 3)), np.empty(n_items, np.int32), np.zeros(1, np.int64))


@kernel
def last_items(session: Session, n_items: int, item: Ints, done: Ints, recency: Floats) -> int:
    """Write the last distinct known items, newest first, what was done on each as a bit per type, and how recent it is.

    Returns how many there are, at most as many as there is room for. `done` holds zeros before.
    """
    n = 0
    for i in range(len(session.item) - 1, -1, -1):
        code, kind = session.item[i], session.kind[i]
        if code < 0 or code >= n_items or kind < 0 or kind >= len(session.weight):
            continue
        at = 0
        while at < n and item[at] != code:
            at += 1
        if at == n:
            if n == len(item):
                break
            age = session.age_s[i] if session.age_s[i] > 0.0 else 0.0
            item[n] = code
            recency[n] = session.rank_decay**n / (1.0 + age / session.age_scale_s)
            n += 1
        done[at] |= 1 << kind
    return n


@kernel
def _anchors(session: Session, n_items: int) -> tuple[Ints, Floats]:
    """The last distinct known items, newest first, and how much each type of their entries counts, shape (n, N_TYPES).

    recency * w[source], and `unmatched` times that for a source type which the visitor has not done on the item.
    """
    item, done = np.empty(session.max_anchors, np.int64), np.zeros(session.max_anchors, np.int64)
    recency = np.empty(session.max_anchors)
    n = last_items(session, n_items, item, done, recency)
    gain = np.zeros((n, N_TYPES))
    for at in range(n):
        for source in range(len(session.weight)):
            factor = 1.0 if (done[at] >> source) & 1 else session.unmatched
            gain[at, source] = recency[at] * session.weight[source] * factor
    return item[:n], gain


@kernel
def count_items(index: Index, overlay: Overlay) -> int:
    return max(len(index.offsets) - 1, len(overlay.slot))


@kernel
def _wide(weight: Floats) -> Floats:
    out = np.zeros(N_TYPES)
    for kind in range(len(weight)):
        out[kind] = weight[kind]
    return out


@kernel
def next_request(scratch: Scratch, exclude: Ints) -> float:
    """Open a request in which the excluded items can never have a positive sum; returns its number."""
    scratch.request[0] += 1
    number = float(scratch.request[0])
    for code in exclude:
        if 0 <= code < len(scratch.sums):
            scratch.sums[code, _REQUEST] = number
            scratch.sums[code, _SUM] = -np.inf
    return number


@kernel
def put(sums: Floats, touched: Ints32, target: int, contribution: float, number: float, n: int) -> int:
    """Add to an item's sum; returns how many items were touched so far."""
    if sums[target, _REQUEST] != number:
        sums[target, _REQUEST] = number
        sums[target, _SUM] = contribution
        touched[n] = target
        return n + 1
    sums[target, _SUM] += contribution
    return n


@kernel
def row_of(index: Index, overlay: Overlay, anchor: int) -> tuple[int, int, bool]:
    """Where an item's entries stand, and whether in the overlay."""
    slot = overlay.slot[anchor] if anchor < len(overlay.slot) else 0
    if slot > 0:
        return overlay.span[slot, 0], overlay.span[slot, 1], True
    if anchor + 1 < len(index.offsets):
        return index.offsets[anchor], index.offsets[anchor + 1], False
    return 0, 0, False


@kernel
def columns_of(index: Index, overlay: Overlay, own: bool) -> tuple[Ints32, PairTypes, Floats32, float]:
    """Target, types and strength of the entries where a row stands, and what their strength has aged by."""
    if own:
        return overlay.target, overlay.types, overlay.strength, overlay.overlay_factor
    return index.target, index.types, index.strength, overlay.index_factor


@kernel
def category_of(category: Ints32, item: int) -> int:
    return category[item] if item < len(category) else -1


@kernel
def _related(relation: Floats, category: Ints32, anchor: int, own: int, target: int) -> float:
    """How much an entry counts by where it leads; 1 where a category is unknown, and for the anchor itself.

    ``own`` is the anchor's category.
    """
    other = category_of(category, target)
    if own < 0 or other < 0 or target == anchor:
        return 1.0
    return float(relation[0] if own == other else relation[1])


@kernel
def _merge(
    index: Index, overlay: Overlay, item: Ints, gain: Floats, weight: Floats, relation: Floats, number: float, scratch: Scratch
) -> int:  # fmt: skip
    """Add up the contributions of every anchor's entries; returns how many items were touched."""
    sums, touched = scratch.sums, scratch.touched  # as locals: a tuple's arrays are reference-counted at every access
    slot, ratio, live, n = overlay.slot, overlay.ratio, len(overlay.slot) > 0, ZERO
    category, by_relation = index.category, len(relation) == 2
    for a in range(len(item)):
        first, last, own = row_of(index, overlay, item[a])
        at_home = category_of(category, item[a])
        target, types, strength, factor = columns_of(index, overlay, own)
        for e in range(first, last):
            contribution = factor * gain[a, types[e] >> TYPE_BITS] * weight[types[e] & TYPE_MASK] * strength[e]
            if contribution > 0.0:
                if live and slot[target[e]] > 0:
                    contribution *= ratio[slot[target[e]], types[e] & TYPE_MASK]
                if by_relation:
                    contribution *= _related(relation, category, item[a], at_home, target[e])
                n = put(sums, touched, target[e], contribution, number, n)
    return n


@kernel
def _sink(heap: Ints, scores: Floats, size: int) -> None:
    """Let the root of a heap (worst first: lower score, then higher code) sink to its place."""
    at = 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        other = child + 1
        if other < size and (
            scores[other] < scores[child] or (scores[other] == scores[child] and heap[other] > heap[child])
        ):  # fmt: skip
            child = other
        if scores[at] < scores[child] or (scores[at] == scores[child] and heap[at] > heap[child]):
            return
        heap[at], heap[child] = heap[child], heap[at]
        scores[at], scores[child] = scores[child], scores[at]
        at = child


@kernel
def best_of(scratch: Scratch, n: int, limit: int) -> tuple[Ints, Floats]:
    """The `limit` best of the touched items, best first; equal scores in the order of their codes."""
    size = min(limit, n)
    heap, scores = np.full(size, np.iinfo(np.int64).max), np.full(size, -np.inf)
    if size == 0:
        return heap, scores
    sums, touched = scratch.sums, scratch.touched
    for k in range(n):
        code, score = touched[k], sums[touched[k], _SUM]
        if score > scores[0] or (score == scores[0] and code < heap[0]):
            heap[0], scores[0] = code, score
            _sink(heap, scores, size)
    for last in range(size - 1, 0, -1):
        heap[0], heap[last] = heap[last], heap[0]
        scores[0], scores[last] = scores[last], scores[0]
        _sink(heap, scores, last)
    return heap, scores


@kernel
def only_allowed(allowed: Flags, touched: Ints32, n: int) -> int:
    """Keep the touched items that may be shown, in front; returns how many."""
    if len(allowed) == 0:
        return n
    kept = ZERO
    for k in range(n):
        if touched[k] < len(allowed) and allowed[touched[k]]:
            touched[kept] = touched[k]
            kept += 1
    return kept


@kernel
def is_sane(weight: Floats) -> bool:
    """Whether all weights are finite and not negative."""
    sane = True
    for kind in range(len(weight)):
        sane = sane and 0.0 <= weight[kind] < np.inf
    return sane


@kernel
def popular(
    index: Index, weight: Floats, exclude: Ints, allowed: Flags, limit: int, scratch: Scratch
) -> tuple[Ints, Floats]:  # fmt: skip
    """Most popular items, sum over types of weight * popularity, best first."""
    number = next_request(scratch, exclude)
    sums, touched, item, count = scratch.sums, scratch.touched, index.popular_item, index.popular_count
    n = ZERO
    for kind in range(len(weight)):
        if weight[kind] <= 0.0:
            continue
        for k in range(item.shape[1]):
            if item[kind, k] < 0:
                break
            n = put(sums, touched, item[kind, k], weight[kind] * count[kind, k], number, n)
    return best_of(scratch, only_allowed(allowed, touched, n), limit)


@kernel
def recommend(
    index: Index, overlay: Overlay, session: Session, exclude: Ints, allowed: Flags, limit: int, scratch: Scratch
) -> tuple[Ints, Floats, int]:  # fmt: skip
    """Items, scores and how many of them came from associations; the rest are popular ones, with lower scores.

    `allowed` tells of each item whether it may be shown; empty, all may. Nothing, and the number -1, if a weight is negative or
    not finite (checked here: it costs less than in Python).
    """
    if not (is_sane(session.weight) and is_sane(session.relation)):
        return np.empty(0, np.int64), np.empty(0), -1
    item, gain = _anchors(session, count_items(index, overlay))
    number = next_request(scratch, exclude)
    n_touched = _merge(index, overlay, item, gain, _wide(session.weight), session.relation, number, scratch)
    items, scores = best_of(scratch, only_allowed(allowed, scratch.touched, n_touched), limit)
    n = len(items)
    if n == limit:
        return items, scores, n
    more, counts = popular(index, session.weight, joined(exclude, items), allowed, limit - n, scratch)
    for k in range(len(more) - 1, -1, -1):  # a popular item stays below the last associated one
        counts[k] *= (0.99 * scores[n - 1] if n else 1.0) / counts[0]
    return joined(items, more), joined(scores, counts), n


@kernel
def recommend_plain(
    index: Any, overlay: Any, session: Any, exclude: Ints, allowed: Flags, limit: int, scratch: Any
) -> tuple[Ints, Floats, int]:  # fmt: skip
    """`recommend` of plain tuples: to find out what a named one is takes numba longer than the answer."""
    return recommend(Index(*index), Overlay(*overlay), Session(*session), exclude, allowed, limit, Scratch(*scratch))


@kernel
def joined(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[Any]:
    out = np.empty(len(first) + len(second), first.dtype)
    for k in range(len(out)):
        out[k] = first[k] if k < len(first) else second[k - len(first)]
    return out


@kernel
def explain(
    index: Index, overlay: Overlay, session: Session, ranked: Ints, scratch: Scratch
) -> tuple[Ints, PairTypes, Floats]:  # fmt: skip
    """The largest contributions to each ranked item: anchor, types and share of the score, shape (n_ranked, 3), -1 = none."""
    best, types = np.full((len(ranked), N_BECAUSE), -1), np.zeros((len(ranked), N_BECAUSE), PAIR)
    share, total = np.zeros((len(ranked), N_BECAUSE)), np.zeros(len(ranked))
    item, gain = _anchors(session, count_items(index, overlay))
    number, sums, weight = next_request(scratch, ranked), scratch.sums, _wide(session.weight)
    for row in range(len(ranked)):
        sums[ranked[row], _SUM] = row
    slot, ratio, live = overlay.slot, overlay.ratio, len(overlay.slot) > 0
    relation, by_relation = session.relation, len(session.relation) == 2
    for a in range(len(item)):
        first, last, own = row_of(index, overlay, item[a])
        at_home = category_of(index.category, item[a])
        target, pair_types, strength, factor = columns_of(index, overlay, own)
        for e in range(first, last):
            if sums[target[e], _REQUEST] != number:
                continue
            row, pair = int(sums[target[e], _SUM]), pair_types[e]
            contribution = factor * gain[a, pair >> TYPE_BITS] * weight[pair & TYPE_MASK] * strength[e]
            if live and slot[target[e]] > 0:
                contribution *= ratio[slot[target[e]], pair & TYPE_MASK]
            if by_relation:
                contribution *= _related(relation, index.category, item[a], at_home, target[e])
            total[row] += contribution
            place = N_BECAUSE
            while place > 0 and contribution > share[row, place - 1]:
                place -= 1
            for later in range(N_BECAUSE - 1, place, -1):
                best[row, later], types[row, later] = best[row, later - 1], types[row, later - 1]
                share[row, later] = share[row, later - 1]
            if place < N_BECAUSE:
                best[row, place], types[row, place], share[row, place] = item[a], pair, contribution
    for row in range(len(ranked)):
        for place in range(N_BECAUSE):
            share[row, place] /= total[row] if total[row] > 0.0 else 1.0
    return best, types, share
