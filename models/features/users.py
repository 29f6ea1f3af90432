"""Users: what someone did in the past days, as `USER_FEATURES` after every event of theirs.

Counts halve every three days. The whole state is what the online store holds (float32 features, instant of the last event,
recent items), and the batch carries exactly that, rounded to float32 after every event. So a worker that resumes from a stored
row continues with the same bits as a fold over the whole history, with no tolerance, if the events come in the same order.
An event dated before the latest one happens at the latest instant; the batch sorts by time, so there that is never needed.

Features never hold NaN; a user without history has zeros (`NOTHING_YET`). Rates are per view plus one: they start at 0, and a
single view does not make a rate of 1. A visit, here, is what 30 idle minutes separate, whatever session ids a partner sends.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Features, Ints
from models.events.encode import NO_CODE, EncodedEvents, EventArray
from models.kernels import kernel
from models.schema import N_EVENT_TYPES, N_RECENT_ITEMS, SESSION_IDLE_S, USER_FEATURES, EventType

HALF_LIFE_S: Final = 3 * 86_400.0
NOTHING_YET: Final = np.zeros(len(USER_FEATURES), dtype=np.float32)

_AT = {name: column for column, name in enumerate(USER_FEATURES)}
_DECAYED = _AT["decayed_item_view"]  # EVENT_TYPES order from there on
_SESSIONS, _N_EVENTS = _AT["n_user_sessions"], _AT["user_n_events"]
_CART_RATE, _PURCHASE_RATE = _AT["cart_per_view_rate"], _AT["purchase_per_view_rate"]
_MEAN_PRICE, _N_PRICES = _AT["user_mean_price"], _AT["user_n_prices"]
_VIEW, _ADD, _PURCHASE = int(EventType.ITEM_VIEW), int(EventType.ADD_TO_CART), int(EventType.PURCHASE)
_HALF_LIFE_US: Final = HALF_LIFE_S * 1e6
_IDLE_US: Final = SESSION_IDLE_S * 1_000_000


class UserHistory(NamedTuple):
    """User features of a batch fold; row i belongs to ``events[rows[i]]``.

    Attributes
    ----------
    rows
        Positions in the given events, sorted by user, time and arrival, shape (n_events,).
    features
        `USER_FEATURES` after the event, as of its instant, shape (n_events, n_features).
    recent_items
        Item codes after the event, distinct, newest first, `NO_CODE` where there are fewer, shape (n_events, N_RECENT_ITEMS).
    """

    rows: Ints
    features: Features
    recent_items: Ints


class UserState(NamedTuple):
    """One user as the online store holds them.

    Attributes
    ----------
    features
        As of the last event, shape (n_features,).
    last_event_at_us
        -1 if there was none.
    recent_item_ids
        Distinct, newest first, at most `N_RECENT_ITEMS`.
    """

    features: Features
    last_event_at_us: int
    recent_item_ids: tuple[str, ...]


@kernel
def _fade(row: Features, elapsed_us: int) -> None:
    """Let the decayed columns of one row age."""
    if elapsed_us > 0:
        left = 2.0 ** (-elapsed_us / _HALF_LIFE_US)
        for kind in range(N_EVENT_TYPES):
            row[_DECAYED + kind] = row[_DECAYED + kind] * left
        row[_N_PRICES] = row[_N_PRICES] * left


@kernel
def _rate(row: Features) -> None:
    views = np.float64(row[_DECAYED + _VIEW]) + 1.0
    row[_CART_RATE] = row[_DECAYED + _ADD] / views
    row[_PURCHASE_RATE] = row[_DECAYED + _PURCHASE] / views


@kernel
def _push(recent: Ints, item: int) -> None:
    """Move an item to the front."""
    slot = 0
    while slot < len(recent) - 1 and recent[slot] != item and recent[slot] != NO_CODE:
        slot += 1
    for place in range(slot, 0, -1):
        recent[place] = recent[place - 1]
    recent[0] = item


@kernel
def _advance(row: Features, recent: Ints, elapsed_us: int, event: Any) -> None:
    """Fold one event into a user's row; `elapsed_us` since the user's last event, -1 if this is the first."""
    _fade(row, elapsed_us)
    row[_DECAYED + event.event_type] += 1.0
    row[_N_EVENTS] += 1.0
    if elapsed_us < 0 or elapsed_us > _IDLE_US:
        row[_SESSIONS] += 1.0
    if np.isfinite(event.price):
        n_prices = np.float64(row[_N_PRICES])
        row[_MEAN_PRICE] = (row[_MEAN_PRICE] * n_prices + event.price) / (n_prices + 1.0)
        row[_N_PRICES] = n_prices + 1.0
    _rate(row)
    if event.item >= 0:
        _push(recent, event.item)


@kernel
def _copy(source: Any, row: Any) -> None:
    for k in range(len(row)):  # `row[:] = source` would cost seconds of compiling, for a message that nobody can see
        row[k] = source[k]


@kernel
def _fold(
    carried: Features,
    carried_recent: Ints,
    carried_at_us: int,
    events: EventArray,
    rows: Ints,
    users: Ints,
    features: Features,
    recent: Ints,
) -> int:
    """Write a row per event; the first user goes on from what is carried. Returns -1, or the row whose type is unknown."""
    latest_us = int(carried_at_us)
    for i in range(len(rows)):
        event = events[rows[i]]
        if event.event_type < 0 or event.event_type >= N_EVENT_TYPES:
            return int(rows[i])
        if i == 0:
            _copy(carried, features[i])
            _copy(carried_recent, recent[i])
        elif users[rows[i]] != users[rows[i - 1]]:
            features[i, :] = 0.0
            recent[i, :] = NO_CODE
            latest_us = -1
        else:
            _copy(features[i - 1], features[i])
            _copy(recent[i - 1], recent[i])
        now_us = max(latest_us, event.occurred_at_us)
        _advance(features[i], recent[i], now_us - latest_us if latest_us >= 0 else -1, event)
        latest_us = now_us
    return -1


@kernel
def _age(features: Features, elapsed_us: Ints) -> None:
    for i in range(len(features)):
        if np.isnan(features[i]).any():
            features[i, :] = 0.0
        _fade(features[i], elapsed_us[i])
        _rate(features[i])


def _run(state: UserState, recent: Ints, events: EventArray, rows: Ints, users: Ints) -> UserHistory:
    features = np.empty((len(events), len(USER_FEATURES)), dtype=np.float32)
    recents = np.empty((len(events), N_RECENT_ITEMS), dtype=np.int64)
    bad = _fold(state.features, recent, state.last_event_at_us, events, rows, users, features, recents)
    if bad >= 0:
        raise ValueError(f"event {bad} has type code {events['event_type'][bad]}, expected 0 to {N_EVENT_TYPES - 1}")
    return UserHistory(rows, features, recents)


def new_state() -> UserState:
    """A user who has done nothing yet."""
    return UserState(NOTHING_YET.copy(), -1, ())


def fold(events: EventArray, user_codes: Ints) -> UserHistory:
    """Features of every user after every event of theirs, the batch path.

    Parameters
    ----------
    events
        Of many users in any order, shape (n_events,), dtype `EVENT_DTYPE`; instants are not negative.
    user_codes
        Who did it, shape (n_events,).

    Raises
    ------
    ValueError
        If the shapes differ, or an event type is unknown.
    """
    if len(user_codes) != len(events):
        raise ValueError(f"expected one user code for each of {len(events)} events, got {len(user_codes)}")
    users = np.asarray(user_codes, dtype=np.int64)
    rows = np.lexsort((events["occurred_at_us"], users))
    return _run(new_state(), np.full(N_RECENT_ITEMS, NO_CODE), events, rows, users)


def advance(state: UserState, encoded: EncodedEvents) -> UserState:
    """Fold the next events of one user into what the online store holds: the worker's path, the same kernel as `fold`.

    Parameters
    ----------
    state
        From `new_state`, an earlier `advance` or the online store; not written.
    encoded
        The user's next events in time order; codes are local to this call.

    Raises
    ------
    ValueError
        If an event type is unknown.
    """
    events = encoded.events
    if len(events) == 0:
        return state
    texts, carried = list(encoded.item_ids), state.recent_item_ids[:N_RECENT_ITEMS]
    texts += [item_id for item_id in carried if item_id not in texts]
    recent = np.full(N_RECENT_ITEMS, NO_CODE)
    recent[: len(carried)] = [texts.index(item_id) for item_id in carried]
    history = _run(state, recent, events, np.arange(len(events)), np.zeros(len(events), dtype=np.int64))
    last_at_us = max(state.last_event_at_us, int(events["occurred_at_us"].max()))
    recent_ids = tuple(texts[code] for code in history.recent_items[-1] if code != NO_CODE)
    return UserState(history.features[-1].copy(), last_at_us, recent_ids)


def as_of(features: Features, last_event_at_us: npt.NDArray[np.int64] | int, now_us: npt.NDArray[np.int64] | int) -> Features:
    """Let stored features age to another instant; training and serving both read user features through this.

    Parameters
    ----------
    features
        As of the last event, shape (n_features,) or (n_rows, n_features), float32. A row that holds NaN (the join or the store
        did not know the user) becomes `NOTHING_YET`.
    last_event_at_us, now_us
        Scalars or shape (n_rows,), microseconds. An instant before the last event changes nothing.

    Returns
    -------
    A new array of the same shape.

    Examples
    --------
    >>> from models.events.encode import EVENT_DTYPE
    >>> once = fold(np.zeros(1, dtype=EVENT_DTYPE), np.zeros(1, dtype=np.int64)).features[0]
    >>> aged = as_of(once, 0, 3 * 86_400_000_000)
    >>> float(once[USER_FEATURES.index("decayed_item_view")]), float(aged[USER_FEATURES.index("decayed_item_view")])
    (1.0, 0.5)
    """
    aged = np.array(features, dtype=np.float32, ndmin=2, order="C")
    elapsed_us = np.asarray(now_us, dtype=np.int64) - np.asarray(last_event_at_us, dtype=np.int64)
    _age(aged, np.array(np.broadcast_to(elapsed_us, (len(aged),))))
    return aged.reshape(np.shape(features))
