"""From sorted sessions to the arrays of an association store: the parameters, and the steps of `associations.build`."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.arrays import Ints, read_only
from models.associations import indirect, kernels, shards
from models.associations import survey as association_survey
from models.associations.arrays import N_TYPES, PAIR, Log, Rows, Rules, Surveyed, Totals
from models.associations.shards import Spread
from models.events.encode import EVENT_DTYPE, NO_CODE, EventArray
from models.schema import N_EVENT_TYPES
from models.weight_profile import base_weights

EVENTS_A_PART: Final = 500_000  # of a log whose pairs are counted by parts
_COLUMNS: dict[str, Any] = {"target": np.int32, "types": PAIR, "strength": np.float32, "support": np.int32}
_ITEM_BYTES, _ENTRY_BYTES, _TOUCH_BYTES = 12 + 8 * N_TYPES, 12 + PAIR.itemsize, 4  # in the finished arrays, and in `Touches`
_LEAST_TOUCHES = 1 << 20  # looked up by one pass over the log, so that few passes do
_N_BLOCKS = 32  # rows are gathered in so many blocks of anchors: what a build takes beyond its result stays small
_LEAST = {name: 1.0 for name in ("window", "gap_scale_s", "half_life_s", "max_targets", "max_anchors", "age_scale_s")}


@dataclass(frozen=True)
class AssociationParams:
    """Parameters of counting and merging pairs; stored with the store.

    The first block shapes the build, the second a query. The defaults were chosen on a validation slice of the training
    sessions of a public view log (see benchmarks/associations.py). An item met again is the strongest association of all in
    such logs; whoever wants only new items excludes the session's own.

    Raises
    ------
    ValueError
        If a number is not finite or below its least value.
    """

    window: int = 10  # changes of item between the two, at most
    step_power: float = 0.7  # step_decay(d) = max(d, 1)^-step_power
    gap_scale_s: float = 1800.0  # a pair counts half at this gap
    half_life_s: float = 30 * 86_400.0
    backward: float = 0.9  # of a pair against the arrow of time
    self_factor: float = 16.0  # of an item that is met again; 0 leaves such pairs out
    repeats: float = 1.0  # of a pair's further co-occurrences in one session, beside its best; 0 counts it once
    anchor_power: float = 0.8
    popularity_power: float = 0.15
    min_sessions: int = 1
    min_llr: float = 3.84  # 5 % level of chi-square with one degree of freedom
    max_targets: int = 100  # per anchor, the best under the base weights
    n_popular: int = 200  # per event type, for the fallback

    max_anchors: int = 20  # distinct items of the session that are asked
    rank_decay: float = 0.6  # from one of them to the one before it
    age_scale_s: float = 3600.0  # recency halves at this age
    unmatched: float = 0.5

    def __post_init__(self) -> None:
        for each in fields(self):
            value, least = getattr(self, each.name), _LEAST.get(each.name, 0.0)
            if not least <= value < np.inf:
                raise ValueError(f"{each.name} must be finite and at least {least:g}, got {value}")


def log_of(events: EventArray, starts: npt.NDArray[np.bool_], newest_us: int) -> Log:
    """The log as the kernels are compiled for it: contiguous, read-only views of the caller's rows."""
    return Log(read_only(np.asarray(events, EVENT_DTYPE)), read_only(np.asarray(starts, np.bool_)), newest_us)


def damping(n_sessions_with: npt.NDArray[np.int32], params: AssociationParams) -> npt.NDArray[np.float32]:
    """By what a target's popularity divides, as a factor; of the shape of the counts."""
    return np.maximum(n_sessions_with, 1).astype(np.float32) ** np.float32(-params.popularity_power)


def counted(log: Log, n_items: int, rules: Rules, spread: Spread | None) -> tuple[Surveyed, Callable[[Totals], Iterator[Rows]]]:
    """Counts by item of a log, and what makes its rows: in one pass, or where calls may be spread, by parts."""
    if spread is None or len(log.events) <= EVENTS_A_PART:
        found = Surveyed(*association_survey.survey(log, n_items, rules.age_rate))
        return found, lambda totals: gathered(log, found.n_touches, totals, rules)
    parts = [Log(log.events[span], log.starts[span], log.newest_us) for span in shards.cuts(log.starts, EVENTS_A_PART)]
    sums = list(spread(partial(shards.counted, n_items=n_items, rules=rules), parts))
    return shards.surveyed(sums), lambda totals: shards.merged(sums, totals, rules)


def joined(found: Iterable[Rows]) -> tuple[Ints, list[npt.NDArray[Any]]]:
    """Join rows block by block; where each begins, and the columns target, types, strength and support."""
    blocks: list[list[npt.NDArray[Any]]] = [[np.zeros(0, kind)] for kind in _COLUMNS.values()]
    sizes = [np.zeros(1, np.int64)]
    for rows in found:
        sizes.append(rows.sizes)
        for column, (name, kind) in zip(blocks, _COLUMNS.items(), strict=True):
            column.append(rows.entries[name][: rows.n].astype(kind))
    columns = [np.concatenate(blocks.pop(0)) for _ in _COLUMNS]  # popped: a column's blocks are freed before the next is joined
    return np.cumsum(np.concatenate(sizes)), columns


def gathered(log: Log, n_touches: Ints, totals: Totals, rules: Rules, least_touches: int = _LEAST_TOUCHES) -> Iterator[Rows]:
    """Rows of all items in their order, a block of anchors at a time.

    Where their touches lie is looked up, by a pass over the log, for as many anchors as fit in the room that the result has
    taken so far: what a build takes beyond its result stays in proportion to it, however long the log.
    """
    n_items, begun, ends = len(n_touches), 0, np.cumsum(n_touches)
    block, n_bytes = max(n_items // _N_BLOCKS, 16), _ITEM_BYTES * n_items
    while begun < n_items:
        room = max(least_touches, n_bytes // _TOUCH_BYTES)
        fitting = int(np.searchsorted(ends, ends[begun] - n_touches[begun] + room, "right"))
        reached = max(fitting, begun + 1)
        touches = association_survey.by_item(log, begun, reached, n_touches)
        for first in range(begun, reached, block):
            rows = kernels.gather(first, min(first + block, reached), log, touches, totals, rules)
            n_bytes += _ENTRY_BYTES * rows.n
            yield rows
        begun = reached


def rules_of(params: AssociationParams, age_rate: float) -> Rules:
    """The parameters as the kernels read them."""
    weight = np.zeros(N_TYPES)
    weight[:N_EVENT_TYPES] = base_weights()
    decay = np.maximum(np.arange(params.window + 1), 1.0) ** -params.step_power
    return Rules(
        decay, float(params.backward), float(params.gap_scale_s), float(age_rate), float(params.anchor_power),
        params.min_sessions, float(params.min_llr), params.max_targets, float(params.self_factor),
        np.outer(weight, weight).ravel(), float(params.repeats),
    )  # fmt: skip


def popular_lists(decayed: npt.NDArray[np.float32], n_popular: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Best items of each type and their popularity, shape (N_TYPES, n_popular), padded with item -1.

    None by types that are never led to: with them stand categories and articles.
    """
    n_popular = min(n_popular, len(decayed))
    decayed = decayed.copy()
    decayed[:, indirect.SOURCE_ONLY] = 0.0
    order = np.argsort(-decayed, axis=0, kind="stable")[:n_popular].T
    count = np.take_along_axis(decayed.T, order, axis=1)
    return np.where(count > 0, order, NO_CODE).astype(np.int32), np.ascontiguousarray(count)
