"""From sorted sessions to the arrays of an association store: the parameters, and the steps of `associations.build`."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from models.events import NO_CODE, EventArray
from models.pairs import association_kernels as kernels
from models.pairs.association_arrays import Ints, Rules, Totals, Touches
from models.schema import N_EVENT_TYPES
from models.weighting.weights import base_weights

_N_WIDE = kernels.TYPE_MASK + 1
_ROWS_AT_ONCE = 1 << 18
_N_BLOCKS = 32  # rows are gathered in so many blocks of anchors: what a build takes beyond its result stays small
_LEAST = {name: 1.0 for name in ("window", "gap_scale_s", "half_life_s", "max_targets", "max_anchors", "age_scale_s")}


@dataclass(frozen=True)
class AssociationParams:
    """How pairs are counted and merged; stored with the store.

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


def touches_of(events: EventArray, starts: npt.NDArray[np.bool_], n_items: int, newest_us: int) -> Touches:
    """The item events of sorted sessions as the kernels read them; ages count back from `newest_us` and may be negative."""
    n = int(np.count_nonzero(events["item"] >= 0))
    item, session, kind, age_s = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int8), np.empty(n)
    filled, n_begun = 0, -1
    for first in range(0, len(events), _ROWS_AT_ONCE):  # so many at a time: this is where a build of a long log takes most
        rows = events[first : first + _ROWS_AT_ONCE]
        kept, begun = rows["item"] >= 0, np.cumsum(starts[first : first + _ROWS_AT_ONCE], dtype=np.int32) + np.int32(n_begun)
        part = slice(filled, filled + int(np.count_nonzero(kept)))
        item[part], session[part], kind[part] = rows["item"][kept], begun[kept], rows["event_type"][kept]
        age_s[part] = (newest_us - rows["occurred_at_us"][kept]) / 1e6
        filled, n_begun = part.stop, int(begun[-1])
    order, offsets = kernels.by_item(item, n_items)
    return Touches(item, kind, session, age_s, order, offsets)


def categories_of(events: EventArray, n_items: int) -> npt.NDArray[np.int32]:
    """Category of each item as its last event in the array has it, -1 for none; codes of the events, shape (n_items,)."""
    category = np.full(n_items, NO_CODE, dtype=np.int32)
    kept = (events["item"] >= 0) & (events["category"] >= 0)
    category[events["item"][kept]] = events["category"][kept]
    return category


def n_sessions(touches: Touches) -> int:
    """How many sessions have a touch."""
    return int(np.count_nonzero(np.diff(touches.session, prepend=-1)))


def damping(n_sessions_with: npt.NDArray[np.int32], params: AssociationParams) -> npt.NDArray[np.float32]:
    """By what a target's popularity divides, as a factor; of the shape of the counts."""
    return np.maximum(n_sessions_with, 1).astype(np.float32) ** np.float32(-params.popularity_power)


def rows_of(touches: Touches, totals: Totals, rules: Rules) -> tuple[Ints, list[npt.NDArray[Any]]]:
    """Gather block by block; where rows begin, and the columns target, types, strength and support."""
    n_items = len(touches.offsets) - 1
    kinds = {"target": np.int32, "types": np.uint8, "strength": np.float32, "support": np.int32}
    blocks: list[list[npt.NDArray[Any]]] = [[np.zeros(0, kind)] for kind in kinds.values()]
    sizes = [np.zeros(1, np.int64)]
    block = max(n_items // _N_BLOCKS, 16)
    for first in range(0, n_items, block):
        rows = kernels.gather(first, min(first + block, n_items), touches, totals, rules)
        sizes.append(rows.sizes)
        for column, (name, kind) in zip(blocks, kinds.items(), strict=True):
            column.append(rows.entries[name][: rows.n].astype(kind))
    columns = [np.concatenate(blocks.pop(0)) for _ in kinds]  # popped: a column's blocks are freed before the next is joined
    return np.cumsum(np.concatenate(sizes)), columns


def rules_of(params: AssociationParams, age_rate: float) -> Rules:
    """The parameters as the kernels read them."""
    weight = np.zeros(_N_WIDE)
    weight[:N_EVENT_TYPES] = base_weights()
    decay = np.maximum(np.arange(params.window + 1), 1.0) ** -params.step_power
    return Rules(
        decay, float(params.backward), float(params.gap_scale_s), float(age_rate), float(params.anchor_power),
        params.min_sessions, float(params.min_llr), params.max_targets, float(params.self_factor),
        np.outer(weight, weight).ravel(), float(params.repeats),
    )  # fmt: skip


def popular_lists(decayed: npt.NDArray[np.float32], n_popular: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Best items of each type and their popularity, shape (16, n_popular), padded with item -1."""
    n_popular = min(n_popular, len(decayed))
    order = np.argsort(-decayed, axis=0, kind="stable")[:n_popular].T
    count = np.take_along_axis(decayed.T, order, axis=1)
    return np.where(count > 0, order, NO_CODE).astype(np.int32), np.ascontiguousarray(count)
