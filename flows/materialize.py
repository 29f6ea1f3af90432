"""Materialize: fold the valid log into the offline tables, then bring the newest values to the online store.

The tables are always whole: they are written and checked beside the old ones and renamed. Nothing here has to survive a kill:
the next run reads the log again, and the log's cursor moves only after the online store stands.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from prefect import flow, task

from feature_repo.store import Profile, open_store
from flows.check import REPORT, Fault, check_tables
from flows.expect import ValidationStopped
from flows.join import training_set
from flows.validate import RETRIES
from infra.layout import OFFLINE, OFFLINE_LOCK, REPORTS, RETRAIN_LOCK
from infra.lock import exclusive, held
from infra.settings import Settings
from infra.store.engines import open_store as open_log
from infra.store.events import quarantine_events, read_events
from infra.store.statements.events import NOT_BELIEVED
from models.events.encode import encode
from models.features import tables as feature_tables
from models.features.sessions import sessionize
from models.schema import EVENT_COLUMNS, ITEMS_VIEW, RECENT_ITEMS_VIEW, SESSIONS_VIEW, USERS_VIEW, VIEW_KEY

if TYPE_CHECKING:
    from feast import FeatureStore

CURSOR: Final = "materialize"
DRAFTS: Final = ".drafts"  # tables that are not checked yet, below the offline folder
ROW_GROUP: Final = 100_000
FOLDS: Final = 3  # times that the tables are made before a person is asked, each without the events behind what failed before

Fold = Callable[[pd.DataFrame, int], Iterator[tuple[str, pd.DataFrame]]]


@dataclass(frozen=True)
class Offline:
    """Contents of the offline tables.

    Attributes
    ----------
    folder
        Where they lie.
    rows
        Table name to number of rows.
    as_of_us
        Nothing later is in them.
    first_us
        Instant of the earliest event.
    new_from_us
        Instant of the earliest event that no materialization before has seen; None if there is none.
    last_seq
        Sequence number of the newest event in them.
    """

    folder: str
    rows: dict[str, int]
    as_of_us: int
    first_us: int
    new_from_us: int | None
    last_seq: int


@dataclass(frozen=True)
class Materialized:
    """Result of one materialization.

    Attributes
    ----------
    offline
        The tables.
    online_from_us
        Values that changed since this instant were brought online; None if the online store stands at a later instant already.
    seconds
        How long it took.
    """

    offline: Offline
    online_from_us: int | None
    seconds: float


def materialize(
    home: Path,
    as_of_us: int | None = None,
    *,
    profile: Profile = "embedded",
    redis_url: str | None = None,
    postgres_url: str | None = None,
    project: str | None = None,
) -> Materialized:
    """Build the offline tables from the log as of an instant (default: now) and bring them online.

    Raises
    ------
    ValueError
        If the log holds no valid event until then, or a table still fails its checks without the events behind what failed
        (`flows.expect.ValidationStopped`).
    BlockingIOError
        If another run writes features of this home.
    """
    started = time.monotonic()
    with held(home / RETRAIN_LOCK, "retrain"):
        offline = write_tables(home, as_of_us)
        store = open_store(home, profile, redis_url=redis_url, postgres_url=postgres_url, project=project)
        online_from_us = bring_online(store, home, offline)
    return Materialized(offline, online_from_us, time.monotonic() - started)


def write_tables(home: Path, as_of_us: int | None = None, fold: Fold | None = None) -> Offline:
    """Fold the log into the offline tables; replaces them only if the new ones pass their checks.

    Events behind a row that fails are held back in quarantine under the name of the check, and the log is folded again.

    Parameters
    ----------
    fold
        The tables of an event frame as of an instant, by name.

    Raises
    ------
    ValueError
        As `materialize`.
    """
    as_of_us = time.time_ns() // 1_000 if as_of_us is None else as_of_us
    folder = home / OFFLINE
    for left in reversed(range(FOLDS)):
        with _drafts(folder) as drafts:
            offline = _folded(home, drafts, as_of_us, fold or fold_tables)
            faults = check_tables(home, drafts, as_of_us)
            if not faults:
                with exclusive(home / OFFLINE_LOCK):  # an erasure replaces tables too
                    for name in offline.rows:
                        (drafts / f"{name}.parquet").replace(folder / f"{name}.parquet")
                return offline
        if not left or not _hold_back(home, as_of_us, faults, whole=left == 1):
            break
    raise ValidationStopped(
        f"the new feature tables were not taken into use: {'; '.join(map(str, faults))}; see {home / REPORTS / REPORT}; "
        "take visitors or events out with: attune quarantine hold"
    )


def _folded(home: Path, drafts: Path, as_of_us: int, fold: Fold) -> Offline:
    with closing(open_log(home)) as log:
        tail = log.tail(CURSOR)
        seen, released = tail.position() or 0, tail.released()
        frame = read_events(log, until_us=as_of_us)
        frame["believed"] = ~frame["seq"].isin([seq for (seq,) in log.read(NOT_BELIEVED)])
    if frame.empty:
        raise ValueError(
            "the event log holds no valid event until then: bring events with attune ingest FILE --format F, "
            "or see what is held back with attune quarantine list"
        )
    at_us, seq = frame["occurred_at_us"], frame["seq"]
    new_us = at_us[(seq > seen) | seq.isin(released)]
    first_us, last_seq = int(at_us.min()), int(seq.max())
    new_from_us = int(new_us.min()) if len(new_us) else None
    rows = {name: _write(table, drafts / f"{name}.parquet") for name, table in fold(frame, as_of_us)}
    return Offline(str(drafts.parent), rows, as_of_us, first_us, new_from_us, last_seq)


def _hold_back(home: Path, as_of_us: int, faults: Sequence[Fault], *, whole: bool) -> int:
    """Hold back the events behind faults; how many are newly held back."""
    with closing(open_log(home)) as log:
        frame = sessionize(read_events(log, until_us=as_of_us))
        reasons: dict[int, str] = {}
        for fault in faults:
            found = feature_tables.behind(frame, VIEW_KEY[fault.view], fault.first_us, whole=whole)
            reasons = {**dict.fromkeys(found, str(fault)), **reasons}
        return log.write(lambda transaction: quarantine_events(transaction, reasons.items(), anyway=True))


def fold_tables(frame: pd.DataFrame, as_of_us: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """The tables of an event frame, one after the other, so that only one is in memory; items by what is `believed`."""
    frame = sessionize(frame)[["seq", "partner", *EVENT_COLUMNS, "believed"]]
    encoded = encode(frame)
    believed = frame["believed"].to_numpy(np.bool_)
    frame = frame[["session_id", "user_id"]]
    yield SESSIONS_VIEW, feature_tables.of_sessions(frame, encoded.events)
    users, recent = feature_tables.of_users(frame, encoded.events, encoded.item_ids)
    yield USERS_VIEW, users
    yield RECENT_ITEMS_VIEW, recent
    del users, recent
    yield ITEMS_VIEW, feature_tables.of_items(encoded.events[believed], encoded.item_ids, as_of_us)


@contextmanager
def _drafts(folder: Path) -> Iterator[Path]:
    drafts = folder / DRAFTS
    shutil.rmtree(drafts, ignore_errors=True)  # of a run that was killed
    drafts.mkdir(parents=True)
    yield drafts
    shutil.rmtree(drafts, ignore_errors=True)


def _write(table: pd.DataFrame, path: Path) -> int:
    """Write a table in slices: a second copy of the whole would not fit beside it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.Schema.from_pandas(table.head(1000), preserve_index=False).remove_metadata()
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for at in range(0, max(len(table), 1), ROW_GROUP):
            writer.write_table(pa.Table.from_pandas(table.iloc[at : at + ROW_GROUP], schema=schema, preserve_index=False))
    return len(table)


def bring_online(store: "FeatureStore", home: Path, offline: Offline) -> int | None:
    """Declare the views and write what changed to the online store; the instant from which values were written.

    Late events change values that an ordinary increment would pass over: then the window begins at the earliest of them.
    """
    from feature_repo.features import ONLINE_VIEWS, declare

    declared = declare(Path(offline.folder))
    views = list(ONLINE_VIEWS)
    with redirect_stdout(StringIO()):  # Feast prints its progress, stdout belongs to our commands' results
        store.apply([*declared.entities, *declared.views, *declared.services])
        stands_us = _stands_at(store, views)
        if stands_us is not None and stands_us > offline.as_of_us:
            return None
        late = offline.new_from_us is not None and stands_us is not None and offline.new_from_us < stands_us
        if stands_us is None or late:
            from_us = offline.first_us if stands_us is None else offline.new_from_us
            store.materialize(_instant(from_us or 0), _instant(offline.as_of_us), views)
        else:
            from_us = stands_us
            store.materialize_incremental(_instant(offline.as_of_us), views)
    with closing(open_log(home)) as log:
        log.write(lambda transaction: log.tail(CURSOR).move(transaction, offline.last_seq, time.time_ns() // 1_000))
    return from_us


def _stands_at(store: "FeatureStore", views: list[str]) -> int | None:
    """Instant up to which all views are online, microseconds; None if one has never been."""
    ends = [store.get_feature_view(name).most_recent_end_time for name in views]
    if any(end is None for end in ends):
        return None
    return min((end - datetime(1970, 1, 1, tzinfo=UTC)) // pd.Timedelta(1, "us").to_pytimedelta() for end in ends if end)


def _instant(us: int) -> datetime:
    return pd.Timestamp(us, unit="us", tz="UTC").to_pydatetime()


@task(name="write offline tables", **RETRIES)
def write_offline(home: str, as_of_us: int | None) -> Offline:
    """Task around `write_tables`."""
    return write_tables(Path(home), as_of_us)


@task(name="bring features online", **RETRIES)
def write_online(home: str, offline: Offline) -> int | None:
    """Task around `bring_online`, with the stores of the environment's profile."""
    settings = Settings()
    store = open_store(Path(home), settings.profile, redis_url=settings.redis_url, postgres_url=settings.postgres_url)
    return bring_online(store, Path(home), offline)


@flow(name="materialize")
def materialize_features(home: str, as_of_us: int | None = None) -> dict[str, Any]:
    """Build the offline tables of a home and bring them online; rows per table, JSON-able."""
    with held(Path(home) / RETRAIN_LOCK, "retrain"):
        offline = write_offline(home, as_of_us)
        online_from_us = write_online(home, offline)
    return {"rows": offline.rows, "as_of_us": offline.as_of_us, "online_from_us": online_from_us}


__all__ = ["Materialized", "Offline", "materialize", "materialize_features", "training_set", "write_tables"]
