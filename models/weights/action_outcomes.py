"""Which actions led to a purchase: the fold behind `models.weights.actions`, over all visitors or over one.

A visitor's observations depend on that visitor's events and on the instant up to which outcomes are known, and on nothing else.
So they may be folded together or one by one, in any order, and again when an event comes late.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from models.arrays import Flags, Ints
from models.events.encode import EventArray, encode
from models.features import sessions
from models.inference import intent
from models.schema import DAY_US, N_EVENT_TYPES, EventType
from models.weights.actions import N_CONTEXTS, PARAMS, SCALE, ActionParams, context

if TYPE_CHECKING:
    import pandas as pd

NEVER: Final = 2**62
MOST_EVENTS: Final = 20_000  # of one visitor; whoever has more is a machine


class Observations(NamedTuple):
    """Decided actions, added up; all arrays have the shape (n_rows,) but the last.

    Attributes
    ----------
    user, day, event_type, context, browser
        Code of the visitor, days since 1970, codes, and 1 for actions that a browser key told.
    trials, rewards
        In units of 1 / `SCALE`; a visitor's day has `SCALE` trials of a type at most.
    due_us
        When the next pending action of each visitor is decided, `NEVER` if none is pending; shape (n_users,).
    """

    user: Ints
    day: Ints
    event_type: Ints
    context: Ints
    browser: Ints
    trials: Ints
    rewards: Ints
    due_us: Ints


def segments(events: EventArray, starts: Flags) -> Ints:
    """Place in `SEGMENTS` before each event, shape (n_events,): what the rules take the visit for so far."""
    seen = intent.by_rules(sessions.fold(events, starts)).argmax(axis=1) if len(events) else np.zeros(0, np.int64)
    return np.where(starts, 0, 1 + np.roll(seen, 1))


def fold(
    events: EventArray, starts: Flags, user: Ints, clock_us: int, params: ActionParams = PARAMS, n_users: int | None = None,
    browser: Ints | None = None,
) -> Observations:  # fmt: skip
    """Outcomes of some visitors' actions, as far as an instant can tell.

    Parameters
    ----------
    events, starts
        Whole sessions, one after the other; all events of each visitor.
    user
        Code of each event's visitor, shape (n_events,).
    clock_us
        Outcomes are known up to here: an action counts, rewarded or not, when its horizon ended before.
    n_users
        Number of visitors; the largest code and one by default.
    browser
        1 for an event that a browser key told, shape (n_events,); none by default.
    """
    n_users = int(user.max(initial=-1)) + 1 if n_users is None else n_users
    at = events["occurred_at_us"].astype(np.int64)
    kind = events["event_type"].astype(np.int64)
    horizon_us = int(params.horizon_s * 1e6)
    action = kind != EventType.PURCHASE
    rewarded = action & (_next_purchase(at, ~action, user) <= at + horizon_us)
    decided = action & (at + horizon_us < clock_us)
    due = np.full(n_users, NEVER, dtype=np.int64)
    pending = action & ~decided
    np.minimum.at(due, user[pending], at[pending] + horizon_us + 1)
    hour = (at // 60_000_000 + events["utc_offset_min"]) // 60 % 24
    code = context(segments(events, starts), events["device"], hour)
    rows = np.flatnonzero(decided)
    rows = rows[_is_late(user[rows], at[rows] // DAY_US, params.most_days)]
    told = np.zeros(len(events), np.int64) if browser is None else browser
    return _added(user[rows], at[rows] // DAY_US, kind[rows], code[rows], told[rows], rewarded[rows], due)


def _next_purchase(at: Ints, bought: Flags, user: Ints) -> Ints:
    """Instant of the visitor's next purchase after each row, `NEVER` if there is none; at one instant later rows are later."""
    order = np.lexsort((at, user))
    n = len(order)
    place = np.append(np.where(bought[order], np.arange(n), n), n)
    following = np.minimum.accumulate(place[::-1])[::-1][1:]
    known = np.minimum(following, max(n - 1, 0))
    found = np.full(n, NEVER, dtype=np.int64)
    found[order] = np.where((following < n) & (user[order][known] == user[order]), at[order][known], NEVER)
    return found


def _is_late(user: Ints, day: Ints, most_days: int) -> Flags:
    """Whether a row is of one of the visitor's latest days."""
    pair, first, which = _visitor_days(user, day)
    owner = user[first]
    late = np.searchsorted(owner, owner, side="right") - np.arange(len(pair)) <= most_days
    return np.asarray(late[which])


def _visitor_days(user: Ints, day: Ints) -> tuple[Ints, Ints, Ints]:
    """Pairs of visitor and day in their order, each as one number; a row of each, and the place of each row's pair."""
    days = day - day.min(initial=NEVER)
    return np.unique(user * (days.max(initial=0) + 1) + days, return_index=True, return_inverse=True)


def _added(user: Ints, day: Ints, kind: Ints, code: Ints, browser: Ints, rewarded: Flags, due: Ints) -> Observations:
    """Rows of visitor, day, type, context and sender, each type's day adding up to one observation."""
    owner = _visitor_days(user, day)[2] * N_EVENT_TYPES + kind
    clicks = np.bincount(owner)[owner] if len(owner) else owner
    _, first, which = np.unique((owner * N_CONTEXTS + code) * 2 + browser, return_index=True, return_inverse=True)
    trials = SCALE * np.bincount(which, minlength=len(first)) // clicks[first]
    rewards = SCALE * np.bincount(which, weights=rewarded, minlength=len(first)).astype(np.int64) // clicks[first]
    return Observations(user[first], day[first], kind[first], code[first], browser[first], trials, rewards, due)


class Rows(NamedTuple):
    """Rows that are kept of some visitors.

    Attributes
    ----------
    observations
        (user_id, day, event_type, context, browser, trials, rewards).
    due
        (user_id, due_us) of those who have a pending action.
    """

    observations: list[tuple[str, int, int, int, int, int, int]]
    due: list[tuple[str, int]]


def of_frame(frame: "pd.DataFrame", clock_us: int, params: ActionParams = PARAMS) -> Rows:
    """Fold an event frame that holds all believed events of its visitors; who has more than `MOST_EVENTS` is left out.

    Its column `browser`, where it has one, is 1 for what a browser key told.
    """
    import pandas as pd  # only here: what serves reads no frames

    sizes = frame["user_id"].map(frame["user_id"].value_counts())
    frame = sessions.sessionize(frame[(sizes <= MOST_EVENTS).to_numpy(dtype=np.bool_)])
    user, ids = pd.factorize(frame["user_id"])
    browser = frame["browser"].to_numpy(np.int64) if "browser" in frame else None
    found = fold(encode(frame).events, sessions.starts(frame), user.astype(np.int64), clock_us, params, len(ids), browser)
    columns = [part.tolist() for part in found[1:-1]]
    due = [(str(ids[u]), int(at)) for u, at in enumerate(found.due_us) if at != NEVER]
    return Rows(list(zip([str(ids[u]) for u in found.user], *columns, strict=True)), due)
