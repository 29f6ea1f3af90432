"""Shuffle: the log from the order in which it was written to whole visitors, and to the order of time; on disk, not in memory.

The log is read once, into Parquet files. DuckDB sorts these a stretch after the other, each of about `SORT_ROWS` events, within
a limit of memory however long the log is; what comes out is written again: files of whole visitors, each of about as many
events, that anybody may fold by itself. Visitors are pseudonyms, keyed hashes: a range of them is as good as a share of them
by another hash, and no larger than the others.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from feature_repo.parts import written
from infra.store.events import collector_off
from infra.store.statements import offline as sql
from infra.store.transaction import Row
from models.schema import MEASURES

if TYPE_CHECKING:
    import pandas as pd
    from pyarrow import ChunkedArray, RecordBatch, Schema, Table

SPILLED_ROWS: Final = 50_000  # rows that are Python objects at one time
FILE_ROWS: Final = 500_000
BATCH_ROWS: Final = 20_000  # that come out of a sort at one time
THREADS: Final = 2  # of a sort; one more needs a part of the memory more
SORT_BYTES: Final = 512_000_000
SORT_ROWS: Final = 8_000_000  # events that are sorted at one time: 14 million fitted into 244 MiB, 52 did not
SAMPLE_ROWS: Final = 20_000  # of each file, by which a stretch is cut
_INTEGERS: Final = {"seq": "int64", "occurred_at_us": "int64", "utc_offset_min": "int16", "believed": "int8"}


def schema_of(names: Sequence[str]) -> "Schema":
    """Types of some columns of the log."""
    import pyarrow as pa

    kinds = {**_INTEGERS, **dict.fromkeys(MEASURES, "float64")}
    return pa.schema([(name, getattr(pa, kinds.get(name, "string"))()) for name in names])


def spill(
    rows: Iterable[Row], names: Sequence[str], folder: Path, at_once: int = SPILLED_ROWS, file_rows: int = FILE_ROWS
) -> list[Path]:
    """Write rows of the log to files as they come.

    Parameters
    ----------
    names
        Their columns.
    folder
        Is made.
    at_once, file_rows
        Rows that are Python objects at one time, and rows of a file.
    """
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    schema, files, found = schema_of(names), list[Path](), iter(rows)
    with collector_off():
        while first := list(islice(found, at_once)):
            files.append(folder / f"{len(files):05d}.parquet")
            with pq.ParquetWriter(files[-1], schema, **written(schema)) as file:
                more = (list(islice(found, at_once)) for _ in range(file_rows // at_once - 1))
                for some in chain([first], more):
                    file.write_table(_table(some, schema))
    return files


def _table(rows: Sequence[Row], schema: "Schema") -> "Table":
    import pyarrow as pa

    values, width = list(chain.from_iterable(rows)), len(schema)
    return pa.table([pa.array(values[i::width], kind) for i, kind in enumerate(schema.types)], schema)


def first_us(files: Sequence[Path]) -> int:
    """Instant of the earliest of spilled events."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    return min(int(pc.min(pq.ParquetFile(file).read(["occurred_at_us"])["occurred_at_us"]).as_py()) for file in files)


def visitors(files: Sequence[Path], folder: Path, n_events: int, sort_rows: int = SORT_ROWS) -> list[Path]:
    """Write spilled events anew, as files of whole visitors, each visitor's in the order of the log.

    Parameters
    ----------
    folder
        Is made.
    n_events
        In each file, about; more where one visitor has more.
    sort_rows
        Events that are sorted at one time, about.
    """
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    found = list[Path]()
    for rows in _whole(_sorted(sql.BY_VISITOR, files, folder, _stretches(files, "user_id", sort_rows)), n_events):
        found.append(folder / f"{len(found):05d}.parquet")
        pq.write_table(rows, found[-1], **written(rows.schema))
    return found


def _whole(batches: "Iterable[RecordBatch]", n_events: int) -> "Iterator[Table]":
    """Cut rows that are sorted by visitor where one ends, so that about so many are together."""
    import pyarrow as pa

    waiting: Any = None
    for batch in batches:
        rows = pa.Table.from_batches([batch])
        waiting = rows if waiting is None else pa.concat_tables([waiting, rows])
        while waiting.num_rows >= n_events and (cut := _end(waiting["user_id"], n_events)):
            yield waiting.slice(0, cut)
            waiting = waiting.slice(cut)
    if waiting is not None and waiting.num_rows:
        yield waiting


def _end(users: "ChunkedArray", n_events: int) -> int:
    """Row behind the last visitor who ends among the first so many, else behind the first visitor; 0 if nobody ends."""
    import pyarrow.compute as pc

    ends = np.flatnonzero(pc.not_equal(users[1:], users[:-1]).to_numpy()) + 1
    within = ends[: np.searchsorted(ends, n_events, "right")]
    return int(within[-1]) if len(within) else int(ends[0]) if len(ends) else 0


def in_time(files: Sequence[Path], folder: Path, sort_rows: int = SORT_ROWS) -> "Iterator[pd.DataFrame]":
    """Spilled events about items, as the item fold needs them, in the order in which they happened, some at a time."""
    for batch in _sorted(sql.BY_INSTANT, files, folder, _stretches(files, "occurred_at_us", sort_rows)):
        yield batch.to_pandas()


def _sorted(
    statement: str, files: Sequence[Path], folder: Path, stretches: "Iterable[tuple[Any, Any]]"
) -> "Iterator[RecordBatch]":  # fmt: skip
    import duckdb

    limit = f"{SORT_BYTES // 1_000}KB"
    for after, until in stretches:
        with duckdb.connect(config={"memory_limit": limit, "threads": THREADS, "temp_directory": str(folder)}) as connection:
            given = {"files": list(map(str, files)), "after": after, "until": until}
            yield from connection.execute(statement, given).to_arrow_reader(BATCH_ROWS)


def _stretches(files: Sequence[Path], column: str, n_rows: int) -> list[tuple[Any, Any]]:
    """Cut what spilled events have in a column into stretches of about so many events: after what, until what; None is open."""
    import pyarrow.parquet as pq

    if not files:
        return []
    n = -(-sum(pq.read_metadata(file).num_rows for file in files) // n_rows)
    if n == 1:
        return [(None, None)]
    sample = sorted(value for file in files for value in _beginning(file, column))
    cuts = sorted({sample[k * len(sample) // n] for k in range(1, n)})
    return list(zip([None, *cuts], [*cuts, None], strict=True))


def _beginning(file: Path, column: str) -> list[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as opened:
        found: list[Any] = next(opened.iter_batches(SAMPLE_ROWS, columns=[column])).column(0).to_pylist()
    return found


def frame_of(file: Path) -> "pd.DataFrame":
    """Event frame of a file of `visitors`, with `seq` and `partner`."""
    import pyarrow.parquet as pq

    found: pd.DataFrame = pq.ParquetFile(file).read().to_pandas()
    return found
