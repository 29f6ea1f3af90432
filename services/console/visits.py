"""Visits out of the log, with what the champion thinks after each event: the same fold and the same model as in a request."""

from typing import Final, NamedTuple

import numpy as np

from infra.store.statements.console import LAST_OF
from models.arrays import Floats
from models.live_session import LiveSession
from models.model_set import ModelSet
from models.recommend import situate
from services.console.sources import Sources
from services.signals.sessions import sessions_at

MOST_EVENTS: Final = 120


class Watched(NamedTuple):
    """Visit, and the intents after each of its newest events, shape (n_events, n_intents)."""

    session: LiveSession
    p_intent: Floats


def visits(sources: Sources, newest: dict[str, int], since_us: int) -> dict[str, LiveSession]:
    """Visits in which some events happened, by user: all read at once."""
    found = sessions_at(sources.read, newest, max(newest.values(), default=0), since_us)
    return {user: visit.session for user, visit in found.items()}


def last_visit(sources: Sources, user_id: str) -> tuple[str, LiveSession] | None:
    """The newest visit of a user, with the partner whose visitor it was; or None."""
    rows = sources.read(LAST_OF, (user_id,))
    if not rows:
        return None
    seq, partner = max((int(row[1]), str(row[0])) for row in rows)
    found = visits(sources, {user_id: seq}, 0).get(user_id)
    return None if found is None else (partner, found)


def watched(session: LiveSession, models: ModelSet, most: int = MOST_EVENTS) -> Watched:
    """The intents after each event."""
    n = len(session.events)
    first = max(n - most, 0)
    p = [situate(session._replace(events=session.events[: k + 1]), models, []).p_intent for k in range(first, n)]
    return Watched(session._replace(events=session.events[first:]), np.array(p))
