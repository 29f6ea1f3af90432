"""The offline tables: the folds' rows as the feature store keeps them, one row per key and instant.

Each table has its key, the instant from which a row was known, and float32 features. Where several events share an instant, the
row of the last one stands for it.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.arrays import Ints, Objects
from models.events.encode import NO_CODE, EventArray
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


def of_sessions(frame: pd.DataFrame, events: EventArray) -> pd.DataFrame:
    """`SESSION_FEATURES` after every instant of every session.

    Parameters
    ----------
    frame
        From `sessions.sessionize`.
    events
        The same rows encoded, shape (n_rows,).

    Returns
    -------
    Columns ``session_id``, ``occurred_at``, `SESSION_FEATURES`.
    """
    starts = sessions.starts(frame)
    kept = last_of_instant(np.cumsum(starts), events["occurred_at_us"])
    features = sessions.fold(events, starts)
    if len(kept) < len(features):
        features = features[kept]
    keys = {"session_id": frame["session_id"].to_numpy(dtype=object)[kept], INSTANT: instants(events["occurred_at_us"][kept])}
    return _table(keys, features, SESSION_FEATURES)


def of_users(frame: pd.DataFrame, events: EventArray, item_ids: Objects) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`USER_FEATURES` after every instant of every user, and the items each user met last.

    Only the newest list of recent items is kept: no model learns from it, and ten texts per event would outweigh all else.

    Parameters
    ----------
    frame, events
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


def of_items(events: EventArray, item_ids: Objects, until_us: int) -> pd.DataFrame:
    """`ITEM_FEATURES` at the end of every hour in which an item had an event; the present hour as of now.

    Returns
    -------
    Columns ``item_id``, ``occurred_at``, `ITEM_FEATURES`.
    """
    history = items.fold(events, until_us)
    keys = {"item_id": item_ids[history.items], INSTANT: instants(history.hour_end_us)}
    return _table(keys, history.features, ITEM_FEATURES)


def _table(keys: "dict[str, object]", features: npt.NDArray[np.float32], names: tuple[str, ...]) -> pd.DataFrame:
    return pd.concat([pd.DataFrame(keys), pd.DataFrame(features, columns=list(names), copy=False)], axis=1, copy=False)
