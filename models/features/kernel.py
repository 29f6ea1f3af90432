"""The session fold: the state that one session carries, and how one event changes it.

One compiled kernel, `fold`, serves the batch (millions of events, a row of features after each), the request path (one session,
the last row only) and the worker (a state carried over from earlier events). Same machine code, same input, same bits.

The state is bounded: it remembers the `N_ITEMS_KEPT` items and `N_CATEGORIES_KEPT` categories seen last. In a session with
more, the one seen longest ago is forgotten; when it comes back it counts as new. That keeps a session of 10,000 events at a
few milliseconds, and a state at a few kilobytes.

Functions here are longer than the house likes: they are the list of features, one line each.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import literal_unroll

from models.arrays import Features
from models.events.encode import EventArray
from models.kernels import kernel
from models.schema import DEVICES, MEASURES, N_EVENT_TYPES, REFERRERS, SESSION_FEATURES, EventType

N_ITEMS_KEPT: Final = 64
N_CATEGORIES_KEPT: Final = 32
RECENT_HALF_LIFE_S: Final = 120.0
RECENT_GAP_WEIGHT: Final = 0.3  # of the newest gap in the running mean

_MEASURES: Final = tuple(MEASURES)
_N_MEASURES: Final = len(MEASURES)
_PRICE, _DWELL, _SCROLL = (_MEASURES.index(name) for name in ("price", "dwell_ms", "scroll_depth"))
_ZOOM, _CURSOR, _QUERY = (_MEASURES.index(name) for name in ("zoom_level", "cursor_distance_px", "query_length"))

STATE_DTYPE: Final = np.dtype(
    [
        ("n_events", np.int64),
        ("started_at_us", np.int64),
        ("latest_at_us", np.int64),  # never goes back, even if an event does
        ("utc_offset_min", np.int64),
        ("gap_s", np.float64),
        ("recent_gap_s", np.float64),
        ("last_type", np.int64),
        ("previous_type", np.int64),
        ("device", np.int64),
        ("referrer", np.int64),
        ("n_of_type", np.int64, (N_EVENT_TYPES,)),
        ("recent_of_type", np.float64, (N_EVENT_TYPES,)),
        ("n_item_events", np.int64),
        ("n_items", np.int64),
        ("n_item_repeats", np.int64),
        ("n_item_returns", np.int64),
        ("max_item_events", np.int64),
        ("last_item", np.int64),
        ("item_at_us", np.int64),
        ("n_category_events", np.int64),
        ("n_categories", np.int64),
        ("n_category_switches", np.int64),
        ("max_category_events", np.int64),
        ("last_category", np.int64),
        ("search_at_us", np.int64),
        ("cart_size", np.int64),
        ("n_left", np.int64),  # of the items in the cart, those already counted as abandoned
        ("n_abandoned", np.int64),
        ("cart_at_us", np.int64),
        ("cart_at_event", np.int64),
        ("n_measured", np.int64, (_N_MEASURES,)),
        ("sum_measured", np.float64, (_N_MEASURES,)),
        ("highest", np.float64, (_N_MEASURES,)),
        ("last_measured", np.float64, (_N_MEASURES,)),
        ("lowest_price", np.float64),
        ("items", np.int64, (N_ITEMS_KEPT,)),
        ("item_events", np.int64, (N_ITEMS_KEPT,)),
        ("item_seen", np.int64, (N_ITEMS_KEPT,)),  # number of the event that saw it last
        ("categories", np.int64, (N_CATEGORIES_KEPT,)),
        ("category_events", np.int64, (N_CATEGORIES_KEPT,)),
        ("category_seen", np.int64, (N_CATEGORIES_KEPT,)),
    ],
    align=True,
)
StateArray = npt.NDArray[np.void]  # dtype STATE_DTYPE, shape (1,)

_ADD, _REMOVE, _PURCHASE = int(EventType.ADD_TO_CART), int(EventType.REMOVE_FROM_CART), int(EventType.PURCHASE)
_SEARCH, _REFINE = int(EventType.SEARCH), int(EventType.SEARCH_REFINE)
_BROWSE, _CONTENT = int(EventType.CATEGORY_BROWSE), int(EventType.CONTENT_VIEW)
_N_DEVICES, _N_REFERRERS = len(DEVICES), len(REFERRERS)

_MINUTES_A_DAY: Final = 1440
_ANGLE = 2.0 * np.pi * np.arange(_MINUTES_A_DAY) / _MINUTES_A_DAY
_HOUR_SIN = np.sin(_ANGLE).astype(np.float32)  # a table: no libm in the loop, the same on every machine
_HOUR_COS = np.cos(_ANGLE).astype(np.float32)

_AT = {name: column for column, name in enumerate(SESSION_FEATURES)}
_COUNTS, _RECENTS = _AT["n_item_view"], _AT["recent_item_view"]  # EVENT_TYPES order from there on
_N_EVENTS, _AGE, _GAP = _AT["n_events"], _AT["session_age_s"], _AT["gap_s"]
_MEAN_GAP, _RECENT_GAP = _AT["mean_gap_s"], _AT["recent_gap_s"]
_N_ITEMS, _N_CATEGORIES = _AT["n_items"], _AT["n_categories"]
_REPEATS, _RETURNS, _MAX_ITEM = _AT["n_item_repeats"], _AT["n_item_returns"], _AT["max_item_events"]
_ITEM_FOCUS, _SWITCHES = _AT["item_focus_rate"], _AT["n_category_switches"]
_BREADTH, _CATEGORY_FOCUS = _AT["category_breadth_rate"], _AT["category_focus_rate"]
_SUM_DWELL, _MEAN_DWELL, _MAX_DWELL, _LAST_DWELL = (_AT[f"{how}_dwell_ms"] for how in ("sum", "mean", "max", "last"))
_MEAN_SCROLL, _MAX_SCROLL = _AT["mean_scroll_depth"], _AT["max_scroll_depth"]
_MEAN_ZOOM, _MAX_ZOOM = _AT["mean_zoom_level"], _AT["max_zoom_level"]
_SUM_CURSOR, _MEAN_CURSOR = _AT["sum_cursor_distance_px"], _AT["mean_cursor_distance_px"]
_CART_SIZE, _ABANDONED = _AT["cart_size"], _AT["n_carts_abandoned"]
_SINCE_CART, _EVENTS_SINCE_CART = _AT["since_cart_s"], _AT["n_events_since_cart"]
_MEAN_QUERY, _LAST_QUERY, _REFINE_RATE = _AT["mean_query_length"], _AT["last_query_length"], _AT["search_refine_rate"]
_LAST_PRICE, _MEAN_PRICE = _AT["last_price"], _AT["mean_price"]
_PRICE_SPREAD, _LAST_PRICE_RATE = _AT["price_spread_rate"], _AT["last_price_rate"]
_SINCE_ITEM, _SINCE_SEARCH = _AT["since_item_s"], _AT["since_search_s"]
_LAST_TYPE, _PREVIOUS_TYPE = _AT["last_event_type"], _AT["previous_event_type"]
_SIN, _COS, _WEEKEND = _AT["hour_sin"], _AT["hour_cos"], _AT["is_weekend"]
_DEVICE, _REFERRER = _AT["device"], _AT["referrer"]


@kernel
def _restart(state: Any) -> None:
    """Forget everything. The tables of items and categories need no wiping: their fill counts say how much is valid."""
    state.n_events = 0
    state.gap_s = 0.0
    state.recent_gap_s = 0.0
    state.last_type = -1
    state.previous_type = -1
    state.device = 0
    state.referrer = 0
    for kind in range(N_EVENT_TYPES):
        state.n_of_type[kind] = 0
        state.recent_of_type[kind] = 0.0
    state.n_item_events = 0
    state.n_items = 0
    state.n_item_repeats = 0
    state.n_item_returns = 0
    state.max_item_events = 0
    state.last_item = -1
    state.n_category_events = 0
    state.n_categories = 0
    state.n_category_switches = 0
    state.max_category_events = 0
    state.last_category = -1
    state.cart_size = 0
    state.n_left = 0
    state.n_abandoned = 0
    for measure in range(_N_MEASURES):
        state.n_measured[measure] = 0
        state.sum_measured[measure] = 0.0
        state.highest[measure] = 0.0
        state.last_measured[measure] = 0.0
    state.lowest_price = 0.0


@kernel
def _advance_clock(state: Any, event: Any) -> None:
    """Gaps and the recent counts. An event dated before the latest one happened at the latest instant: its gap is 0."""
    at_us = event.occurred_at_us
    if state.n_events == 0:
        state.started_at_us = at_us
        state.latest_at_us = at_us
    elif at_us > state.latest_at_us:
        state.gap_s = (at_us - state.latest_at_us) / 1e6
        state.latest_at_us = at_us
        fade = 2.0 ** (-state.gap_s / RECENT_HALF_LIFE_S)
        for kind in range(N_EVENT_TYPES):
            state.recent_of_type[kind] *= fade
    else:
        state.gap_s = 0.0
    if state.n_events == 1:
        state.recent_gap_s = state.gap_s
    elif state.n_events > 1:
        state.recent_gap_s += RECENT_GAP_WEIGHT * (state.gap_s - state.recent_gap_s)
    state.n_events += 1
    state.utc_offset_min = event.utc_offset_min


@kernel
def _remember(codes: Any, counts: Any, seen: Any, n_distinct: int, code: int, now: int) -> int:
    """Count an event of `code` in a table of the codes seen last; the count so far, 1 if it was not there."""
    n_kept = min(n_distinct, len(codes))
    for slot in range(n_kept):
        if codes[slot] == code:
            counts[slot] += 1
            seen[slot] = now
            return int(counts[slot])
    slot = n_kept
    if n_kept == len(codes):
        slot = 0
        for other in range(1, n_kept):
            if seen[other] < seen[slot]:
                slot = other
    codes[slot] = code
    counts[slot] = 1
    seen[slot] = now
    return 1


@kernel
def _advance_item(state: Any, item: int) -> None:
    state.n_item_events += 1
    state.item_at_us = state.latest_at_us
    count = _remember(state.items, state.item_events, state.item_seen, state.n_items, item, state.n_events)
    if count == 1:
        state.n_items += 1
    else:
        state.n_item_repeats += 1
        if item != state.last_item:
            state.n_item_returns += 1
    state.max_item_events = max(state.max_item_events, count)
    state.last_item = item


@kernel
def _advance_category(state: Any, category: int) -> None:
    count = _remember(
        state.categories, state.category_events, state.category_seen, state.n_categories, category, state.n_events
    )
    if count == 1:
        state.n_categories += 1
    if state.n_category_events > 0 and category != state.last_category:
        state.n_category_switches += 1
    state.n_category_events += 1
    state.max_category_events = max(state.max_category_events, count)
    state.last_category = category


@kernel
def _advance_cart(state: Any, kind: int) -> None:
    """The cart as far as events tell: one item per add, remove or purchase, and never fewer than none."""
    if kind == _ADD:
        state.cart_size += 1
        state.cart_at_us = state.latest_at_us
        state.cart_at_event = state.n_events
    elif kind == _REMOVE and state.cart_size > 0:
        state.cart_size -= 1
        if state.n_left > 0:
            state.n_left -= 1
        else:
            state.n_abandoned += 1
    elif kind == _PURCHASE and state.cart_size > 0:
        state.cart_size -= 1
        state.n_left = min(state.n_left, state.cart_size)
    elif kind in (_BROWSE, _CONTENT, _SEARCH, _REFINE) and state.cart_size > state.n_left:
        state.n_abandoned += state.cart_size - state.n_left
        state.n_left = state.cart_size


@kernel
def _advance_measure(state: Any, measure: int, value: float) -> None:
    """NaN (not measured) and infinities change nothing."""
    if np.isfinite(value):
        if measure == _PRICE and (state.n_measured[measure] == 0 or value < state.lowest_price):
            state.lowest_price = value
        state.n_measured[measure] += 1
        state.sum_measured[measure] += value
        state.last_measured[measure] = value
        if value > state.highest[measure]:
            state.highest[measure] = value


@kernel
def _advance(state: Any, event: Any) -> None:
    """Fold one event into the state."""
    kind = int(event.event_type)
    _advance_clock(state, event)
    state.previous_type = state.last_type
    state.last_type = kind
    state.n_of_type[kind] += 1
    state.recent_of_type[kind] += 1.0
    if event.item >= 0:
        _advance_item(state, event.item)
    if event.category >= 0:
        _advance_category(state, event.category)
    if kind in (_SEARCH, _REFINE):
        state.search_at_us = state.latest_at_us
    _advance_cart(state, kind)
    measure = 0
    for name in literal_unroll(_MEASURES):  # numba unrolls no enumerate
        _advance_measure(state, measure, event[name])
        measure += 1  # noqa: SIM113
    if event.device > 0:
        state.device = event.device
    if event.referrer > 0:
        state.referrer = event.referrer


@kernel
def _rate(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


@kernel
def _emit_counts(state: Any, out: Features) -> None:
    for kind in range(N_EVENT_TYPES):
        out[_COUNTS + kind] = state.n_of_type[kind]
        out[_RECENTS + kind] = state.recent_of_type[kind]
    age_s = (state.latest_at_us - state.started_at_us) / 1e6
    out[_N_EVENTS] = state.n_events
    out[_AGE] = age_s
    out[_GAP] = state.gap_s
    out[_MEAN_GAP] = _rate(age_s, state.n_events - 1)
    out[_RECENT_GAP] = state.recent_gap_s
    out[_N_ITEMS] = state.n_items
    out[_N_CATEGORIES] = state.n_categories
    out[_REPEATS] = state.n_item_repeats
    out[_RETURNS] = state.n_item_returns
    out[_MAX_ITEM] = state.max_item_events
    out[_ITEM_FOCUS] = _rate(state.max_item_events, state.n_item_events)
    out[_SWITCHES] = state.n_category_switches
    out[_BREADTH] = _rate(state.n_categories, state.n_category_events)
    out[_CATEGORY_FOCUS] = _rate(state.max_category_events, state.n_category_events)


@kernel
def _emit_measures(state: Any, out: Features) -> None:
    n, total, highest, last = state.n_measured, state.sum_measured, state.highest, state.last_measured
    out[_SUM_DWELL] = total[_DWELL]
    out[_MEAN_DWELL] = _rate(total[_DWELL], n[_DWELL])
    out[_MAX_DWELL] = highest[_DWELL]
    out[_LAST_DWELL] = last[_DWELL]
    out[_MEAN_SCROLL] = _rate(total[_SCROLL], n[_SCROLL])
    out[_MAX_SCROLL] = highest[_SCROLL]
    out[_MEAN_ZOOM] = _rate(total[_ZOOM], n[_ZOOM])
    out[_MAX_ZOOM] = highest[_ZOOM]
    out[_SUM_CURSOR] = total[_CURSOR]
    out[_MEAN_CURSOR] = _rate(total[_CURSOR], n[_CURSOR])
    out[_MEAN_QUERY] = _rate(total[_QUERY], n[_QUERY])
    out[_LAST_QUERY] = last[_QUERY]
    n_searches, n_refines = state.n_of_type[_SEARCH], state.n_of_type[_REFINE]
    out[_REFINE_RATE] = _rate(n_refines, n_searches + n_refines)
    mean_price = _rate(total[_PRICE], n[_PRICE])
    out[_LAST_PRICE] = last[_PRICE]
    out[_MEAN_PRICE] = mean_price
    out[_PRICE_SPREAD] = _rate(highest[_PRICE] - state.lowest_price, mean_price)
    out[_LAST_PRICE_RATE] = _rate(last[_PRICE], mean_price)


@kernel
def _emit_moment(state: Any, out: Features) -> None:
    """Cart, recency and local time."""
    now_us = state.latest_at_us
    out[_CART_SIZE] = state.cart_size
    out[_ABANDONED] = state.n_abandoned
    out[_SINCE_CART] = (now_us - state.cart_at_us) / 1e6 if state.cart_size > 0 else -1.0
    out[_EVENTS_SINCE_CART] = state.n_events - state.cart_at_event if state.cart_size > 0 else -1
    out[_SINCE_ITEM] = (now_us - state.item_at_us) / 1e6 if state.n_item_events > 0 else -1.0
    searched = state.n_of_type[_SEARCH] + state.n_of_type[_REFINE] > 0
    out[_SINCE_SEARCH] = (now_us - state.search_at_us) / 1e6 if searched else -1.0
    out[_LAST_TYPE] = state.last_type
    out[_PREVIOUS_TYPE] = state.previous_type
    local_min = now_us // 60_000_000 + state.utc_offset_min
    day = local_min // _MINUTES_A_DAY
    minute = local_min - day * _MINUTES_A_DAY
    out[_SIN] = _HOUR_SIN[minute]
    out[_COS] = _HOUR_COS[minute]
    out[_WEEKEND] = 1.0 if (day + 3) % 7 >= 5 else 0.0  # 1970-01-01 was a Thursday
    out[_DEVICE] = state.device
    out[_REFERRER] = state.referrer


@kernel
def fold(state: StateArray, events: EventArray, starts: npt.NDArray[np.bool_], out: Features) -> int:
    """Fold events into the state, writing features.

    Parameters
    ----------
    state
        Shape (1,), dtype `STATE_DTYPE`; read and written. Its `n_events` of 0 means a session that has not begun.
    events
        Shape (n_events,), dtype `EVENT_DTYPE`.
    starts
        Shape (n_events,): the event begins another session; or shape (0,): none does.
    out
        Shape (n_events, n_features): features after every event; or shape (1, n_features): after the last one only.

    Returns
    -------
    -1, or the index of the first event whose type is none: nothing from there on was folded.
    """
    one = state[0]
    n = len(events)
    every = len(out) == n
    for i in range(n):
        kind = events[i].event_type
        if kind < 0 or kind >= N_EVENT_TYPES:
            return i
        if one.n_events == 0 or (len(starts) > 0 and starts[i]):
            _restart(one)
        _advance(one, events[i])
        if every or i == n - 1:
            row = out[i] if every else out[0]
            _emit_counts(one, row)
            _emit_measures(one, row)
            _emit_moment(one, row)
    return -1
