"""Archive of the event log: ranges of its positions as Parquet files in object storage, and a row of the store for each file.

A range goes into one file for each day on which its events happened and each shard of visitors, so that retention removes days
and an erasure looks at few files. A file is told of before it is written (``draft``), counts from the transaction that moves
the archive's cursor (``kept``), and is told of until it is removed (``gone``). So whoever is killed, and whenever, leaves no
file that nobody knows, no range twice and none missing.

Rows are as they were when they were archived. Later two things change in the store: visitors are joined with users, and users
are erased. `rows_of` reads as if the file had changed with it; `forget` writes the files of erased users anew without them. A
range whose reader may have read somebody who was erased meanwhile is not kept but read again.
"""

import json
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from infra.object_store import ObjectStore
from infra.store.protocol import LogTail, Row, Store, Transaction
from infra.store.statements import archive as sql
from infra.store.statements import erasure
from models import user_shards
from models.schema import DAY_US, MEASURES, MONEY

if TYPE_CHECKING:
    from pyarrow import Schema, Table

CURSOR: Final = "archive"
FOLDER: Final = "archive"
SHARDS: Final = 8
LEFT_US: Final = 600_000_000  # after which nobody can be writing a draft any more
_INTEGERS: Final = frozenset(("seq", "occurred_at_us", "received_at_us", "utc_offset_min", "browser", "believed"))
_NUMBERS: Final = frozenset((*MEASURES, *MONEY))


class File(NamedTuple):
    """One file of the archive: rows of a range of positions, of a day (since 1970 UTC) and a shard of visitors."""

    name: str
    first_seq: int
    last_seq: int
    day: int
    shard: int
    n_rows: int


class Changed(NamedTuple):
    """Changes since events were archived, as a reader has to know them.

    Attributes
    ----------
    erased_us
        Until when each erased visitor's events are gone.
    joined
        Whom an anonymous visitor is known as.
    """

    erased_us: Mapping[str, int]
    joined: Mapping[str, str]


def shard_of(user_id: str) -> int:
    """Shard of a visitor.

    Examples
    --------
    >>> shard_of("a"), shard_of("b")
    (3, 1)
    """
    return user_shards.shard_of(user_id) % SHARDS


def schema() -> "Schema":
    """Types of the columns, in the order of `infra.store.statements.archive.ARCHIVED_COLUMNS`."""
    import pyarrow as pa

    def kind(name: str) -> Any:
        return pa.int64() if name in _INTEGERS else pa.float64() if name in _NUMBERS else pa.string()

    return pa.schema([(name, kind(name)) for name in sql.ARCHIVED_COLUMNS])


def keep(store: Store, objects: ObjectStore, tail: LogTail, after: int, until: int, now_us: int) -> bool:
    """Archive the events between two positions; False if others were faster, or somebody was erased meanwhile.

    Parameters
    ----------
    tail
        Of the archive's cursor, which stands at `after`.
    """
    erased = store.read(erasure.N_ERASED)
    files = _files(store.stream(sql.RANGE, (after, until)))
    store.write(lambda transaction: transaction.executemany(sql.DRAFT, [(*file, now_us) for file, _ in files]))
    for file, rows in files:
        objects.write(file.name, _packed(rows))

    def done(transaction: Transaction) -> None:
        if transaction.read(erasure.N_ERASED) != erased or not tail.move_from(transaction, after, until, now_us):
            raise _NotKeptError
        if transaction.executemany(sql.KEEP, [(now_us, file.name) for file, _ in files]) < len(files):
            raise _NotKeptError

    try:
        store.write(done)
    except _NotKeptError:
        let_go(store, objects, [file.name for file, _ in files], now_us)
        return False
    return True


class _NotKeptError(Exception):
    """Undoes a transaction."""


def _files(rows: Iterator[Row]) -> "list[tuple[File, Table]]":
    """Rows of a range as one table for each day and shard."""
    import pyarrow as pa

    columns, kinds = {name: at for at, name in enumerate(sql.ARCHIVED_COLUMNS)}, schema()
    user, instant = columns["user_id"], columns["occurred_at_us"]
    found: defaultdict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in rows:
        found[row[instant] // DAY_US, shard_of(row[user])].append(row)
    files = []
    for (day, shard), some in sorted(found.items()):
        table = pa.table(
            [pa.array(column, kind) for column, kind in zip(zip(*some, strict=True), kinds.types, strict=True)], kinds
        )
        files.append((_named(some[0][0], some[-1][0], day, shard, len(some)), table))
    return files


def _named(first_seq: int, last_seq: int, day: int, shard: int, n_rows: int) -> File:
    date = datetime.fromtimestamp(day * DAY_US / 1e6, UTC).date()
    name = f"{FOLDER}/day={date}/shard={shard}/{first_seq}-{last_seq}-{secrets.token_hex(4)}.parquet"
    return File(name, first_seq, last_seq, day, shard, n_rows)


def _packed(rows: "Table") -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    return bytes(sink.getvalue())


def _unpacked(data: bytes) -> "Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.read_table(pa.BufferReader(data))


def let_go(store: Store, objects: ObjectStore, names: Sequence[str], now_us: int) -> None:
    """Take files out of the archive, and remove them."""
    store.write(lambda transaction: transaction.executemany(sql.LET_GO, [(now_us, name) for name in names]))
    for name in names:
        objects.remove(name)


def sweep(store: Store, objects: ObjectStore, now_us: int) -> None:
    """Remove files that do not count, and old drafts of killed steps; told of until nobody can be writing them any more."""
    store.write(lambda transaction: transaction.execute(sql.LET_DRAFTS_GO, (now_us, now_us - LEFT_US)))
    for name, at_us in store.read(sql.GONE):
        objects.remove(name)
        if at_us < now_us - LEFT_US:
            store.write(lambda transaction, name=name: transaction.execute(sql.FORGET, (name,)))  # type: ignore[misc]


def forget_days(store: Store, before_us: int, now_us: int) -> int:
    """Let the days go on which everything happened before an instant; how many files."""
    return store.write(lambda transaction: transaction.execute(sql.LET_DAYS_GO, (now_us, before_us // DAY_US)))


def forget(store: Store, objects: ObjectStore, users: Sequence[str], now_us: int) -> Counter[str] | None:
    """Write the files of erased users anew without them; how many rows went, by user.

    None if it must be done again: somebody else wrote one of the files anew, or a range is being archived that may hold them.
    """
    sweep(store, objects, now_us)
    asked = json.dumps(list(users))
    erased = {str(user): int(at_us) for user, at_us in store.read(sql.ERASED_AT, (asked,))}
    shards = json.dumps(sorted({shard_of(user) for user in users}))
    is_whole, gone = not store.read(sql.ANY_DRAFT), Counter[str]()
    for file in [File(*row) for row in store.read(sql.KEPT_OF, (shards,))]:
        found = _without(store, objects, file, erased, now_us)
        is_whole = is_whole and found is not None
        gone += found or Counter()
    return gone if is_whole else None


def _without(store: Store, objects: ObjectStore, file: File, erased: Mapping[str, int], now_us: int) -> Counter[str] | None:
    """Write a file anew without erased users; None if somebody else did."""
    rows = _unpacked(objects.read(file.name))
    is_gone = _are_erased(rows, erased)
    users = rows["user_id"].to_pylist()
    gone = Counter(user for user, is_erased in zip(users, is_gone, strict=True) if is_erased)
    if not gone:
        return gone
    left = rows.filter([not one for one in is_gone])
    new = [_named(file.first_seq, file.last_seq, file.day, file.shard, left.num_rows)] if left.num_rows else []
    store.write(lambda transaction: transaction.executemany(sql.DRAFT, [(*one, now_us) for one in new]))
    for one in new:
        objects.write(one.name, _packed(left))

    def instead(transaction: Transaction) -> bool:
        if not transaction.execute(sql.LET_GO, (now_us, file.name)):
            return False
        return transaction.executemany(sql.KEEP, [(now_us, one.name) for one in new]) == len(new)

    if store.write(instead):
        objects.remove(file.name)
        return gone
    let_go(store, objects, [one.name for one in new], now_us)
    return None


def _are_erased(rows: "Table", erased_us: Mapping[str, int]) -> list[bool]:
    """Flag of each row whose visitor is erased, and who had done it, or of whom it had come, by then."""
    columns = (rows[name].to_pylist() for name in ("user_id", "occurred_at_us", "received_at_us"))
    until = erased_us.get
    return [min(at_us, came_us) <= until(user, -1) for user, at_us, came_us in zip(*columns, strict=True)]


def changed(store: Store) -> Changed:
    """All erasures and joins of visitors."""
    erased = {str(user): int(at_us) for user, at_us in store.read(sql.ALL_ERASED)}
    return Changed(erased, dict(store.read(sql.ALL_JOINED)))


def files(store: Store) -> list[File]:
    """Files that hold the log up to the archive's cursor."""
    return [File(*row) for row in store.read(sql.KEPT)]


def rows_of(objects: ObjectStore, file: File, since: Changed) -> "Table":
    """Rows of a file as the store would have them now."""
    import pyarrow as pa

    rows = _unpacked(objects.read(file.name))
    if since.erased_us:
        rows = rows.filter([not one for one in _are_erased(rows, since.erased_us)])
    if not since.joined:
        return rows
    known = pa.array([since.joined.get(user, user) for user in rows["user_id"].to_pylist()], pa.string())
    rows = rows.set_column(rows.schema.get_field_index("user_id"), "user_id", known)
    return rows.filter([not one for one in _are_erased(rows, since.erased_us)]) if since.erased_us else rows


__all__ = ["CURSOR", "Changed", "File", "changed", "files", "forget", "forget_days", "keep", "rows_of", "sweep"]
