"""Deltas of live associations: what new events change, counted by one process and added by all.

Codes of items are those of all who take the same deltas in the same order, so that a delta says them; and the same numbers,
added in the same order, give the same bits everywhere. The sum of all deltas so far is a delta, too.
"""

from typing import Any, NamedTuple

import numpy as np

from models.arrays import Floats, Ints
from models.artifact import Parts


class Counted(NamedTuple):
    """Sums of some sessions, or the difference of two such.

    Attributes
    ----------
    pair, weight, support
        By pair, each once, as `models.associations.sums` numbers them; weights as of one instant; shape (n_pairs,).
    items
        Codes of the items that they are about, each once, shape (n_items,).
    n_sessions_with, popularity
        Of these items, plain and decayed to the same instant, shape (n_items, N_TYPES).
    n_sessions
        How many.
    """

    pair: Ints
    weight: Floats
    support: Ints
    items: Ints
    n_sessions_with: Ints
    popularity: Floats
    n_sessions: int


class Delta(NamedTuple):
    """Change of the sums behind live associations.

    Attributes
    ----------
    names
        Items that nobody knew, in the order of their codes.
    counted
        What is to be added, as of `reference_us`; the rows of its items are to be made again.
    newest_us, reference_us, seq
        Instant of the newest event, instant that ages count from, and number of the newest event: as they are then.
    n_evicted
        Pairs and items that were let go since the build, if this is the sum of all deltas.
    categories
        Name of the category of each item that had none; None where nobody told any.
    """

    names: list[str]
    counted: Counted
    newest_us: int
    reference_us: int
    seq: int
    n_evicted: int = 0
    categories: dict[str, str] | None = None


def difference(after: Counted, before: Counted) -> Counted:
    """Difference of two counts: pairs that did not change are left out, items are all there.

    Examples
    --------
    >>> nothing = np.zeros((1, 2))
    >>> one = Counted(np.array([7, 5]), np.array([1.0, 2.0]), np.array([1, 2]), np.array([3]), nothing, nothing, 2)
    >>> two = Counted(np.array([5]), np.array([2.0]), np.array([2]), np.array([1]), nothing, nothing, 1)
    >>> found = difference(one, two)
    >>> found.pair.tolist(), found.weight.tolist(), found.items.tolist(), found.n_sessions
    ([7], [1.0], [1, 3], 1)
    """
    pair, at = np.unique(np.concatenate((after.pair, before.pair)), return_inverse=True)
    weight, support = np.zeros(len(pair)), np.zeros(len(pair), np.int64)
    items, of = np.unique(np.concatenate((after.items, before.items)), return_inverse=True)
    n_types = after.popularity.shape[1]
    n_sessions_with, popularity = np.zeros((len(items), n_types), np.int64), np.zeros((len(items), n_types))
    first_pair, first_item = 0, 0
    for sign, one in ((1, after), (-1, before)):
        pairs, rows = at[first_pair : first_pair + len(one.pair)], of[first_item : first_item + len(one.items)]
        weight[pairs] += sign * one.weight
        support[pairs] += sign * one.support
        n_sessions_with[rows] += (sign * one.n_sessions_with).astype(np.int64)
        popularity[rows] += sign * one.popularity
        first_pair, first_item = first_pair + len(pairs), first_item + len(rows)
    kept = (support != 0) | (weight != 0.0)
    n_sessions = after.n_sessions - before.n_sessions
    return Counted(pair[kept], weight[kept], support[kept], items, n_sessions_with, popularity, n_sessions)


def to_parts(delta: Delta) -> Parts:
    """A delta as it is kept."""
    arrays, told = delta.counted._asdict(), delta._asdict()
    del told["counted"]
    return Parts({**told, "n_sessions": arrays.pop("n_sessions")}, arrays)


def from_parts(parts: Parts) -> Delta:
    """A delta from what was kept."""
    told: dict[str, Any] = {**parts.meta, **parts.arrays}
    counted = Counted(**{name: told.pop(name) for name in Counted._fields})
    return Delta(counted=counted, **told)
