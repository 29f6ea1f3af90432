"""The order of a list that is shown: which of its items will be clicked, from everything known before.

A row per item of each list: where it stands and what it costs beside the others, what the visitor has done with it so far in
this session and before, what other visitors did with it earlier, and how the session goes. Nothing looks ahead: the log is
walked in the order of time, and a list's rows are written before its own click is counted. Other visitors' counts leave out the
visitor's own, which have their own columns.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.arrays import Features, Floats, Ints

KINDS: Final = (
    "interaction item image",
    "interaction item info",
    "interaction item rating",
    "interaction item deals",
    "search for item",
    "clickout item",
)
OTHER_KINDS: Final = ("change of sort order", "filter selection", "search for destination", "search for poi")
FILTERS: Final = ("Sort by Price", "Sort By Distance", "Focus on Distance", "Sort By Rating", "Best Value", "Focus on Rating")
DEVICES: Final = ("desktop", "mobile", "tablet")
_CLICK: Final = KINDS.index("clickout item")
_NEVER: Final = 999.0

ITEM_COLUMNS: Final = (
    "position",
    "price",
    "price_rank",
    "price_to_mean_rate",
    "price_to_lowest_rate",
    "recency_rank",  # 0 = the item met last
    "since_s",
    "since_events",
    "last_kind",
    *(f"n_{kind.replace(' ', '_')}" for kind in KINDS),
    "n_events",
    "from_last",  # places below the item met last
    "from_lowest",  # places below the lowest item met
    "from_last_click",
    "price_to_last_rate",
    "is_last",
    "is_last_click",
    "others_clicks",
    "others_impressions",
    "others_click_rate",
    "others_interactions",
    "with_last",  # visitors who met it together with the item met last
    "with_recent",
    "n_earlier_sessions_events",
    "earlier_position",
    "n_met_below",
    "n_met_above",
    "price_above_rate",
    "price_below_rate",
)
SESSION_COLUMNS: Final = (
    "n_shown",
    "n_session_events",
    "n_met_shown",
    "n_met",
    "gap_s",
    "age_s",
    "last_action",
    "last_item_kind",
    *(f"filter_{name.replace(' ', '_').lower()}" for name in FILTERS),
    "n_filters",
    "device",
    *(f"n_session_{kind.replace(' ', '_')}" for kind in (*KINDS, *OTHER_KINDS)),
    "last_position",
    "lowest_position",
    "mean_price",
)
COLUMNS: Final = (*ITEM_COLUMNS, *SESSION_COLUMNS)


class Lists(NamedTuple):
    """Shown lists, one after the other.

    Attributes
    ----------
    features
        Shape (n_rows, len(COLUMNS)).
    clicked
        Whether the row's item was clicked, shape (n_rows,); one per list.
    sizes
        Rows of each list, shape (n_lists,).
    users, at_s
        Who saw it and when (Unix seconds), shape (n_lists,).
    baseline_rank, list_rank
        Rank of the clicked item if the items met last come first, then the list's order; and in the list's order alone.
    """

    features: Features
    clicked: npt.NDArray[np.bool_]
    sizes: Ints
    users: npt.NDArray[np.object_]
    at_s: Ints
    baseline_rank: Ints
    list_rank: Ints


class _Action(NamedTuple):
    """One row of the file, as texts."""

    user_id: str
    session_id: str
    timestamp: str
    action_type: str
    reference: str
    device: str
    current_filters: str
    impressions: str
    prices: str


@dataclass
class _Visit:
    """What is known about one session so far."""

    started_s: int
    events: dict[str, list[int]] = field(default_factory=dict)  # item -> events by kind
    met: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # item -> (at_s, events so far, kind), oldest first
    n_events: int = 0
    last_s: int | None = None
    last_action: int = -1
    last_kind: int = -1
    last_click: str | None = None
    by_action: list[int] = field(default_factory=lambda: [0] * (len(KINDS) + len(OTHER_KINDS)))
    shown: dict[str, int] = field(default_factory=dict)  # item -> place in the list before


@dataclass
class _Known:
    """What all visitors did so far: counts of items, and of (user, item)."""

    clicks: Counter[Any] = field(default_factory=Counter)
    impressions: Counter[Any] = field(default_factory=Counter)
    interactions: Counter[Any] = field(default_factory=Counter)
    of_user: Counter[Any] = field(default_factory=Counter)
    together: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def others(self, counts: Counter[Any], user: str, item: str) -> int:
        """The count without the visitor's own share."""
        return counts[item] - counts[user, item]


def read(raw: pd.DataFrame) -> Lists:
    """Walk a trivago log and write the rows of every list in which the clicked item stands.

    Parameters
    ----------
    raw
        Columns of the file as texts; the empty text means missing.

    Raises
    ------
    ValueError
        If no list was shown.
    """
    order = np.argsort(raw["timestamp"].to_numpy(dtype=np.int64), kind="stable")
    visits: dict[str, _Visit] = {}
    known = _Known()
    rows: list[list[float]] = []
    lists: list[tuple[int, str, int, int, int]] = []
    clicked: list[bool] = []
    columns = [raw[name].to_numpy(dtype=object)[order].tolist() for name in _Action._fields]
    for values in zip(*columns, strict=True):
        event = _Action(*values)
        at_s = int(event.timestamp)
        visit = visits.setdefault(event.session_id, _Visit(at_s))
        items = event.impressions.split("|") if event.impressions else []
        if event.action_type == KINDS[_CLICK] and event.reference in items:
            prices = np.array(event.prices.split("|"), dtype=np.float64)
            rows += _rows(event, at_s, items, prices, visit, known)
            clicked += [item == event.reference for item in items]
            recent = [item for item in reversed(visit.met) if item in items]
            likely = recent + [item for item in items if item not in visit.met]
            lists.append((len(items), event.user_id, at_s, likely.index(event.reference) + 1, items.index(event.reference) + 1))
            visit.shown = {item: k for k, item in enumerate(items)}
            known.impressions.update(items)
            known.impressions.update((event.user_id, item) for item in items)
        _advance(event, at_s, visit, known)
    if not lists:
        raise ValueError("the file shows no list with a clicked item: impressions, prices and clickout items are needed")
    sizes, users, at, base, plain = zip(*lists, strict=True)
    return Lists(
        np.array(rows, dtype=np.float32), np.array(clicked), np.array(sizes), np.array(users, dtype=object), np.array(at),
        np.array(base), np.array(plain),
    )  # fmt: skip


def _advance(event: _Action, at_s: int, visit: _Visit, known: _Known) -> None:
    """Count one event."""
    actions = (*KINDS, *OTHER_KINDS)
    action = actions.index(event.action_type) if event.action_type in actions else -1
    visit.n_events += 1
    visit.last_s, visit.last_action = at_s, action
    if action >= 0:
        visit.by_action[action] += 1
    if not (0 <= action < len(KINDS) and event.reference.isdecimal()):
        return
    item, user = event.reference, event.user_id
    if item not in visit.events:
        for other in visit.events:
            known.together[other][item] += 1
            known.together[item][other] += 1
    visit.events.setdefault(item, [0] * len(KINDS))[action] += 1
    visit.met.pop(item, None)
    visit.met[item] = (at_s, visit.n_events, action)
    visit.last_kind = action
    known.of_user[user, item] += 1
    counts = known.clicks if action == _CLICK else known.interactions
    counts.update((item, (user, item)))
    if action == _CLICK:
        visit.last_click = item


def _rows(event: _Action, at_s: int, items: Sequence[str], prices: Floats, visit: _Visit, known: _Known) -> list[list[float]]:
    """The rows of one list, in the order of `COLUMNS`."""
    place = {item: k for k, item in enumerate(items)}
    recent = list(reversed(visit.met))
    met = [place[item] for item in recent if item in place]
    last, lowest = (met[0], max(met)) if met else (None, None)
    clicked = place.get(visit.last_click) if visit.last_click else None
    shared = _session_row(event, at_s, len(items), met, float(prices.mean()), visit)
    rank, recency = prices.argsort().argsort(), {item: k for k, item in enumerate(recent)}
    with np.errstate(divide="ignore", invalid="ignore"):
        to_mean, to_lowest = prices / prices.mean(), prices / prices.min()
        above = np.append(np.nan, prices[:-1] / prices[1:])
        below = np.append(prices[1:] / prices[:-1], np.nan)
        to_last = prices / prices[last] if last is not None else np.full(len(prices), np.nan)
    rows = []
    for k, item in enumerate(items):
        own = visit.events.get(item, [0] * len(KINDS))
        met_at = visit.met.get(item)
        clicks, seen = known.others(known.clicks, event.user_id, item), known.others(known.impressions, event.user_id, item)
        pairs = [known.together[other][item] for other in recent[:5] if other != item and other in known.together]
        with_last = known.together[recent[0]][item] if recent and recent[0] != item and recent[0] in known.together else 0
        rows.append(
            [
                k, prices[k], rank[k], to_mean[k], to_lowest[k],
                recency.get(item, _NEVER),
                at_s - met_at[0] if met_at else 1e6,
                visit.n_events - met_at[1] if met_at else _NEVER,
                met_at[2] if met_at else -1,
                *own, sum(own),
                k - last if last is not None else _NEVER,
                k - lowest if lowest is not None else _NEVER,
                k - clicked if clicked is not None else _NEVER,
                to_last[k],
                float(bool(recent) and item == recent[0]), float(item == visit.last_click),
                clicks, seen, (clicks + 1) / (seen + 20), known.others(known.interactions, event.user_id, item),
                with_last, sum(pairs),
                known.of_user[event.user_id, item] - sum(own),
                visit.shown.get(item, _NEVER if visit.shown else _NEVER - 1),
                sum(q > k for q in met), sum(q < k for q in met),
                above[k], below[k],
                *shared,
            ]
        )  # fmt: skip
    return rows


def _session_row(event: _Action, at_s: int, n_shown: int, met: list[int], mean_price: float, visit: _Visit) -> list[float]:
    filters = event.current_filters.split("|") if event.current_filters else []
    return [
        n_shown, visit.n_events, len(met), len(visit.met),
        at_s - visit.last_s if visit.last_s is not None else -1,
        at_s - visit.started_s,
        visit.last_action, visit.last_kind,
        *(float(name in filters) for name in FILTERS),
        len(filters),
        DEVICES.index(event.device) if event.device in DEVICES else -1,
        *visit.by_action,
        met[0] if met else -_NEVER,
        max(met) if met else -_NEVER,
        mean_price,
    ]  # fmt: skip


def reciprocal_ranks(score: Floats, clicked: npt.NDArray[np.bool_], sizes: Ints) -> Floats:
    """1 / rank of the clicked item of each list, equal scores in the list's order; shape (n_lists,).

    Examples
    --------
    >>> reciprocal_ranks(np.array([0.1, 0.9, 0.5, 0.2, 0.2]), np.array([0, 0, 1, 0, 1], bool), np.array([3, 2]))
    array([0.5, 0.5])
    """
    group = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((-score, group))  # stable: equal scores keep the list's order
    rank = np.empty(len(score), dtype=np.int64)
    rank[order] = np.arange(len(score)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1
    return np.asarray(1.0 / rank[clicked])
