"""Live sessions out of the log: the form in which a request brings its session along, so that both are answered alike."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
import numpy as np

from infra.store.events import RECENT_COLUMNS, frame_of
from infra.store.protocol import Read
from infra.store.statements.events import READ_RECENT
from models.arrays import Flags
from models.events.encode import EventArray, encode
from models.features.sessions import sessionize, starts
from models.live_session import LiveSession, cut
from models.schema import EVENT_COLUMNS, GROUPS
from models.visitor_groups import groups_at, named

MOST_EVENTS: Final = 20_000  # of one user: a machine


class Visit(NamedTuple):
    """A session out of the log.

    Attributes
    ----------
    session
        As it was.
    believed
        The same without the prices that a page told: what a discount is reckoned from.
    """

    session: LiveSession
    believed: LiveSession


def sessions_at(read: Read, causes: Mapping[str, int], until: int, since_us: int) -> dict[str, Visit]:
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
    frame = sessionize(frame_of(events, RECENT_COLUMNS))[["seq", "partner", *EVENT_COLUMNS, "browser", GROUPS]]
    encoded, groups = encode(frame), named(frame[GROUPS].to_numpy(dtype=object), starts(frame))
    seq, users = frame["seq"].to_numpy(), frame["user_id"].to_numpy(dtype=object)
    begin = np.flatnonzero(starts(frame))
    wanted = np.flatnonzero(np.isin(seq, list(causes.values())))
    which = np.searchsorted(begin, wanted, side="right") - 1
    end = np.append(begin[1:], len(frame))
    believed = _without_prices(encoded.events, frame["browser"].to_numpy() == 1)
    return {
        users[row]: Visit(
            *(
                cut(told[begin[at] : end[at]], *encoded[1:], groups_at(groups, end[at] - 1))
                for told in (encoded.events, believed)
            )
        )
        for row, at in zip(wanted, which, strict=True)
    }


def _without_prices(events: EventArray, rows: Flags) -> EventArray:
    found = events.copy()
    found["price"][rows] = np.nan
    return found
