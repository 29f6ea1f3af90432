"""One visitor's share in what items have to do with each other, where only a browser key tells of the visitor.

Visitors of a browser key are free to invent, and so is what they do: however often one of them comes back to two items, it says
as much as one visit. A partner's server and files are taken at their word.
"""

from typing import Final

import numpy as np
import pandas as pd

from models.arrays import Flags

MOST: Final = 2  # of a type about one item: the second tells that a visitor came back to it
_KEY: Final = ("user_id", "item_id", "event_type")


def counted(frame: pd.DataFrame) -> Flags:
    """Flag of each event that counts in what is learned of items, shape (n_rows,): of a browser's visitor, `MOST` of a kind.

    Parameters
    ----------
    frame
        Event frame in the order of the log, with `browser` where some events came with a browser key, and all events of a
        visitor up to a point: what is told of one stays true when others follow.

    Examples
    --------
    >>> visits = {"user_id": ["u", "u", "u", "v"], "item_id": ["a"] * 4, "event_type": ["item_view"] * 4}
    >>> counted(pd.DataFrame({**visits, "browser": [1, 1, 1, 1]})).tolist()
    [True, True, False, True]
    >>> counted(pd.DataFrame({**visits, "browser": [0, 0, 0, 1]})).tolist()
    [True, True, True, True]
    """
    counts = np.ones(len(frame), np.bool_)
    told = frame["browser"].to_numpy() == 1 if "browser" in frame else np.zeros(len(frame), np.bool_)
    if told.any():
        keys = [*_KEY, "partner"] if "partner" in frame else list(_KEY)
        nth: pd.Series[int] = frame.loc[told, keys].groupby(keys, sort=False, dropna=False).cumcount()
        counts[told] = nth.to_numpy() < MOST
    return counts
