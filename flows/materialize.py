"""Materialize: fold the valid log into the offline tables, then bring the newest values to the online store.

The tables are always whole: they are written and checked beside the old ones and renamed. Nothing here has to survive a kill:
the next run reads the log again, and the log's cursor moves only after the online store stands.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pandas as pd
from prefect import flow, task

from feature_repo import parts
from feature_repo.parts import Tables
from feature_repo.store import Profile, open_store
from flows import shuffle
from flows.check import REPORT, Fault, check_tables
from flows.expect import NOT_EMPTY, ValidationStopped
from flows.fold_tables import EVENTS_A_RANGE, FOLDS, RANGES, Folds, fold_tables
from flows.join import training_set
from flows.spill import spill
from flows.spread import spread
from flows.validate import RETRIES
from infra.layout import OFFLINE, OFFLINE_LOCK, REPORTS, RETRAIN_LOCK
from infra.lock import exclusive, held
from infra.settings import Settings
from infra.store.engines import open_store as open_log
from infra.store.events import quarantine_events
from infra.store.protocol import Store
from infra.store.statements.events import ANY_ITEM
from infra.store.statements.materialization import EARLIEST_JOINED, EARLIEST_OF, EARLIEST_SINCE
from models.features import tables as feature_tables
from models.features.sessions import sessionize
from models.schema import CLOCK_SKEW_S, ITEMS_VIEW, VIEW_KEY

if TYPE_CHECKING:
    from feast import FeatureStore

CURSOR: Final = "materialize"
DRAFTS: Final = ".drafts"  # parts that are not checked yet, below the offline folder
FAULTY: Final = "faulty"  # in it: where the events behind faults are looked for
TRIES: Final = 3  # at tables that pass, each without the events behind what failed before; then a person is asked


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


def write_tables(home: Path, as_of_us: int | None = None, folds: Folds = FOLDS, dask: str | None = None) -> Offline:
    """Fold what is new in the log into the offline tables; they change only if what is new passes its checks.

    Events behind a row that fails are held back in quarantine under the name of the check, and the log is folded again.

    Parameters
    ----------
    dask
        As for `flows.spread.spread`.

    Raises
    ------
    ValueError
        As `materialize`.
    """
    now_us = time.time_ns() // 1_000
    as_of_us = now_us if as_of_us is None else as_of_us
    if as_of_us > now_us + CLOCK_SKEW_S * 1_000_000:
        raise ValueError("the instant lies in the future: later runs would bring nothing online; leave it out for now")
    folder = home / OFFLINE
    for left in reversed(range(TRIES)):
        with closing(open_log(home)) as log, _drafts(folder) as drafts, spread(dask) as over:
            draft = fold_tables(log, folder, drafts, as_of_us, folds, spread=over)
            faults = check_tables(home, draft.new, as_of_us, draft.standing(folder))
            if not log.read(ANY_ITEM):  # then there is nothing that the item table could hold
                faults = [one for one in faults if (one.check, one.view) != (NOT_EMPTY, ITEMS_VIEW)]
            if not faults:
                with exclusive(home / OFFLINE_LOCK):
                    parts.take(folder, drafts, draft.tables)
                return _offline(log, folder, draft.tables)
            if not left or not _hold_back(log, drafts, as_of_us, faults, whole=left == 1):
                break
    raise ValidationStopped(
        f"the new feature tables were not taken into use: {'; '.join(map(str, faults))}; see {home / REPORTS / REPORT}; "
        "take visitors or events out with: attune quarantine hold"
    )


def _offline(log: Store, folder: Path, tables: Tables) -> Offline:
    tail, span = log.tail(CURSOR), (tables.last_seq, tables.as_of_us)
    seen, released = tail.position() or 0, msgspec.json.encode(tail.released()).decode()
    found = [log.read(EARLIEST_SINCE, (seen, *span))[0][0], log.read(EARLIEST_OF, (released, *span))[0][0]]
    found.append(log.read(EARLIEST_JOINED, (CURSOR,))[0][0])
    new_from_us = min((at_us for at_us in found if at_us is not None), default=None)
    return Offline(str(folder), tables.n_rows(), tables.as_of_us, tables.first_us, new_from_us, tables.last_seq)


def _hold_back(log: Store, drafts: Path, as_of_us: int, faults: Sequence[Fault], *, whole: bool) -> int:
    """Hold back the events behind faults; how many are newly held back. Visitors are looked at range by range."""
    spilled = spill(log, (log.tail("").end(), as_of_us), drafts / FAULTY)
    reasons: dict[int, str] = {}
    for file in shuffle.visitors(spilled, drafts / FAULTY / RANGES, EVENTS_A_RANGE):
        frame = sessionize(shuffle.frame_of(file))
        for fault in faults:
            found = feature_tables.behind(frame, VIEW_KEY[fault.view], fault.first_us, whole=whole)
            reasons = dict.fromkeys(found, str(fault)) | reasons
    return log.write(lambda transaction: quarantine_events(transaction, reasons.items(), anyway=True))


@contextmanager
def _drafts(folder: Path) -> Iterator[Path]:
    drafts = folder / DRAFTS
    shutil.rmtree(drafts, ignore_errors=True)  # of a run that was killed
    drafts.mkdir(parents=True)
    yield drafts
    shutil.rmtree(drafts, ignore_errors=True)


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
def write_offline(home: str, as_of_us: int | None, dask: str | None = None) -> Offline:
    """Task around `write_tables`; the one that drives a cluster, if there is one."""
    return write_tables(Path(home), as_of_us, dask=dask)


@task(name="bring features online", **RETRIES)
def write_online(home: str, offline: Offline) -> int | None:
    """Task around `bring_online`, with the stores of the environment's profile."""
    settings = Settings()
    store = open_store(Path(home), settings.profile, redis_url=settings.redis_url, postgres_url=settings.postgres_url)
    return bring_online(store, Path(home), offline)


@flow(name="materialize")
def materialize_features(home: str, as_of_us: int | None = None, dask: str | None = None) -> dict[str, Any]:
    """Build the offline tables of a home and bring them online; rows per table, JSON-able."""
    with held(Path(home) / RETRAIN_LOCK, "retrain"):
        offline = write_offline(home, as_of_us, dask)
        online_from_us = write_online(home, offline)
    return {"rows": offline.rows, "as_of_us": offline.as_of_us, "online_from_us": online_from_us}


__all__ = ["Materialized", "Offline", "materialize", "materialize_features", "training_set", "write_tables"]
