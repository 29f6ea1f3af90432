"""Stretches between purchases, as a model of decisions sees them, and what moves a decision beside actions.

A stretch is a session's events up to a purchase, or to the session's end, without the purchases.
"""

from typing import Final, NamedTuple

import numpy as np

from models.arrays import Flags, Floats, Ints
from models.inference.examples import Log
from models.schema import N_EVENT_TYPES, EventType

FUNNEL: Final = (EventType.ADD_TO_CART, EventType.CART_VIEW, EventType.CHECKOUT_VIEW)  # what lies between decision and purchase
START: Final = N_EVENT_TYPES  # "the event before" of a stretch's first one
_USUAL_SALES: Final = 10.0  # stretches with an item that its rate of sales leans on everybody's with
_P_BUYS: Final = 0.05  # of a stretch, about


class Stretches(NamedTuple):
    """Events without the purchases, cut at them; the first six of shape (n_events,), the others (n_stretches,).

    Attributes
    ----------
    row
        Place in the log.
    kind, before
        Type of the event and of the one before it in the stretch, `START` for none.
    starts
        First event of a stretch.
    stretch, visitor
        Codes.
    begins, ends
        First event of each stretch, and the one behind its last.
    buys
        Whether a purchase follows.
    """

    row: Ints
    kind: Ints
    before: Ints
    starts: Flags
    stretch: Ints
    visitor: Ints
    begins: Ints
    ends: Ints
    buys: Flags


def stretches_of(log: Log) -> Stretches:
    """Cut the sessions of a log at their purchases."""
    kind = log.events["event_type"].astype(np.int64)
    bought = kind == EventType.PURCHASE
    row = np.flatnonzero(~bought)
    session = np.cumsum(log.starts)
    n_bought = np.cumsum(bought)  # before an event, as it is none itself
    place = np.stack((session[row], n_bought[row]))
    starts = np.append(True, (np.diff(place, axis=1) != 0).any(axis=0))[: len(row)]
    begins = np.flatnonzero(starts)
    ends = np.append(begins[1:], len(row)).astype(np.int64)
    follows = row[ends - 1] + 1
    inside = follows < len(kind)
    follows = np.minimum(follows, len(kind) - 1)
    buys = inside & bought[follows] & (session[follows] == session[row[ends - 1]])
    before = np.where(starts, START, np.append(START, kind[row][:-1])[: len(row)])
    visitor = np.unique(log.user_codes[row], return_inverse=True)[1].astype(np.int64)
    return Stretches(row, kind[row], before, starts, np.cumsum(starts) - 1, visitor, begins, ends, buys)


def item_in_hand(log: Log, cut: Stretches) -> Ints:
    """The stretch's last item at each event, -1 for none, shape (n_events,)."""
    item = log.events["item"][cut.row].astype(np.int64)
    newest = np.maximum.accumulate(np.where(item >= 0, np.arange(len(item)), -1))
    return np.where(newest >= cut.begins[cut.stretch], item[np.maximum(newest, 0)], -1)


def controls(log: Log, cut: Stretches) -> Floats:
    """Controls: what moves a decision beside actions and mood, standardised, shape (n_events, 4).

    How often others bought the item in hand, its price within its category, what the visitor bought in other stretches, and how
    far this one has come; in logarithms.
    """
    in_hand = item_in_hand(log, cut)
    so_far = np.arange(len(cut.row)) - cut.begins[cut.stretch]
    parts = [_sells(log, cut, in_hand), _relative_price(log, in_hand), _elsewhere(cut), np.log1p(so_far)]
    table = np.stack(parts, axis=1)
    return np.asarray((table - table.mean(axis=0)) / np.maximum(table.std(axis=0), 1e-9))


def _sells(log: Log, cut: Stretches, in_hand: Ints) -> Floats:
    """Log of the share of other stretches with the item in which it was bought."""
    item, follows = log.events["item"].astype(np.int64), np.minimum(cut.row[cut.ends - 1] + 1, len(log.events) - 1)
    bought = np.where(cut.buys, item[follows], -1)
    n_items = int(item.max(initial=0)) + 1
    sold = np.bincount(bought[bought >= 0], minlength=n_items)
    met = np.unique(np.stack((cut.stretch, in_hand)), axis=1)[1]
    n_met = np.bincount(met[met >= 0], minlength=n_items)
    usual = (sold.sum() + 1.0) / (n_met.sum() + 1.0)
    own = (bought[cut.stretch] == in_hand) & (in_hand >= 0)
    rate = (sold[in_hand] - own + _USUAL_SALES * usual) / (n_met[in_hand] - 1 + _USUAL_SALES)
    return np.asarray(np.where(in_hand >= 0, np.log(np.maximum(rate, 1e-9)), np.log(usual)))


def _relative_price(log: Log, in_hand: Ints) -> Floats:
    """Log of the item's price over the usual one of its category; 0 where either is unknown."""
    item, category = log.events["item"].astype(np.int64), log.events["category"].astype(np.int64)
    price = log.events["price"].astype(np.float64)
    known = (item >= 0) & (price > 0)
    n_items = int(item.max(initial=0)) + 1
    n = np.bincount(item[known], minlength=n_items)
    mean = np.bincount(item[known], weights=np.log(price[known]), minlength=n_items) / np.maximum(n, 1)
    of_item = np.full(n_items, -1, dtype=np.int64)
    of_item[item[item >= 0]] = category[item >= 0]
    told = (n > 0) & (of_item >= 0)
    n_categories = int(of_item.max(initial=0)) + 1
    in_category = np.bincount(of_item[told], minlength=n_categories)
    usual = np.bincount(of_item[told], weights=mean[told], minlength=n_categories) / np.maximum(in_category, 1)
    return np.asarray(np.where((in_hand >= 0) & told[in_hand], mean[in_hand] - usual[of_item[in_hand]], 0.0))


def _elsewhere(cut: Stretches) -> Floats:
    """Log of what the visitor bought in other stretches over what is usual."""
    owner = cut.visitor[cut.begins]
    bought = np.bincount(owner, weights=cut.buys)[cut.visitor] - cut.buys[cut.stretch]
    return np.asarray(np.log1p(bought) - np.log1p(_P_BUYS * np.bincount(owner)[cut.visitor]))
