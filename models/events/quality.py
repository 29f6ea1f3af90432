"""Quality checks of a batch of events or a feature table, beyond the rules of a single event (`models.events.rules`).

The suites of `flows/validate.py` check these columns and bounds; the numbers live here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.events.encode import is_item_event
from models.schema import DEVICES, EVENT_TYPES, N_EVENT_TYPES, REFERRERS

# Rows that fail are held back by name and the rest goes on. Only when more than this share fails, of the rows and of the
# visitors that servers and files told of, and not fewer rows than that, is something upstream broken: then a person is asked.
ALARM_SHARE: Final = 0.5
LEAST_ALARM_ROWS: Final = 100
MAX_SESSION_EVENTS: Final = (
    10_000  # of one session, or of one day without a session id, in one batch; beyond it a machine clicks
)
SHARE_ALONE: Final = 0.9  # of a day's events that are alone in their sessions: somebody drops cookies
MAX_PRICE_RATIO: Final = 100.0  # an item's price against its median in the batch, either way: 100 is cents for euros
MIN_PRICES: Final = 5  # of an item, before its median means anything

_ITEM_TYPES: Final = frozenset(name for name, about_item in zip(EVENT_TYPES, is_item_event(), strict=True) if about_item)
# Features that are not simply 0 or more: name -> (lowest, highest).
_BOUNDS: Final = {
    **{name: (0.0, 1.0) for name in ("item_focus_rate", "category_breadth_rate", "item_conversion_rate", "is_weekend")},
    **{name: (0.0, 1.0) for name in ("mean_scroll_depth", "max_scroll_depth", "search_refine_rate")},
    **{name: (-1.0, 1.0) for name in ("hour_sin", "hour_cos")},
    **{name: (-1.0, N_EVENT_TYPES - 1.0) for name in ("last_event_type", "previous_event_type")},
    "device": (0.0, len(DEVICES) - 1.0),
    "referrer": (0.0, len(REFERRERS) - 1.0),
    "item_price_band": (-1.0, 4.0),
}


def feature_bounds(name: str) -> tuple[float, float]:
    """Lowest and highest value a feature can have.

    Examples
    --------
    >>> feature_bounds("since_cart_s"), feature_bounds("hour_sin")
    ((-1.0, inf), (-1.0, 1.0))
    """
    if name in _BOUNDS:
        return _BOUNDS[name]
    return (-1.0 if name.startswith(("since_", "n_events_since_")) else 0.0, np.inf)


class Summary(NamedTuple):
    """A feature column in four numbers; the range is that of the finite values, 0 to 0 where there are none."""

    n_missing: int
    n_not_finite: int
    lowest: float
    highest: float


def summary(values: npt.NDArray[np.floating[Any]]) -> Summary:
    """Sum up a feature column, shape (n_rows,); missing is NaN.

    Examples
    --------
    >>> summary(np.array([np.nan, 2.0, -np.inf, 0.5]))
    Summary(n_missing=1, n_not_finite=1, lowest=0.5, highest=2.0)
    """
    finite = values[np.isfinite(values)]
    n_missing = int(np.isnan(values).sum())
    lowest, highest = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    return Summary(n_missing, len(values) - len(finite) - n_missing, lowest, highest)


def joined(parts: Sequence[Summary]) -> Summary:
    """Sum up a column of which parts are summed up.

    Examples
    --------
    >>> joined([Summary(1, 0, 2.0, 3.0), Summary(0, 2, -1.0, 2.5)])
    Summary(n_missing=1, n_not_finite=2, lowest=-1.0, highest=3.0)
    """
    n_missing, n_not_finite = sum(one.n_missing for one in parts), sum(one.n_not_finite for one in parts)
    lowest, highest = min((one.lowest for one in parts), default=0.0), max((one.highest for one in parts), default=0.0)
    return Summary(n_missing, n_not_finite, lowest, highest)


def with_checks(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the columns that the cross-field expectations look at.

    Parameters
    ----------
    frame
        Event frame as the log gives it, with `partner` and `received_at_us`.

    Returns
    -------
    A new frame with, besides: ``item_is_missing`` (bool), ``ahead_s`` (occurred after it was received, seconds, negative
    normally), ``price_ratio`` (to the item's median price in the batch, NaN where fewer than `MIN_PRICES` are known; a price
    of 0 is no price here).

    Examples
    --------
    >>> rows = {"event_type": ["purchase", "search"], "item_id": None, "partner": "p", "price": np.nan}
    >>> checked = with_checks(pd.DataFrame({**rows, "occurred_at_us": 5_000_000, "received_at_us": 7_000_000}))
    >>> checked[["item_is_missing", "ahead_s"]].values.tolist()
    [[True, -2.0], [False, -2.0]]
    """
    return frame.assign(
        item_is_missing=frame["event_type"].isin(_ITEM_TYPES) & frame["item_id"].isna(),
        ahead_s=(frame["occurred_at_us"] - frame["received_at_us"]) / 1e6,
        price_ratio=_price_ratio(frame),
    )


def _price_ratio(frame: pd.DataFrame) -> "pd.Series[float]":
    priced = (frame["price"] > 0) & frame["item_id"].notna()
    prices = frame.loc[priced, ["partner", "item_id", "price"]].groupby(["partner", "item_id"], sort=False)["price"]
    median = prices.transform("median").where(prices.transform("size") >= MIN_PRICES)
    return (frame.loc[priced, "price"] / median).reindex(frame.index)


def longest_sessions(sessions: Iterable[tuple[str, int, int]]) -> dict[str, int]:
    """Events of the longest session of each visitor; a day on which each event has a session of its own counts as one session.

    Parameters
    ----------
    sessions
        Visitor, number of events, and day of the first of them, of each session.

    Examples
    --------
    >>> longest_sessions([("ann", 3, 0), ("ann", 1, 0), *[("bot", 1, 0)] * 500, ("bot", 1, 1)])
    {'ann': 3, 'bot': 500}
    """
    longest, alone, in_all = Counter[str](), Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    for user, n, day in sessions:
        longest[user] = max(longest[user], n)
        alone[user, day] += n == 1
        in_all[user, day] += n
    for (user, day), n in alone.items():
        if n >= SHARE_ALONE * in_all[user, day]:
            longest[user] = max(longest[user], n)
    return dict(longest)


def of_visitors(n_events: Mapping[str, int], longest: Mapping[str, int]) -> pd.DataFrame:
    """Frame that the expectations about visitors look at: one row per visitor of a batch.

    Parameters
    ----------
    n_events
        Events of each visitor in the batch.
    longest
        Events of the longest session, of those visitors whose number of events says too little.

    Returns
    -------
    Index the visitor; column ``session_events``, at least the number of events of the longest session.

    Examples
    --------
    >>> of_visitors({"ann": 3, "bot": 40_000}, {"bot": 39_000})["session_events"].to_dict()
    {'ann': 3, 'bot': 39000}
    """
    events = pd.Series({**n_events, **longest}, dtype=np.int64)
    return pd.DataFrame({"session_events": events})


def is_alarming(bad: tuple[int, int], total: tuple[int, int], share: float = ALARM_SHARE) -> bool:
    """Whether so much of a batch is bad that a person should look: of its rows and of its visitors.

    Parameters
    ----------
    bad, total
        Rows and visitors.

    Examples
    --------
    >>> is_alarming((40_000, 1), (45_000, 300)), is_alarming((300, 60), (500, 100)), is_alarming((3, 3), (3, 3))
    (False, True, False)
    """
    return bad[0] >= LEAST_ALARM_ROWS and all(some > share * of for some, of in zip(bad, total, strict=True))
