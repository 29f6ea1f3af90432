"""The walk: one kernel step per event, the same for a whole simulated period and for one live visit.

Longer than the house likes: it is one state machine, a kernel for each of its turns.
"""

from typing import Final

import numpy as np

from models.arrays import Floats, Ints, Records
from models.kernels import kernel
from models.schema import DEVICES, N_EVENT_TYPES, SIGNAL_TYPES, EventType, Intent
from models.simulator.behaviour import RELATIONS, Behaviour
from models.simulator.catalogue import Catalogue
from models.simulator.records import Record
from models.simulator.visitors import Visitors

_LONGEST_PAUSE_US: Final = 1_500_000_000  # below the idle time that would split the session
_BETWEEN_SESSIONS_US: Final = 2_700_000_000
_P_ITEM_RETURN: Final = 0.35  # a returning visitor has the last item in mind
_P_INTENT_RETURN: Final = 0.5  # and comes back with the intent of last time, moved on
_P_FOLLOW: Final = 0.25  # a recommended product is looked at next
_P_LEAVE_AFTER_PURCHASE: Final = 0.75
_P_MISSING: Final = 0.03  # a measure gets lost

# Of types that were added later, this shop's visitors know nothing.
_VIEW, _ENGAGE, _DETAIL = int(EventType.ITEM_VIEW), int(EventType.ITEM_ENGAGEMENT), int(EventType.DETAIL_VIEW)
_REVIEW, _COMPARE, _WISH = int(EventType.REVIEW_READ), int(EventType.SPEC_COMPARE), int(EventType.WISHLIST_ADD)
_BROWSE, _CONTENT = int(EventType.CATEGORY_BROWSE), int(EventType.CONTENT_VIEW)
_SEARCH, _REFINE = int(EventType.SEARCH), int(EventType.SEARCH_REFINE)
_ADD, _REMOVE, _BUY = int(EventType.ADD_TO_CART), int(EventType.REMOVE_FROM_CART), int(EventType.PURCHASE)
_CART, _CHECKOUT = int(EventType.CART_VIEW), int(EventType.CHECKOUT_VIEW)
_NEEDS_ITEM = np.isin(np.arange(N_EVENT_TYPES), [_ENGAGE, _DETAIL, _REVIEW, _COMPARE, _WISH, _ADD])  # in mind
_NEEDS_CART = np.isin(np.arange(N_EVENT_TYPES), [_REMOVE, _CART, _CHECKOUT])
_HAS_PRICE = np.isin(np.arange(N_EVENT_TYPES), [_VIEW, _DETAIL, _ADD, _BUY])
_EXPLORATORY = int(Intent.EXPLORATORY)
_DISCOUNT = SIGNAL_TYPES.index("offer_discount")
_DESKTOP = DEVICES.index("desktop")
_START = N_EVENT_TYPES  # "the event before" of a session's first event, as in `behaviour`
_MET, _SUBSTITUTE, _COMPLEMENT, _SAME_CATEGORY, _FAVOURITE = range(len(RELATIONS) - 1)  # the last is "anything"


@kernel
def draw(running: Floats, u: float) -> int:
    """First place where a running sum of probabilities exceeds u."""
    for k in range(len(running)):
        if u < running[k]:
            return k
    return len(running) - 1


@kernel
def popular_item(shop: Catalogue, category: int, u: float) -> int:
    """Item drawn by popularity, of a category or (-1) of all."""
    low = int(shop.first[category]) if category >= 0 else 0
    high = int(shop.first[category + 1]) if category >= 0 else len(shop.price)
    start = shop.cumulated[low]
    wanted = start + u * (shop.cumulated[high] - start)
    end = high - 1
    while low < end:  # last item whose running sum, led by 0, is at most the wanted one
        middle = (low + end + 1) // 2
        if shop.cumulated[middle] <= wanted:
            low = middle
        else:
            end = middle - 1
    return low


@kernel
def favourite(who: Visitors, user: int, u: float) -> int:
    """Category drawn from the visitor's favourites: 60, 30 and 10 %."""
    return int(who.favourites[user, 0 if u < 0.6 else (1 if u < 0.9 else 2)])


@kernel
def next_item(shop: Catalogue, who: Visitors, how: Behaviour, visit: Record, met: Ints, rng: np.random.Generator) -> int:
    """Item looked at next: how it relates to the one in mind depends on the intent."""
    if visit.offered >= 0:
        offered, visit.offered = visit.offered, -1
        if rng.random() < _P_FOLLOW:
            return int(offered)
    relation = draw(how.relation[visit.intent], rng.random())
    if visit.item < 0 and relation < _SAME_CATEGORY:
        relation = _SAME_CATEGORY  # nothing in mind that another item could relate to
    if relation == _MET:
        return int(met[int(rng.random() * visit.n_met)])
    if relation == _SUBSTITUTE:
        return int(shop.substitutes[visit.item, int(rng.random() * shop.substitutes.shape[1])])
    if relation == _COMPLEMENT:
        return int(shop.complements[visit.item, int(rng.random() * shop.complements.shape[1])])
    if relation == _SAME_CATEGORY:
        category = visit.category if visit.category >= 0 else favourite(who, visit.user, rng.random())
        return popular_item(shop, category, rng.random())
    if relation == _FAVOURITE:
        return popular_item(shop, favourite(who, visit.user, rng.random()), rng.random())
    return popular_item(shop, -1, rng.random())


@kernel
def in_cart(visit: Record, cart: Ints, item: int) -> bool:
    """Whether an item lies in the cart."""
    found = False
    for k in range(visit.n_cart):
        found |= cart[k] == item
    return found


@kernel
def next_type(how: Behaviour, visit: Record, cart: Ints, rng: np.random.Generator) -> int:
    """Type of the next event; once decided, a visitor goes through cart and checkout to the purchase."""
    if visit.paying:
        return _BUY
    if visit.wanted >= 0:
        if not in_cart(visit, cart, visit.wanted) or visit.extra >= 0:
            return _ADD
        if visit.event_type == _CHECKOUT:
            return _BUY
        return _CART if visit.event_type != _CART and rng.random() < 0.4 else _CHECKOUT
    kind = draw(how.next_type[visit.intent, visit.event_type], rng.random())
    if visit.n_cart == 0 and _NEEDS_CART[kind]:
        kind = _VIEW
    if kind == _ADD and (visit.n_cart >= len(cart) - 2 or (visit.item >= 0 and in_cart(visit, cart, visit.item))):
        kind = _CART
    return _VIEW if visit.item < 0 and _NEEDS_ITEM[kind] else kind


@kernel
def take_from_cart(visit: Record, cart: Ints, k: int) -> int:
    """Take the k-th item out of the cart."""
    item = cart[k]
    visit.n_cart -= 1
    for j in range(k, visit.n_cart):
        cart[j] = cart[j + 1]
    return int(item)


@kernel
def remember(visit: Record, met: Ints, item: int) -> None:
    """Keep an item among those met, newest last."""
    if visit.n_met == len(met):
        for k in range(len(met) - 1):
            met[k] = met[k + 1]
        visit.n_met -= 1
    met[visit.n_met] = item
    visit.n_met += 1


@kernel
def act(
    shop: Catalogue, who: Visitors, how: Behaviour, visit: Record, cart: Ints, met: Ints, kind: int, rng: np.random.Generator
) -> int:
    """Carry out an event on the visit; the item it is about, or -1."""
    if kind == _VIEW:
        visit.item = next_item(shop, who, how, visit, met, rng)
        visit.category = shop.category[visit.item]
        remember(visit, met, visit.item)
        return int(visit.item)
    if kind == _BROWSE:
        stays = visit.category >= 0 and rng.random() < 0.35
        visit.category = visit.category if stays else favourite(who, visit.user, rng.random())
        return -1
    if kind == _ADD:
        item = visit.item
        if visit.wanted >= 0:
            item = visit.wanted
            if in_cart(visit, cart, item):
                item, visit.extra = visit.extra, -1
        cart[visit.n_cart] = item
        visit.n_cart += 1
        return int(item)
    if kind == _REMOVE:
        return take_from_cart(visit, cart, int(rng.random() * visit.n_cart))
    if kind == _BUY:
        item = take_from_cart(visit, cart, 0)
        visit.paying = 1 if visit.n_cart > 0 else 0
        visit.wanted = -1
        return int(item)
    return int(visit.item) if _NEEDS_ITEM[kind] else -1


@kernel
def measure(
    shop: Catalogue, who: Visitors, how: Behaviour, visit: Record, kind: int, item: int, row: Record, rng: np.random.Generator
) -> None:
    """Fill an event's measures; their spread within an intent is wider than the distance between intents."""
    z = visit.intent if rng.random() >= how.noise_rate else int(rng.random() * 4)
    row.price = shop.price[item] if item >= 0 and _HAS_PRICE[kind] else np.nan
    row.dwell_ms = row.scroll_depth = row.zoom_level = row.cursor_distance_px = row.query_length = np.nan
    usual = how.dwell_log_ms[kind]
    if not np.isnan(usual):
        log_ms = usual + how.dwell_shift[z] + who.dwell_shift[visit.user] + 0.8 * rng.standard_normal()
        row.dwell_ms = np.round(min(np.exp(log_ms), 600_000.0))
        if kind == _ENGAGE:
            row.zoom_level = (
                np.round(1.0 + np.exp(-0.5 + 0.6 * rng.standard_normal()), 2) if rng.random() < how.p_zoom[z] else 1.0
            )
        if visit.device == _DESKTOP and kind != _CONTENT:
            speed = 5.0 + how.cursor_shift[z] + 0.7 * rng.standard_normal()
            row.cursor_distance_px = np.round(min(row.dwell_ms / 1000.0 * np.exp(speed), 1e6))
    if not np.isnan(usual) or kind == _BROWSE:
        logit = how.scroll_logit[z] + 1.2 * rng.standard_normal()
        row.scroll_depth = np.round(1.0 / (1.0 + np.exp(-logit)), 2)
    if kind in (_SEARCH, _REFINE):
        row.query_length = max(1.0, np.round(np.exp(how.query_log[z] + 0.45 * rng.standard_normal())))
    if rng.random() < _P_MISSING:
        row.scroll_depth = np.nan
    if rng.random() < _P_MISSING:
        row.dwell_ms = np.nan


@kernel
def p_decide(shop: Catalogue, who: Visitors, how: Behaviour, visit: Record) -> float:
    """Probability that the visitor decides now to buy the item in mind: the formula of `Causes`."""
    if visit.item < 0:
        return 0.0
    effect = how.cause_signal[visit.signal, visit.intent]
    if visit.signal == _DISCOUNT:
        effect *= who.sensitivity[visit.user]
    logit = (
        how.base + how.cause_intent[visit.intent] + visit.warmth + shop.appeal[visit.item] + who.eagerness[visit.user] + effect
    )
    logit -= how.price_weight * who.sensitivity[visit.user] * shop.price_position[visit.item]
    return float(1.0 / (1.0 + np.exp(-logit)))


@kernel
def settle(
    shop: Catalogue, who: Visitors, how: Behaviour, visit: Record, cart: Ints, row: Record, rng: np.random.Generator
) -> None:
    """After an event: decide to buy, or leave, or stay."""
    kind = row.event_type
    visit.event_type = kind
    visit.n_events += 1
    visit.warmth = how.warmth_decay * visit.warmth + how.cause_event[kind]
    u_decide, u_complement, u_leave = rng.random(), rng.random(), rng.random()
    row.p_purchase = 1.0
    if visit.wanted < 0 and not visit.paying and kind != _BUY:
        row.p_purchase = p_decide(shop, who, how, visit)
        if u_decide < row.p_purchase:
            visit.wanted = visit.item
            if u_complement < how.p_complement:
                extra = shop.complements[visit.item, int(rng.random() * shop.complements.shape[1])]
                visit.extra = -1 if in_cart(visit, cart, extra) else extra
    if kind == _BUY and not visit.paying:
        row.p_purchase = 0.0
        visit.warmth = 0.0
        visit.intent = _EXPLORATORY
        visit.ended = 1 if u_leave < _P_LEAVE_AFTER_PURCHASE else 0
    elif visit.wanted < 0 and not visit.paying:
        visit.ended = 1 if u_leave < visit.patience * how.p_leave[visit.intent] else 0
    if visit.n_events >= how.max_session_events:
        visit.ended = 1


@kernel
def pause_us(how: Behaviour, visit: Record, row: Record, rng: np.random.Generator) -> int:
    """Time since the event before: what was spent on the event itself, and a pause with a long tail."""
    log_s = how.pace_log_s[visit.intent] + visit.pace + 0.9 * rng.standard_normal()
    seconds = np.exp(log_s)
    if rng.random() < 0.015:
        seconds += 60.0 + 600.0 * rng.random()  # something else came up
    if not np.isnan(row.dwell_ms):
        seconds = 0.2 * seconds + row.dwell_ms / 1000.0
    return min(int(seconds * 1000.0) * 1000 + 1000, _LONGEST_PAUSE_US)


@kernel
def step(
    shop: Catalogue,
    who: Visitors,
    how: Behaviour,
    visit: Record,
    cart: Ints,
    met: Ints,
    row: Record,
    rng: np.random.Generator,
) -> None:
    """Move a visit on by one event and write the event; `row.session` is the caller's."""
    if visit.n_events > 0 and rng.random() < how.p_switch:
        visit.intent = draw(how.switch[visit.intent], rng.random())
    kind = next_type(how, visit, cart, rng)
    row.event_type = kind
    row.item = act(shop, who, how, visit, cart, met, kind, rng)
    row.category = shop.category[row.item] if row.item >= 0 else -1
    if kind == _BROWSE or (kind == _CONTENT and visit.category >= 0):
        row.category = visit.category
    measure(shop, who, how, visit, kind, row.item, row, rng)
    if visit.n_events > 0:
        visit.at_us += pause_us(how, visit, row, rng)
    row.at_us = visit.at_us
    row.intent = visit.intent
    row.signal = visit.signal
    settle(shop, who, how, visit, cart, row, rng)


@kernel
def arrive(who: Visitors, how: Behaviour, visit: Record, user: int, at_us: int, device: int, rng: np.random.Generator) -> None:
    """Begin a visit; a visitor who comes back may still have last time's intent and item in mind."""
    returns = visit.user == user
    if not returns:
        visit.n_met = 0
    if not returns or rng.random() >= _P_INTENT_RETURN:
        visit.intent = draw(how.first_intent, rng.random())
    keeps = returns and visit.item >= 0 and rng.random() < _P_ITEM_RETURN
    visit.item = visit.item if keeps else -1
    visit.category = visit.category if keeps else -1
    visit.user = user
    visit.at_us = at_us
    visit.event_type = _START
    visit.wanted = visit.extra = visit.offered = -1
    visit.n_events = visit.n_cart = visit.signal = visit.paying = visit.ended = 0
    visit.device = device
    visit.referrer = draw(how.referrer[visit.intent], rng.random())
    visit.warmth = 0.0
    visit.patience = np.exp(0.5 * rng.standard_normal())
    visit.pace = 0.3 * rng.standard_normal()


@kernel
def walk(
    shop: Catalogue,
    who: Visitors,
    how: Behaviour,
    plan_user: Ints,
    plan_start_us: Ints,
    plan_device: Ints,
    end_us: int,
    first: int,
    visits: Records,
    cart: Ints,
    met: Ints,
    referrer: Ints,
    rows: Records,
    rng: np.random.Generator,
) -> tuple[int, int]:
    """Walk planned sessions from the `first` on until the rows are nearly full; visits are cut at `end_us`.

    Returns
    -------
    Rows written, and the session to go on with.
    """
    visit = visits[0]
    n = 0
    for session in range(first, len(plan_user)):
        if n + how.max_session_events > len(rows):
            return n, session
        user = plan_user[session]
        start_us = plan_start_us[session]
        if visit.user == user and start_us < visit.at_us + _BETWEEN_SESSIONS_US:
            start_us = visit.at_us + _BETWEEN_SESSIONS_US
        if start_us >= end_us:
            continue
        arrive(who, how, visit, user, start_us, plan_device[session], rng)
        referrer[session] = visit.referrer
        while not visit.ended:
            if visit.n_events == how.signal_after_events:
                visit.signal = draw(how.signal, rng.random())
            rows[n].session = session
            step(shop, who, how, visit, cart, met, rows[n], rng)
            if rows[n].at_us >= end_us:
                break
            n += 1
    return n, len(plan_user)
