"""Look at a file before anything of it is kept: who reads it, and whether it is what it is said to be."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd

from flows.columnar import MAGIC
from flows.parse import FormatError
from flows.read import batches, open_file, text_blocks
from flows.sample import sample
from models.events.public_form import CONTEXT
from models.events.sources import Source, as_lines, protect, source
from models.events.sources.attune import ATTUNE
from models.events.sources.guess import looks_like
from models.events.sources.maps import OWN_NAMES, TableMap, source_of_map

_LATE_US: Final = 2**62  # a clock for which nothing lies ahead: that is judged when rows are kept
_HEAD_BYTES: Final = 256 << 10


class OtherFormatError(FormatError):
    """A file none of whose first rows can be read, while another format would read them."""


class Look(NamedTuple):
    """First rows of a file: their number, and how many of them would be refused for which reason."""

    n_rows: int
    refused: Counter[str]


def reader(path: Path, format: str, table: TableMap | None = None) -> Source:
    """The source that reads a file: by its map; by our own names, for a CSV file of the format `attune`; else by its format."""
    adapter = source(format)
    container = _container(path)
    if table is None and adapter is not ATTUNE:
        if container == "csv" and adapter.container == "jsonl":
            return replace(adapter, container="csv")  # its documents as rows, lists and objects as JSON in their cells
        return as_lines(adapter) if container == "jsonl" and adapter.container == "csv" else adapter
    if table is not None:
        return source_of_map(table, "jsonl" if container == "jsonl" else "csv")
    return source_of_map(_own_names(path)) if container == "csv" else ATTUNE


def _container(path: Path) -> str:
    with open_file(path) as file:
        if file.peek(4)[:4] in MAGIC:
            return "parquet"
        head = next(text_blocks(path.name, file, _HEAD_BYTES), b"").lstrip(b"\x1e \r\n\t")
    if not head:
        return "nothing"
    return "jsonl" if head.startswith((b"{", b"[", b'"{')) else "csv"


def _own_names(path: Path) -> TableMap:
    """The map of a CSV file with our own names: those that its header has."""
    try:
        header = {name.casefold() for name in sample(path).header}
    except ValueError as error:
        if "two columns" in str(error):
            raise
        header = set()
    if missing := [name for name in ("user_id", "type", "ts") if name not in header]:
        raise FormatError(
            f"{path.name} is no attune file: expected JSON lines, one object a line, or a table with our own names; "
            f"missing: {', '.join(missing)}{hint(path, 'attune')}"
        )
    columns: dict[str, str] = {ours: ours for ours in OWN_NAMES.columns if ours in header}
    for ours in CONTEXT:
        if f"context.{ours}" in header or ("context" in header and ours not in header):
            columns[ours] = f"context.{ours}"
    return TableMap(columns)


def look_at(path: Path, format: str, table: TableMap | None = None) -> Look:
    """Judge the first rows of a file, and keep nothing.

    Raises
    ------
    ValueError, OSError
        What reading it would raise at its first rows, with the format that it looks like, if another one.
    """
    adapter = reader(path, format, table)
    try:
        batch = next(batches(path, adapter, lambda _: None), None)
    except FormatError as error:
        raise FormatError(f"{error}{hint(path, format) if table is None else ''}") from error
    if batch is None:
        return Look(0, Counter())
    reasons: Any = adapter.to_events(protect(adapter, batch.raw, bytes(32)), _LATE_US).reasons
    refused = Counter([str(reason) for reason in reasons[pd.notna(reasons)]] + [line.reason for line in batch.unreadable])
    found = Look(len(reasons) + len(batch.unreadable), refused)
    if table is None and found.n_rows and refused.total() == found.n_rows and (other := other_format(path, format)):
        raise OtherFormatError(f"{path.name}: none of its first {found.n_rows} rows is {format}; {other}")
    return found


def hint(path: Path, format: str) -> str:
    """End of a message about a file that is not of its format: what it might be."""
    other = other_format(path, format)
    return f"; {other}" if other else "; for another table, let a map be guessed: attune ingest FILE --guess"


def other_format(path: Path, format: str) -> str | None:
    """Another format that a file looks like, in words; None where there is none."""
    try:
        name = looks_like(sample(path))
    except (ValueError, OSError):
        return None
    return f"this looks like {name}: use --format {name}" if name not in (None, format) else None
