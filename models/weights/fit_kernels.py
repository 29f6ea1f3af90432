"""Compiled loop behind learned weights: how much of a session's association score each pair of event types makes up.

The score of an item is a quadratic form, w' M w, in the weights of the event types: M[a, b] is the sum, over the session's
items and their entries with source type a and target type b that lead to this item, of recency * match * strength. So the
learner needs the matrix of each wanted item, and the one of all items together, and never the lists themselves.
"""

from typing import NamedTuple

import numpy as np

from models.arrays import Floats, Ints
from models.associations.arrays import TYPE_BITS, TYPE_MASK, Pairs
from models.associations.query import Session, last_items
from models.kernels import kernel
from models.schema import N_EVENT_TYPES


class Asked(NamedTuple):
    """Prefixes as rows of the events, what is in hand, and the wanted items of each in one array.

    Wanted items of prefix q stand at ``wanted_at[q]:wanted_at[q + 1]``; all items are codes of the store.
    """

    first: Ints
    last: Ints
    in_hand: Ints
    wanted_at: Ints
    wanted: Ints


@kernel
def shares(pairs: Pairs, asked: Asked, events: Session, at_us: Ints) -> tuple[Floats, Floats]:
    """Matrix of all items per prefix, (n_prefixes, n_types, n_types), and of each wanted item, (n_wanted, n_types, n_types).

    `events` holds the items and types of all events, and how a session asks; the ages are those at the end of each prefix.
    """
    n_types = N_EVENT_TYPES
    total = np.zeros((len(asked.first), n_types, n_types))
    hit = np.zeros((len(asked.wanted), n_types, n_types))
    anchor, done = np.empty(events.max_anchors, np.int64), np.empty(events.max_anchors, np.int64)
    recency = np.empty(events.max_anchors)
    offsets, target, types, strength = pairs.offsets, pairs.target, pairs.types, pairs.strength
    for q in range(len(asked.first)):
        first, end = asked.first[q], asked.last[q] + 1
        age_s = (at_us[end - 1] - at_us[first:end]) / 1e6
        prefix = Session(
            events.item[first:end], events.kind[first:end], age_s, events.weight, events.max_anchors, events.rank_decay,
            events.age_scale_s, events.unmatched, events.relation,
        )  # fmt: skip
        done[:] = 0
        for at in range(last_items(prefix, len(offsets) - 1, anchor, done, recency)):
            for e in range(offsets[anchor[at]], offsets[anchor[at] + 1]):
                if target[e] == asked.in_hand[q]:
                    continue
                a, b = types[e] >> TYPE_BITS, types[e] & TYPE_MASK
                value = recency[at] * strength[e] * (1.0 if (done[at] >> a) & 1 else events.unmatched)
                total[q, a, b] += value
                for k in range(asked.wanted_at[q], asked.wanted_at[q + 1]):
                    if asked.wanted[k] == target[e]:
                        hit[k, a, b] += value
    return total, hit
