"""Session neighbours: what did visitors go on to, whose sessions looked like this one?

A session-kNN scorer in the VMIS-kNN family (Kersbergen, Sprangers, Schelter 2022), with geometric decays:

likeness(s) = sum over the distinct items i of this session that s has too, r(i) = 0 for the newest: position_decay^r(i)
score(j) = sum over the k likest sessions s with j: likeness(s) * match_decay^(least shared r) * idf(j) / len(s)^length_power

Only the newest `max_sessions` sessions of each item are looked at, so a query costs the same however long the log is.
"""

import threading
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, NamedTuple

import numpy as np

from models.arrays import Floats, Floats32, Ints, frozen
from models.artifact import Parts
from models.ranker import neighbour_kernels as kernels

_LEAST: Final = {"max_sessions": 1, "n_neighbours": 1, "max_anchors": 1, "max_length": 1}


@dataclass(frozen=True)
class NeighbourParams:
    """Size of the neighbourhood and its decays; stored with the neighbours.

    Raises
    ------
    ValueError
        If a number is not finite or below its least value.
    """

    max_sessions: int = 1000  # newest sessions looked at per item
    n_neighbours: int = 500
    max_anchors: int = 10  # distinct items of the session that are asked, newest first
    max_length: int = 30  # touches kept of a past session, its last ones
    position_decay: float = 0.8
    match_decay: float = 0.8
    idf_power: float = 1.0
    length_power: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value, least = getattr(self, each.name), _LEAST.get(each.name, 0)
            if not least <= value < np.inf:
                raise ValueError(f"{each.name} must be finite and at least {least}, got {value}")


class Met(NamedTuple):
    """Items of the neighbours, in no order, each of shape (n,).

    The arrays are views of scratch, valid until the same thread asks again.

    Attributes
    ----------
    items
        Item codes.
    sums
        Columns score, score of the meetings after the session's newest item, number of neighbours,
        and what stands close to the newest shared item; shape (n, 4).
    """

    items: Ints
    sums: Floats32


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Past sessions, indexed; safe to share between threads."""

    index: kernels.Index
    params: NeighbourParams
    _local: threading.local = field(init=False, repr=False)
    rules: kernels.Rules = field(init=False, repr=False)

    def __post_init__(self) -> None:
        p = self.params
        rules = kernels.Rules(
            p.n_neighbours, p.max_anchors, float(p.position_decay), float(p.match_decay), float(p.length_power)
        )
        object.__setattr__(self, "_local", threading.local())
        object.__setattr__(self, "rules", rules)

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return len(self.index.idf)

    def meet(self, item_codes: Ints) -> Met:
        """Items of the sessions most like this one.

        Parameters
        ----------
        item_codes
            The session's items, oldest first, shape (n_events,); codes outside the catalogue are passed over.
        """
        scratch = self.scratch()
        n = kernels.query(self.index, item_codes, self.rules, scratch)
        return Met(scratch.item[:n], scratch.sums[:n])

    def recommend(self, item_codes: Ints, limit: int) -> tuple[Ints, Floats]:
        """Items and scores, best first, equal scores in the order of their codes; shape (n,), n <= limit."""
        met = self.meet(np.ascontiguousarray(item_codes, dtype=np.int64))
        order = np.lexsort((met.items, -met.sums[:, kernels.SCORE]))[:limit]
        return met.items[order], met.sums[order, kernels.SCORE].astype(np.float64)

    def scratch(self) -> kernels.Scratch:
        """This thread's scratch."""
        scratch: kernels.Scratch | None = getattr(self._local, "scratch", None)
        if scratch is None:
            scratch = self._local.scratch = _new_scratch(self.n_items, len(self.index.starts) - 1, self.params.max_anchors)
        return scratch


def _new_scratch(n_items: int, n_sessions: int, max_anchors: int) -> kernels.Scratch:
    return kernels.Scratch(
        np.zeros(1, np.int64), np.zeros(n_sessions, np.int64), np.zeros(n_sessions, np.float32), np.zeros(n_sessions, np.int32),
        np.zeros(n_sessions, np.int32), np.zeros((n_items, 2), np.int64), np.zeros(n_items, np.int32),
        np.zeros(n_items, np.int64), np.zeros((n_items, 4), np.float32), np.zeros(max_anchors, np.int64),
    )  # fmt: skip


def build(item_codes: Ints, offsets: Ints, n_items: int, params: NeighbourParams | None = None) -> Neighbours:
    """Index past sessions.

    Parameters
    ----------
    item_codes
        Items of all sessions one after the other, oldest session first, shape (n_touches,), each below `n_items`.
    offsets
        Where each session begins, and the end, shape (n_sessions + 1,).

    Raises
    ------
    ValueError
        If a code lies outside the catalogue or the offsets do not span the items.

    Examples
    --------
    >>> shop = build(np.array([0, 1, 0, 1, 2, 3]), np.array([0, 2, 4, 6]), 4)
    >>> shop.recommend(np.array([0]), 5)[0].tolist()
    [0, 1]
    """
    params = params or NeighbourParams()
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(item_codes) or np.any(np.diff(offsets) < 0):
        raise ValueError(f"offsets must rise from 0 to the number of touches, {len(item_codes)}")
    if len(item_codes) and not 0 <= item_codes.min() <= item_codes.max() < n_items:
        raise ValueError(f"item codes must be at least 0 and below {n_items}")
    starts, items = kernels.squeeze(item_codes.astype(np.int32), offsets.astype(np.int64), params.max_length)
    rows, sessions, n_with = kernels.postings(starts, items, n_items, params.max_sessions)
    rarity = np.log(max(len(starts) - 1, 1) / np.maximum(n_with, 1)) + 1.0
    return Neighbours(
        frozen(kernels.Index(rows, sessions, starts, items, (rarity**params.idf_power).astype(np.float32))), params
    )


def to_parts(neighbours: Neighbours) -> Parts:
    """The neighbours as a model file holds them."""
    return Parts({"params": asdict(neighbours.params)}, neighbours.index._asdict())


def from_parts(parts: Parts) -> Neighbours:
    """The neighbours of a model file."""
    arrays: dict[str, Any] = dict(parts.arrays)
    index = kernels.Index(*(arrays[name] for name in kernels.Index._fields))
    return Neighbours(frozen(index), NeighbourParams(**parts.meta["params"]))
