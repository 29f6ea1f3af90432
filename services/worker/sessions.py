"""Live sessions out of the log: the form in which a request brings its session along, so that both are answered alike."""

from collections.abc import Mapping
from typing import Final

import apsw
import msgspec
import numpy as np

from infra.store.connection import rows
from infra.store.statements import log as tables
from models.events.encode import encode
from models.features.sessions import sessionize, starts
from models.live_session import LiveSession, cut
from models.schema import EVENT_COLUMNS
from services.worker.features import event_frame

# Valid events of some users, up to an event and since an instant: (users, until_seq, since_us).
READ_RECENT: Final = f"{tables.READ_USERS.removesuffix(' ORDER BY seq')} AND occurred_at_us >= ? ORDER BY seq"


def sessions_at(connection: apsw.Connection, causes: Mapping[str, int], until: int, since_us: int) -> dict[str, LiveSession]:
    """The sessions in which some events happened, as they stand.

    Parameters
    ----------
    causes
        Number of an event (`seq`), by its user.
    until, since_us
        Events up to this number, and since this instant, are read.

    Returns
    -------
    By user; one whose event was erased or is in quarantine is missing.
    """
    found = rows(connection, READ_RECENT, (msgspec.json.encode(list(causes)).decode(), until, since_us)) if causes else []
    if not found:
        return {}
    frame = sessionize(event_frame(found))[["seq", "partner", *EVENT_COLUMNS]]
    encoded = encode(frame)
    seq, users = frame["seq"].to_numpy(), frame["user_id"].to_numpy(dtype=object)
    begin = np.flatnonzero(starts(frame))
    wanted = np.flatnonzero(np.isin(seq, list(causes.values())))
    which = np.searchsorted(begin, wanted, side="right") - 1
    end = np.append(begin[1:], len(frame))
    return {
        users[row]: cut(encoded.events[begin[session] : end[session]], *encoded[1:])
        for row, session in zip(wanted, which, strict=True)
    }
