"""Builders of small inputs from literals."""

from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from models.events.encode import EVENT_DTYPE, NO_CODE, TYPE_CODE, EventArray
from models.live_session import LiveSession, cut
from models.schema import MEASURES

BEGAN_US: Final = 1_699_956_000_000_000  # 2023-11-14T10:00:00Z
Row = TypeVar("Row")


def event_array(n: int, **columns: npt.ArrayLike) -> EventArray:
    """Views of no item, a second apart from 1970 on, without category and measures; columns by name say otherwise."""
    events = np.zeros(n, dtype=EVENT_DTYPE)
    events["item"] = events["category"] = NO_CODE
    events["occurred_at_us"] = np.arange(n) * 1_000_000
    for name in MEASURES:
        events[name] = np.nan
    for name, column in columns.items():
        events[name] = column
    return events


def same_events(one: EventArray, other: EventArray) -> bool:
    """Whether all fields are equal; the bytes between them are anything."""
    return all(np.array_equal(one[name], other[name], equal_nan=True) for name in EVENT_DTYPE.names or ())


NO_EVENTS: Final = event_array(0)
NO_STARTS: Final = np.zeros(0, dtype=np.bool_)


def in_a_row(sessions: Sequence[Sequence[Row]]) -> tuple[list[Row], npt.NDArray[np.bool_]]:
    """Rows of all sessions one after the other, and which of them begin one."""
    rows = [row for session in sessions for row in session]
    return rows, np.array([k == 0 for session in sessions for k in range(len(session))], dtype=np.bool_)


def sessions_of(*sessions: Sequence[tuple[int, int]]) -> tuple[EventArray, npt.NDArray[np.bool_]]:
    """Sessions of (event type, item), and their starts."""
    rows, starts = in_a_row(sessions)
    kinds, items = [kind for kind, _ in rows], [item for _, item in rows]
    return event_array(len(rows), event_type=kinds, item=items), starts


def item_ids(n: int, prefix: str = "i") -> npt.NDArray[np.object_]:
    """Names of ``n`` items."""
    return np.array([f"{prefix}{k}" for k in range(n)], dtype=object)


def encoded(kinds: Sequence[str], items: Sequence[int]) -> EventArray:
    """Events of these types about these item codes (-1 for none), a second apart, without measures and categories."""
    at_us = BEGAN_US + np.arange(len(kinds)) * 1_000_000
    return event_array(len(kinds), event_type=[TYPE_CODE[kind] for kind in kinds], item=items, occurred_at_us=at_us)


def visit(*events: tuple[str, str | None]) -> LiveSession:
    """A session of (event type, item), a second apart."""
    ids = list(dict.fromkeys(item for _, item in events if item is not None))
    return cut(encoded([kind for kind, _ in events], [-1 if item is None else ids.index(item) for _, item in events]), ids, ())
