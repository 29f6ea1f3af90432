"""Feature duty: folds what is new in the log into the online features.

For every user with new events it folds that user's whole history again, with the function that materialization uses. So the
online row is what a rebuild would write, whatever order events arrive in; doing it twice changes nothing, and a worker that is
killed at any moment simply does its last step again. When a materialization has overwritten rows with an older state of
the log, the worker goes back to where that state ends.

Where several workers share one log it is done in parts, each for users of its own (`models.user_shards`), each with a place in
the log. All parts are given their places before one of them moves.
"""

from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from itertools import islice
from threading import Lock
from typing import Final, Protocol

import msgspec
import pandas as pd

from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.events import frame_of
from infra.store.protocol import Store, Transaction
from infra.store.statements.cursors import BEGIN_CURSOR
from infra.store.statements.events import READ_USERS, USERS_BETWEEN
from infra.store.statements.identities import JOINED_SINCE, NEWEST_JOIN
from infra.store.tail import LogTail
from models.events.encode import encode
from models.features import tables as feature_tables
from models.features.sessions import sessionize
from models.schema import EVENT_COLUMNS, RECENT_ITEMS_VIEW, USERS_VIEW
from models.user_shards import EVERYBODY, Part

CURSOR: Final = "online_features"
JOINS: Final = "online_identities"
MATERIALIZED: Final = "materialize"  # the cursor that flows/materialize moves
POLL_S: Final = 0.1
GATHER_S: Final = 0.25  # two writes of Feast's, whether of one user or of many
EVENTS_A_STEP: Final = 5_000
USERS_A_WRITE: Final = 500
N_PARTS: Final = 4  # where workers share a log
PART_GATHERS_S: Final = 0.5  # a visitor's history is read again at each step that has an event of hers
_writing: Final = Lock()  # what Feast prints is caught for the whole process


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
    part
        Whose features; everybody's if not given.
    """

    poll_s = POLL_S

    def __init__(
        self,
        store: Store,
        online: OnlineStore,
        forget: Callable[[Sequence[str]], object] = len,
        part: Part = EVERYBODY,
    ) -> None:
        self.name = part.named(CURSOR)
        self.gather_s = GATHER_S if part == EVERYBODY else PART_GATHERS_S
        self._store = store
        self._part = part
        self._tail, self._materialization = store.tail(self.name), store.tail(MATERIALIZED)
        self._joins = LogTail(store.read, part.named(JOINS), NEWEST_JOIN)
        self._online = online
        self._forget = forget
        self._materialized = -1

    def step(self, now_us: int) -> int:
        """Fold the next events, at most `EVENTS_A_STEP`.

        Returns
        -------
        How many events of its users that were; 0 at the end of the log, and before the first materialization.
        """
        materialized = self._materialization.position()
        if materialized is None:
            return 0
        if self._materialized < 0 and self._part != EVERYBODY:
            self._begin(materialized, now_us)
        kept = self._tail.position()
        position = materialized if kept is None else kept
        if materialized != self._materialized:
            position = min(position, materialized)
        until = self._tail.until(position, EVENTS_A_STEP)
        self._join(until, now_us)
        found: dict[str, int] = dict(self._store.read(USERS_BETWEEN, (position, until)))
        n_events = {user: n for user, n in found.items() if self._part.has(user)}
        users = iter(n_events)
        while some := list(islice(users, USERS_A_WRITE)):
            self._fold(some, until)
        if until != kept:  # every write wakes all who watch the store
            self._store.write(lambda transaction: self._tail.move(transaction, until, now_us))
        self._materialized = materialized  # only now: a step that failed goes back once more
        return sum(n_events.values())

    def _begin(self, materialized: int, now_us: int) -> None:
        """Give the parts that have none their places: that of whoever did the whole, else where the materialization ends."""
        whole, joins = self._store.tail(CURSOR).position(), LogTail(self._store.read, JOINS, NEWEST_JOIN).position()
        places = {CURSOR: materialized if whole is None else whole, JOINS: joins or 0}
        parts = [Part(number, self._part.n_parts) for number in range(self._part.n_parts)]
        rows = [(part.named(name), place, now_us) for name, place in places.items() for part in parts]

        def begin(transaction: Transaction) -> None:
            transaction.executemany(BEGIN_CURSOR, rows)

        self._store.write(begin)

    def _join(self, until: int, now_us: int) -> None:
        """Fold users with whom anonymous visitors were joined, and forget these: they are nobody any more."""
        joined = self._store.read(JOINED_SINCE, (self._joins.position() or 0,))
        if joined:
            if users := sorted({user for _, _, user in joined if self._part.has(user)}):
                self._fold(users, until)
            if gone := [anonymous for _, anonymous, _ in joined if self._part.has(anonymous)]:
                self._forget(gone)
            self._store.write(lambda transaction: self._joins.move(transaction, joined[-1][0], now_us))

    def _fold(self, users: Sequence[str], until: int) -> None:
        events = self._store.read(READ_USERS, (msgspec.json.encode(users).decode(), until))
        if not events:  # all of them are in quarantine
            return
        features, recent = online_rows(frame_of(events))
        with _writing, redirect_stdout(StringIO()):  # Feast prints its progress
            self._online.write_to_online_store(USERS_VIEW, features)
            self._online.write_to_online_store(RECENT_ITEMS_VIEW, recent)


def online_rows(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The online rows of the users in a frame that holds all of their events: features, and recent items."""
    ordered = sessionize(frame)[["seq", "partner", *EVENT_COLUMNS]]
    encoded = encode(ordered)
    features, recent = feature_tables.of_users(ordered, encoded.events, encoded.item_ids)
    return features.groupby("user_id", sort=False).tail(1), recent


def openers_of_parts(settings: Settings) -> dict[str, Callable[[], FeatureDuty]]:
    """Openers of the duty's parts, by name; the first one's is the whole's, so that no worker of before does it meanwhile."""
    parts = [Part(number, N_PARTS) for number in range(N_PARTS)]
    return {part.named("features"): partial(open_duty, settings, part) for part in parts}


def open_duty(settings: Settings, part: Part = EVERYBODY) -> FeatureDuty:
    """Stand ready at a home's log. Takes seconds: Feast's import."""
    from feature_repo import store as features
    from feature_repo.forget import forget_online

    online = features.open_store(
        settings.home, settings.profile, redis_url=settings.redis_url, postgres_url=settings.postgres_url
    )
    return FeatureDuty(open_store(settings.home), online, partial(forget_online, online), part)
