"""What a visitor did before with the item and the category at hand, and with earlier visits, after each event.

For evaluation and offline training on whole logs: unlike `models.features.users`, it needs a visitor's full history, which no
online store holds. Everything is counted up to and including the event, nothing looks ahead.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.arrays import Features
from models.events.encode import EventArray
from models.schema import EventType

_KINDS: Final = {
    "events": tuple(EventType),
    "wishes": (EventType.WISHLIST_ADD,),
    "carts": (EventType.ADD_TO_CART,),
    "purchases": (EventType.PURCHASE,),
}
COLUMNS: Final = (
    *(f"{at}_{kind}{when}" for at in ("item", "category") for kind in _KINDS for when in ("", "_earlier")),
    "item_since_s",  # since the visitor's last event with it, -1 if none
    "category_since_s",
    "n_visits",
    "n_events",
    "n_events_per_visit",
    "n_buying_visits_earlier",
    "buying_visits_rate",
    "since_purchase_s",
    "since_add_s",
    "n_open_cart",  # put into the cart, minus bought, over all visits
    "n_touches_carted_earlier",  # events of this visit on items that were put into the cart in an earlier one
    "n_touches_met_earlier",
    "met_earlier_rate",
)


def fold(events: EventArray, session: npt.NDArray[np.int64], user: npt.NDArray[np.int64]) -> Features:
    """The columns after each event, shape (n_events, len(COLUMNS)).

    Parameters
    ----------
    events
        Shape (n_events,), in any order of users; of events at one instant the later row counts as later.
    session, user
        Code of each event's session and user, shape (n_events,).

    Examples
    --------
    >>> from models.events.encode import EVENT_DTYPE
    >>> events = np.zeros(3, EVENT_DTYPE)
    >>> events["event_type"] = [EventType.ADD_TO_CART, EventType.ITEM_VIEW, EventType.ITEM_VIEW]
    >>> events["occurred_at_us"] = [0, 10_000_000, 20_000_000]
    >>> history = fold(events, np.array([0, 1, 1]), np.zeros(3, dtype=np.int64))
    >>> history[:, COLUMNS.index("item_carts_earlier")].tolist(), history[:, COLUMNS.index("since_add_s")].tolist()
    ([0.0, 1.0, 1.0], [0.0, 10.0, 20.0])
    """
    order = np.lexsort((events["occurred_at_us"], user))
    frame = pd.DataFrame(
        {
            "user": user[order],
            "session": session[order],
            "at_s": events["occurred_at_us"][order] / 1e6,
            "item": events["item"][order],
            "category": events["category"][order],
        }
    )
    flags = {name: pd.Series(np.isin(events["event_type"][order], kinds).astype(float)) for name, kinds in _KINDS.items()}
    columns = {**_of_key(frame, flags, "item"), **_of_key(frame, flags, "category"), **_of_visits(frame, flags)}
    columns |= _touches(frame, columns)
    out = np.empty((len(events), len(COLUMNS)), dtype=np.float32)
    out[order] = np.column_stack([columns[name] for name in COLUMNS]) if len(events) else out
    return out


def _of_key(frame: pd.DataFrame, flags: dict[str, "pd.Series[float]"], key: str) -> dict[str, "pd.Series[float]"]:
    """Counts of the user's events with the same item or category, so far and in earlier sessions."""
    whole, visit = [frame["user"], frame[key]], [frame["user"], frame[key], frame["session"]]
    found = {}
    for kind, flag in flags.items():
        found[f"{key}_{kind}"] = flag.groupby(whole).cumsum()
        found[f"{key}_{kind}_earlier"] = found[f"{key}_{kind}"] - flag.groupby(visit).cumsum()
    found[f"{key}_since_s"] = (frame["at_s"] - frame["at_s"].groupby(whole).shift()).fillna(-1.0)
    return found


def _of_visits(frame: pd.DataFrame, flags: dict[str, "pd.Series[float]"]) -> dict[str, "pd.Series[float]"]:
    user, visit = frame["user"], [frame["user"], frame["session"]]
    bought = flags["purchases"]
    first_purchase = ((bought == 1) & (bought.groupby(visit).cumsum() == 1)).astype(float)
    n_visits = (~frame.duplicated(["user", "session"])).astype(float).groupby(user).cumsum()
    n_events = flags["events"].groupby(user).cumsum()
    buying = first_purchase.groupby(user).cumsum() - first_purchase.groupby(visit).cumsum()
    return {
        "n_visits": n_visits,
        "n_events": n_events,
        "n_events_per_visit": n_events / n_visits,
        "n_buying_visits_earlier": buying,
        "buying_visits_rate": buying / n_visits,
        "since_purchase_s": _since(frame, bought),
        "since_add_s": _since(frame, flags["carts"]),
        "n_open_cart": (flags["carts"] - bought).groupby(user).cumsum(),
    }


def _since(frame: pd.DataFrame, flag: "pd.Series[float]") -> "pd.Series[float]":
    last = frame["at_s"].where(flag == 1).groupby(frame["user"]).ffill()
    return (frame["at_s"] - last).fillna(-1.0)


def _touches(frame: pd.DataFrame, columns: dict[str, "pd.Series[float]"]) -> dict[str, "pd.Series[float]"]:
    visit = [frame["user"], frame["session"]]
    carted = (columns["item_carts_earlier"] > 0).astype(float).groupby(visit).cumsum()
    met = (columns["item_events_earlier"] > 0).astype(float).groupby(visit).cumsum()
    place = pd.Series(np.ones(len(frame))).groupby(visit).cumsum()
    return {"n_touches_carted_earlier": carted, "n_touches_met_earlier": met, "met_earlier_rate": met / place}
