"""Feature duty: folds what is new in the log into the online features.

For every user with new events it folds that user's whole history again, with the function that materialization uses. So the
online row is what a rebuild would write, whatever order events arrive in; doing it twice changes nothing, and a worker that is
killed at any moment simply does its last step again. When a materialization has overwritten rows with an older state of
the log, the worker goes back to where that state ends.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from itertools import islice
from typing import Final, Protocol

import msgspec
import pandas as pd

from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.events import frame_of
from infra.store.protocol import Store
from infra.store.statements.events import READ_USERS, USERS_BETWEEN
from infra.store.statements.identities import JOINED_SINCE, NEWEST_JOIN
from infra.store.tail import LogTail
from models.events.encode import encode
from models.features import tables as feature_tables
from models.features.sessions import sessionize
from models.schema import EVENT_COLUMNS, RECENT_ITEMS_VIEW, USERS_VIEW

CURSOR: Final = "online_features"
JOINS: Final = "online_identities"
MATERIALIZED: Final = "materialize"  # the cursor that flows/materialize moves
POLL_S: Final = 0.1
GATHER_S: Final = 0.25  # two writes of Feast's, whether of one user or of many
EVENTS_A_STEP: Final = 5_000
USERS_A_WRITE: Final = 500


class OnlineStore(Protocol):
    """Online store, as far as the worker needs a `feast.FeatureStore`."""

    def write_to_online_store(self, feature_view_name: str, df: pd.DataFrame) -> None:
        """Write the rows of one view."""
        ...


class FeatureDuty:
    """Duty that stands somewhere in the log and brings the online store up to its end.

    Parameters
    ----------
    store
        Used by one thread.
    online
        Where the features go.
    forget
        Takes pseudonyms out of there.
    """

    name = CURSOR
    poll_s = POLL_S
    gather_s = GATHER_S

    def __init__(self, store: Store, online: OnlineStore, forget: Callable[[Sequence[str]], object] = len) -> None:
        self._store = store
        self._tail, self._materialization = store.tail(CURSOR), store.tail(MATERIALIZED)
        self._joins = LogTail(store.read, JOINS, NEWEST_JOIN)
        self._online = online
        self._forget = forget
        self._materialized = -1

    def step(self, now_us: int) -> int:
        """Fold the next events, at most `EVENTS_A_STEP`.

        Returns
        -------
        How many events that were; 0 at the end of the log, and before the first materialization.
        """
        materialized, kept = self._materialization.position(), self._tail.position()
        if materialized is None:
            return 0
        position = materialized if kept is None else kept
        if materialized != self._materialized:
            position = min(position, materialized)
        until = self._tail.until(position, EVENTS_A_STEP)
        self._join(until, now_us)
        for users in self._users(position, until):
            self._fold(users, until)
        if until != kept:  # every write wakes all who watch the store
            self._store.write(lambda transaction: self._tail.move(transaction, until, now_us))
        self._materialized = materialized  # only now: a step that failed goes back once more
        return self._tail.passed(position, until)

    def _join(self, until: int, now_us: int) -> None:
        """Fold users with whom anonymous visitors were joined, who are nobody any more."""
        joined = self._store.read(JOINED_SINCE, (self._joins.position() or 0,))
        if joined:
            self._fold(sorted({user for _, _, user in joined}), until)
            self._forget([anonymous for _, anonymous, _ in joined])
            self._store.write(lambda transaction: self._joins.move(transaction, joined[-1][0], now_us))

    def _users(self, after: int, until: int) -> Iterator[list[str]]:
        users = iter([str(user_id) for user_id, _ in self._store.read(USERS_BETWEEN, (after, until))])
        while some := list(islice(users, USERS_A_WRITE)):
            yield some

    def _fold(self, users: Sequence[str], until: int) -> None:
        events = self._store.read(READ_USERS, (msgspec.json.encode(users).decode(), until))
        if not events:  # all of them are in quarantine
            return
        features, recent = online_rows(frame_of(events))
        with redirect_stdout(StringIO()):  # Feast prints its progress
            self._online.write_to_online_store(USERS_VIEW, features)
            self._online.write_to_online_store(RECENT_ITEMS_VIEW, recent)


def online_rows(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The online rows of the users in a frame that holds all of their events: features, and recent items."""
    ordered = sessionize(frame)[["seq", "partner", *EVENT_COLUMNS]]
    encoded = encode(ordered)
    features, recent = feature_tables.of_users(ordered, encoded.events, encoded.item_ids)
    return features.groupby("user_id", sort=False).tail(1), recent


def open_duty(settings: Settings) -> FeatureDuty:
    """Stand ready at a home's log. Takes seconds: Feast's import."""
    from feature_repo import store as features
    from feature_repo.forget import forget_online

    online = features.open_store(
        settings.home, settings.profile, redis_url=settings.redis_url, postgres_url=settings.postgres_url
    )
    return FeatureDuty(open_store(settings.home), online, partial(forget_online, online))
