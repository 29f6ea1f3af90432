"""Online features of users and items, from Feast's online store.

Feast does not judge the age of what it finds online; this module does, from the instants the features stand at. A store that
fails is left alone for `REST_S`, so that a server which is down costs one request its timeout and not every request.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Collection
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from feature_repo.embedded_rows import EmbeddedRows
from infra.settings import Settings
from models.events.touches import History
from models.known import RecentItems, UserFeatures
from models.schema import (
    ITEM_FEATURES,
    ITEMS_VIEW,
    LAST_EVENT_AT,
    RECENT_ITEMS_AT,
    RECENT_ITEMS_VIEW,
    USER_FEATURES,
    USER_RECENT_ITEMS,
    USERS_VIEW,
)

WAIT_MS: Final = 20  # for a lock on the embedded store: everybody else's requests wait too
REST_S: Final = 1.0
REOPEN_S: Final = 10.0
Found = TypeVar("Found")
_USER: Final = frozenset({*USER_FEATURES, LAST_EVENT_AT})
_RECENT: Final = frozenset({USER_RECENT_ITEMS, RECENT_ITEMS_AT})
_ITEM: Final = frozenset(ITEM_FEATURES)
log = logging.getLogger("attune.online")


class StoreUnreachable(Exception):  # noqa: N818 - a state of the world, answered with a fallback
    """State of an online store that does not answer."""


class OnlineFeatures(Protocol):
    """Features as handlers read them. None means: nothing known, or too old. Each may raise `StoreUnreachable`."""

    def user(self, user_id: str, now_us: int) -> UserFeatures | None:
        """Features of a pseudonymous user."""
        ...

    def recent_items(self, user_id: str, now_us: int) -> RecentItems | None:
        """Items the user met last."""
        ...

    def history(self, user_id: str, now_us: int) -> History | None:
        """History of the user on items."""
        ...

    def item(self, item_id: str, now_us: int) -> npt.NDArray[np.float32] | None:
        """Features of an item, in the order of `ITEM_FEATURES`."""
        ...


class NoFeatures:
    """Features of a service without an online store: every read finds it unreachable."""

    def user(self, user_id: str, now_us: int) -> UserFeatures | None:
        """Find nothing."""
        raise StoreUnreachable

    def recent_items(self, user_id: str, now_us: int) -> RecentItems | None:
        """Find nothing."""
        raise StoreUnreachable

    def history(self, user_id: str, now_us: int) -> History | None:
        """Find nothing."""
        raise StoreUnreachable

    def item(self, item_id: str, now_us: int) -> npt.NDArray[np.float32] | None:
        """Find nothing."""
        raise StoreUnreachable


class RowSource(Protocol):
    """Source of one entity's values: `feature_repo.embedded_rows.EmbeddedRows`, `feature_repo.store.RowReader`."""

    def read(self, view: str, key: str, names: Collection[str]) -> tuple[dict[str, Any], int]:
        """The values of one entity by name, and the second that they stand at (0: not found)."""
        ...

    def history(self, user_id: str) -> History | None:
        """The history of a user on items; None where there is none."""
        ...


class FeastFeatures:
    """Features from Feast, one entity at a time; called from one thread.

    Parameters
    ----------
    rows
        Of a store that is kept open for the life of the process.
    max_age_s
        Features older than this are as good as none.
    failures
        Exceptions by which the store's driver says that it cannot be reached.
    """

    def __init__(
        self,
        rows: RowSource,
        max_age_s: int,
        failures: tuple[type[Exception], ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rows = rows
        self._max_age_us = max_age_s * 1_000_000
        self._failures = failures
        self._clock = clock
        self._asleep_until = float("-inf")

    def user(self, user_id: str, now_us: int) -> UserFeatures | None:
        """Features of a pseudonymous user."""
        row, _ = self._read(USERS_VIEW, user_id, _USER)
        at_us = row.get(LAST_EVENT_AT)
        if at_us is None or now_us - at_us > self._max_age_us:
            return None
        return UserFeatures(np.array([row.get(name) for name in USER_FEATURES], dtype=np.float32), at_us)

    def recent_items(self, user_id: str, now_us: int) -> RecentItems | None:
        """Items the user met last."""
        row, _ = self._read(RECENT_ITEMS_VIEW, user_id, _RECENT)
        items, at_us = row.get(USER_RECENT_ITEMS), row.get(RECENT_ITEMS_AT)
        if not items or at_us is None or now_us - at_us > self._max_age_us:
            return None
        return RecentItems(items, at_us)

    def history(self, user_id: str, now_us: int) -> History | None:
        """History of the user on items; None too where a home of before keeps none until the next materialization."""
        found = self._asked(lambda: self._rows.history(user_id))
        return None if found is None or now_us - found.at_us[0] > self._max_age_us else found

    def item(self, item_id: str, now_us: int) -> npt.NDArray[np.float32] | None:
        """Features of an item, in the order of `ITEM_FEATURES`."""
        row, at_s = self._read(ITEMS_VIEW, item_id, _ITEM)
        if at_s == 0 or now_us - at_s * 1_000_000 > self._max_age_us:
            return None
        return np.array([row.get(name) for name in ITEM_FEATURES], dtype=np.float32)

    def _read(self, view: str, key: str, names: Collection[str]) -> tuple[dict[str, Any], int]:
        return self._asked(lambda: self._rows.read(view, key, names))

    def _asked(self, read: Callable[[], Found]) -> Found:
        """What the store says, unless it cannot be read, or could not a moment ago."""
        if self._clock() < self._asleep_until:
            raise StoreUnreachable
        try:
            return read()
        except self._failures as error:
            self._asleep_until = self._clock() + REST_S
            log.warning("the online store cannot be read: %s", type(error).__name__)
            raise StoreUnreachable from error


def open_features(settings: Settings) -> OnlineFeatures:
    """Open the online store of a home; that of the scale profile takes seconds: Feast's import.

    A store that cannot be opened is no reason not to serve: the answers name the fallback.
    """
    failures = store_failures(settings.profile)
    try:
        rows = _scale_rows(settings) if settings.profile == "scale" else EmbeddedRows(settings.home, WAIT_MS)
        return FeastFeatures(rows, settings.feature_max_age_s, failures)
    except failures as error:
        log.warning("the feature store cannot be opened: %s", type(error).__name__)
        return NoFeatures()


def _scale_rows(settings: Settings) -> RowSource:
    from feature_repo.store import RowReader, open_store

    return RowReader(open_store(settings.home, "scale", redis_url=settings.redis_url, postgres_url=settings.postgres_url))


def store_failures(profile: str = "scale") -> tuple[type[Exception], ...]:
    """Exceptions by which a profile's stores say that they cannot be reached now; of scale, it takes Feast's import."""
    if profile != "scale":
        return (OSError, sqlite3.Error)
    from feast.errors import FeastError
    from redis.exceptions import RedisError
    from sqlalchemy.exc import SQLAlchemyError

    return (OSError, sqlite3.Error, SQLAlchemyError, RedisError, FeastError)


class OnlineSource:
    """Source of online features that opens them again until that succeeds.

    Parameters
    ----------
    given
        Features that are open already; without them `start` opens those of the home.
    """

    def __init__(self, settings: Settings, given: OnlineFeatures | None = None) -> None:
        self._settings = settings
        self._opens = given is None
        self._online: OnlineFeatures = given or NoFeatures()
        self._stopping = threading.Event()

    def current(self) -> OnlineFeatures:
        """The features, or those of a service without an online store."""
        return self._online

    def start(self) -> None:
        """Open the online store; where that fails, a daemon thread tries again every `REOPEN_S`."""
        if not self._opens:
            return
        self._online = open_features(self._settings)
        if isinstance(self._online, NoFeatures):
            threading.Thread(target=self._reopen, name="online-features", daemon=True).start()

    def stop(self) -> None:
        """Try no more."""
        self._stopping.set()

    def _reopen(self) -> None:
        while isinstance(self._online, NoFeatures) and not self._stopping.wait(REOPEN_S):
            self._online = open_features(self._settings)
