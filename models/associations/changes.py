"""Sessions that new events began or changed: what live associations add, and what they take away for it."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.arrays import Flags, Ints
from models.associations import indirect
from models.events.encode import EVENT_DTYPE, TYPE_CODE, EventArray
from models.features.sessions import sessionize
from models.features.sessions import starts as starts_of
from models.schema import SESSION_IDLE_S

_COLUMNS: Final = ("seq", "partner", "user_id", "session_id", "event_type", "occurred_at_us")


class Sessions(NamedTuple):
    """Events of whole sessions, one after the other, and which of them are the first."""

    events: EventArray
    starts: npt.NDArray[np.bool_]


def changed_sessions(frame: pd.DataFrame, new: Flags, codes: Ints, counted: Flags) -> tuple[Sessions, Sessions]:
    """The sessions that new events began or changed, as they are now, and those that stood in their place before, by touches.

    Without its new events a session is what it was, or several: those that only the new ones have brought within idle time.
    """
    columns = {name: frame[name].to_numpy() for name in _COLUMNS if name in frame}
    rows = sessionize(pd.DataFrame({**columns, "given": columns["session_id"], "new": new, "item": codes, "counted": counted}))
    session, is_new = np.cumsum(starts_of(rows)) - 1, rows["new"].to_numpy()
    changed = np.zeros(len(rows), np.bool_)
    changed[session[is_new]] = True
    after = np.flatnonzero(changed[session])
    before = after[~is_new[after]]
    events = np.zeros(len(rows), dtype=EVENT_DTYPE)
    events["item"], events["occurred_at_us"] = rows["item"], rows["occurred_at_us"]
    events["event_type"] = [TYPE_CODE[name] for name in rows["event_type"]]
    idle = np.diff(events["occurred_at_us"][before]) > SESSION_IDLE_S * 1_000_000
    apart = idle & rows["given"].isna().to_numpy()[before[1:]]
    begins = _changes(session[before]) | np.append(np.zeros(min(len(before), 1), np.bool_), apart)
    counts = rows["counted"].to_numpy()
    return (
        Sessions(*indirect.touched(events[after], _changes(session[after]), counts[after])),
        Sessions(*indirect.touched(events[before], begins, counts[before])),
    )


def _changes(numbers: Ints) -> npt.NDArray[np.bool_]:
    changes: npt.NDArray[np.bool_] = np.diff(numbers, prepend=-1) != 0
    return changes
