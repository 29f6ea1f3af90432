"""Compiled loop behind learned weights: how much of a session's association score each pair of event types makes up.

The score of an item is a quadratic form, w' M w, in the weights of the event types: M[a, b] is the sum, over the session's
items and their entries with source type a and target type b that lead to this item, of recency * match * strength. So the
learner needs the matrix of each wanted item, and the one of all items together, and never the lists themselves.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.kernels import kernel
from models.schema import N_EVENT_TYPES

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_TYPE_BITS = 4
_TYPE_MASK = 15


class Pairs(NamedTuple):
    """The rows of an association store, and how a session asks for them; see `models.associations.model`."""

    offsets: Ints
    target: npt.NDArray[np.int32]
    types: npt.NDArray[np.uint8]
    strength: npt.NDArray[np.float32]
    max_anchors: int
    rank_decay: float
    age_scale_s: float
    unmatched: float


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
def shares(pairs: Pairs, asked: Asked, item: Ints, kind: npt.NDArray[np.int8], at_us: Ints) -> tuple[Floats, Floats]:
    """Matrix of all items per prefix, (n_prefixes, n_types, n_types), and of each wanted item, (n_wanted, n_types, n_types)."""
    n_types = N_EVENT_TYPES
    total = np.zeros((len(asked.first), n_types, n_types))
    hit = np.zeros((len(asked.wanted), n_types, n_types))
    anchor, done = np.empty(pairs.max_anchors, np.int64), np.empty(pairs.max_anchors, np.int64)
    recency = np.empty(pairs.max_anchors)
    offsets, target, types, strength = pairs.offsets, pairs.target, pairs.types, pairs.strength
    for q in range(len(asked.first)):
        n = 0
        last = asked.last[q]
        for row in range(last, asked.first[q] - 1, -1):
            code = item[row]
            if code < 0 or code >= len(offsets) - 1:
                continue
            at = 0
            while at < n and anchor[at] != code:
                at += 1
            if at == n:
                if n == pairs.max_anchors:
                    break
                age_s = (at_us[last] - at_us[row]) / 1e6
                anchor[n], done[n] = code, 0
                recency[n] = pairs.rank_decay**n / (1.0 + age_s / pairs.age_scale_s)
                n += 1
            done[at] |= 1 << kind[row]
        for at in range(n):
            for e in range(offsets[anchor[at]], offsets[anchor[at] + 1]):
                if target[e] == asked.in_hand[q]:
                    continue
                a, b = types[e] >> _TYPE_BITS, types[e] & _TYPE_MASK
                value = recency[at] * strength[e] * (1.0 if (done[at] >> a) & 1 else pairs.unmatched)
                total[q, a, b] += value
                for k in range(asked.wanted_at[q], asked.wanted_at[q + 1]):
                    if asked.wanted[k] == target[e]:
                        hit[k, a, b] += value
    return total, hit
