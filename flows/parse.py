"""Parser of a block of whole lines, or a Parquet file: rows with their lines, and the lines that are no rows.

A line of a text file is a row: formats whose quoted fields span lines do not occur among our sources, and so a stray quote can
cost one line, never the rest of the file. Three containers in one file: they share what a row and an unreadable line are.
"""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from models.events.json_text import with_whole_characters
from models.events.sources import Source, object_array, raw_chunk, text_of

PARQUET_ROWS: Final = 30_000
CSV_ROWS: Final = 500  # that are lists at one time
_DECODER: Final = msgspec.json.Decoder()


class Unreadable(NamedTuple):
    """A line that is no row: its number, its text and what was expected."""

    line: int
    text: str
    reason: str


class Batch(NamedTuple):
    """A raw chunk.

    Attributes
    ----------
    raw
        Columns of the source, one row per event.
    lines
        Line of the file that each row came from, from 1; shape (n_rows,).
    unreadable
        Lines that gave no row.
    """

    raw: pd.DataFrame
    lines: npt.NDArray[np.int64]
    unreadable: list[Unreadable]


def _lines(block: bytes, first: int) -> tuple[list[str], list[int], list[Unreadable]]:
    """Texts and numbers of the lines of a block that are not blank, and the lines that are no UTF-8."""
    unreadable: list[Unreadable] = []
    try:
        found = block.decode().split("\n")
    except UnicodeDecodeError:
        found = [_decoded(data, first + i, unreadable) for i, data in enumerate(block.split(b"\n"))]
    if not found[-1]:
        found.pop()  # after the last line break
    if all(found) and not any(map(str.isspace, found)):
        return found, list(range(first, first + len(found))), unreadable
    pairs = [(text, i) for i, text in enumerate(found, first) if text and not text.isspace()]
    return [text for text, _ in pairs], [i for _, i in pairs], unreadable


def _decoded(data: bytes, line: int, unreadable: list[Unreadable]) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        unreadable.append(Unreadable(line, data.decode("utf-8", "backslashreplace"), "the line must be UTF-8"))
        return ""


# ---- CSV ----------------------------------------------------------------------------------------------------------


def csv_parser(name: str, source: Source) -> Callable[[bytes, int], Batch]:
    picks: list[int] = [] if source.has_header else list(range(len(source.columns)))
    width = len(source.columns)

    def parse(block: bytes, first: int) -> Batch:
        nonlocal width
        texts, numbers, unreadable = _lines(block, first)
        if not picks:
            header = _header(texts, name, source)
            picks.extend(header.index(column) for column in source.columns)
            width, texts, numbers = len(header), texts[1:], numbers[1:]
        fields = _fields(texts, width)
        if fields is None:
            fields, numbers = _fields_one_by_one(texts, numbers, width, unreadable)
        if first == 1 and (texts or unreadable) and not fields and not source.has_header:
            raise ValueError(_not_a_table(texts[0] if texts else "", name, source))
        raw = {column: object_array(fields[i::width]) for column, i in zip(source.columns, picks, strict=True)}
        return Batch(raw_chunk(raw), np.array(numbers, dtype=np.int64), unreadable)

    return parse


def _header(texts: Sequence[str], name: str, source: Source) -> list[str]:
    found = [column.strip() for column in next(csv.reader(texts[:1]), [])]
    missing = [column for column in source.columns if column not in found]
    if missing:
        raise ValueError(f"{_not_a_table(texts[0] if texts else '', name, source)}; missing: {', '.join(missing)}")
    return found


def _not_a_table(line: str, name: str, source: Source) -> str:
    where = "a header with the columns" if source.has_header else "no header and the columns"
    marks = ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"))
    other = next((said for mark, said in marks if line.count(mark) > line.count(",")), "")
    hint = f" (its first line looks separated by {other})" if other else ""
    return f"{name} is no {source.name} file{hint}: expected commas, {where} {', '.join(source.columns)}"


def _fields(texts: list[str], width: int) -> list[str] | None:
    """All fields, row after row, or None where some line does not have `width` of them.

    One flat list, because a list per row would keep the garbage collector busy for a third of the time.
    """
    fields: list[str] = []
    reader = csv.reader(texts)
    try:
        while rows := list(islice(reader, CSV_ROWS)):
            if any(len(row) != width for row in rows):
                return None
            fields.extend(chain.from_iterable(rows))
    except csv.Error:
        return None
    return fields if len(fields) == len(texts) * width else None


def _fields_one_by_one(
    texts: list[str], numbers: list[int], width: int, unreadable: list[Unreadable]
) -> tuple[list[str], list[int]]:
    fields: list[str] = []
    lines: list[int] = []
    for text, line in zip(texts, numbers, strict=True):
        try:
            row = next(csv.reader([text], strict=True), [])
        except csv.Error:
            unreadable.append(Unreadable(line, text, "the quotes of the line must be closed on it"))
            continue
        if len(row) == width:
            fields.extend(row)
            lines.append(line)
        else:
            unreadable.append(Unreadable(line, text, f"the line must have {width} fields, found {len(row)}"))
    return fields, lines


# ---- JSON lines ---------------------------------------------------------------------------------------------------


def json_parser(name: str, source: Source) -> Callable[[bytes, int], Batch]:
    def parse(block: bytes, first: int) -> Batch:
        documents, lines, unreadable = _documents(block, first)
        if first == 1 and not documents and unreadable and not unreadable[0].text.lstrip().startswith("{"):
            raise ValueError(f"{name} is no {source.name} file: expected JSON lines, one object a line")
        return _flat(documents, lines, source, unreadable)

    return parse


def _documents(block: bytes, first: int) -> tuple[list[Any], list[int], list[Unreadable]]:
    n_lines = block.count(b"\n") + (not block.endswith(b"\n"))
    try:
        found = _DECODER.decode_lines(block)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = []
    if len(found) == n_lines and all(type(document) is dict for document in found):
        return found, list(range(first, first + n_lines)), []
    texts, numbers, unreadable = _lines(block, first)
    documents, lines = [], []
    for text, line in zip(texts, numbers, strict=True):
        document = _object(text)
        if document is None:
            unreadable.append(Unreadable(line, text.rstrip("\r"), "the line must be one JSON object"))
        else:
            documents.append(document)
            lines.append(line)
    return documents, lines, unreadable


def _object(text: str) -> dict[str, Any] | None:
    try:
        try:
            document = _DECODER.decode(text)
        except msgspec.DecodeError:
            document = _DECODER.decode(with_whole_characters(text.encode()))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _flat(documents: list[Any], lines: Sequence[int], source: Source, unreadable: list[Unreadable]) -> Batch:
    assert source.flatten is not None, source.name
    flat = source.flatten(documents)
    raw = {name: object_array(values) for name, values in zip(source.columns, flat.columns, strict=True)}
    return Batch(raw_chunk(raw), np.repeat(np.array(lines, dtype=np.int64), flat.n_rows), unreadable)


# ---- Parquet ------------------------------------------------------------------------------------------------------


def parquet(path: Path, source: Source) -> Iterator[Batch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(os.fspath(path))
        needed = source.columns if source.flatten is None else source.needs
        missing = [name for name in needed if name not in file.schema_arrow.names]
        if missing:
            raise ValueError(f"{path.name} is no {source.name} file: the columns {', '.join(missing)} are missing")
        first = 1
        for batch in file.iter_batches(PARQUET_ROWS, columns=list(needed) if source.flatten is None else None):
            lines = range(first, first + batch.num_rows)
            yield _parquet_batch(batch, lines, source)
            first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path.name} is a damaged Parquet file: write or fetch it again") from error


def _parquet_batch(batch: Any, lines: Sequence[int], source: Source) -> Batch:
    if source.flatten is not None:
        return _flat([_plain(row) for row in batch.to_pylist()], lines, source, [])
    columns = {name: object_array([text_of(v) for v in batch.column(name).to_pylist()]) for name in source.columns}
    return Batch(raw_chunk(columns), np.array(lines, dtype=np.int64), [])


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
