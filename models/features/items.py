"""Items: how popular, how well converting and how dear, as `ITEM_FEATURES` at the end of every hour with an event of theirs.

Counts halve every three days. A row tells only what was known at its instant; the price bands too: they are fifths of the
catalogue's mean prices as they stood, drawn anew every day and whenever the number of priced items has grown by a tenth.

Features never hold NaN; an item without history has `NOTHING_YET`.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from models.arrays import Features, Floats, Ints, Records
from models.events.encode import EventArray
from models.kernels import kernel, nth_smallest
from models.schema import ITEM_FEATURES, N_EVENT_TYPES, EventType

HALF_LIFE_S: Final = 3 * 86_400.0
HOUR_US: Final = 3_600_000_000
N_PRICE_BANDS: Final = 5
PRIOR_VIEWS: Final = 10.0  # added below the conversion rate: one sale on one view is no rate of 1

_AT = {name: column for column, name in enumerate(ITEM_FEATURES)}
_POPULARITY, _VIEWS, _CARTS = _AT["item_popularity"], _AT["item_n_views"], _AT["item_n_carts"]
_PURCHASES, _CONVERSION = _AT["item_n_purchases"], _AT["item_conversion_rate"]
_MEAN_PRICE, _BAND = _AT["item_mean_price"], _AT["item_price_band"]
_VIEW, _ADD, _PURCHASE = int(EventType.ITEM_VIEW), int(EventType.ADD_TO_CART), int(EventType.PURCHASE)
_HALF_LIFE_US: Final = HALF_LIFE_S * 1e6
_DAY_HOURS: Final = 24

NOTHING_YET: Final = np.array([-1.0 if name == "item_price_band" else 0.0 for name in ITEM_FEATURES], dtype=np.float32)

_STATE_DTYPE: Final = np.dtype(
    [
        ("n_events", np.float64),
        ("n_views", np.float64),
        ("n_carts", np.float64),
        ("n_purchases", np.float64),
        ("n_prices", np.float64),
        ("mean_price", np.float64),
        ("at_us", np.int64),  # the instant that the counts are as of
        ("hour", np.int64),  # the last hour in which something happened
    ]
)


_N_PRICED, _N_PRICED_THEN, _DRAWN_IN = range(3)  # places in `Carry.drawn`


class Carry(NamedTuple):
    """State of the fold between two instants: what comes later needs nothing of what was before.

    Attributes
    ----------
    states
        Counts of each item as of its last event, shape (n_items,), by item code.
    edges
        The price bands, shape (N_PRICE_BANDS - 1,).
    drawn
        Items with a price now, and when the bands were drawn; the hour of that; shape (3,).
    """

    states: Records
    edges: Floats
    drawn: Ints


class ItemHistory(NamedTuple):
    """Item features of a batch fold, sorted by hour.

    Attributes
    ----------
    items
        Item code, shape (n_rows,).
    hour_end_us
        Instant from which the row was known, shape (n_rows,).
    features
        `ITEM_FEATURES` as of then, shape (n_rows, n_features).
    """

    items: Ints
    hour_end_us: Ints
    features: Features


@kernel
def _edges(prices: Floats) -> Floats:
    """Highest price of each fifth but the last, shape (N_PRICE_BANDS - 1,)."""
    v, edges = prices.copy(), np.empty(N_PRICE_BANDS - 1)
    for fifth in range(1, N_PRICE_BANDS):
        edges[fifth - 1] = nth_smallest(v, (len(v) * fifth + N_PRICE_BANDS - 1) // N_PRICE_BANDS - 1)
    return edges


@kernel
def _band(edges: Floats, price: float) -> int:
    band = 0
    for edge in edges:
        band += price > edge
    return band


@kernel
def _fade(item: Any, now_us: int) -> None:
    if now_us > item.at_us:
        left = 2.0 ** (-(now_us - item.at_us) / _HALF_LIFE_US)
        item.n_events *= left
        item.n_views *= left
        item.n_carts *= left
        item.n_purchases *= left
        item.n_prices *= left
        item.at_us = now_us


@kernel
def _advance(item: Any, event: Any) -> None:
    _fade(item, event.occurred_at_us)
    item.n_events += 1.0
    item.n_views += event.event_type == _VIEW
    item.n_carts += event.event_type == _ADD
    item.n_purchases += event.event_type == _PURCHASE
    if np.isfinite(event.price):
        item.mean_price = (item.mean_price * item.n_prices + event.price) / (item.n_prices + 1.0)
        item.n_prices += 1.0


@kernel
def _emit(item: Any, edges: Floats, row: Features) -> None:
    row[_POPULARITY] = item.n_events
    row[_VIEWS] = item.n_views
    row[_CARTS] = item.n_carts
    row[_PURCHASES] = item.n_purchases
    row[_CONVERSION] = min(1.0, item.n_purchases / (item.n_views + PRIOR_VIEWS))
    row[_MEAN_PRICE] = item.mean_price
    row[_BAND] = _band(edges, item.mean_price) if item.n_prices > 0.0 else -1.0


@kernel
def _priced(states: Any) -> Floats:
    prices = np.empty(len(states))
    n = 0
    for i in range(len(states)):
        if states[i].n_prices > 0.0:
            prices[n] = states[i].mean_price
            n += 1
    return prices[:n]


@kernel
def _hour(at_us: Any, until_us: int) -> Any:
    """Number of the hour that an instant falls into; the present ends its hour, so that an instant has one row."""
    return min(at_us, until_us - 1) // HOUR_US


@kernel
def _fold(
    states: Any,
    edges: Floats,
    drawn: Ints,
    events: EventArray,
    rows: Ints,
    until_us: int,
    items: Ints,
    hour_end_us: Ints,
    features: Features,
) -> int:
    """Write the rows of hour after hour; the number of rows written."""
    n_rows, first = 0, 0  # of the hour's rows in the output
    for i in range(len(rows)):
        event = events[rows[i]]
        hour = _hour(event.occurred_at_us, until_us)
        state = states[event.item]
        unpriced = state.n_prices == 0.0
        if state.hour != hour:
            state.hour = hour
            items[n_rows] = event.item
            n_rows += 1
        _advance(state, event)
        drawn[_N_PRICED] += unpriced and state.n_prices > 0.0
        if i == len(rows) - 1 or _hour(events[rows[i + 1]].occurred_at_us, until_us) != hour:
            n_priced = drawn[_N_PRICED]
            if n_priced > 0 and (hour - drawn[_DRAWN_IN] >= _DAY_HOURS or n_priced > 1.1 * drawn[_N_PRICED_THEN]):
                found = _edges(_priced(states))
                for fifth in range(len(edges)):
                    edges[fifth] = found[fifth]
                drawn[_N_PRICED_THEN], drawn[_DRAWN_IN] = n_priced, hour
            end_us = min((hour + 1) * HOUR_US, until_us)
            for row in range(first, n_rows):
                _fade(states[items[row]], end_us)
                _emit(states[items[row]], edges, features[row])
                hour_end_us[row] = end_us
            first = n_rows
    return n_rows


def fold(events: EventArray, until_us: int | None = None) -> ItemHistory:
    """Features of every item at the end of each hour (UTC) in which it had an event.

    Parameters
    ----------
    events
        In any order, shape (n_events,), dtype `EVENT_DTYPE`; those without an item are left out.
    until_us
        The present: later events are left out, and the hour that has not ended yet is told as of now.

    Raises
    ------
    ValueError
        If an event type is unknown.
    """
    return advance(new_carry(), events, until_us)[1]


def new_carry() -> Carry:
    """Nothing has happened yet."""
    return Carry(np.zeros(0, dtype=_STATE_DTYPE), np.zeros(N_PRICE_BANDS - 1), np.array([0, 0, -_DAY_HOURS], dtype=np.int64))


def advance(carry: Carry, events: EventArray, until_us: int | None = None) -> tuple[Carry, ItemHistory]:
    """Fold what came after a full hour into what was carried to it: the rows that `fold` gives of all events, from there on.

    Parameters
    ----------
    carry
        From `new_carry`, or from here with `until_us` a full hour; not written.
    events, until_us
        As for `fold`; no event is of before the hour that was carried to. Item codes mean the same every time.
    """
    kinds = events["event_type"]
    if len(events) and not 0 <= kinds.min() <= kinds.max() < N_EVENT_TYPES:
        raise ValueError(f"event type codes are {kinds.min()} to {kinds.max()}, expected 0 to {N_EVENT_TYPES - 1}")
    until = np.iinfo(np.int64).max if until_us is None else until_us
    told = np.flatnonzero((events["item"] >= 0) & (events["occurred_at_us"] <= until))
    rows = told[np.argsort(events["occurred_at_us"][told], kind="stable")]
    n_items = max(len(carry.states), int(events["item"][rows].max()) + 1 if len(rows) else 0)
    states = np.zeros(n_items, dtype=_STATE_DTYPE)
    states["hour"] = -2  # none yet
    states[: len(carry.states)] = carry.states
    edges, drawn = carry.edges.copy(), carry.drawn.copy()
    items, ends = np.empty(len(rows), dtype=np.int64), np.empty(len(rows), dtype=np.int64)
    features = np.empty((len(rows), len(ITEM_FEATURES)), dtype=np.float32)
    n_rows = _fold(states, edges, drawn, events, rows, until, items, ends, features)
    return Carry(states, edges, drawn), ItemHistory(items[:n_rows].copy(), ends[:n_rows].copy(), features[:n_rows].copy())
