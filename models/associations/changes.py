"""Sessions that new events began or changed: what live associations add, and what they take away for it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Columns, Flags, Ints
from models.associations import indirect
from models.events.encode import EVENT_DTYPE, TYPE_CODE, EventArray
from models.features.sessions import in_sessions
from models.schema import SESSION_IDLE_S


class Sessions(NamedTuple):
    """Events of whole sessions, one after the other, and which of them are the first."""

    events: EventArray
    starts: npt.NDArray[np.bool_]


def changed_sessions(told: Columns, new: Flags, codes: Ints, counted: Flags) -> tuple[Sessions, Sessions]:
    """The sessions that new events began or changed, as they are now, and those that stood in their place before, by touches.

    Without its new events a session is what it was, or several: those that only the new ones have brought within idle time.
    """
    at_us, given = np.asarray(told["occurred_at_us"], np.int64), _codes(told["session_id"])
    order, first = in_sessions(_owners(told), given, at_us, np.asarray(told["seq"], np.int64))
    session, is_new = np.cumsum(first) - 1, new[order]
    changed = np.zeros(len(order), np.bool_)
    changed[session[is_new]] = True
    after = np.flatnonzero(changed[session])
    before = after[~is_new[after]]
    events = np.zeros(len(order), dtype=EVENT_DTYPE)
    events["item"], events["occurred_at_us"] = codes[order], at_us[order]
    events["event_type"] = np.array([TYPE_CODE[name] for name in told["event_type"]], np.int8)[order]
    idle = np.diff(events["occurred_at_us"][before]) > SESSION_IDLE_S * 1_000_000
    apart = idle & (given[order][before[1:]] < 0)
    begins = _changes(session[before]) | np.append(np.zeros(min(len(before), 1), np.bool_), apart)
    counts = counted[order]
    return (
        Sessions(*indirect.touched(events[after], _changes(session[after]), counts[after])),
        Sessions(*indirect.touched(events[before], begins, counts[before])),
    )


def _owners(told: Columns) -> Ints:
    """Code of each event's visitor, in the order of partner and user."""
    owners = list(zip(*(told[name] for name in ("partner", "user_id") if name in told), strict=True))
    return _codes(owners, sorted(set(owners)))


def _codes(values: Sequence[Any], names: Sequence[Any] = ()) -> Ints:
    """Code of each value, those that are named already first; -1 for None."""
    known = {name: code for code, name in enumerate(names)}
    return np.array([-1 if value is None else known.setdefault(value, len(known)) for value in values], np.int64)


def _changes(numbers: Ints) -> npt.NDArray[np.bool_]:
    changes: npt.NDArray[np.bool_] = np.diff(numbers, prepend=-1) != 0
    return changes
