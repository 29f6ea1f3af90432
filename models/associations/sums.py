"""Sums by pair that grow for as long as a process lives: a hash table in plain arrays, with a list of pairs per anchor.

A pair is one number, ``anchor << ANCHOR_SHIFT | target << TARGET_SHIFT | types``; sorting the numbers sorts by anchor, then
target. No pair is ever taken out: what was counted wrongly before (a session that a late event has changed) is added with a
minus sign, and what is let go (`models.associations.eviction`) is left behind by a new table.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Floats, Ints, Ints32, Records
from models.associations.arrays import PAIR_BITS
from models.kernels import kernel

_ITEM_BITS: Final = (63 - PAIR_BITS) // 2
TARGET_SHIFT: Final = PAIR_BITS
ANCHOR_SHIFT: Final = PAIR_BITS + _ITEM_BITS
MOST_ITEMS: Final = 1 << _ITEM_BITS
SUM: Final = np.dtype([("pair", np.int64), ("weight", np.float64), ("support", np.int32), ("following", np.int32)])
_MIX: Final = -7046029254386353131  # odd, bits well spread (Fibonacci hashing)
_LEAST_ROOM: Final = 1024


class Sums(NamedTuple):
    """Pairs in no order, a support that may be zero or less where a part of the count is missing."""

    pair: Ints
    weight: Floats
    support: Ints


class PairSums:
    """Grows with `add`; one thread may use it at a time."""

    def __init__(self) -> None:
        self._places: Ints32 = np.full(2 * _LEAST_ROOM, -1, np.int32)  # by hash: position among the sums
        self._sums: Records = np.zeros(_LEAST_ROOM, SUM)
        self._heads: Ints32 = np.full(_LEAST_ROOM, -1, np.int32)  # by anchor: its newest pair
        self._n = 0
        _hash_again(self._places, self._sums, 0)  # compiled now, not when the table grows under load

    def __len__(self) -> int:
        return self._n

    def add(self, more: Sums) -> None:
        """Add to the sums; a pair that is not there begins at zero.

        Parameters
        ----------
        more
            Pairs may repeat.
        """
        if not len(more.pair):
            return
        self._make_room(self._n + len(more.pair), int(more.pair.max() >> ANCHOR_SHIFT) + 1)
        self._n = _add(self._places, self._sums, self._heads, self._n, *more)

    def scale(self, factor: float) -> None:
        """Multiply all weights."""
        self._sums["weight"][: self._n] *= factor

    def of(self, anchors: Ints) -> Sums:
        """All sums of some anchors."""
        return _columns(self._sums[_positions(self._sums, self._heads, anchors)])

    def all(self) -> Sums:
        """All sums, in the order in which their pairs came."""
        return _columns(self._sums[: self._n])

    def _make_room(self, n_sums: int, n_anchors: int) -> None:
        self._heads = _longer(self._heads, n_anchors, -1)
        self._sums = _longer(self._sums, n_sums, 0)
        if 2 * n_sums > len(self._places):
            self._places = np.full(4 * (1 << (n_sums - 1).bit_length()), -1, np.int32)
            _hash_again(self._places, self._sums, self._n)


def _columns(found: Records) -> Sums:
    return Sums(found["pair"].copy(), found["weight"].copy(), found["support"].astype(np.int64))


def _longer(array: npt.NDArray[Any], n: int, fill: int) -> npt.NDArray[Any]:
    if n <= len(array):
        return array
    longer = np.zeros(2 * n, array.dtype) if fill == 0 else np.full(2 * n, fill, array.dtype)
    longer[: len(array)] = array
    return longer


@kernel
def _place(places: Ints32, sums: Records, pair: int) -> int:
    """Where a pair's position stands, or would stand."""
    mask = len(places) - 1
    mixed = pair * _MIX
    at = (mixed ^ (mixed >> 32)) & mask
    while places[at] >= 0 and sums[places[at]].pair != pair:
        at = (at + 1) & mask
    return at


@kernel
def _add(places: Ints32, sums: Records, heads: Ints32, n: int, pair: Ints, weight: Floats, support: Ints) -> int:
    for k in range(len(pair)):
        at = _place(places, sums, pair[k])
        if places[at] < 0:
            anchor = pair[k] >> ANCHOR_SHIFT
            places[at] = n
            sums[n].pair = pair[k]
            sums[n].weight = 0.0
            sums[n].support = 0
            sums[n].following = heads[anchor]
            heads[anchor] = n
            n += 1
        sums[places[at]].weight += weight[k]
        sums[places[at]].support += support[k]
    return n


@kernel
def _hash_again(places: Ints32, sums: Records, n: int) -> None:
    for k in range(n):
        places[_place(places, sums, sums[k].pair)] = k


@kernel
def _positions(sums: Records, heads: Ints32, anchors: Ints) -> Ints:
    n = 0
    for anchor in anchors:
        at = heads[anchor] if anchor < len(heads) else -1
        while at >= 0:
            n += 1
            at = sums[at].following
    out = np.empty(n, np.int64)
    n = 0
    for anchor in anchors:
        at = heads[anchor] if anchor < len(heads) else -1
        while at >= 0:
            out[n] = at
            n += 1
            at = sums[at].following
    return out
