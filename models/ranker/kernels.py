"""Compiled loops of the ranker: collect candidates with their features, and take the best by their scores."""

from typing import Final

import numpy as np

from models.arrays import Floats, Floats32, Ints
from models.associations.arrays import N_TYPES, TYPE_BITS, TYPE_MASK, Pairs
from models.associations.indirect import is_source_only
from models.kernels import ZERO, kernel, nth_smallest
from models.ranker import reach
from models.ranker.arrays import Catalogue, Embeddings, Mix, Scratch, Session
from models.ranker.slots import falling, slot_of
from models.schema import N_INTENTS, EventType

FEATURES: Final = (
    "wide_sum", "wide_last", "wide_second", "wide_best", "n_wide_links",
    "next_sum", "next_last", "next_second",
    "met_sum", "met_after", "n_met", "wide_self", "cart_sum", "purchase_sum",
    "n_past", "past_recent", "past_day", "past_week", "past_carted", "past_bought",
    "met_beside", "came_after", "came_before",
    "wide_rank", "next_rank", "met_rank", "wide_share", "next_share", "met_share",
    "place", "first_place", "n_seen", "seen_gap", "distinct_place",
    "popularity", "popularity_recent", "popularity_latest", "trend", "reload_rate", "return_rate", "item_age", "item_silence",
    "price", "conversion_rate",
    "n_events", "n_distinct", "repeat_share", "n_in_a_row", "last_popularity", "last_reload_rate", "last_return_rate",
    "n_candidates", "previous_reload", "p_exploratory", "p_comparative", "p_intent_to_purchase", "p_research",
    "view_weight", "cart_weight", "purchase_weight", "n_before", "before_share",
    "near_last", "near_session", "near_best", "same_category", "price_ratio",
    "led", "led_by_last", "led_rank", "led_share", "led_always",
)  # fmt: skip
N_FEATURES: Final = len(FEATURES)
(
    WIDE_SUM, WIDE_LAST, WIDE_SECOND, WIDE_BEST, N_WIDE_LINKS,
    NEXT_SUM, NEXT_LAST, NEXT_SECOND,
    MET_SUM, MET_AFTER, N_MET, WIDE_SELF, CART_SUM, PURCHASE_SUM,
    N_PAST, PAST_RECENT, PAST_DAY, PAST_WEEK, PAST_CARTED, PAST_BOUGHT,
    MET_BESIDE, CAME_AFTER, CAME_BEFORE,
    WIDE_RANK, NEXT_RANK, MET_RANK, WIDE_SHARE, NEXT_SHARE, MET_SHARE,
    PLACE, FIRST_PLACE, N_SEEN, SEEN_GAP, DISTINCT_PLACE,
    POPULARITY, POPULARITY_RECENT, POPULARITY_LATEST, TREND, RELOAD_RATE, RETURN_RATE, ITEM_AGE, ITEM_SILENCE,
    PRICE, CONVERSION_RATE,
    N_EVENTS, N_DISTINCT, REPEAT_SHARE, N_IN_A_ROW, LAST_POPULARITY, LAST_RELOAD_RATE, LAST_RETURN_RATE,
    N_CANDIDATES, PREVIOUS_RELOAD, P_FIRST_INTENT, _, _, _,
    VIEW_WEIGHT, CART_WEIGHT, PURCHASE_WEIGHT, N_BEFORE, BEFORE_SHARE,
    NEAR_LAST, NEAR_SESSION, NEAR_BEST, SAME_CATEGORY, PRICE_RATIO,
    LED, LED_BY_LAST, LED_RANK, LED_SHARE, LED_ALWAYS,
) = range(N_FEATURES)  # fmt: skip
N_SUMS: Final = 23  # the first features are sums over the session's items
N_ITEM: Final = 10  # features of the item alone, from POPULARITY on
N_SHARED: Final = NEAR_LAST - N_EVENTS  # features of the session alone, from N_EVENTS on
_SOURCES: Final = (WIDE_SUM, NEXT_SUM, MET_SUM)  # their ranks and shares follow each other in this order
_N_NEAR: Final = 5  # items of the session that a candidate is compared with one by one
_PAST_DECAY: Final = 0.8  # from one event of earlier sessions to the one before it
_PER_DAY: Final = float(np.log(2)) / 86_400.0
NEVER: Final = 99.0  # place of an item that the session has not seen


@kernel
def _look_back(session: Session, scratch: Scratch, anchors: Ints, done: Ints) -> tuple[int, int, int]:
    """Give each item of the session a slot; returns slots, anchors and known events."""
    slot, item, sums, seen, number = scratch.slot, scratch.item, scratch.sums, scratch.seen, scratch.query[0]
    item_codes, kinds = session.items, session.kinds
    n, n_anchors, place = ZERO, 0, 0
    for i in range(len(item_codes) - 1, -1, -1):
        code = item_codes[i]
        if code < 0 or code >= len(slot):
            continue
        at, after = slot_of(slot, item, sums, seen, code, number, n)
        if after > n:
            seen[at, 0] = place
            if n_anchors < len(anchors):
                anchors[n_anchors] = code
                done[n_anchors] = 0
                n_anchors += 1
            n = after
        if seen[at, 2] == 1:
            seen[at, 3] = place
        seen[at, 1] = place
        seen[at, 2] += 1
        if at < n_anchors and 0 <= kinds[i] < N_TYPES:
            done[at] |= 1 << kinds[i]
        place += 1
    return n, n_anchors, place


@kernel
def _add_pairs(
    pairs: Pairs, wide: int, anchors: Ints, done: Ints, weight: Floats, mix: Mix, scratch: Scratch, n: int
) -> int:  # fmt: skip
    """Add the anchors' rows to the sums, of wide (1) or following (0) pairs; returns the number of slots."""
    slot, item, sums, seen, number = scratch.slot, scratch.item, scratch.sums, scratch.seen, scratch.query[0]
    offsets, target, types, strength = pairs.offsets, pairs.target, pairs.types, pairs.strength
    first, decay, recency = WIDE_SUM if wide else NEXT_SUM, mix.decays[1 - wide], 1.0
    for a in range(len(anchors)):
        for e in range(offsets[anchors[a]], offsets[anchors[a] + 1]):
            source, end = types[e] >> TYPE_BITS, types[e] & TYPE_MASK
            if source >= len(weight) or end >= len(weight):
                continue
            share = strength[e] if (done[a] >> source) & 1 else mix.unmatched * strength[e]
            gain = weight[source] * weight[end] * share
            if gain <= 0.0:
                continue
            at, n = slot_of(slot, item, sums, seen, target[e], number, n)
            sums[at, first] += recency * gain
            if a < 2:
                sums[at, first + 1 + a] += gain
            if not wide:
                continue
            sums[at, N_WIDE_LINKS] += 1.0
            if target[e] == anchors[a]:
                sums[at, WIDE_SELF] += gain
            if gain > sums[at, WIDE_BEST]:
                sums[at, WIDE_BEST] = gain
            if end == EventType.ADD_TO_CART:
                sums[at, CART_SUM] += recency * share
            elif end == EventType.PURCHASE:
                sums[at, PURCHASE_SUM] += recency * share
        recency *= decay
    return n


@kernel
def _look_further(session: Session, scratch: Scratch, n: int) -> int:
    """Give each item of earlier sessions a slot, and add up what was done on it; returns the number of slots."""
    slot, item, sums, seen, number = scratch.slot, scratch.item, scratch.sums, scratch.seen, scratch.query[0]
    codes, kinds, ages_s = session.past.item, session.past.kind, session.past.age_s
    recent = 1.0
    for i in range(len(codes)):
        code, kind = codes[i], kinds[i]
        if code < 0 or code >= len(slot) or is_source_only(kind):
            continue
        at, n = slot_of(slot, item, sums, seen, code, number, n)
        day = np.exp(-max(ages_s[i], 0.0) * _PER_DAY)
        week = day ** (1.0 / 7.0)
        sums[at, N_PAST] += 1.0
        sums[at, PAST_RECENT] += recent
        sums[at, PAST_DAY] += day
        sums[at, PAST_WEEK] += week
        if kind == EventType.ADD_TO_CART or kind == EventType.WISHLIST_ADD:
            sums[at, PAST_CARTED] += week
        elif kind == EventType.PURCHASE:
            sums[at, PAST_BOUGHT] += week
        recent *= _PAST_DECAY
    return n


@kernel
def _add_met(items: Ints, met: Floats32, scratch: Scratch, n: int) -> int:
    slot, item, sums, seen, number = scratch.slot, scratch.item, scratch.sums, scratch.seen, scratch.query[0]
    for k in range(len(items)):
        at, n = slot_of(slot, item, sums, seen, items[k], number, n)
        sums[at, MET_SUM] = met[k, 0]
        sums[at, MET_AFTER] = met[k, 1]
        sums[at, N_MET] = met[k, 2]
        sums[at, MET_BESIDE] = met[k, 3]
    return n


@kernel
def _look_around(items: Ints, scratch: Scratch) -> None:
    """Count how often each item of the session came right after its newest one, and right before it."""
    slot, sums, n = scratch.slot, scratch.sums, len(items)
    for i in range(1, n):
        before, code = items[i - 1], items[i]
        if min(before, code) < 0 or max(before, code) >= len(slot):
            continue
        if before == items[n - 1]:
            sums[slot[code, 1], CAME_AFTER] += 1.0
        if code == items[n - 1]:
            sums[slot[before, 1], CAME_BEFORE] += 1.0


@kernel
def _choose(scratch: Scratch, n: int, n_own: int, blend_of: Floats, at_most: int) -> int:
    """Write the candidates' slots to `codes`: the best by the blend of the three sources, the visitor's own items first.

    The first `n_own` slots are the visitor's own, those of the session before those of earlier ones.
    """
    sums, blend, seen, codes = scratch.sums, scratch.blend, scratch.seen, scratch.codes
    most = np.zeros(3, np.float32)
    for k in range(n):
        for s in range(3):
            most[s] = max(most[s], sums[k, _SOURCES[s]])
    for k in range(n):
        blend[k] = 0.0
        for s in range(3):
            if most[s] > 0.0:
                blend[k] += blend_of[s] * sums[k, _SOURCES[s]] / most[s]
        if 0 <= seen[k, 0] < at_most // 2:
            blend[k] += 100.0
        elif k < n_own and k < at_most // 2:
            blend[k] += 50.0
    if n <= at_most:
        for k in range(n):
            codes[k] = k
        return n
    least = nth_smallest(blend[:n].copy(), n - at_most)
    filled = 0
    for k in range(n):
        if blend[k] > least:
            codes[filled] = k
            filled += 1
    for k in range(n):
        if blend[k] == least and filled < at_most:
            codes[filled] = k
            filled += 1
    return filled


@kernel
def _rank(features: Floats32, n: int) -> None:
    """Rank and share of each candidate in each of the three sources."""
    values, order = np.empty(n), np.empty(n, np.int64)
    for s in range(3):
        for k in range(n):
            values[k], order[k] = features[k, _SOURCES[s]], k
        falling(values, order, n)
        most = max(values[order[0]], 1e-12) if n else 1.0
        for r in range(n):
            k = order[r]
            features[k, WIDE_RANK + s] = r if values[k] > 0.0 else NEVER
            features[k, WIDE_SHARE + s] = values[k] / most


@kernel
def _near(vectors: Floats32, codes: Ints, anchors: Ints, decay: float, n: int, features: Floats32) -> None:
    """Cosine of each candidate with the newest item, with the session, and with the most alike of the few items before."""
    n_dims = vectors.shape[1]
    mean = np.zeros(n_dims, np.float32)
    weight = np.float32(1.0)
    for a in anchors:
        for d in range(n_dims):
            mean[d] += weight * vectors[a, d]
        weight *= np.float32(decay)
    length = np.float32(0.0)
    for d in range(n_dims):
        length += mean[d] * mean[d]
    length = np.sqrt(length) + np.float32(1e-9)
    for k in range(n):
        row = vectors[codes[k]]
        best, first, total = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for a in range(min(len(anchors), _N_NEAR)):
            near = np.float32(0.0)
            other = vectors[anchors[a]]
            for d in range(n_dims):
                near += row[d] * other[d]
            if a == 0:
                first = near
            elif anchors[a] != codes[k]:
                best = max(best, near)
        for d in range(n_dims):
            total += row[d] * mean[d]
        features[k, NEAR_LAST] = first
        features[k, NEAR_SESSION] = total / length
        features[k, NEAR_BEST] = best


@kernel
def _lead(embeddings: Embeddings, anchors: Ints, heading: Floats32, codes: Ints, n: int, features: Floats32) -> None:
    """What the embeddings say of each candidate: after the session, after its newest item, and among the candidates."""
    value, order, most, total = np.empty(n), np.empty(n, np.int64), -np.inf, 0.0
    for k in range(n):
        row, bias = embeddings.target[codes[k]], embeddings.bias[codes[k]]
        value[k], order[k] = reach.dot(heading, row) + bias, k
        most = max(most, value[k])
        features[k, LED] = value[k]
        features[k, LED_BY_LAST] = bias + (reach.dot(embeddings.context[anchors[0]], row) if len(anchors) else np.float32(0.0))
        features[k, LED_ALWAYS] = bias
    for k in range(n):
        total += np.exp(value[k] - most)
    falling(value, order, n)
    for r in range(n):
        features[order[r], LED_RANK] = r
        features[order[r], LED_SHARE] = value[order[r]] - most - np.log(total)


@kernel
def _shared(
    session: Session, traits: Floats32, anchors: Ints, n_events: int, n_distinct: int, sums: Floats32
) -> Floats32:  # fmt: skip
    """Features of the session alone, shape (N_SHARED,)."""
    items, out = session.items, np.zeros(N_SHARED, np.float32)
    in_a_row, reloads = 0, 0
    for i in range(len(items) - 1, -1, -1):
        if items[i] != items[len(items) - 1]:
            break
        in_a_row += 1
    for i in range(1, len(items)):
        reloads += items[i] == items[i - 1]
    out[N_EVENTS - N_EVENTS] = n_events
    out[N_DISTINCT - N_EVENTS] = n_distinct
    out[REPEAT_SHARE - N_EVENTS] = (n_events - n_distinct) / max(n_events, 1)
    out[N_IN_A_ROW - N_EVENTS] = in_a_row
    if len(anchors):
        out[LAST_POPULARITY - N_EVENTS] = traits[anchors[0], 0]
        out[LAST_RELOAD_RATE - N_EVENTS] = traits[anchors[0], RELOAD_RATE - POPULARITY]
        out[LAST_RETURN_RATE - N_EVENTS] = traits[anchors[0], RETURN_RATE - POPULARITY]
    out[PREVIOUS_RELOAD - N_EVENTS] = reloads / max(n_events - 1, 1)
    for z in range(N_INTENTS):
        out[P_FIRST_INTENT - N_EVENTS + z] = session.p_intent[z]
    out[VIEW_WEIGHT - N_EVENTS] = session.weight[EventType.ITEM_VIEW]
    out[CART_WEIGHT - N_EVENTS] = session.weight[EventType.ADD_TO_CART]
    out[PURCHASE_WEIGHT - N_EVENTS] = session.weight[EventType.PURCHASE]
    met = 0
    for at in range(n_distinct):
        met += sums[at, N_PAST] > 0.0
    out[N_BEFORE - N_EVENTS] = len(session.past.item)
    out[BEFORE_SHARE - N_EVENTS] = met / max(n_distinct, 1)
    return out


@kernel
def _describe(catalogue: Catalogue, shared: Floats32, anchors: Ints, scratch: Scratch, n: int) -> None:
    """Write the features of the first n candidates, and their codes in the place of their slots."""
    codes, features, sums, seen, item = scratch.codes, scratch.features, scratch.sums, scratch.seen, scratch.item
    traits, category = catalogue.traits, catalogue.category
    last = anchors[0] if len(anchors) else -1
    home = category[last] if 0 <= last < len(category) else -1
    price = traits[last, PRICE - POPULARITY] if last >= 0 else np.float32(0.0)
    for k in range(n):
        at = codes[k]
        code = item[at]
        row = features[k]
        for c in range(N_SUMS):
            row[c] = sums[at, c]
        unseen = seen[at, 2] == 0
        row[PLACE] = NEVER if unseen else seen[at, 0]
        row[DISTINCT_PLACE] = NEVER if unseen else at  # the session's items have the first slots, newest first
        row[FIRST_PLACE] = NEVER if unseen else seen[at, 1]
        row[N_SEEN] = seen[at, 2]
        row[SEEN_GAP] = NEVER if seen[at, 3] < 0 else seen[at, 3] - seen[at, 0]
        for c in range(N_ITEM):
            row[POPULARITY + c] = traits[code, c]
        for c in range(N_SHARED):
            row[N_EVENTS + c] = shared[c]
        other = category[code] if code < len(category) else -1
        row[SAME_CATEGORY] = 1.0 if home == other else 0.0
        if home < 0 or other < 0:
            row[SAME_CATEGORY] = -1.0
        row[PRICE_RATIO] = row[PRICE] - price if price > 0.0 and row[PRICE] > 0.0 else 0.0
        codes[k] = code


@kernel
def candidates(session: Session, catalogue: Catalogue, mix: Mix, items: Ints, met: Floats32, scratch: Scratch) -> int:
    """Collect the candidates of a session in ``scratch.codes`` and their features in ``scratch.features``; returns how many.

    Parameters
    ----------
    items, met
        What the neighbours hold.
    """
    scratch.query[0] += 1
    anchors, done = np.empty(mix.max_anchors, np.int64), np.zeros(mix.max_anchors, np.int64)
    n_distinct, n_anchors, n_events = _look_back(session, scratch, anchors, done)
    anchors, done, n = anchors[:n_anchors], done[:n_anchors], n_distinct
    n_own = n = _look_further(session, scratch, n)
    shared = _shared(session, catalogue.traits, anchors, n_events, n_distinct, scratch.sums)
    for wide in (1, 0):
        pairs = catalogue.wide if wide else catalogue.following
        n = _add_pairs(pairs, wide, anchors, done, session.weight, mix, scratch, n)
    n = _add_met(items, met, scratch, n)
    _look_around(session.items, scratch)
    chosen = _choose(scratch, n, n_own, mix.blend, mix.n_blended)
    shared[N_CANDIDATES - N_EVENTS] = n
    heading = reach.heading(catalogue.embeddings, anchors, mix.nearness)
    chosen = reach.choose(catalogue.embeddings, anchors, heading, scratch, n, chosen, mix.n_reached)
    _describe(catalogue, shared, anchors, scratch, chosen)
    if catalogue.embeddings.near.shape[1]:
        _lead(catalogue.embeddings, anchors, heading, scratch.codes, chosen, scratch.features)
    _near(catalogue.vectors, scratch.codes, anchors, mix.decays[0], chosen, scratch.features)
    _rank(scratch.features, chosen)
    return chosen


@kernel
def blend_score(features: Floats32, n: int, blend: Floats, out: Floats) -> None:
    """The answer without trees: the sources' shares, blended."""
    for k in range(n):
        row = features[k]
        out[k] = blend[0] * row[WIDE_SHARE] + blend[1] * row[NEXT_SHARE] + blend[2] * row[MET_SHARE]


@kernel
def best(codes: Ints, scores: Floats, n: int, exclude: Ints, limit: int) -> tuple[Ints, Floats]:
    """The best of the first n candidates, best first; equal scores in the order of their codes."""
    order, kept = np.empty(n, np.int64), 0
    for k in range(n):
        shut = False
        for code in exclude:
            shut |= code == codes[k]
        if not shut:
            order[kept] = k
            kept += 1
    falling(-codes.astype(np.float64), order, kept)  # falling scores keep that order among equals
    falling(scores, order, kept)
    final = order[: min(kept, limit)]
    return codes[final], scores[final]
