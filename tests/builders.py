"""Builders of small inputs from literals."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from models.events.encode import EVENT_DTYPE, TYPE_CODE, EventArray
from models.live_session import LiveSession, cut
from models.schema import MEASURES

BEGAN_US: Final = 1_699_956_000_000_000  # 2023-11-14T10:00:00Z


def encoded(kinds: Sequence[str], items: Sequence[int]) -> EventArray:
    """Events of these types about these item codes (-1 for none), a second apart, without measures and categories."""
    events = np.zeros(len(kinds), dtype=EVENT_DTYPE)
    events["event_type"], events["item"], events["category"] = [TYPE_CODE[kind] for kind in kinds], items, -1
    events["occurred_at_us"] = BEGAN_US + np.arange(len(kinds)) * 1_000_000
    for name in MEASURES:
        events[name] = np.nan
    return events


def visit(*events: tuple[str, str | None]) -> LiveSession:
    """A session of (event type, item), a second apart."""
    ids = list(dict.fromkeys(item for _, item in events if item is not None))
    return cut(encoded([kind for kind, _ in events], [-1 if item is None else ids.index(item) for _, item in events]), ids, ())
