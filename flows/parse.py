"""Batches: rows with their lines, and the lines that are no rows; what the parsers of CSV, JSON and typed tables share."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.arrays import Objects
from models.events.sources import Source, object_array, raw_chunk
from models.events.sources.opened import with_open_cells
from models.events.sources.typed import without_types


class FormatError(ValueError):
    """A file that has not the fields of the format that it was said to be of."""


class EmptyFileError(ValueError):
    """A file that holds nothing."""


class Unreadable(NamedTuple):
    """A line that is no row: its number, its text and what was expected."""

    line: int
    text: str
    reason: str


class Join(NamedTuple):
    """A line that says that an anonymous visitor is a user."""

    line: int
    anonymous_id: str
    user_id: str


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
    formerly
        Columns that an earlier version wrote otherwise: the ids of rows were made of that.
    joins
        Lines that say who an anonymous visitor is.
    """

    raw: pd.DataFrame
    lines: npt.NDArray[np.int64]
    unreadable: list[Unreadable]
    formerly: Mapping[str, Objects] = {}
    joins: Sequence[Join] = ()


def lines_of(block: bytes, first: int) -> tuple[list[str], list[int], list[Unreadable]]:
    """Texts and numbers of the lines of a block that are not blank, and the lines that are no UTF-8."""
    unreadable: list[Unreadable] = []
    try:
        found = block.decode().split("\n")
    except UnicodeDecodeError:
        found = [_decoded(data, first + i, unreadable) for i, data in enumerate(block.split(b"\n"))]
    if not found[-1]:
        found.pop()  # after the last line break
    if b"\0" in block:
        unreadable += [
            Unreadable(first + i, text, "the line holds a NUL character") for i, text in enumerate(found) if "\0" in text
        ]
        found = ["" if "\0" in text else text for text in found]
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


def flat_batch(documents: list[Any], lines: Sequence[int], source: Source, unreadable: list[Unreadable]) -> Batch:
    assert source.flatten is not None, source.name
    documents = list(without_types([with_open_cells(document) for document in documents]))
    joins: list[Join] = []
    if source.joins is not None:
        found = [source.joins(document) for document in documents]
        joins = [Join(line, *ids) for line, ids in zip(lines, found, strict=True) if ids is not None]
        lines = [line for line, ids in zip(lines, found, strict=True) if ids is None]
        documents = [document for document, ids in zip(documents, found, strict=True) if ids is None]
    flat = source.flatten(documents)
    raw = {name: object_array(values) for name, values in zip(source.columns, flat.columns, strict=True)}
    return Batch(raw_chunk(raw), np.repeat(np.array(lines, dtype=np.int64), flat.n_rows), unreadable, joins=joins)
