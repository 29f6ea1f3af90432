"""Eviction of live associations: what they let go when more has happened since the build than they keep.

What says least goes first: items that came after the build, by the sessions that have touched them, decayed by age, so that
among items met once the oldest go; then pairs, those of such items in the same order, and last those between items of the
build, by their weight. Counts of the build's items are never let go, so whatever stays is normalised as before.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from models.arrays import Floats, Ints
from models.associations.arrays import PAIR_BITS
from models.associations.sums import ANCHOR_SHIFT, MOST_ITEMS, TARGET_SHIFT, Sums
from models.shops import fair_shares

_TARGET_MASK: Final = MOST_ITEMS - 1
_TYPES_MASK: Final = (1 << PAIR_BITS) - 1
_KEPT: Final = 0.75  # of what is kept at most: an eviction makes room for many steps


class Bounds(NamedTuple):
    """Bounds of what live associations keep beside the build; a process that follows several shops shares them out."""

    pairs: int = 1_000_000  # changed since the build; about 200 MB per process with their rows
    items: int = 50_000  # that came after it


def for_each(kept: Sequence[Bounds], most: Bounds) -> Bounds:
    """Bounds of each of several that together keep at most so much: where it is too much, those that keep most give way.

    Examples
    --------
    >>> for_each([Bounds(900, 10), Bounds(300, 10)], Bounds(1_000, 50))
    Bounds(pairs=700, items=50)
    """
    return Bounds(*(_level(n, limit) for n, limit in zip(zip(*kept, strict=True), most, strict=True)))


def _level(n: Sequence[int], limit: int) -> int:
    return limit if sum(n) <= limit else max(fair_shares({str(k): one for k, one in enumerate(n)}, limit).values())


def kept_items(weight: Floats, n_built: int, most: int) -> Ints:
    """Codes of the items that stay, ascending: all of the build, and the heaviest later ones if there are too many.

    Parameters
    ----------
    weight
        Sessions with each item, decayed by age, shape (n_items,).
    most
        Later items; 3/4 of them stay where there are more.

    Examples
    --------
    >>> kept_items(np.array([0.0, 1.0, 2.0, 1.0, 1.0, 3.0]), 1, 4).tolist()
    [0, 2, 4, 5]
    """
    n_later = len(weight) - n_built
    n_let_go = n_later - int(_KEPT * most) if n_later > most else 0
    later = np.argsort(weight[n_built:], kind="stable")[n_let_go:]  # stable: of equals, the newest codes stay
    return np.concatenate((np.arange(n_built), n_built + np.sort(later)))


def kept_sums(sums: Sums, place: Ints, weight: Floats, most: int) -> Sums:
    """Sums that stay, under the items' new codes.

    Parameters
    ----------
    place
        New code of each item, `NO_CODE` for one that goes, shape (n_items,).
    weight
        Of each item, infinite for those of the build, shape (n_items,).
    most
        Pairs; 3/4 of them stay where there are more.
    """
    anchor, target = sums.pair >> ANCHOR_SHIFT, sums.pair >> TARGET_SHIFT & _TARGET_MASK
    at = np.flatnonzero((place[anchor] >= 0) & (place[target] >= 0))
    if len(at) > most:
        lighter = np.minimum(weight[anchor[at]], weight[target[at]])
        # Absolute: a sum below zero takes back a part of the build's, and counts as much.
        at = np.sort(at[np.lexsort((np.abs(sums.weight[at]), lighter))[-max(int(_KEPT * most), 1) :]])
    pair = place[anchor[at]] << ANCHOR_SHIFT | place[target[at]] << TARGET_SHIFT | (sums.pair[at] & _TYPES_MASK)
    return Sums(pair, sums.weight[at], sums.support[at])
