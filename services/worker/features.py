"""Feature duty: folds what is new in the log into the online features.

For every user with new events it folds that user's whole history again, with the function that materialization uses. So the
online row is what a rebuild would write, whatever order events arrive in; doing it twice changes nothing, and a worker that is
killed at any moment simply does its last step again. When a materialization has overwritten rows with an older state of
the log, the worker goes back to where that state ends.
"""

from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from itertools import islice
from typing import Any, Final, Protocol

import apsw
import msgspec
import numpy as np
import pandas as pd

from infra.settings import Settings
from infra.store.connection import connect, rows
from infra.store.statements import log as tables
from models.events.encode import encode
from models.features import tables as feature_tables
from models.features.sessions import sessionize
from models.schema import EVENT_COLUMNS, MEASURES, RECENT_ITEMS_VIEW, USERS_VIEW

CURSOR: Final = "online_features"
MATERIALIZED: Final = "materialize"  # the cursor that flows/materialize moves
POLL_S: Final = 0.1
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
    connection
        Of the store; used by one thread.
    online
        Where the features go.
    """

    name = CURSOR
    poll_s = POLL_S

    def __init__(self, connection: apsw.Connection, online: OnlineStore) -> None:
        self._connection = connection
        self._online = online
        self._materialized = -1

    def step(self, now_us: int) -> int:
        """Fold the next events, at most `EVENTS_A_STEP`.

        Returns
        -------
        How many events that were; 0 at the end of the log, and before the first materialization.
        """
        materialized = self._cursor(MATERIALIZED)
        if materialized is None:
            return 0
        kept = self._cursor(CURSOR)
        position = materialized if kept is None else kept
        if materialized != self._materialized:
            position = min(position, materialized)
        until = self._until(position)
        for users in self._users(position, until):
            self._fold(users, until)
        if until != kept:  # every write wakes all who watch the store
            self._connection.execute(tables.MOVE_CURSOR, (CURSOR, until, now_us))
        self._materialized = materialized  # only now: a step that failed goes back once more
        return until - position

    def _cursor(self, name: str) -> int | None:
        found = rows(self._connection, "SELECT seq FROM cursors WHERE name = ?", (name,))
        return int(found[0][0]) if found else None

    def _until(self, position: int) -> int:
        ((end,),) = rows(self._connection, "SELECT coalesce(max(seq), 0) FROM events")
        return max(position, min(int(end), position + EVENTS_A_STEP))

    def _users(self, after: int, until: int) -> Iterator[list[str]]:
        between = "SELECT DISTINCT user_id FROM events WHERE seq > ? AND seq <= ?"
        found = iter([str(user_id) for (user_id,) in rows(self._connection, between, (after, until))])
        while users := list(islice(found, USERS_A_WRITE)):
            yield users

    def _fold(self, users: Sequence[str], until: int) -> None:
        found = rows(self._connection, tables.READ_USERS, (msgspec.json.encode(users).decode(), until))
        if not found:  # all of them are in quarantine
            return
        features, recent = online_rows(event_frame(found))
        with redirect_stdout(StringIO()):  # Feast prints its progress
            self._online.write_to_online_store(USERS_VIEW, features)
            self._online.write_to_online_store(RECENT_ITEMS_VIEW, recent)


def event_frame(found: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """Rows of the log (`seq` and `LOG_COLUMNS`) as an event frame with `seq` and `partner`."""
    frame = pd.DataFrame(found, columns=["seq", *tables.LOG_COLUMNS], dtype=object)
    numbers = {name: np.float64 for name in MEASURES}
    return frame.astype({**numbers, "seq": np.int64, "occurred_at_us": np.int64, "utc_offset_min": np.int16})


def online_rows(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The online rows of the users in a frame that holds all of their events: features, and recent items."""
    ordered = sessionize(frame)[["seq", "partner", *EVENT_COLUMNS]]
    encoded = encode(ordered)
    features, recent = feature_tables.of_users(ordered, encoded.events, encoded.item_ids)
    return features.groupby("user_id", sort=False).tail(1), recent


def open_duty(settings: Settings) -> FeatureDuty:
    """Stand ready at a home's log. Takes seconds: Feast's import."""
    from feature_repo.store import open_store

    online: OnlineStore = open_store(
        settings.home, settings.profile, redis_url=settings.redis_url, postgres_url=settings.postgres_url
    )
    return FeatureDuty(connect(settings.home), online)
