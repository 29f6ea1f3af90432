"""Known about a visitor: what the stores told before an answer, handed to the pure core as values."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import numpy as np

from models.arrays import Floats32, Ints
from models.events.encode import NO_CODE


class ItemCodes(Protocol):
    """A model that knows items by codes of its own: the associations, or the ranker."""

    def code(self, item_id: str | None) -> int:
        """Code of an item, `NO_CODE` if unknown."""
        ...


def item_codes(model: ItemCodes, item_ids: Iterable[str]) -> Ints:
    """Codes of some items in a model, in order, and one more that stands for no item: `NO_CODE` taken as a place finds it.

    Shape (n_items + 1,); `NO_CODE` for what the model does not know.
    """
    return np.array([*map(model.code, item_ids), NO_CODE], dtype=np.int64)


class UserFeatures(NamedTuple):
    """A user's features as they stood after the last event that was folded in.

    Attributes
    ----------
    row
        In the order of `USER_FEATURES`, shape (n_user_features,).
    """

    row: Floats32
    last_event_at_us: int


class RecentItems(NamedTuple):
    """Items a user met last, newest first, and when the newest was."""

    item_ids: list[str]
    at_us: int


class Known(NamedTuple):
    """Features, recent items and stock.

    Attributes
    ----------
    item
        Features of the item at hand, in the order of `ITEM_FEATURES`, shape (n_item_features,).
    missing
        Names of `models.degraded` for what the online store did not tell.
    sold_out
        Codes, in a model, of what the partner cannot deliver.
    """

    user: UserFeatures | None = None
    item: Floats32 | None = None
    recent: RecentItems | None = None
    missing: tuple[str, ...] = ()
    sold_out: Callable[[ItemCodes], Ints] | None = None


NOTHING_KNOWN = Known()
