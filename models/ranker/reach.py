"""Candidates that only embeddings lead to: near the session's newest items, though no pair and no neighbour offers them."""

from typing import Final

import numpy as np

from models.arrays import Floats32, Ints
from models.kernels import kernel, nth_smallest
from models.ranker.arrays import Embeddings, Scratch
from models.ranker.slots import slot_of

_N_ASKED: Final = 3  # newest distinct items of the session


@kernel
def dot(a: Floats32, b: Floats32) -> np.float32:
    """Scalar product, by four sums side by side: a strict single one waits for each addition."""
    n, one, two, three, four = len(a), np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for d in range(0, n - n % 4, 4):
        one += a[d] * b[d]
        two += a[d + 1] * b[d + 1]
        three += a[d + 2] * b[d + 2]
        four += a[d + 3] * b[d + 3]
    for d in range(n - n % 4, n):
        one += a[d] * b[d]
    return (one + two) + (three + four)


@kernel
def heading(embeddings: Embeddings, anchors: Ints, nearness: Floats32) -> Floats32:
    """Sum of the session's distinct items, newest first, as context, shape (n_dims,)."""
    context = embeddings.context
    h = np.zeros(context.shape[1], np.float32)
    for a in range(min(len(anchors), len(nearness))):
        for d in range(len(h)):
            h[d] += nearness[a] * context[anchors[a], d]
    return h


@kernel
def choose(embeddings: Embeddings, anchors: Ints, h: Floats32, scratch: Scratch, n: int, n_chosen: int, at_most: int) -> int:
    """Write the slots of the best items near the newest ones behind those that are chosen; returns the number of candidates.

    Parameters
    ----------
    h
        The session as `heading` has it.
    n
        Slots until now.
    """
    near, codes, number = embeddings.near, scratch.codes, scratch.query[0]
    if at_most == 0 or near.shape[1] == 0:
        return n_chosen
    most = n + _N_ASKED * near.shape[1]
    taken, found, score = np.zeros(most, np.bool_), np.empty(most - n, np.int64), np.empty(most - n)
    for k in range(n_chosen):
        taken[codes[k]] = True
    n_found = 0
    for a in range(min(len(anchors), _N_ASKED)):
        for code in near[anchors[a]]:
            if code < 0:
                break
            at, n = slot_of(scratch.slot, scratch.item, scratch.sums, scratch.seen, code, number, n)
            if not taken[at]:
                taken[at] = True
                found[n_found] = at
                score[n_found] = dot(h, embeddings.target[code]) + embeddings.bias[code]
                n_found += 1
    least = nth_smallest(score[:n_found].copy(), n_found - at_most) if n_found > at_most else -np.inf
    filled = n_chosen
    for over in (True, False):
        for k in range(n_found):
            if (score[k] > least if over else score[k] == least) and filled < n_chosen + at_most:
                codes[filled] = found[k]
                filled += 1
    return filled
