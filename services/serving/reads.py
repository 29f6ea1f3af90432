"""Reads of the online store for an assessment, alike for a request and for the worker."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from models import degraded
from models.known import Known
from services.serving.features import OnlineFeatures, StoreUnreachable

Found = TypeVar("Found")


def engagement_features(online: OnlineFeatures, user_id: str, item_id: str | None, has_items: bool, now_us: int) -> Known:
    """Read the features of a user and of the item at hand, and the history; recent items only where the session names none.

    The history ranks products, which are offered without it just as well: it is read when they are looked for, by the thread
    that looks, and where there is none, nothing is admitted.

    Parameters
    ----------
    item_id
        None: no item is at hand.
    """
    missing: list[str] = []
    user = read_or_name(lambda: online.user(user_id, now_us), degraded.UNKNOWN_USER, missing)
    item = read_or_name(lambda: online.item(item_id, now_us), degraded.UNKNOWN_ITEM_FEATURES, missing) if item_id else None
    recent = None
    if user is not None and not has_items:
        recent = read_or_name(lambda: online.recent_items(user_id, now_us), degraded.UNKNOWN_USER, missing)
    history = partial(read_or_name, partial(online.history, user_id, now_us), degraded.HISTORY_UNKNOWN, [])
    return Known(user, item, recent, tuple(dict.fromkeys(missing)), read_history=history)


def read_or_name(read: Callable[[], Found | None], unknown: str, missing: list[str]) -> Found | None:
    """Read from the online store; what is not there is named in `missing`."""
    try:
        found = read()
    except StoreUnreachable:
        missing.append(degraded.ONLINE_STORE_UNREACHABLE)
        return None
    if found is None:
        missing.append(unknown)
    return found
