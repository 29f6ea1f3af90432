"""Live sessions out of the log: the form in which a request brings its session along, so that both are answered alike."""

from collections.abc import Mapping

import msgspec
import numpy as np

from infra.store.events import frame_of
from infra.store.protocol import Read
from infra.store.statements.events import READ_RECENT
from models.events.encode import encode
from models.features.sessions import sessionize, starts
from models.live_session import LiveSession, cut
from models.schema import EVENT_COLUMNS


def sessions_at(read: Read, causes: Mapping[str, int], until: int, since_us: int) -> dict[str, LiveSession]:
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
    events = read(READ_RECENT, (msgspec.json.encode(list(causes)).decode(), until, since_us)) if causes else []
    if not events:
        return {}
    frame = sessionize(frame_of(events))[["seq", "partner", *EVENT_COLUMNS]]
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
