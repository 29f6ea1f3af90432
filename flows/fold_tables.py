"""Fold tables: the log into parts of the offline tables, all of it or what has changed since the fold before.

Everything is folded a range of visitors at a time (`flows/shuffle.py`), here or on a cluster (`flows/spread.py`), so that
memory hardly grows with the log. Later only visitors of whom something is new are folded again, over their whole history.
Where what is new is later than what was known, which is the rule, their new rows are added and the old ones stand; else (a
late event, an event held back or released) their rows are taken out of the parts before and written anew. Item features are
told hour by hour over all visitors (`flows/fold_items.py`).

All is folded again when other code folds, when the tables reach further than asked, when a third of the log is new, and when
retention has let go of events, a week after the last time.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import pandas as pd

from feature_repo.parts import Tables, read, written
from flows import fold_items, shuffle
from flows.fold_items import SPILLED, ItemsOf
from flows.spill import spill
from flows.spread import Spread, here
from infra.store.events import collector_off, frame_of
from infra.store.protocol import Store
from infra.store.statements import materialization as sql
from infra.store.statements import offline
from infra.store.statements.events import EVENTS_SINCE, N_EVENTS, READ_USERS, USERS_SINCE
from models.events.encode import encode
from models.features import tables as feature_tables
from models.features.sessions import owner_key, sessionize
from models.kernels import fingerprint
from models.schema import (
    DAY_US,
    INSTANT,
    ITEMS_VIEW,
    RECENT_ITEMS_VIEW,
    SESSIONS_VIEW,
    USERS_VIEW,
    VIEW_KEY,
)

if TYPE_CHECKING:
    from pyarrow import Schema

EVENTS_A_RANGE: Final = 200_000
USERS_A_READ: Final = 2_000
ROWS_A_PART: Final = 50_000  # what is written anew where a visitor's rows have to go
RANGES: Final = "ranges"  # folder of drafts: files of whole visitors
SMALL_PARTS: Final = 24  # of later folds, before they are joined into one
MOST_NEW: Final = 0.3  # share of the log; beyond it, folding everything is quicker
FULL_AGAIN_US: Final = 7 * DAY_US  # after retention has let go of events
MARGIN_US: Final = 3_600_000_000  # a release is dated when it begins and seen when it is over
USER_TABLES: Final = (SESSIONS_VIEW, USERS_VIEW, RECENT_ITEMS_VIEW)
FORMAT: Final = 1  # of what is folded here; the folds themselves are known by their sources

UsersOf = Callable[[pd.DataFrame, Mapping[str, int] | None], Iterable[tuple[str, pd.DataFrame]]]


class Folds(NamedTuple):
    """The folds that make the tables: those of visitors, and that of items."""

    users: UsersOf
    items: ItemsOf


class How(NamedTuple):
    """A way to fold everything.

    Attributes
    ----------
    folds
        The folds.
    events_a_range
        About so many events are in memory at a time.
    spread
        Where visitors are folded.
    """

    folds: Folds
    events_a_range: int
    spread: Spread


class Draft(NamedTuple):
    """Tables that are not in use yet.

    Attributes
    ----------
    tables
        The list as it shall be.
    new
        What of it lies in the folder of drafts, by table; the other parts stand already.
    """

    tables: Tables
    new: dict[str, list[Path]]

    def standing(self, folder: Path) -> dict[str, list[Path]]:
        """The parts that stand already, by table."""
        drafted = {view: {file.name for file in files} for view, files in self.new.items()}
        return {
            view: [folder / f"{view}.parquet" / name for name in names if name not in drafted[view]]
            for view, names in self.tables.parts.items()
        }


def user_tables(frame: pd.DataFrame, since_us: Mapping[str, int] | None) -> Iterator[tuple[str, pd.DataFrame]]:
    """The tables of some visitors, one after the other, so that only one is in memory.

    Parameters
    ----------
    frame
        All valid events of the visitors.
    since_us
        Only rows after an instant, by visitor; all rows of a visitor without one.
    """
    frame = sessionize(frame)
    encoded = encode(frame)
    since = None if since_us is None else feature_tables.since(frame["user_id"], since_us)
    frame = frame[["session_id", "user_id"]]
    yield SESSIONS_VIEW, feature_tables.of_sessions(frame, encoded.events, since)
    users, recent = feature_tables.of_users(frame, encoded.events, encoded.item_ids, since)
    yield USERS_VIEW, users
    yield RECENT_ITEMS_VIEW, recent


FOLDS: Final = Folds(user_tables, feature_tables.items_from)


class Parts:
    """Writer of a fold's parts.

    Parameters
    ----------
    drafts
        Where they go: a folder per table.
    generation
        Number of the fold.
    prefix
        Of the names of the parts, behind that number: no other writer of the fold has it.
    """

    def __init__(self, drafts: Path, generation: int, prefix: str = "") -> None:
        self._drafts = drafts
        self._named = f"{generation:06d}-{prefix}"
        self.rows: dict[str, dict[str, int]] = {view: {} for view in VIEW_KEY}

    def write(self, view: str, table: pd.DataFrame, at_least: int = 0) -> list[str]:
        """Write a table's rows; the names of the parts. A table without rows leaves nothing, unless a part is asked for."""
        import pyarrow as pa

        size = -(-len(table) // -(-len(table) // ROWS_A_PART)) if len(table) else 1  # of parts about equally large
        slices = (table.iloc[at : at + size] for at in range(0, max(len(table), at_least), size))
        schema = _schema(table)
        return [self.put(view, pa.Table.from_pandas(one, schema=schema, preserve_index=False)) for one in slices]

    def put(self, view: str, rows: Any) -> str:
        """Write one part; its name."""
        import pyarrow.parquet as pq

        folder = self._drafts / f"{view}.parquet"
        folder.mkdir(exist_ok=True)
        name = f"{self._named}{len(self.rows[view]):05d}.parquet"
        pq.write_table(rows, folder / name, **written(rows.schema))
        self.rows[view][name] = rows.num_rows
        return name

    def files(self) -> dict[str, list[Path]]:
        """The parts so far, by table."""
        return {view: [self._drafts / f"{view}.parquet" / name for name in names] for view, names in self.rows.items()}


def _schema(table: pd.DataFrame) -> "Schema":
    """Types of a table's columns, the same for every part, whatever is in it."""
    import pyarrow as pa

    def of(name: str, dtype: Any) -> Any:
        if name == INSTANT:
            return pa.timestamp("us", "UTC")
        if dtype.kind != "O":
            return pa.from_numpy_dtype(dtype)
        return pa.string() if name in VIEW_KEY.values() else pa.list_(pa.string())

    return pa.schema([(str(name), of(str(name), table[name].dtype)) for name in table.columns])


def code() -> str:
    """Fingerprint of what folds: other tables come of another one."""
    return f"{FORMAT}-{fingerprint('models.features.tables')}"


def fold_tables(
    log: Store,
    folder: Path,
    drafts: Path,
    as_of_us: int,
    folds: Folds = FOLDS,
    events_a_range: int = EVENTS_A_RANGE,
    spread: Spread = here,
) -> Draft:
    """Write parts of the offline tables as of an instant into a folder of drafts.

    Parameters
    ----------
    folder
        The tables as they stand, if there are any.
    events_a_range
        About so many events are in memory at a time.
    spread
        Where visitors are folded, if all are.

    Raises
    ------
    ValueError
        If the log holds no valid event until then.
    """
    now_us, span, before = time.time_ns() // 1_000, (log.tail("").end(), as_of_us), read(folder)
    first_seq = log.read(sql.FIRST_SEQ)[0][0]
    if before is None or _starts_anew(log, before, span, first_seq, now_us):
        generation = before.generation + 1 if before else 1
        return _everything(log, drafts, span, (now_us, first_seq), generation, How(folds, events_a_range, spread))
    return _changes(log, folder, drafts, before, span, now_us, folds)


def _starts_anew(log: Store, before: Tables, span: tuple[int, int], first_seq: int, now_us: int) -> bool:
    is_let_go = first_seq > before.full_first_seq and now_us - before.full_at_us > FULL_AGAIN_US
    if before.made_by != code() or span[1] < before.as_of_us or is_let_go:
        return True
    return bool(log.read(EVENTS_SINCE, (_unseen_after(before),))[0][0] > MOST_NEW * log.read(N_EVENTS)[0][0])


def _unseen_after(before: Tables) -> int:
    return before.last_seq if before.ahead_seq is None else min(before.last_seq, before.ahead_seq - 1)


def _everything(log: Store, drafts: Path, span: tuple[int, int], begun: tuple[int, int], generation: int, how: How) -> Draft:
    spilled = spill(log, span, drafts / SPILLED)
    if not spilled:
        raise ValueError(
            "the event log holds no valid event until then: bring events with attune ingest FILE --format F, "
            "or see what is held back with attune quarantine list"
        )
    parts, ranges = Parts(drafts, generation), shuffle.visitors(spilled, drafts / RANGES, how.events_a_range)
    for file, found in zip(ranges, how.spread(partial(fold_range, how.folds.users, drafts, generation), ranges), strict=True):
        file.unlink()
        parts.rows = {view: rows | found[view] for view, rows in parts.rows.items()}
    touches = shuffle.in_time(spilled, drafts / SPILLED)
    item_parts = fold_items.everything(touches, drafts, parts.write, generation, span[1], how.folds.items)
    tables = Tables(
        made_by=code(), as_of_us=span[1], last_seq=span[0], ahead_seq=log.read(sql.FIRST_AHEAD, (0, *span))[0][0],
        folded_at_us=begun[0], full_at_us=begun[0], full_first_seq=begun[1], first_us=shuffle.first_us(spilled),
        generation=generation, parts=parts.rows, item_parts_us=item_parts,
    )  # fmt: skip
    return Draft(tables, parts.files())


def fold_range(fold: UsersOf, drafts: Path, generation: int, file: Path) -> dict[str, dict[str, int]]:
    """Fold the visitors of a file into parts of their own; names and rows of these, by table. May be done again."""
    parts = Parts(drafts, generation, f"{file.stem}-")
    with collector_off():
        frame = shuffle.frame_of(file)
    for view, table in fold(frame, None):
        parts.write(view, table)
    return parts.rows


def _changes(log: Store, folder: Path, drafts: Path, before: Tables, span: tuple[int, int], now_us: int, folds: Folds) -> Draft:
    parts, after, since_us = Parts(drafts, before.generation + 1), _unseen_after(before), before.folded_at_us - MARGIN_US
    changed: dict[str, int] = dict(log.read(sql.CHANGED, (before.last_seq, since_us)))
    stale = changed.keys() | {user for (user,) in log.read(sql.ERASED, (since_us,))}
    users = stale | {user for user, _ in log.read(USERS_SINCE, (after, span[0], before.last_seq, before.as_of_us))}
    for frame in _of_users(log, sorted(users), span):
        standing = feature_tables.standing(frame, before.last_seq, before.as_of_us, stale)
        stale = stale | standing.stale
        for view, table in folds.users(frame, standing.until_us):
            parts.write(view, table)
    kept = {view: dict(rows) for view, rows in before.parts.items()}
    for view in USER_TABLES:
        _take_out(folder, parts, view, kept[view], stale)
        _join_small(folder, parts, view, kept[view])
    new_us = log.read(sql.EARLIEST_SINCE, (before.last_seq, *span))[0][0]
    earliest_us = min([at_us for at_us in (*changed.values(), new_us, before.as_of_us) if at_us is not None])
    item_parts = fold_items.changes(log, folder, drafts, parts.write, before, span, earliest_us, folds.items)
    kept[ITEMS_VIEW] = {name: n for name, n in kept[ITEMS_VIEW].items() if name in item_parts}
    tables = replace(
        before, as_of_us=span[1], last_seq=span[0], ahead_seq=log.read(sql.FIRST_AHEAD, (after, *span))[0][0],
        folded_at_us=now_us, first_us=min(before.first_us, earliest_us), generation=before.generation + 1,
        parts={view: {**kept[view], **parts.rows[view]} for view in kept}, item_parts_us=item_parts,
    )  # fmt: skip
    return Draft(tables, parts.files())


def _of_users(log: Store, users: list[str], span: tuple[int, int]) -> Iterator[pd.DataFrame]:
    """All valid events of some visitors, many at a time."""
    for at in range(0, len(users), USERS_A_READ):
        asked = msgspec.json.encode(users[at : at + USERS_A_READ]).decode()
        with collector_off():
            frame = frame_of(log.read(READ_USERS, (asked, span[0])))
        frame = frame[frame["occurred_at_us"] <= span[1]]
        if len(frame):
            yield frame.reset_index(drop=True)


def _take_out(folder: Path, parts: Parts, view: str, kept: dict[str, int], users: Collection[str]) -> None:
    """Write the parts that hold rows of some visitors anew without them."""
    import duckdb
    import pyarrow.parquet as pq

    if not users or not kept:
        return
    table, asked = folder / f"{view}.parquet", [owner_key(None, user) for user in users]
    with duckdb.connect(config={"memory_limit": "1GB"}) as connection:
        found = connection.execute(offline.FILES_WITH[view], [[str(table / name) for name in kept], asked]).fetchall()
    gone = set(asked)
    for name in sorted(Path(file).name for (file,) in found):
        rows = pq.ParquetFile(table / name).read()
        left = [owner not in gone for owner in feature_tables.owners(view, rows[VIEW_KEY[view]].to_pylist())]
        del kept[name]
        if any(left):
            parts.put(view, rows.filter(left))


def _join_small(folder: Path, parts: Parts, view: str, kept: dict[str, int]) -> None:
    """Make one of the small parts that many folds have left."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    small = [name for name, n in kept.items() if n < ROWS_A_PART // 2]
    if len(small) > SMALL_PARTS:
        parts.put(view, pa.concat_tables(pq.ParquetFile(folder / f"{view}.parquet" / name).read() for name in small))
        for name in small:
            del kept[name]
