"""Reader of typed tables, Parquet and Arrow, in chunks: every value as the text file of the same table would have it."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from flows.parse import Batch, FormatError, flat_batch
from models.arrays import Objects
from models.events.public_form import TEXTS
from models.events.sources import Source, object_array, raw_chunk, text_of

ROWS: Final = 30_000
STREAM: Final = "Arrow stream"
MAGIC: Final = {b"PAR1": "Parquet", b"ARRO": "Arrow", b"\xff\xff\xff\xff": STREAM}


def columnar(path: Path, source: Source) -> Iterator[Batch]:
    """Read a Parquet or an Arrow file, told apart by its first bytes.

    Raises
    ------
    ValueError
        If it is damaged, or has not the columns of the source.
    """
    import pyarrow as pa

    kind = MAGIC[path.open("rb").read(4)]
    try:
        names, _ = table_chunks(path, kind, None)
        by_document = source.flatten is not None and not set(source.reads) <= set(names)
        by_document |= source.flatten is not None and source.own is None
        needed = list(source.needs if by_document else source.reads or source.columns)
        missing = [name for name in needed if not _has(names, name, by_document)]
        if missing:
            raise FormatError(f"{path.name} is no {source.name} file: the columns {', '.join(missing)} are missing")
        first = 1
        for batch in table_chunks(path, kind, None if by_document else needed)[1]:
            yield _batch(batch, range(first, first + batch.num_rows), source, by_document)
            first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path.name} is a damaged {kind} file: write or fetch it again") from error


def _has(names: Sequence[str], name: str, by_document: bool) -> bool:
    return name in names or (by_document and name.split(".")[0] in names)


def table_chunks(path: Path, kind: str, columns: list[str] | None) -> tuple[list[str], Iterator[Any]]:
    if kind == "Parquet":
        import pyarrow.parquet as pq

        file = pq.ParquetFile(os.fspath(path))
        names = file.schema_arrow.names
        return names, file.iter_batches(ROWS, columns=columns and [name for name in columns if name in names])
    import pyarrow.ipc as ipc

    if kind == STREAM:
        stream = ipc.open_stream(os.fspath(path))
        return stream.schema.names, iter(stream)
    table = ipc.open_file(os.fspath(path))
    return table.schema.names, (table.get_batch(i) for i in range(table.num_record_batches))


def _batch(batch: Any, lines: Sequence[int], source: Source, by_document: bool) -> Batch:
    if by_document:
        return flat_batch([_document(row, source) for row in batch.to_pylist()], lines, source, [])
    names = source.reads or source.columns
    formerly = {name: object_array([text_of(value) for value in _values(batch.column(name))]) for name in names}
    columns = {name: _texts(batch.column(name), name, source, formerly[name]) for name in names}
    chunk = raw_chunk(columns)
    was = {name: formerly[name] for name in names if columns[name] is not formerly[name]}
    return Batch(source.own(chunk) if source.own else chunk, np.array(lines, dtype=np.int64), [], {} if source.own else was)


def _values(column: Any) -> list[Any]:
    """Python values of a column; texts where a time is beyond what Python has."""
    import pyarrow as pa

    try:
        return list(column.to_pylist())
    except (OverflowError, ValueError):
        return list(column.cast(pa.int64()).cast(pa.string()).to_pylist())


def _texts(column: Any, name: str, source: Source, formerly: Objects) -> Objects:
    """Texts of a column: times as the source writes them, and no more digits than a 32-bit float has."""
    import pyarrow as pa

    if pa.types.is_float16(column.type) or pa.types.is_float32(column.type):
        values = column.to_numpy(zero_copy_only=False)
        return object_array([text_of(float(str(value))) for value in values])
    if pa.types.is_timestamp(column.type):
        instants = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64()).to_pylist()
        return object_array([_time_text(at, column.type.tz, name, source) for at in instants])
    return formerly


def _time_text(at_us: int | None, zone: str | None, name: str, source: Source) -> str:
    if at_us is None:
        return ""
    if source.times is not None and source.times.column == name:
        return source.times.text(at_us, is_wall=zone is None)
    try:
        instant = datetime.fromtimestamp(at_us // 1_000_000, UTC).replace(microsecond=at_us % 1_000_000)
    except (OverflowError, ValueError, OSError):
        return str(at_us)  # no time at all: refused as such
    return (instant if zone else instant.replace(tzinfo=None)).isoformat(" ")


def _document(row: dict[str, Any], source: Source) -> dict[str, Any]:
    """A row as a JSON document: times as texts, UTC where they say no zone; of our own form also ids, which are texts there."""
    found = {name: _iso(value) if isinstance(value, datetime) else value for name, value in row.items()}
    if source.times is None:
        found |= {
            n: text_of(v) or None for n in TEXTS if isinstance(v := found.get(n), int | float) and not isinstance(v, bool)
        }
    return found


def _iso(value: datetime) -> str:
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
