"""Known about a visitor: what the stores told before an answer, handed to the pure core as values."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from models.arrays import Flags, Floats32, Ints
from models.events.encode import NO_CODE
from models.events.touches import History


class ItemCodes(Protocol):
    """A model that knows items by codes of its own: the associations, or the ranker."""

    def code(self, item_id: str | None) -> int:
        """Code of an item, `NO_CODE` if unknown."""
        ...

    def codes(self, item_ids: Iterable[str]) -> dict[str, int]:
        """Codes of some items by their ids, in order of first appearance, `NO_CODE` for the unknown."""
        ...


class ItemList(ItemCodes, Protocol):
    """A model that also tells its items by code."""

    @property
    def n_items(self) -> int:
        """Number of its own among `item_ids`, the first ones."""
        ...

    @property
    def item_ids(self) -> Sequence[str]:
        """Text of each item code; the list of a model that follows the log grows."""
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
    """Features, recent items, history, and what may be shown.

    Attributes
    ----------
    item
        Features of the item at hand, in the order of `ITEM_FEATURES`, shape (n_item_features,).
    history
        What the user did, this session included as far as it is known already.
    read_history
        Reads it where it was not: whoever asks for products does, most moments call for none.
    without_history
        Names of `models.degraded` for why there is none; admitted where weights answer that would have used it.
    missing
        Names of `models.degraded` for what the online store did not tell.
    allowed
        Of each item of a model whether the partner's catalogue lets it be shown, shape (n_items,); empty where all may.
    """

    user: UserFeatures | None = None
    item: Floats32 | None = None
    recent: RecentItems | None = None
    missing: tuple[str, ...] = ()
    allowed: Callable[[ItemList], Flags] | None = None
    history: History | None = None
    without_history: tuple[str, ...] = ()
    read_history: Callable[[], History | None] | None = None

    def with_history(self) -> "Known":
        """The same with the history."""
        return self if self.read_history is None else self._replace(history=self.read_history(), read_history=None)


NOTHING_KNOWN = Known()
