"""Pair sums of a part of a log, and the rows that the sums of all its parts make: what one worker counts alone.

A part holds whole sessions, so whatever is counted within a session is counted as in one build over everything, and sums of
parts add up to its sums: supports and sessions exactly, weights to the rounding of their order. Rows are gated, normalised and
pruned where sums are whole: when they are merged, a range of anchors after the other.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple, Protocol

import numpy as np

from models.arrays import Flags, Floats, Ints, Ints32, read_only
from models.associations import kernels
from models.associations import survey as association_survey
from models.associations.arrays import N_TYPES, PAIR, Log, PairTypes, Rows, Rules, Surveyed, Totals
from models.associations.sums import ANCHOR_SHIFT, MOST_ITEMS, TARGET_SHIFT
from models.events.encode import NO_CODE

_ENTRIES_AT_ONCE: Final = 1 << 20  # of all parts, sorted together in a merge


class Spread(Protocol):
    """A `map` whose results come in the order of the arguments, wherever calls are made."""

    def __call__(self, function: "Callable[[Log], PairSums]", arguments: Sequence[Log], /) -> "Iterable[PairSums]":
        """Results of a function of each argument."""
        ...


class PairSums(NamedTuple):
    """Sums of a part: those of anchor i stand at ``offsets[i]:offsets[i + 1]``, nothing gated, normalised or pruned."""

    offsets: Ints  # (n_items + 1,)
    target: Ints32
    types: PairTypes
    weight: Floats
    support: Ints32
    survey: Surveyed


def cuts(starts: Flags, n_events: int) -> list[slice]:
    """Parts of whole sessions, of so many events each or up to the end of the session that is there.

    Examples
    --------
    >>> cuts(np.array([True, False, False, True, True]), 2)
    [slice(0, 3, None), slice(3, 5, None)]
    """
    begins = np.append(np.flatnonzero(starts), len(starts))
    at = [0]
    while at[-1] < len(starts):
        at.append(int(begins[np.searchsorted(begins, min(at[-1] + n_events, len(starts)))]))
    return [slice(a, b) for a, b in pairwise(at)]


def counted(log: Log, n_items: int, rules: Rules) -> PairSums:
    """Sums of a part of a log; ages count back from the newest event of the whole of it."""
    log = Log(read_only(log.events), read_only(log.starts), log.newest_us)  # what has travelled may be written to
    survey = Surveyed(*association_survey.survey(log, n_items, rules.age_rate))
    touches = association_survey.by_item(log, 0, n_items, survey.n_touches)
    rows = kernels.gather(0, n_items, log, touches, nothing_normalised(n_items), everything_kept(rules))
    found = rows.entries[: rows.n]
    columns = found["target"].copy(), found["types"].copy(), found["strength"].copy(), found["support"].copy()
    return PairSums(np.append(0, np.cumsum(rows.sizes)), *columns, survey)


def nothing_normalised(n_items: int) -> Totals:
    """Totals by which sums stay as they are."""
    return Totals(np.zeros((n_items, N_TYPES), np.int32), np.ones((n_items, N_TYPES), np.float32), 1)


def everything_kept(rules: Rules) -> Rules:
    """Rules by which sums stay as they are."""
    return rules._replace(anchor_power=0.0, min_sessions=0, min_llr=0.0, max_targets=2**31 - 1, importance=np.ones(N_TYPES**2))


def surveyed(parts: Sequence[PairSums]) -> Surveyed:
    """Counts by item of the whole log, from those of its parts in their order."""
    surveys, category = [one.survey for one in parts], parts[0].survey.category
    for one in surveys[1:]:
        category = np.where(one.category == NO_CODE, category, one.category)
    return Surveyed(
        np.sum([one.n_touches for one in surveys], axis=0),
        np.sum([one.n_sessions_with for one in surveys], axis=0, dtype=np.int32),
        np.asarray(np.sum([one.popularity for one in surveys], axis=0, dtype=np.float64), np.float32),
        category,
        sum(one.n_sessions for one in surveys),
    )


def merged(parts: Sequence[PairSums], totals: Totals, rules: Rules, at_once: int = _ENTRIES_AT_ONCE) -> Iterator[Rows]:
    """Rows of all items in their order, a range of anchors at a time.

    Parameters
    ----------
    at_once
        Entries of all parts that are in memory at one time, about; more where one anchor has more.
    """
    ends = np.sum([one.offsets[1:] for one in parts], axis=0)
    first, n_items = 0, len(ends)
    while first < n_items:
        begun = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, begun + at_once, "right")), first + 1)
        yield _rows(parts, first, last, totals, rules)
        first = last


def _rows(parts: Sequence[PairSums], first: int, last: int, totals: Totals, rules: Rules) -> Rows:
    """Rows of the anchors ``first <= anchor < last``."""
    anchors = np.arange(first, last)
    found = [_entries(one, first, last) for one in parts]
    pair, weight, support = (np.concatenate(columns) for columns in zip(*found, strict=True))
    order = np.argsort(pair, kind="stable")  # among equals in the order of parts
    new = np.flatnonzero(np.diff(pair[order], prepend=-1))
    pair = pair[order][new]
    weight, support = (np.add.reduceat(column[order], new) if len(new) else column for column in (weight, support))
    offsets = np.searchsorted(pair >> ANCHOR_SHIFT, np.arange(last - first + 1))
    target, types = pair >> TARGET_SHIFT & (MOST_ITEMS - 1), (pair & ((1 << TARGET_SHIFT) - 1)).astype(PAIR)
    return kernels.remake(anchors, offsets, target, types, weight, support, totals, rules)


def _entries(one: PairSums, first: int, last: int) -> tuple[Ints, Floats, Ints]:
    """Pairs of some anchors, which count from the first, as one number each; weights and supports."""
    offsets = one.offsets[first : last + 1]
    span = slice(int(offsets[0]), int(offsets[-1]))
    anchor = np.repeat(np.arange(last - first), np.diff(offsets))
    pair = anchor << ANCHOR_SHIFT | one.target[span].astype(np.int64) << TARGET_SHIFT | one.types[span]
    return pair, one.weight[span], one.support[span].astype(np.int64)
