"""What the kernels of the association store hand to each other."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Ints32 = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.int8]
Records = npt.NDArray[np.void]
PairTypes = npt.NDArray[np.uint8]


class Log(NamedTuple):
    """Sorted sessions as the caller has them; nothing is copied, so the kernels take rows of `EVENT_DTYPE` as they are."""

    events: Records  # (n_events,), EVENT_DTYPE
    starts: npt.NDArray[np.bool_]  # (n_events,), the first of each session
    newest_us: int  # where ages count back from; they may be negative


class Touches(NamedTuple):
    """Where the events of a range of items lie in the log.

    Item ``first + i`` has those at ``order[offsets[i]:offsets[i + 1]]``, in their order. One that is its item's first in a
    session is kept as its complement, ``~position``: that tells sessions apart without a number for each event.
    """

    first: int
    order: Ints32
    offsets: Ints


class Totals(NamedTuple):
    """What normalises a row: per (item, type) in how many sessions it occurs, and the factor by which a target is damped."""

    n_sessions_with: Ints32  # (n_items, n_types)
    damping: Floats32  # (n_items, n_types)
    n_sessions: int


class Rules(NamedTuple):
    """`AssociationParams` as the kernels read them."""

    step_decay: Floats  # (window + 1,), by distance in steps
    backward: float
    gap_scale_s: float
    age_rate: float  # per second, so that strength halves every half-life
    anchor_power: float
    min_sessions: int
    min_llr: float
    max_targets: int
    self_factor: float
    importance: Floats  # (256,), weight of a pair of types when a row is pruned
    repeats: float


class Rows(NamedTuple):
    """Finished entries of a range of anchors; `sizes` has one number per anchor."""

    sizes: Ints
    entries: Records  # OUT, the first `n` are filled
    n: int
