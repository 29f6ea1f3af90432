"""Array bundles of the association kernels, and the packing of an entry's pair of event types."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Flags, Floats, Floats32, Ints, Ints32, Records
from models.bound import ADDRESS, N_ROWS, array_at, pointer
from models.kernels import kernel
from models.schema import N_EVENT_TYPES

MOST_TYPES: Final = 64  # what a visitor did on an item is remembered as the bits of one integer
if N_EVENT_TYPES > MOST_TYPES:
    raise ValueError(f"associations tell {MOST_TYPES} event types apart, models/schema.py has {N_EVENT_TYPES}")


def type_bits(n_types: int) -> int:
    """Bits of one event type in a pair: 4 as long as 16 types suffice, so that a pair fits a byte.

    Examples
    --------
    >>> [type_bits(n) for n in (15, 16, 17, 64)]
    [4, 4, 5, 6]
    """
    return max(4, (n_types - 1).bit_length())


TYPE_BITS: Final = type_bits(N_EVENT_TYPES)
TYPE_MASK: Final = (1 << TYPE_BITS) - 1
N_TYPES: Final = TYPE_MASK + 1  # columns of a table by event type: every packed type has one
PAIR_BITS: Final = 2 * TYPE_BITS  # source << TYPE_BITS | target
PAIR: Final = np.dtype(np.uint8 if PAIR_BITS <= 8 else np.uint16)
_PAIR: Final = PAIR.type
PairTypes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@kernel
def pair_types(table: Ints, k: int) -> PairTypes:
    """Types of entries, bound as the k-th array of a table."""
    found: PairTypes = array_at(pointer(table[k, ADDRESS]), (table[k, N_ROWS],), _PAIR)
    return found


class Log(NamedTuple):
    """Sorted sessions as the caller has them; nothing is copied, so the kernels take rows of `EVENT_DTYPE` as they are."""

    events: Records  # (n_events,), EVENT_DTYPE
    starts: Flags  # (n_events,), the first of each session
    newest_us: int  # where ages count back from; they may be negative


class Touches(NamedTuple):
    """Where the events of a range of items lie in the log.

    Item ``first + i`` has those at ``order[offsets[i]:offsets[i + 1]]``, in their order. One that is its item's first in a
    session is kept as its complement, ``~position``: that tells sessions apart without a number for each event.
    """

    first: int
    order: Ints32
    offsets: Ints


class Surveyed(NamedTuple):
    """Counts by item of one pass over a log; see `models.associations.survey.survey`."""

    n_touches: Ints  # (n_items,)
    n_sessions_with: Ints32  # (n_items, N_TYPES)
    popularity: Floats32  # (n_items, N_TYPES), sessions decayed by age
    category: Ints32  # (n_items,), -1 for none
    n_sessions: int


class Totals(NamedTuple):
    """Totals that normalise a row: sessions per (item, type), and the factor by which a target is damped."""

    n_sessions_with: Ints32  # (n_items, N_TYPES)
    damping: Floats32  # (n_items, N_TYPES)
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
    importance: Floats  # (N_TYPES * N_TYPES,), weight of a pair of types when a row is pruned
    repeats: float


class Rows(NamedTuple):
    """Finished entries of a range of anchors; `sizes` has one number per anchor."""

    sizes: Ints
    entries: Records  # OUT, the first `n` are filled
    n: int


class Pairs(NamedTuple):
    """Finished rows of all items: the entries of anchor i stand at ``offsets[i]:offsets[i + 1]``; may be memory maps."""

    offsets: Ints  # (n_items + 1,)
    target: Ints32  # (n_entries,)
    types: PairTypes  # (n_entries,)
    strength: Floats32  # (n_entries,)
