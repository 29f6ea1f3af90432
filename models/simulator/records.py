"""The records that the walk moves on and writes. Codes are rows of the catalogue, `EventType`, `Intent`; -1 is "none"."""

from typing import Any, Final, NamedTuple

import numpy as np

from models.arrays import Ints, Records
from models.events.encode import NO_CODE
from models.schema import MEASURES

N_CART: Final = 6
N_MET: Final = 16

Record = Any  # one row of `Records`: a kernel reads and writes its fields as attributes

# A visit on its way; the items in the cart and the items met stand in two lists beside it.
VISIT_DTYPE: Final = np.dtype(
    [
        ("user", np.int64),
        ("at_us", np.int64),  # of the event before
        ("intent", np.int64),
        ("event_type", np.int64),  # of the event before, START if none
        ("item", np.int64),  # in mind
        ("category", np.int64),  # in mind
        ("wanted", np.int64),  # item the visitor decided to buy; -1 until then
        ("extra", np.int64),  # complement to be taken along, -1 if none
        ("n_events", np.int64),
        ("n_cart", np.int64),
        ("n_met", np.int64),
        ("signal", np.int64),
        ("offered", np.int64),  # item that a signal recommends, -1 if none
        ("device", np.int64),
        ("referrer", np.int64),
        ("paying", np.int64),  # 1: purchases of the cart's items follow
        ("ended", np.int64),
        ("warmth", np.float64),
        ("patience", np.float64),  # factor on the probability of leaving
        ("pace", np.float64),  # added to the log of pauses
    ],
    align=True,
)
# One event and its truth; NaN is "not measured".
STEP_DTYPE: Final = np.dtype(
    [
        ("session", np.int64),
        ("at_us", np.int64),
        ("item", np.int64),
        ("category", np.int64),
        ("event_type", np.int64),
        ("intent", np.int64),
        ("signal", np.int64),
        ("p_purchase", np.float64),
        *((name, np.float64) for name in MEASURES),
    ],
    align=True,
)


class VisitState(NamedTuple):
    """A visitor's visit between two events; the walk writes into it.

    Attributes
    ----------
    visit
        Shape (1,), dtype `VISIT_DTYPE`.
    cart
        The first `n_cart` are items, shape (N_CART + 2,): the item decided on and its complement always fit.
    met
        The first `n_met` are items, newest last, across the visitor's sessions, shape (N_MET,).
    """

    visit: Records
    cart: Ints
    met: Ints


def blank_steps(n_steps: int) -> Records:
    """Steps to be filled, shape (n_steps,), dtype `STEP_DTYPE`; a measure that the walk does not know stays unmeasured."""
    steps: Records = np.zeros(n_steps, dtype=STEP_DTYPE)
    for name in MEASURES:
        steps[name] = np.nan
    return steps


def new_state() -> VisitState:
    """State before anybody's first visit."""
    visit: Records = np.zeros(1, dtype=VISIT_DTYPE)
    for name in ("user", "item", "category"):
        visit[name] = NO_CODE
    return VisitState(visit, np.zeros(N_CART + 2, dtype=np.int64), np.zeros(N_MET, dtype=np.int64))
