"""Item traits from past sessions: how popular it is and was lately, how readily visited again, price and sales."""

import numpy as np

from models.arrays import Floats32, Ints
from models.events.encode import EventArray
from models.kernels import kernel
from models.schema import EventType

_STEADY = 20.0  # events' worth of the mean conversion rate


@kernel
def traits(item: Ints, offsets: Ints, n_items: int, recent: float, latest: float) -> Floats32:
    """Features of each item alone, shape (n_items, 8), in the order of `ranker_kernels.FEATURES` from POPULARITY on.

    Popularity is decayed with the half-lives `recent` and `latest`, in sessions.
    """
    n_sessions = len(offsets) - 1
    total, slow, fast = np.zeros(n_items), np.zeros(n_items), np.zeros(n_items)
    reload, back, asked = np.zeros(n_items), np.zeros(n_items), np.zeros(n_items)
    first, last, position = np.full(n_items, n_sessions), np.full(n_items, -1), np.full(n_items, -1)
    for s in range(n_sessions):
        a = float(n_sessions - 1 - s)
        for p in range(offsets[s], offsets[s + 1]):
            i = item[p]
            if p + 1 < offsets[s + 1]:
                asked[i] += 1.0
                reload[i] += item[p + 1] == i
            if last[i] == s:
                back[i] += p > position[i] + 1
            else:
                total[i] += 1.0
                slow[i] += 2.0 ** (-a / recent)
                fast[i] += 2.0 ** (-a / latest)
            first[i] = min(first[i], s)
            last[i] = s
            position[i] = p
    out = np.zeros((n_items, 8), np.float32)
    mean_reload = (reload.sum() + 1.0) / (asked.sum() + 2.0)
    mean_back = (back.sum() + 1.0) / (total.sum() + 2.0)
    for i in range(n_items):
        out[i, 0] = np.log1p(total[i])
        out[i, 1] = np.log1p(slow[i])
        out[i, 2] = np.log1p(fast[i])
        out[i, 3] = np.log((fast[i] / latest + 1e-6) / (slow[i] / recent + 1e-6))
        out[i, 4] = (reload[i] + 5.0 * mean_reload) / (asked[i] + 5.0)
        out[i, 5] = (back[i] + 5.0 * mean_back) / (total[i] + 5.0)
        out[i, 6] = np.log1p(float(n_sessions - first[i]))
        out[i, 7] = np.log1p(float(n_sessions - last[i]))
    return out


def offers(events: EventArray, n_items: int) -> Floats32:
    """log(1 + last price) (0 = none known) and conversion rate of each item, shape (n_items, 2).

    conversion rate = (purchases + 20 m) / (events + 20), m the share of purchases among all events.

    Parameters
    ----------
    events
        Whole sessions, the oldest first, shape (n_events,).
    """
    known = events[events["item"] >= 0]
    bought = known["event_type"] == EventType.PURCHASE
    n_events = np.bincount(known["item"], minlength=n_items)
    n_bought = np.bincount(known["item"][bought], minlength=n_items)
    mean = bought.mean() if len(known) else 0.0
    priced = known[known["price"] > 0.0]
    price = np.zeros(n_items)
    price[priced["item"]] = priced["price"]
    return np.column_stack((np.log1p(price), (n_bought + _STEADY * mean) / (n_events + _STEADY))).astype(np.float32)
