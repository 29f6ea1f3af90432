"""The offline tables: the folds' rows as the feature store keeps them, one row per key and instant.

Each table has its key, the instant from which a row was known, and float32 features. Where several events share an instant, the
row of the last one stands for it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.arrays import Ints, Objects
from models.events.encode import EVENT_DTYPE, NO_CODE, TYPE_CODE, EventArray
from models.events.touches import text_of
from models.features import histories, items, sessions, users
from models.features.items import HOUR_US
from models.schema import (
    INSTANT,
    ITEM_FEATURES,
    ITEMS_VIEW,
    LAST_EVENT_AT,
    RECENT_ITEMS_AT,
    SESSION_FEATURES,
    SESSIONS_VIEW,
    USER_FEATURES,
    USER_RECENT_EVENTS,
    USER_RECENT_ITEMS,
    VIEW_KEY,
)


def instants(at_us: npt.NDArray[np.int64]) -> "pd.DatetimeIndex":
    """Microseconds since 1970 as UTC timestamps of microsecond resolution.

    Examples
    --------
    >>> instants(np.array([1], dtype=np.int64))
    DatetimeIndex(['1970-01-01 00:00:00.000001+00:00'], dtype='datetime64[us, UTC]', freq=None)
    """
    return pd.DatetimeIndex(at_us.astype("datetime64[us]")).tz_localize("UTC")


def last_of_instant(key: npt.NDArray[np.generic], at_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Positions of the last row of every (key, instant), for rows sorted by key and instant.

    Examples
    --------
    >>> last_of_instant(np.array([1, 1, 2]), np.array([5, 5, 5])).tolist()
    [1, 2]
    """
    last = np.ones(len(key), dtype=np.bool_)
    last[:-1] = (key[1:] != key[:-1]) | (at_us[1:] != at_us[:-1])
    return np.flatnonzero(last)


def behind(frame: pd.DataFrame, key: str, first_us: Mapping[str, int], *, whole: bool) -> list[int]:
    """Events behind rows of a table that fail a check.

    Parameters
    ----------
    frame
        From `sessions.sessionize`, with `seq`.
    key
        Key column of the table.
    first_us
        Key of each row, and the first instant at which it fails: what happened then, or within an item's hour, is to blame.
    whole
        Take all events of those keys.

    Returns
    -------
    Sequence numbers, ascending.

    Examples
    --------
    >>> frame = pd.DataFrame({"seq": [1, 2, 3], "user_id": ["a", "a", "b"], "occurred_at_us": [5, 6, 6]})
    >>> behind(frame, "user_id", {"a": 6}, whole=False), behind(frame, "user_id", {"a": 6}, whole=True)
    ([2], [1, 2])
    """
    rows = frame[frame[key].isin(list(first_us))]
    if not whole:
        at_us, failed_us = rows["occurred_at_us"], rows[key].map(first_us).astype(np.int64)
        span_us = HOUR_US if key == VIEW_KEY[ITEMS_VIEW] else 0
        rows = rows[(at_us <= failed_us) & (at_us >= failed_us - span_us)]
    return sorted(rows["seq"].tolist())


class Standing(NamedTuple):
    """Reach of a fold of before, over some visitors of whom something is new.

    Attributes
    ----------
    until_us
        Visitor to the instant up to which the rows stand: what is new is later. Who is missing is told anew.
    stale
        Visitors whose rows of before are no more true: something new is not later than what was known of them.
    """

    until_us: dict[str, int]
    stale: frozenset[str]


def standing(frame: pd.DataFrame, last_seq: int, as_of_us: int, stale: Collection[str]) -> Standing:
    """Compare the whole history of some visitors with a fold up to an event and an instant.

    Parameters
    ----------
    frame
        Event frame with `seq`.
    stale
        Visitors of whom that is known already.

    Examples
    --------
    >>> frame = pd.DataFrame({"user_id": ["a", "a", "b", "b", "c"], "seq": [1, 9, 2, 9, 9], "occurred_at_us": [5, 6, 5, 5, 7]})
    >>> standing(frame, 8, 100, ())
    Standing(until_us={'a': 5}, stale=frozenset({'b'}))
    """
    at_us, user = frame["occurred_at_us"], frame["user_id"]
    is_new = (frame["seq"] > last_seq) | (at_us > as_of_us)
    known_us, new_us = at_us[~is_new].groupby(user[~is_new]).max(), at_us[is_new].groupby(user[is_new]).min()
    later = known_us < new_us.reindex(known_us.index)
    known_us = known_us[~known_us.index.isin(list(stale))]
    later = later.reindex(known_us.index)
    until_us = {str(user_id): int(at) for user_id, at in known_us[later].items()}
    return Standing(until_us, frozenset(known_us.index[~later]))


def since(user_ids: "pd.Series[Any]", until_us: Mapping[str, int]) -> Ints:
    """Instant after which rows are told, of each row's visitor, shape (n_rows,); before all of them where all are."""
    return np.asarray(user_ids.map(until_us).fillna(-1), dtype=np.int64)


def owners(view: str, keys: Sequence[str]) -> list[str]:
    """Visitor behind each key of a table about sessions or visitors, as `sessions.owner_key` writes one.

    Examples
    --------
    >>> owners("session_features", ["shop/0a1b/s/1"]), owners("user_features", ["0a1b"])
    (['0a1b'], ['0a1b'])
    """
    return [key.split("/", 2)[1] for key in keys] if view == SESSIONS_VIEW else [sessions.owner_key(None, key) for key in keys]


def of_sessions(frame: pd.DataFrame, events: EventArray, since_us: Ints | None = None) -> pd.DataFrame:
    """`SESSION_FEATURES` after every instant of every session.

    Parameters
    ----------
    frame
        From `sessions.sessionize`.
    events
        The same rows encoded, shape (n_rows,).
    since_us
        Only rows after an instant are told, of each row's visitor, shape (n_rows,).

    Returns
    -------
    Columns ``session_id``, ``occurred_at``, `SESSION_FEATURES`.
    """
    starts = sessions.starts(frame)
    kept = last_of_instant(np.cumsum(starts), events["occurred_at_us"])
    if since_us is not None:
        kept = kept[events["occurred_at_us"][kept] > since_us[kept]]
    features = sessions.fold(events, starts)
    if len(kept) < len(features):
        features = features[kept]
    keys = {"session_id": frame["session_id"].to_numpy(dtype=object)[kept], INSTANT: instants(events["occurred_at_us"][kept])}
    return _table(keys, features, SESSION_FEATURES)


def of_users(
    frame: pd.DataFrame, events: EventArray, item_ids: Objects, since_us: Ints | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`USER_FEATURES` after every instant of every user, and the items each user met last.

    Only the newest list of recent items is kept: no model learns from it, and ten texts per event would outweigh all else.

    Parameters
    ----------
    frame, events, since_us
        As for `of_sessions`.
    item_ids
        Text of each item code.

    Returns
    -------
    Columns ``user_id``, ``occurred_at``, `USER_FEATURES`, `LAST_EVENT_AT`; and ``user_id``, ``occurred_at``,
    `USER_RECENT_ITEMS` (lists of texts, newest first), `RECENT_ITEMS_AT`, `USER_RECENT_EVENTS` (likewise, `events.touches`).
    """
    factors, user_ids = pd.factorize(frame["user_id"].to_numpy(dtype=object))
    codes_by_row = factors.astype(np.int64)
    history = users.fold(events, codes_by_row)
    codes, at_us = codes_by_row[history.rows], events["occurred_at_us"][history.rows]
    kept = last_of_instant(codes, at_us)
    if since_us is not None:
        kept = kept[at_us[kept] > since_us[history.rows][kept]]
    keys = {"user_id": user_ids[codes[kept]], INSTANT: instants(at_us[kept]), LAST_EVENT_AT: at_us[kept]}
    features = _table(keys, history.features[kept], USER_FEATURES)
    newest = kept[last_of_instant(codes[kept], np.zeros(len(kept), dtype=np.int64))]
    lists = [[item_ids[code] for code in row if code != NO_CODE] for row in history.recent_items[newest].tolist()]
    recent = {"user_id": user_ids[codes[newest]], INSTANT: instants(at_us[newest])}
    recent |= {USER_RECENT_ITEMS: lists, RECENT_ITEMS_AT: at_us[newest]}
    return features, pd.DataFrame({**recent, USER_RECENT_EVENTS: _touches(events, codes_by_row, codes[newest], item_ids)})


def _touches(events: EventArray, user_codes: Ints, users: Ints, item_ids: Objects) -> list[list[str]]:
    """What each of some users did on items, as texts."""
    known = histories.of(events, user_codes)
    last_us = int(events["occurred_at_us"].max(initial=0))
    found = []
    for user in users.tolist():
        places = histories.until(known, user, last_us)
        columns = known.kind[places].tolist(), known.at_us[places].tolist(), item_ids[known.item[places]].tolist()
        found.append([text_of(*one) for one in zip(*columns, strict=True)])
    return found


def items_from(carry: items.Carry, events: EventArray, item_ids: Objects, until_us: int) -> tuple[items.Carry, pd.DataFrame]:
    """`ITEM_FEATURES` at the end of every hour in which an item had an event; the present hour as of now.

    Parameters
    ----------
    carry, events, until_us
        As for `items.advance`.

    Returns
    -------
    What to go on from; columns ``item_id``, ``occurred_at``, `ITEM_FEATURES`.
    """
    after, history = items.advance(carry, events, until_us)
    keys = {"item_id": item_ids[history.items], INSTANT: instants(history.hour_end_us)}
    return after, _table(keys, history.features, ITEM_FEATURES)


def item_touches(frame: pd.DataFrame, codes: dict[str, int]) -> pd.DataFrame:
    """Events as the item fold needs them, in little space.

    Parameters
    ----------
    frame
        Columns `occurred_at_us`, `event_type`, `item_id`, `price`; every row names an item.
    codes
        Code of each item; written: new items get the next ones.

    Returns
    -------
    Columns `occurred_at_us`, `price`, ``item`` and ``kind`` (codes).
    """
    place, ids = pd.factorize(frame["item_id"].to_numpy(dtype=object))
    code = np.array([codes.setdefault(item_id, len(codes)) for item_id in ids], dtype=np.int64)
    return pd.DataFrame(
        {
            "occurred_at_us": frame["occurred_at_us"].to_numpy(np.int64),
            "price": frame["price"].to_numpy(np.float64),
            "item": code[place],
            "kind": frame["event_type"].map(TYPE_CODE).to_numpy(np.int8),
        }
    )


def item_events(touches: pd.DataFrame) -> EventArray:
    """Events from `item_touches` as the item fold reads them."""
    events = np.zeros(len(touches), dtype=EVENT_DTYPE)
    for name, column in (("occurred_at_us", "occurred_at_us"), ("price", "price"), ("item", "item"), ("event_type", "kind")):
        events[name] = touches[column]
    return events


def _table(keys: "dict[str, object]", features: npt.NDArray[np.float32], names: tuple[str, ...]) -> pd.DataFrame:
    return pd.concat([pd.DataFrame(keys), pd.DataFrame(features, columns=list(names), copy=False)], axis=1, copy=False)
