"""Kernels behind the intent labels: how an item event relates to the items before it, and the two-way smoothing.

Plain arrays in and out, so that they compile once; `models.inference.labels` says what they mean.
"""

from typing import Final

import numpy as np

from models.arrays import Flags, Floats, Ints
from models.events.encode import NO_CODE
from models.kernels import kernel
from models.schema import EventType

LOOKBACK: Final = 64  # item visits in which "met before" is looked for; bounds the work in very long sessions

OTHER_CATEGORY: Final = 1
SAME_CATEGORY: Final = 2
BACK_TO_ITEM: Final = 3
AGAIN: Final = 4

_ENGAGEMENT: Final = int(EventType.ITEM_ENGAGEMENT)


@kernel
def relations(kinds: Ints, items: Ints, categories: Ints, starts: Flags, is_item: Flags) -> Ints:
    """Relation of each item event to the item events before it in its session, int64[n_events]."""
    n = len(kinds)
    found = np.zeros(n, np.int64)
    met = np.empty(LOOKBACK, np.int64)
    n_met, last_item, last_category = 0, NO_CODE, NO_CODE
    for i in range(n):
        if starts[i]:
            n_met, last_item, last_category = 0, NO_CODE, NO_CODE
        item = items[i]
        if not is_item[kinds[i]] or item == NO_CODE:
            continue
        if item == last_item:
            # The engagement measured on a view belongs to that view, it is no second visit.
            if kinds[i] != _ENGAGEMENT:
                found[i] = AGAIN
            continue
        before = False
        for k in range(min(n_met, LOOKBACK)):
            before = before or met[k] == item
        if before:
            found[i] = BACK_TO_ITEM
        elif last_category != NO_CODE and categories[i] != NO_CODE:
            found[i] = SAME_CATEGORY if categories[i] == last_category else OTHER_CATEGORY
        met[n_met % LOOKBACK] = item
        n_met += 1
        last_item, last_category = item, categories[i]
    return found


@kernel
def forward_backward(log_likelihood: Floats, starts: Flags, first: Floats, move: Floats) -> tuple[Floats, Floats]:
    """Posterior of each state at each event given its whole sequence, and the expected number of moves between states.

    log_likelihood float64[n_events, n_states]; first float64[n_states] at a start; move float64[n_states, n_states], rows sum
    to 1. Scaled at every event, so that sequences of any length work (Rabiner, 1989).
    """
    n, n_states = log_likelihood.shape
    likely = np.empty((n, n_states))
    p = np.empty((n, n_states))
    before = np.empty(n_states)
    for i in range(n):
        top = log_likelihood[i].max()
        for z in range(n_states):
            likely[i, z] = np.exp(log_likelihood[i, z] - top)
            if starts[i]:
                before[z] = first[z]
            else:
                before[z] = 0.0
                for a in range(n_states):
                    before[z] += p[i - 1, a] * move[a, z]
        total = 0.0
        for z in range(n_states):
            p[i, z] = before[z] * likely[i, z]
            total += p[i, z]
        for z in range(n_states):
            p[i, z] /= total
    moves = np.zeros((n_states, n_states))
    pair = np.empty((n_states, n_states))
    future = np.ones(n_states)
    message = np.empty(n_states)
    for i in range(n - 2, -1, -1):
        if starts[i + 1]:
            future[:] = 1.0
            continue
        total = 0.0
        for z in range(n_states):
            message[z] = likely[i + 1, z] * future[z]
        for a in range(n_states):
            for z in range(n_states):
                pair[a, z] = p[i, a] * move[a, z] * message[z]
                total += pair[a, z]
        norm = 0.0
        for a in range(n_states):
            future[a] = 0.0
            for z in range(n_states):
                moves[a, z] += pair[a, z] / total
                future[a] += move[a, z] * message[z]
            norm += future[a]
        total = 0.0
        for z in range(n_states):
            future[z] /= norm
            p[i, z] *= future[z]
            total += p[i, z]
        for z in range(n_states):
            p[i, z] /= total
    return p, moves
