"""Clocks of senders, held against ours: when something happened, as far as a batch tells it.

Two things put an event's instant and its arrival apart: a clock that is wrong, and the way. A clock that is ahead cannot be the
way, because nothing arrives before it is sent. A clock that is behind by less than `TRANSIT_S` looks like a batch that was long
on its way; it is believed, so that the device's own order stays.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from models.schema import SAME_CLOCK_S, TRANSIT_S

_SAME_US: Final = SAME_CLOCK_S * 1_000_000


def correction_us(sent_at_us: int, received_at_us: int) -> int:
    """Correction of a sender's instants, microseconds: how far ours is ahead of the clock that said `sent_at_us`.

    Examples
    --------
    >>> [correction_us(100_000_000, received_s * 1_000_000) // 1_000_000 for received_s in (40, 99, 140, 3_700)]
    [-60, 0, 0, 3600]
    """
    ahead_us = received_at_us - sent_at_us
    return ahead_us if not -_SAME_US <= ahead_us <= TRANSIT_S * 1_000_000 else 0


def not_ahead(occurred_at_us: npt.NDArray[np.int64], received_at_us: int) -> npt.NDArray[np.int64]:
    """Instants of one sender's events, none later than their arrival.

    What a clock that is ahead says is moved back by as much as the latest of it is ahead, so that the spaces between stay; an
    instant that can be is left as it is.

    Parameters
    ----------
    occurred_at_us
        Shape (n_events,), in any order.

    Examples
    --------
    >>> not_ahead(np.array([3_000_000, 50_000_000, 60_000_000]), 10_000_000).tolist()
    [3000000, 0, 10000000]
    """
    lead_us = int(occurred_at_us.max(initial=0)) - received_at_us
    if lead_us <= _SAME_US:
        return occurred_at_us
    moved: npt.NDArray[np.int64] = np.where(
        occurred_at_us > received_at_us + _SAME_US, occurred_at_us - lead_us, occurred_at_us
    )
    return np.maximum(moved, 0)
