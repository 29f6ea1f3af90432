"""One visitor's share in what items have to do with each other, where only a browser key tells of the visitor.

Visitors of a browser key are free to invent, and so is what they do: however often one of them comes back to two items, it says
as much as one visit. A partner's server and files are taken at their word.
"""

from typing import Final

import numpy as np

from models.arrays import Columns, Flags

MOST: Final = 2  # of a type about one item: the second tells that a visitor came back to it
_KEY: Final = ("user_id", "item_id", "event_type")


def counted(events: Columns) -> Flags:
    """Flag of each event that counts in what is learned of items, shape (n_rows,): of a browser's visitor, `MOST` of a kind.

    Parameters
    ----------
    events
        In the order of the log, with `browser` where some came with a browser key, and all events of a visitor up to a point:
        what is told of one stays true when others follow.

    Examples
    --------
    >>> visits = {"user_id": ["u", "u", "u", "v"], "item_id": ["a"] * 4, "event_type": ["item_view"] * 4}
    >>> counted({**visits, "browser": [1, 1, 1, 1]}).tolist()
    [True, True, False, True]
    >>> counted({**visits, "browser": [0, 0, 0, 1]}).tolist()
    [True, True, True, True]
    """
    counts = np.ones(len(events["user_id"]), np.bool_)
    if "browser" not in events:
        return counts
    told = np.flatnonzero(np.asarray(events["browser"]) == 1)
    keys = [np.asarray(events[name], dtype=object)[told].tolist() for name in (*_KEY, "partner") if name in events]
    met: dict[tuple[object, ...], int] = {}
    for row, key in zip(told.tolist(), zip(*keys, strict=True), strict=True):
        met[key] = met.get(key, 0) + 1
        counts[row] = met[key] <= MOST
    return counts
