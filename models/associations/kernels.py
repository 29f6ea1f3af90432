"""Compiled loops of the typed pair store: one gathers the rows at build time, one merges them per request.

Building is a *gather*, not a sort: for each anchor item its occurrences are visited and the neighbours within the window are
added up in dense scratch, so no list of pairs ever exists. Neighbours are read where the caller has them, asked for a few
occurrences ahead, since they lie anywhere in the log. Memory is four bytes for each occurrence of the anchors at hand plus the
finished rows; rows of different anchors are independent (threads may share the work), and a row can be made again on its own,
from sums that were kept (`remake`).
"""

from typing import Final

import numpy as np

from models.arrays import Floats, Ints, Ints32, Records
from models.associations.arrays import N_TYPES, PAIR, TYPE_BITS, TYPE_MASK, Log, PairTypes, Rows, Rules, Totals, Touches
from models.associations.indirect import is_of_cart, is_source_only
from models.associations.prefetch import prefetch
from models.kernels import ZERO, kernel, nth_smallest

REACH: Final = 4  # touches looked at on either side, per step of the window: many events on one item must not cost more
_LOG_TABLE: Final = 4096
_AHEAD: Final = 4  # touches; their rows are asked for while these are added up
_LINES: Final = (-128, -64, 0, 64, 128)  # bytes: around the row, where a short session's others are

# Scratch of one anchor: a cell per item, a slot per target met, an entry per target and pair of types. Records and plain
# arguments, because a tuple's arrays are reference-counted at every access, which costs more than the addition itself.
CELL: Final = np.dtype([("anchor", np.int32), ("slot", np.int32)])
SLOT: Final = np.dtype([("target", np.int32), ("head", np.int32)])
ENTRY: Final = np.dtype(
    [
        ("weight", np.float64),
        ("most", np.float64),
        ("following", np.int32),
        ("support", np.int32),
        ("last_session", np.int32),
        ("types", PAIR),
    ],
    align=True,
)
OUT: Final = np.dtype([("strength", np.float64), ("target", np.int32), ("support", np.int32), ("types", PAIR)])


@kernel
def _add(
    cells: Records, slots: Records, entries: Records, n_slots: int, n: int,
    anchor: int, target: int, types: int, weight: float, session: int, repeats: float,
) -> tuple[int, int]:  # fmt: skip
    """Add one co-occurrence to the row; returns the new numbers of targets and entries."""
    cell = cells[target]
    if cell.anchor != anchor:
        cell.anchor = anchor
        cell.slot = n_slots
        slots[n_slots].target = target
        slots[n_slots].head = -1
        n_slots += 1
    slot = slots[cell.slot]
    at = slot.head
    while at >= 0 and entries[at].types != types:
        at = entries[at].following
    if at < 0:
        at = n
        entry = entries[at]
        entry.types = types
        entry.weight = 0.0
        entry.support = 0
        entry.last_session = -1
        entry.following = slot.head
        slot.head = at
        n += 1
    entry = entries[at]
    if entry.last_session != session:
        entry.last_session = session
        entry.support += 1
        entry.most = 0.0
    if weight > entry.most:  # the best of a session counts in full, the others by `repeats`
        entry.weight += weight - (1.0 - repeats) * entry.most
        entry.most = weight
    else:
        entry.weight += repeats * weight
    return n_slots, n


@kernel
def _accumulate(
    cells: Records, slots: Records, entries: Records, n_slots: int, n: int,
    anchor: int, first: int, log: Log, touches: Touches, rules: Rules,
) -> tuple[int, int, int]:  # fmt: skip
    """Add up what happened around the anchor's touches from `first` on, as long as the row has room.

    Returns the touch to go on with, and the numbers of targets and entries.
    """
    events, starts, newest_us = log.events, log.starts, log.newest_us
    step_decay, backward, gap_scale_s, self_factor = rules.step_decay, rules.backward, rules.gap_scale_s, rules.self_factor
    repeats = rules.repeats
    order, end, window = touches.order, touches.offsets[anchor - touches.first + 1], len(rules.step_decay) - 1
    reach = REACH * window
    session = first  # a session is known by its first touch of the anchor
    while first < end and order[session] >= 0:
        session -= 1
    for k in range(first, end):
        if n + 2 * reach >= len(entries):
            return k, n_slots, n
        p, ahead = order[k], order[min(k + _AHEAD, end - 1)]
        ahead = max(ahead, ~ahead)
        prefetch(starts, ahead, 0)
        for n_bytes in _LINES:
            prefetch(events, ahead, n_bytes)
        if p < 0:
            p, session = ~p, k
        kind, age_s = events[p].event_type, (newest_us - events[p].occurred_at_us) / 1e6
        freshness = np.exp(-rules.age_rate * age_s)
        for direction in (1, -1):
            bias = freshness if direction == 1 else freshness * backward
            q, n_met, distance, before = p, 0, 0, anchor
            while n_met < reach:
                if direction == 1:
                    q += 1
                    if q == len(events) or starts[q]:
                        break
                elif q == 0 or starts[q]:
                    break
                else:
                    q -= 1
                target, wanted = events[q].item, events[q].event_type
                if target < 0 or is_source_only(wanted):
                    continue
                n_met += 1
                at_once = is_of_cart(wanted)  # not walked past: as far as the next one
                steps = distance + (target != before)
                if not at_once:
                    distance, before = steps, target
                if steps > window:
                    break
                again = target == anchor
                if not again or (self_factor > 0.0 and direction == 1 and not at_once):
                    age_there_s = (newest_us - events[q].occurred_at_us) / 1e6
                    weight = bias * step_decay[steps] / (1.0 + abs(age_there_s - age_s) / gap_scale_s)
                    weight *= self_factor if again else 1.0
                    types = kind << TYPE_BITS | wanted
                    n_slots, n = _add(cells, slots, entries, n_slots, n, anchor, target, types, weight, session, repeats)
    return end, n_slots, n


@kernel
def _log_table() -> Floats:
    """x log x of whole numbers."""
    table = np.zeros(_LOG_TABLE)
    for x in range(1, _LOG_TABLE):
        table[x] = x * np.log(x)
    return table


@kernel
def _x_log_x(x: float, table: Floats) -> float:
    return float(table[int(x)] if x < _LOG_TABLE else x * np.log(x))


@kernel
def llr(k11: float, n_a: float, n_b: float, n: float, table: Floats) -> float:
    """Log-likelihood ratio of "a and b occur together" against chance (Dunning 1993), signed: negative below chance.

    2 (sum of k log k over cells - over rows - over columns + n log n) for the table of sessions with both, one, none.
    """
    k12, k21 = n_a - k11, n_b - k11
    k22 = n - n_a - k21
    if k22 < 0.0:
        k22 = 0.0
    cells = _x_log_x(k11, table) + _x_log_x(k12, table) + _x_log_x(k21, table) + _x_log_x(k22, table)
    rows = _x_log_x(n_a, table) + _x_log_x(k21 + k22, table)
    columns = _x_log_x(n_b, table) + _x_log_x(k12 + k22, table)
    ratio = 2.0 * (cells - rows - columns + _x_log_x(k11 + k12 + k21 + k22, table))
    return ratio if k11 * n >= n_a * n_b else -ratio


@kernel
def _passes(k11: float, n_a: float, n_b: float, n: float, table: Floats, least: float) -> bool:
    """Whether `llr` reaches `least`, mostly without computing it.

    The ratio is a sum of 2 (k log(k / expected) - (k - expected)) over the four cells, none negative: the first often suffices.
    """
    expected = n_a * n_b / n
    if k11 > expected and 2.0 * (k11 * np.log(k11 / expected) - k11 + expected) >= least:
        return True
    return llr(k11, n_a, n_b, n, table) >= least


@kernel
def _normalise(
    slots: Records, entries: Records, n_slots: int, anchor: int, totals: Totals, rules: Rules, table: Floats, rank: Floats
) -> None:
    """Turn added weights into strengths (0 = gated away), and write each target's importance to `rank`."""
    n_with, damping, importance = totals.n_sessions_with, totals.damping, rules.importance
    min_llr, min_sessions, n_sessions = rules.min_llr, rules.min_sessions, totals.n_sessions
    scale = np.zeros(N_TYPES)
    for source in range(N_TYPES):
        scale[source] = max(n_with[anchor, source], 1) ** -rules.anchor_power
    for s in range(n_slots):
        target, at = slots[s].target, slots[s].head
        rank[s] = 0.0
        while at >= 0:
            entry = entries[at]
            source, end = entry.types >> TYPE_BITS, entry.types & TYPE_MASK
            passes = entry.support >= min_sessions
            if passes and target != anchor and min_llr > 0.0:
                n_a, n_b = float(n_with[anchor, source]), float(n_with[target, end])
                passes = _passes(float(entry.support), n_a, n_b, float(n_sessions), table, min_llr)
            if not passes:
                entry.weight = 0.0
            else:
                entry.weight *= damping[target, end] * scale[source]
                rank[s] += entry.weight * importance[entry.types]
            at = entry.following


@kernel
def _choose(rank: Floats, n_slots: int, n: int, chosen: Ints32) -> int:
    """Write the slots of the n largest ranks, in their order and among equals the first; returns how many."""
    least, ties, filled = 0.0, 0, 0
    if n_slots > n:
        least = nth_smallest(rank[:n_slots].copy(), n_slots - n)
        ties = n
        for s in range(n_slots):
            ties -= rank[s] > least
    for s in range(n_slots):
        if rank[s] > least or (rank[s] == least and ties > 0):
            ties -= rank[s] == least
            chosen[filled] = s
            filled += 1
    return filled


@kernel
def _keep(slots: Records, entries: Records, chosen: Ints32, n: int, out: Records, filled: int) -> int:
    """Append what is left of the n chosen targets; returns the new end."""
    for k in range(n):
        s = chosen[k]
        at = slots[s].head
        while at >= 0:
            if entries[at].weight > 0.0:
                out[filled].target = slots[s].target
                out[filled].types = entries[at].types
                out[filled].strength = entries[at].weight
                out[filled].support = entries[at].support
                filled += 1
            at = entries[at].following
    return filled


@kernel
def _longer(old: Records, size: int) -> Records:
    new = np.empty(size, old.dtype)
    for i in range(len(old)):  # a slice assignment of records takes seconds to compile
        new[i] = old[i]
    return new


@kernel
def gather(first: int, last: int, log: Log, touches: Touches, totals: Totals, rules: Rules) -> Rows:
    """Rows of the anchors ``first <= anchor < last``: pairs added up, gated, normalised, pruned to the best targets."""
    n_items, table = len(totals.damping), _log_table()
    room = 4 * REACH * len(rules.step_decay)
    cells, slots, entries = np.empty(n_items, CELL), np.empty(room, SLOT), np.empty(room, ENTRY)
    rank, chosen = np.empty(room), np.empty(room, np.int32)
    for i in range(n_items):
        cells[i].anchor = -1
    sizes, out, filled = np.zeros(last - first, np.int64), np.empty(4096, OUT), ZERO
    for anchor in range(first, last):
        at, end = touches.offsets[anchor - touches.first], touches.offsets[anchor - touches.first + 1]
        n_slots, n = ZERO, ZERO
        at, n_slots, n = _accumulate(cells, slots, entries, n_slots, n, anchor, at, log, touches, rules)
        while at < end:
            slots, entries = _longer(slots, 2 * len(slots)), _longer(entries, 2 * len(entries))
            at, n_slots, n = _accumulate(cells, slots, entries, n_slots, n, anchor, at, log, touches, rules)
        if n_slots > len(rank):
            rank, chosen = np.empty(2 * n_slots), np.empty(2 * n_slots, np.int32)
        _normalise(slots, entries, n_slots, anchor, totals, rules, table, rank)
        n_chosen = _choose(rank, n_slots, rules.max_targets, chosen)
        if filled + n > len(out):
            out = _longer(out, 2 * (filled + n))
        start = filled
        filled = _keep(slots, entries, chosen, n_chosen, out, filled)
        sizes[anchor - first] = filled - start
    return Rows(sizes, out, filled)


@kernel
def remake(
    anchors: Ints, offsets: Ints, target: Ints, types: PairTypes, weight: Floats, support: Ints, totals: Totals, rules: Rules
) -> Rows:  # fmt: skip
    """Rows from sums that were added up before: gated, normalised and pruned exactly as `gather` does it.

    The sums of ``anchors[k]`` stand at ``offsets[k]:offsets[k + 1]``, entries of one target side by side, none twice.
    """
    table, room = _log_table(), 1
    for k in range(len(anchors)):
        room = max(room, offsets[k + 1] - offsets[k])
    slots, entries, rank, chosen = np.empty(room, SLOT), np.empty(room, ENTRY), np.empty(room), np.empty(room, np.int32)
    sizes, out, filled = np.zeros(len(anchors), np.int64), np.empty(len(target), OUT), ZERO
    for k in range(len(anchors)):
        n_slots, first = ZERO, offsets[k]
        for e in range(first, offsets[k + 1]):
            n = e - first
            if e == first or target[e] != target[e - 1]:
                slots[n_slots].target = target[e]
                slots[n_slots].head = -1
                n_slots += 1
            entries[n].types = types[e]
            entries[n].weight = weight[e]
            entries[n].support = support[e]
            entries[n].following = slots[n_slots - 1].head
            slots[n_slots - 1].head = n
        _normalise(slots, entries, n_slots, anchors[k], totals, rules, table, rank)
        start = filled
        filled = _keep(slots, entries, chosen, _choose(rank, n_slots, rules.max_targets, chosen), out, filled)
        sizes[k] = filled - start
    return Rows(sizes, out, filled)
