"""Behaviour under each intent: the tables of the walk. Rows and columns follow `EVENT_TYPES` and `INTENTS`.

The numbers are plausible, not fitted; intents overlap on purpose, so that no single event gives one away.
"""

from typing import Final, NamedTuple

import numpy as np

from models.arrays import Floats
from models.schema import N_EVENT_TYPES, N_INTENTS, EventType
from models.simulator.config import ShopConfig, effective_causes

START: Final = N_EVENT_TYPES  # "the event before" of a session's first event
# How the next item relates to the one in mind.
RELATIONS: Final = ("met_before", "substitute", "complement", "same_category", "favourite_category", "anything")
# Events with a dwell time: type and its usual seconds.
_DWELL_S: Final = {
    EventType.ITEM_ENGAGEMENT: 6.0,
    EventType.DETAIL_VIEW: 9.0,
    EventType.REVIEW_READ: 14.0,
    EventType.SPEC_COMPARE: 12.0,
    EventType.CONTENT_VIEW: 25.0,
}

# How often each event occurs, before what the event before makes likely; a type without a column never does.
_EMISSIONS: Final = np.zeros((N_INTENTS, N_EVENT_TYPES))
_EMISSIONS[:, : EventType.PURCHASE + 1] = np.array(
    # view eng  det  rev  cmp  brw  sea  ref  cont wish add  rem  cart chk  buy
    [
        [30, 14, 3.5, 1.5, 0.5, 26, 6.0, 2.0, 6.0, 3.0, 1.0, 0.5, 0.8, 0.2, 0],
        [26, 12, 11, 7.0, 16, 4.0, 5.0, 8.0, 1.5, 2.0, 2.0, 0.8, 1.5, 0.3, 0],
        [22, 12, 6.5, 2.5, 1.5, 3.0, 11, 2.5, 0.7, 1.5, 14, 2.0, 10, 4.0, 0],
        [12, 11, 8.0, 14, 3.0, 4.0, 9.0, 8.0, 19, 1.5, 0.8, 0.4, 0.7, 0.2, 0],
    ]
)
# What the event before makes more or less likely, whatever the intent.
_AFTER: Final = {
    EventType.ITEM_VIEW: {EventType.ITEM_ENGAGEMENT: 4.0, EventType.DETAIL_VIEW: 1.6, EventType.ADD_TO_CART: 1.5},
    EventType.ITEM_ENGAGEMENT: {EventType.ITEM_VIEW: 1.5, EventType.ITEM_ENGAGEMENT: 0.4, EventType.REVIEW_READ: 1.4},
    EventType.DETAIL_VIEW: {EventType.DETAIL_VIEW: 0.4, EventType.REVIEW_READ: 1.8, EventType.SPEC_COMPARE: 1.5},
    EventType.SPEC_COMPARE: {EventType.ITEM_VIEW: 1.6, EventType.SPEC_COMPARE: 1.3},
    EventType.CATEGORY_BROWSE: {EventType.ITEM_VIEW: 2.0, EventType.SEARCH: 0.6},
    EventType.SEARCH: {EventType.SEARCH: 0.3, EventType.SEARCH_REFINE: 2.5, EventType.ITEM_VIEW: 2.2},
    EventType.SEARCH_REFINE: {EventType.SEARCH: 0.4, EventType.SEARCH_REFINE: 1.6, EventType.ITEM_VIEW: 1.8},
    EventType.ADD_TO_CART: {EventType.ADD_TO_CART: 0.3, EventType.CART_VIEW: 3.0},
    EventType.CART_VIEW: {EventType.CART_VIEW: 0.3, EventType.CHECKOUT_VIEW: 3.0, EventType.REMOVE_FROM_CART: 2.0},
    EventType.CHECKOUT_VIEW: {EventType.CHECKOUT_VIEW: 0.3, EventType.CART_VIEW: 1.5},
}
_FIRST: Final = {
    EventType.CATEGORY_BROWSE: 2.0,
    EventType.SEARCH: 2.5,
    EventType.ITEM_ENGAGEMENT: 0.0,
    EventType.SEARCH_REFINE: 0.0,
}

_RELATION_SHARES: Final = np.array(
    # met   subst compl same  fav   any
    [
        [0.06, 0.10, 0.06, 0.22, 0.32, 0.24],
        [0.16, 0.50, 0.03, 0.22, 0.05, 0.04],
        [0.20, 0.12, 0.38, 0.14, 0.10, 0.06],
        [0.12, 0.26, 0.05, 0.37, 0.12, 0.08],
    ]
)
_SWITCH: Final = np.array([[0, 0.5, 0.2, 0.3], [0.3, 0, 0.5, 0.2], [0.4, 0.4, 0, 0.2], [0.2, 0.4, 0.4, 0]])
_REFERRERS: Final = np.array(  # by intent; columns follow `REFERRERS`
    [
        [0.02, 0.28, 0.22, 0.20, 0.08, 0.15, 0.05],
        [0.02, 0.30, 0.36, 0.07, 0.08, 0.12, 0.05],
        [0.02, 0.42, 0.22, 0.05, 0.15, 0.09, 0.05],
        [0.02, 0.22, 0.48, 0.08, 0.06, 0.09, 0.05],
    ]
)


class Behaviour(NamedTuple):
    """The walk's tables, ready for the kernel: probabilities as running sums along the last axis.

    Attributes
    ----------
    next_type
        By intent and event before (`START` for none), shape (n_intents, n_event_types + 1, n_event_types).
    relation
        By intent, shape (n_intents, n_relations).
    switch, first_intent, referrer, signal
        Intent after a change by intent before; intent of a first session; referrer by intent; signal of a session.
    dwell_log_ms, dwell_shift, scroll_logit, p_zoom, cursor_shift, query_log, pace_log_s, p_leave
        Means of the measures, by event type (first) or intent (the rest).
    cause_intent, cause_event, cause_signal
        `Causes` in force.
    base, warmth_decay, price_weight, p_complement, p_switch, noise_rate, signal_after_events, max_session_events
        As in `Causes` and `ShopConfig`.
    """

    next_type: Floats
    relation: Floats
    switch: Floats
    first_intent: Floats
    referrer: Floats
    signal: Floats
    dwell_log_ms: Floats
    dwell_shift: Floats
    scroll_logit: Floats
    p_zoom: Floats
    cursor_shift: Floats
    query_log: Floats
    pace_log_s: Floats
    p_leave: Floats
    cause_intent: Floats
    cause_event: Floats
    cause_signal: Floats
    base: float
    warmth_decay: float
    price_weight: float
    p_complement: float
    p_switch: float
    noise_rate: float
    signal_after_events: int
    max_session_events: int


def next_type_shares(noise_rate: float) -> Floats:
    """P(event type | intent, event before), shape (n_intents, n_event_types + 1, n_event_types).

    The last row of the middle axis is a session's start. Every intent's emissions are mixed with their mean by `noise_rate`:
    an event of that share says nothing.
    """
    shares = _EMISSIONS / _EMISSIONS.sum(axis=1, keepdims=True)
    shares = (1 - noise_rate) * shares + noise_rate * shares.mean(axis=0)
    factors = np.ones((N_EVENT_TYPES + 1, N_EVENT_TYPES))
    for before, row in (*_AFTER.items(), (START, _FIRST)):
        for after, factor in row.items():
            factors[before, after] = factor
    table = shares[:, None, :] * factors[None, :, :]
    result: Floats = table / table.sum(axis=2, keepdims=True)
    return result


def relation_shares(config: ShopConfig) -> Floats:
    """P(relation of the next item to the one in mind | intent), shape (n_intents, n_relations); equal rows if no influence."""
    if config.intent_has_influence:
        return _RELATION_SHARES.copy()
    mean: Floats = np.tile(np.array(config.p_intent) @ _RELATION_SHARES, (N_INTENTS, 1))
    return mean


def tables(config: ShopConfig) -> Behaviour:
    """Lay out a configuration's behaviour for the kernel."""
    causes = effective_causes(config)
    dwell = np.full(N_EVENT_TYPES, np.nan)
    for kind, seconds in _DWELL_S.items():
        dwell[kind] = np.log(1000.0 * seconds)
    return Behaviour(
        next_type=_running(next_type_shares(config.noise_rate)),
        relation=_running(relation_shares(config)),
        switch=_running(_SWITCH),
        first_intent=_running(np.array(config.p_intent)),
        referrer=_running(_REFERRERS),
        signal=_running(np.array(config.p_signals)),
        dwell_log_ms=dwell,
        dwell_shift=np.array([-0.45, 0.05, 0.0, 0.45]),
        scroll_logit=np.array([-0.7, 0.0, 0.0, 0.8]),
        p_zoom=np.array([0.15, 0.32, 0.38, 0.20]),
        cursor_shift=np.array([0.0, 0.35, 0.0, -0.15]),
        query_log=np.array([2.0, 2.5, 2.6, 2.9]),
        pace_log_s=np.array([1.7, 2.1, 1.9, 2.4]),
        p_leave=np.array([0.115, 0.085, 0.085, 0.095]),
        cause_intent=np.array(causes.intent),
        cause_event=np.array(causes.event),
        cause_signal=np.array(causes.signal),
        base=causes.base,
        warmth_decay=causes.warmth_decay,
        price_weight=causes.price_weight,
        p_complement=causes.p_complement,
        p_switch=config.p_switch,
        noise_rate=config.noise_rate,
        signal_after_events=config.signal_after_events,
        max_session_events=config.max_session_events,
    )


def _running(shares: Floats) -> Floats:
    return np.cumsum(shares / shares.sum(axis=-1, keepdims=True), axis=-1)
