"""Compiled loops of the session neighbours: index past sessions by item, find those like this one, add up their items."""

from typing import Final, NamedTuple

import numpy as np

from models.arrays import Floats32, Ints, Ints32
from models.kernels import kernel, nth_smallest


class Index(NamedTuple):
    """Past sessions as the kernels read them; every array may be a read-only memory map.

    Sessions with item i stand at ``sessions[offsets[i]:offsets[i + 1]]``, newest first; the items of session s, oldest first
    and without repeats in a row, at ``items[starts[s]:starts[s + 1]]``.
    """

    offsets: Ints  # (n_items + 1,)
    sessions: Ints32  # (n_postings,)
    starts: Ints  # (n_sessions + 1,)
    items: Ints32  # (n_kept_touches,)
    idf: Floats32  # (n_items,)


class Rules(NamedTuple):
    """`NeighbourParams` as the query reads them."""

    n_neighbours: int
    max_anchors: int
    position_decay: float
    match_decay: float
    length_power: float


class Scratch(NamedTuple):
    """Scratch memory of one thread, reused by queries; a cell is valid only where it carries the number of the query."""

    query: Ints  # (1,)
    met: Ints  # (n_sessions,) query that met the session
    likeness: Floats32  # (n_sessions,)
    match: Ints32  # (n_sessions,) newest anchor it shares
    found: Ints32  # (n_sessions,) the sessions met
    slot: Ints  # (n_items, 2) query that met the item, and its place in the answer
    last: Ints32  # (n_items,) last neighbour that counted the item of a place
    item: Ints  # (n_items,) the answer
    sums: Floats32  # (n_items, 4)
    anchor: Ints  # (max_anchors,) items that were asked, newest first


SCORE, AFTER, COUNT, BESIDE = range(4)  # columns of the sums
_FADE: Final = float(np.exp(-0.5))  # of BESIDE, from one step away from the shared item to the next
_ITSELF: Final = 0.3
_BACKWARD: Final = 0.5


@kernel
def squeeze(item: Ints32, offsets: Ints, longest: int) -> tuple[Ints, Ints32]:
    """Sessions without repeats in a row and with their last `longest` touches only: new offsets and items."""
    starts, kept = np.zeros(len(offsets), np.int64), np.empty(len(item), np.int32)
    n = 0
    for s in range(len(offsets) - 1):
        first, changes = offsets[s + 1], 0
        while first > offsets[s] and changes < longest:
            first -= 1
            changes += first == offsets[s] or item[first] != item[first - 1]
        for p in range(first, offsets[s + 1]):
            if p == first or item[p] != item[p - 1]:
                kept[n] = item[p]
                n += 1
        starts[s + 1] = n
    return starts, kept[:n]


@kernel
def postings(starts: Ints, items: Ints32, n_items: int, most: int) -> tuple[Ints, Ints32, Ints]:
    """Sessions of each item, newest first and at most so many, with offsets; and in how many sessions each item occurs."""
    last, n_with = np.full(n_items, -1, np.int64), np.zeros(n_items, np.int64)
    for s in range(len(starts) - 1):
        for p in range(starts[s], starts[s + 1]):
            n_with[items[p]] += last[items[p]] != s
            last[items[p]] = s
    offsets = np.zeros(n_items + 1, np.int64)
    for i in range(n_items):
        offsets[i + 1] = offsets[i] + min(n_with[i], most)
    filled, sessions = offsets[:-1].copy(), np.empty(offsets[-1], np.int32)
    last[:] = -1
    for s in range(len(starts) - 2, -1, -1):
        for p in range(starts[s], starts[s + 1]):
            item = items[p]
            if last[item] != s and filled[item] < offsets[item + 1]:
                sessions[filled[item]] = s
                filled[item] += 1
            last[item] = s
    return offsets, sessions, n_with


@kernel
def _meet(index: Index, item: Ints, rules: Rules, scratch: Scratch) -> int:
    """Find the sessions that share an item with this one and how alike they are; returns how many."""
    number = scratch.query[0]
    met, likeness, match, found = scratch.met, scratch.likeness, scratch.match, scratch.found
    offsets, sessions, slot = index.offsets, index.sessions, scratch.slot
    n, rank, weight = 0, 0, 1.0
    for i in range(len(item) - 1, -1, -1):
        code = item[i]
        if code < 0 or code >= len(slot) or slot[code, 0] == -number:
            continue
        slot[code, 0] = -number  # asked already, for this query
        scratch.anchor[rank] = code
        for k in range(offsets[code], offsets[code + 1]):
            s = sessions[k]
            if met[s] != number:
                met[s] = number
                likeness[s] = 0.0
                match[s] = rank
                found[n] = s
                n += 1
            likeness[s] += weight
        rank += 1
        weight *= rules.position_decay
        if rank == rules.max_anchors:
            break
    return n


@kernel
def _least(found: Ints32, likeness: Floats32, n_neighbours: int) -> float:
    """Likeness that a session must reach to be among the neighbours; ties are broken by the caller."""
    n = len(found)
    if n <= n_neighbours:
        return 0.0
    values = np.empty(n, np.float32)
    for k in range(n):
        values[k] = likeness[found[k]]
    return float(nth_smallest(values, n - n_neighbours))


@kernel
def _tie(found: Ints32, likeness: Floats32, least: float, n_neighbours: int) -> int:
    """Oldest session that is let in among those exactly as alike as the last neighbour: the newest of them fit."""
    room, n_ties = n_neighbours, 0
    for s in found:
        room -= likeness[s] > least
        n_ties += likeness[s] == least
    if n_ties <= room or room <= 0:
        return 0
    ties = np.empty(n_ties, np.int32)
    n = 0
    for s in found:
        if likeness[s] == least:
            ties[n] = s
            n += 1
    return int(nth_smallest(ties, n_ties - room))


@kernel
def query(index: Index, item: Ints, rules: Rules, scratch: Scratch) -> int:
    """Add up the items of the sessions most like this one; returns how many items were met.

    They stand in ``scratch.item[:n]``, their sums in ``scratch.sums[:n]``.
    """
    scratch.query[0] += 1
    number = scratch.query[0]
    n_found = _meet(index, item, rules, scratch)
    likeness, match, slot, last = scratch.likeness, scratch.match, scratch.slot, scratch.last
    sums, answer, starts, items, idf = scratch.sums, scratch.item, index.starts, index.items, index.idf
    found = scratch.found[:n_found]
    least = _least(found, likeness, rules.n_neighbours)
    oldest = _tie(found, likeness, least, rules.n_neighbours)
    newest = len(item) - 1
    while newest >= 0 and (item[newest] < 0 or item[newest] >= len(slot)):
        newest -= 1
    n = 0
    for s in found:
        if likeness[s] < least or (likeness[s] == least and s < oldest):
            continue
        begin, end = starts[s], starts[s + 1]
        weight = likeness[s] * rules.match_decay ** match[s] / (end - begin) ** rules.length_power
        passed, shared = False, begin
        for p in range(begin, end):
            if items[p] == scratch.anchor[match[s]]:
                shared = p
        for p in range(begin, end):
            code = items[p]
            if slot[code, 0] != number:
                slot[code, 0] = number
                slot[code, 1] = n
                answer[n] = code
                last[n] = -1
                sums[n, SCORE] = 0.0
                sums[n, AFTER] = 0.0
                sums[n, COUNT] = 0.0
                sums[n, BESIDE] = 0.0
                n += 1
            at = slot[code, 1]
            if last[at] != s:
                last[at] = s
                sums[at, SCORE] += weight * idf[code]
                sums[at, COUNT] += 1.0
            if passed:
                sums[at, AFTER] += weight
            if p == shared:
                sums[at, BESIDE] += likeness[s] * _ITSELF
            else:
                sums[at, BESIDE] += likeness[s] * _FADE ** (abs(p - shared) - 1) * (1.0 if p > shared else _BACKWARD)
            passed |= code == item[newest]
    return n
