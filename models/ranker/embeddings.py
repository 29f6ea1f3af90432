"""Item embeddings that tell the next item from the session's last ones, learned by sampled softmax (Jean et al. 2015).

    P(next = j | session) ~ exp(h . target[j] + bias[j]),  h = sum over its distinct items i of decay^r(i) * context[i]

with r(i) = 0 for the newest. The next item is told from a few drawn ones, each corrected by how often it is drawn; steps are of
row-wise Adagrad. Item vectors (`models.ranker.item_vectors`) are the beginning: what never occurs stays where they have it.
An item's repeats in a row teach nothing here, other features tell them.

Pairs count what was seen together; the embeddings rank what never was. So that nobody looks through the catalogue for each
request, each item keeps the few items to which it leads best, among those two steps away by its strongest pairs.
"""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from models.arrays import Floats32, Ints, Ints32, frozen
from models.associations.arrays import Pairs
from models.kernels import kernel
from models.ranker.arrays import Embeddings
from models.ranker.reach import dot

_SCALE: Final = 3.0  # of vectors of length 1, for the softmax to tell items apart from the first step on
_N_CELLS: Final = 1_000_000  # of the table that others are drawn from
_BIAS_PACE: Final = 0.2
_LITTLE: Final = 1e-4  # an error too small to move anything


@dataclass(frozen=True)
class EmbeddingParams:
    """Parameters of the embeddings: how they are learned, and how many items each one keeps; stored with the ranker.

    Raises
    ------
    ValueError
        If a count is below its least value or a factor negative.
    """

    n_rounds: int = 2  # 0: none are learned
    n_others: int = 64  # drawn per event
    learning_rate: float = 0.05
    penalty: float = 3e-4
    draw_power: float = 0.5  # of an item's events, in how often it is drawn
    decay: float = 0.7
    n_last: int = 8  # distinct items of a session, its newest
    n_strongest: int = 40  # pairs of each item that steps go along
    n_near: int = 50

    def __post_init__(self) -> None:
        least = {"n_others": 1, "n_last": 1, "n_strongest": 1}
        if any(not least.get(each.name, 0) <= getattr(self, each.name) < np.inf for each in fields(self)):
            raise ValueError(f"counts must be at least 1 and factors not negative, got {self}")


def none(n_items: int) -> Embeddings:
    """Embeddings that tell nothing and lead nowhere."""
    zeros = np.zeros((n_items, 1), np.float32)
    return frozen(Embeddings(zeros, zeros, np.zeros(n_items, np.float32), np.zeros((n_items, 0), np.int32)))


def fit(item_codes: Ints, offsets: Ints, vectors: Floats32, pairs: Pairs, params: EmbeddingParams, seed: int = 0) -> Embeddings:
    """Learn from whole sessions.

    Parameters
    ----------
    item_codes
        Items of all sessions one after the other, shape (n_touches,).
    offsets
        Where each session begins, and the end, shape (n_sessions + 1,).
    vectors
        To begin with, shape (n_items, n_dims), of length 1 or 0.
    pairs
        Whose targets, and theirs, an item may lead to.

    Examples
    --------
    >>> from models.ranker import item_vectors
    >>> items, offsets = np.array([0, 1, 2, 3] * 50), np.arange(0, 201, 2)  # 0 leads to 1, 2 to 3
    >>> nobody = Pairs(np.zeros(5, np.int64), np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(0, np.float32))
    >>> found = fit(items, offsets, item_vectors.fit(items, offsets, 4), nobody, EmbeddingParams())
    >>> (found.context @ found.target.T + found.bias).argmax(axis=1)[[0, 2]].tolist()
    [1, 3]
    """
    n_items = len(vectors)
    if params.n_rounds == 0 or len(item_codes) == 0:
        return none(n_items)
    n_events = np.bincount(item_codes, minlength=n_items)
    p = n_events**params.draw_power * (n_events > 0)
    p /= p.sum()
    table = np.repeat(np.arange(n_items, dtype=np.int32), np.ceil(p * _N_CELLS).astype(np.int64))
    logged = np.log(np.maximum(p * params.n_others, 1e-12)).astype(np.float32)
    weight = (params.decay ** np.arange(params.n_last)).astype(np.float32)
    context, target, bias = vectors * np.float32(_SCALE), vectors * np.float32(_SCALE), np.zeros(n_items, np.float32)
    paces = np.full((2, n_items), 1e-3, np.float32), np.full(n_items, 1e-2, np.float32)
    rng = np.random.default_rng(seed)
    for _ in range(params.n_rounds):
        order, dice = rng.permutation(len(offsets) - 1), np.uint64(rng.integers(1, 2**63))
        rates = np.array([params.learning_rate, params.penalty], np.float32)
        _learn(item_codes, offsets, order, context, target, bias, *paces, weight, table, logged, params.n_others, rates, dice)
    near = _near(pairs, context, target, bias, params.n_strongest, params.n_near)
    return frozen(Embeddings(context, target, bias, near))


@kernel
def _last_distinct(item: Ints, begin: int, end: int, found: Ints) -> int:
    """Write the newest distinct items of a stretch, the newest first; returns how many."""
    n = 0
    for p in range(end - 1, begin - 1, -1):
        known = False
        for k in range(n):
            known |= found[k] == item[p]
        if not known:
            found[n] = item[p]
            n += 1
            if n == len(found):
                break
    return n


@kernel
def _step(row: Floats32, pace: Floats32, at: int, factor: float, along: Floats32, rates: Floats32) -> None:
    """One step of row-wise Adagrad against factor * along + penalty * row."""
    squares = np.float32(0.0)
    for d in range(len(row)):
        slope = factor * along[d] + rates[1] * row[d]
        squares += slope * slope
    pace[at] += squares / np.float32(len(row))
    length = rates[0] / np.sqrt(pace[at])
    for d in range(len(row)):
        row[d] -= length * (factor * along[d] + rates[1] * row[d])


@kernel
def _learn(
    item: Ints, offsets: Ints, order: Ints, context: Floats32, target: Floats32, bias: Floats32, paces: Floats32,
    bias_pace: Floats32, weight: Floats32, table: Ints32, logged: Floats32, n_others: int, rates: Floats32, dice: np.uint64,
) -> None:  # fmt: skip
    """Go once through the sessions, in an order, and write into the vectors."""
    n_dims = context.shape[1]
    h, back = np.zeros(n_dims, np.float32), np.zeros(n_dims, np.float32)
    told, p, last = np.zeros(n_others + 1, np.int64), np.zeros(n_others + 1, np.float32), np.zeros(len(weight), np.int64)
    for s in order:
        for at in range(offsets[s] + 1, offsets[s + 1]):
            if item[at] == item[at - 1]:
                continue
            n_last = _last_distinct(item, offsets[s], at, last)
            h[:] = np.float32(0.0)
            for k in range(n_last):
                for d in range(n_dims):
                    h[d] += weight[k] * context[last[k], d]
            told[0] = item[at]
            for k in range(1, n_others + 1):
                dice = dice * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
                told[k] = table[(dice >> np.uint64(33)) % np.uint64(len(table))]
            most = np.float32(-np.inf)
            for k in range(n_others + 1):
                p[k] = dot(h, target[told[k]]) + bias[told[k]] - logged[told[k]]
                if k > 0 and told[k] == told[0]:
                    p[k] = np.float32(-np.inf)
                most = max(most, p[k])
            total = np.float32(0.0)
            for k in range(n_others + 1):
                p[k] = np.exp(p[k] - most)
                total += p[k]
            back[:] = np.float32(0.0)
            for k in range(n_others + 1):
                error, j = p[k] / total - np.float32(k == 0), told[k]
                if abs(error) < _LITTLE:
                    continue
                for d in range(n_dims):
                    back[d] += error * target[j, d]
                _step(target[j], paces[0], j, error, h, rates)
                bias_pace[j] += error * error
                bias[j] -= np.float32(_BIAS_PACE) * rates[0] * error / np.sqrt(bias_pace[j])
            for k in range(n_last):
                _step(context[last[k]], paces[1], last[k], weight[k], back, rates)


@kernel
def _strongest(pairs: Pairs, at_most: int) -> Ints32:
    """Targets of each item's strongest pairs, shape (n_items, at_most), -1 where there are fewer."""
    n_items = len(pairs.offsets) - 1
    found = np.full((n_items, at_most), -1, np.int32)
    for i in range(n_items):
        begin, end = pairs.offsets[i], pairs.offsets[i + 1]
        order = np.argsort(-pairs.strength[begin:end])
        for k in range(min(end - begin, at_most)):
            found[i, k] = pairs.target[begin + order[k]]
    return found


@kernel
def _near(pairs: Pairs, context: Floats32, target: Floats32, bias: Floats32, n_strongest: int, n_near: int) -> Ints32:
    """Items that each one leads to best, within two steps along its strongest pairs, best first; -1 where there are fewer."""
    n_items = len(pairs.offsets) - 1
    near, strongest = np.full((n_items, n_near), -1, np.int32), _strongest(pairs, n_strongest)
    met, found = np.full(n_items, -1, np.int64), np.empty(n_strongest * (n_strongest + 1), np.int64)
    score = np.empty(len(found), np.float64)
    for i in range(n_items):
        met[i], n = i, 0
        for first in strongest[i]:
            if first < 0:
                break
            if met[first] != i:
                met[first], found[n], n = i, first, n + 1
            for second in strongest[first]:
                if second < 0:
                    break
                if met[second] != i:
                    met[second], found[n], n = i, second, n + 1
        for k in range(n):
            score[k] = -(dot(context[i], target[found[k]]) + bias[found[k]])
        order = np.argsort(score[:n])
        for k in range(min(n, n_near)):
            near[i, k] = found[order[k]]
    return near
