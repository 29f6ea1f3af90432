"""Sessions: which events belong together, and what they tell so far (`SESSION_FEATURES`).

Features never hold NaN. "Not measured yet" is 0 for counts, sums, means and rates; "it never happened" is -1 for `since_…`,
`n_events_since_cart` and `previous_event_type`. How a state advances stands in `models/features/kernel.py`.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Features, Flags, Ints, writeable
from models.events.encode import EventArray
from models.features import kernel as session_kernel
from models.features.kernel import RECENT_HALF_LIFE_S, STATE_DTYPE, StateArray
from models.schema import EVENT_TYPES, SESSION_FEATURES, SESSION_IDLE_S

if TYPE_CHECKING:
    import pandas as pd

N_FEATURES: Final = len(SESSION_FEATURES)
_RECENT: Final = np.array([name.startswith("recent_") and name != "recent_gap_s" for name in SESSION_FEATURES])
_SINCE: Final = np.array([name.startswith("since_") or name == "session_age_s" for name in SESSION_FEATURES])
_NO_STARTS: Final = np.zeros(0, dtype=np.bool_)
_NOTHING_YET: Final = np.array(
    [-1.0 if name.startswith(("since_", "n_events_since_", "last_event", "previous_")) else 0.0 for name in SESSION_FEATURES],
    dtype=np.float32,
)


def new_state() -> StateArray:
    """State of a session that has not begun, shape (1,): carry it from `step` to `step`."""
    return np.zeros(1, dtype=STATE_DTYPE)


def step(state: StateArray, events: EventArray) -> Features:
    """Fold the next events of one session into `state`, in place, and tell the features after the last of them.

    Item and category codes must mean the same in every call for one state.

    Parameters
    ----------
    state
        From `new_state`, shape (1,); written.
    events
        Shape (n_events,), n_events > 0.

    Returns
    -------
    Shape (n_features,).
    """
    out = np.empty((1, N_FEATURES), dtype=np.float32)
    require_types(session_kernel.fold(state, writeable(events), _NO_STARTS, out), events)
    last: Features = out[0]
    return last


def features_of(events: EventArray) -> Features:
    """Features of one session as it stands, the request path: bit for bit the row that `fold` gives for its last event.

    Parameters
    ----------
    events
        One session in the order it happened, shape (n_events,), dtype `EVENT_DTYPE`. May be empty: then the defaults.

    Returns
    -------
    Shape (n_features,), in the order of `SESSION_FEATURES`, without NaN.
    """
    return step(new_state(), events) if len(events) else _NOTHING_YET.copy()


def as_of(features: Features, silent_s: float) -> Features:
    """Features of a session in which nothing has happened since its last event: counts fade and times since go on.

    Parameters
    ----------
    features
        After the last event, shape (n_features,) or (n_rows, n_features).
    silent_s
        Seconds since then.

    Returns
    -------
    The same shape. The hour and the gaps between events are those of the last event.
    """
    aged = features.copy()
    aged[..., _RECENT] *= np.float32(0.5 ** (silent_s / RECENT_HALF_LIFE_S))
    aged[_SINCE & (features >= 0)] += np.float32(silent_s)
    return aged


def fold(events: EventArray, starts: npt.NDArray[np.bool_]) -> Features:
    """Features after every event of many sessions, the batch path.

    Parameters
    ----------
    events
        Sessions one after the other, each in the order it happened, shape (n_events,), dtype `EVENT_DTYPE`.
    starts
        Whether an event is the first of its session, shape (n_events,); see `starts`.

    Returns
    -------
    Shape (n_events, n_features), in the order of `SESSION_FEATURES`, without NaN.

    Raises
    ------
    ValueError
        If the shapes differ, or an event type is unknown.
    """
    if len(starts) != len(events):
        raise ValueError(f"expected one start flag for each of {len(events)} events, got {len(starts)}")
    out = np.empty((len(events), N_FEATURES), dtype=np.float32)
    if len(events):
        require_types(session_kernel.fold(new_state(), writeable(events), writeable(starts), out), events)
    return out


def fold_at(events: EventArray, starts: npt.NDArray[np.bool_], rows: Ints) -> Features:
    """Features after some of the events, in whatever order, shape (n_rows, n_features); other sessions are not looked at."""
    session = np.cumsum(starts) - 1
    is_asked = np.zeros(len(events), dtype=np.bool_)
    is_asked[session[rows]] = True
    kept = is_asked[session]
    place = np.cumsum(kept) - 1
    return np.asarray(fold(events[kept], starts[kept])[place[rows]])


def require_types(bad: int, events: EventArray) -> None:
    """Refuse events that a fold could not take.

    Parameters
    ----------
    bad
        What the fold answered: -1, or the index of the first event whose type is none.

    Raises
    ------
    ValueError
        If it is one.
    """
    if bad >= 0:
        raise ValueError(f"event {bad} has type code {events['event_type'][bad]}, expected 0 to {len(EVENT_TYPES) - 1}")


def starts(frame: "pd.DataFrame") -> npt.NDArray[np.bool_]:
    """First row of each session of a frame from `sessionize`, shape (n_rows,)."""
    session, user = frame["session_id"].to_numpy(dtype=object), frame["user_id"].to_numpy(dtype=object)
    first = np.ones(len(frame), dtype=np.bool_)
    first[1:] = (session[1:] != session[:-1]) | (user[1:] != user[:-1])
    return first


class InSessions(NamedTuple):
    """Events in the order of their sessions.

    Attributes
    ----------
    order
        Rows, shape (n_events,): sorted by owner, start of the session, session, time and arrival.
    first
        Whether an event, in that order, is the first of its session, shape (n_events,).
    """

    order: Ints
    first: Flags


def in_sessions(owner: Ints, given: Ints, at_us: Ints, arrival: Ints) -> InSessions:
    """Part events into sessions: by the ids that were given, and where there is none by idle time.

    Parameters
    ----------
    owner, given
        Code of each event's visitor, and of the session id that was sent with it, -1 for none, shape (n_events,).
    at_us, arrival
        When it happened, and its place among those that arrived, shape (n_events,).
    """
    order = np.lexsort((arrival, at_us, given, owner))
    owner, given, at_us = owner[order], given[order], at_us[order]
    idle = (given[1:] < 0) & (at_us[1:] - at_us[:-1] > SESSION_IDLE_S * 1_000_000)
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (owner[1:] != owner[:-1]) | (given[1:] != given[:-1]) | idle
    rows = np.flatnonzero(first)
    rank = np.empty(len(rows), dtype=np.int64)
    rank[np.lexsort((given[rows], at_us[rows], owner[rows]))] = np.arange(len(rows))
    final = np.argsort(rank[np.cumsum(first) - 1], kind="stable")
    return InSessions(order[final], first[final])


def sessionize(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Put an event frame in the order of its sessions, and give every row a session id that no one else has.

    Events without a `session_id` form sessions by idle time: `SESSION_IDLE_S` without such an event of the same user ends one.
    Ids become ``[partner/]user_id/session_id`` and, where there was none, ``[partner/]user_id/~start`` with the start in
    microseconds. Whatever a sender puts into an id, two sessions never share one: see `owner_key` and `session_key`.

    Parameters
    ----------
    frame
        Event frame with the ids as they were sent; `partner` and `seq` are used where present.

    Returns
    -------
    A new frame with a fresh index, sorted by partner, user, start of the session, session, time and `seq` (else: order of
    arrival).

    Examples
    --------
    >>> import pandas as pd
    >>> at_us = [0, 10_000_000, 1_900_000_000]
    >>> frame = pd.DataFrame({"user_id": "u", "session_id": None, "occurred_at_us": at_us})
    >>> sessionize(frame)["session_id"].tolist()
    ['u/~0', 'u/~0', 'u/~1900000000']
    """
    import pandas as pd  # only here: what serves has no frames

    user, owners = _owners(frame)
    at_us = frame["occurred_at_us"].to_numpy(np.int64)
    arrival = frame["seq"].to_numpy(np.int64) if "seq" in frame else np.arange(len(frame))
    texts, names = pd.factorize(frame["session_id"].astype(object))  # -1: none given
    order, first = in_sessions(user, texts.astype(np.int64), at_us, arrival)
    rows = order[first]
    keys = zip(user[rows], texts[rows], at_us[rows], strict=True)
    ids = np.array([session_key(owners[u], names[t] if t >= 0 else None, at) for u, t, at in keys], dtype=object)
    found = frame.iloc[order]  # a copy, and the only one
    found.isetitem(list(found.columns).index("session_id"), ids[np.cumsum(first) - 1])
    found.index = pd.RangeIndex(len(found))
    return found


def _owners(frame: "pd.DataFrame") -> tuple[npt.NDArray[np.int64], list[str]]:
    """Code of each row's owner, in the order of partner and user; and the key of each."""
    import pandas as pd

    user, users = pd.factorize(frame["user_id"].astype(object), sort=True)
    if "partner" not in frame:
        return user.astype(np.int64), [owner_key(None, name) for name in users]
    partner, partners = pd.factorize(frame["partner"].astype(object), sort=True)
    pairs, owner = np.unique(partner.astype(np.int64) * max(len(users), 1) + user, return_inverse=True)
    found = (divmod(int(pair), len(users)) for pair in pairs)
    return owner.reshape(-1).astype(np.int64), [owner_key(partners[p], users[u]) for p, u in found]


def owner_key(partner: str | None, user_id: str) -> str:
    """The beginning of every session id of a partner's user, without the slash that follows; no two have the same.

    A slash or a percent sign within a name is written as in an address, so that the slashes are ours alone. Pseudonyms and the
    names that a partner can have are left as they are.

    Examples
    --------
    >>> owner_key("shop", "0a1b"), owner_key("a/b", "c"), owner_key("a", "b/c")
    ('shop/0a1b', 'a%2Fb/c', 'a/b%2Fc')
    """
    names = (user_id,) if partner is None else (partner, user_id)
    return "/".join(name.replace("%", "%25").replace("/", "%2F") for name in names)


def session_key(owner: str, given: str | None, started_at_us: int) -> str:
    """Id of a session, from its owner's key and the id that the sender gave it, or its start where none was given.

    A single tilde at the beginning is ours; to an id that begins with one another is added.

    Examples
    --------
    >>> session_key("u", None, 5), session_key("u", "5", 0), session_key("u", "~5", 0), session_key("u", "u/~5", 0)
    ('u/~5', 'u/5', 'u/~~5', 'u/u/~5')
    """
    if given is None:
        return f"{owner}/~{started_at_us}"
    return f"{owner}/~{given}" if given.startswith("~") else f"{owner}/{given}"
