"""Parser of a block of whole lines, CSV or JSON: rows with their lines, and the lines that are no rows.

A line of a text file is a row, but for a quoted field that goes on and is closed within `MOST_LINES`: a stray quote can cost
one line, never the rest of the file.
"""

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from models.arrays import Objects
from models.events.json_text import with_whole_characters
from models.events.sources import Source, object_array, raw_chunk

MOST_LINES: Final = 20  # that one row may span
CSV_ROWS: Final = 500  # that are lists at one time
_DECODER: Final = msgspec.json.Decoder()
csv.field_size_limit(8 << 20)  # a line may be that long


class FormatError(ValueError):
    """A file that has not the fields of the format that it was said to be of."""


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
    formerly
        Columns that an earlier version wrote otherwise: the ids of rows were made of that.
    """

    raw: pd.DataFrame
    lines: npt.NDArray[np.int64]
    unreadable: list[Unreadable]
    formerly: Mapping[str, Objects] = {}


def _lines(block: bytes, first: int) -> tuple[list[str], list[int], list[Unreadable]]:
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


# ---- CSV ----------------------------------------------------------------------------------------------------------


def csv_parser(name: str, source: Source) -> Callable[[bytes, int], Batch]:
    columns = source.reads or source.columns
    picks: list[int] = []
    header: list[str] = []
    mark = ","

    def parse(block: bytes, first: int) -> Batch:
        nonlocal mark
        texts, numbers, unreadable = _lines(block, first)
        if not picks:
            table = _table(texts, name, source)
            mark, start = table.mark, table.n_before
            header.extend(table.header)
            picks.extend(table.picks)
            texts, numbers = texts[start:], numbers[start:]
        fields = _fields(texts, len(header), mark)
        if fields is None:
            fields, numbers = _fields_one_by_one(texts, numbers, (len(header), mark), unreadable)
        raw = {column: object_array(fields[i :: len(header)]) for column, i in zip(columns, picks, strict=True)}
        chunk = raw_chunk(raw)
        return Batch(source.own(chunk) if source.own else chunk, np.array(numbers, dtype=np.int64), unreadable)

    return parse


class Table(NamedTuple):
    """Layout of a CSV file.

    Attributes
    ----------
    mark
        Between two fields.
    header
        Names of its columns.
    picks
        Which of them are wanted, in the order of the source.
    n_before
        Lines before its first row.
    """

    mark: str
    header: list[str]
    picks: list[int]
    n_before: int


MARKS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_separator: Final = re.compile(r"sep=(.)", re.IGNORECASE).fullmatch


def _table(texts: Sequence[str], name: str, source: Source) -> Table:
    """Find the header, behind lines of comment, and the separator with which it has the columns of a source."""
    columns = source.reads or source.columns
    start, told = preamble(texts)
    marks = [mark for mark in (source.separator, told) if mark] or list(MARKS)
    if not source.has_header:
        for mark in marks:
            if any(len(split(text, mark)) == len(columns) for text in texts[start : start + 20]):
                return Table(mark, list(columns), list(range(len(columns))), start)
        raise FormatError(_not_a_table(texts[start] if texts[start:] else "", name, source))
    missing: list[str] = list(columns)
    for mark in marks:
        header = split(texts[start], mark) if texts[start:] else []
        place = {column.casefold(): i for i, column in reversed(list(enumerate(header)))}
        lacking = [column for column in columns if column.casefold() not in place]
        if not lacking:
            exact = {column: i for i, column in reversed(list(enumerate(header)))}
            return Table(mark, header, [exact.get(c, place[c.casefold()]) for c in columns], start + 1)
        missing = min(missing, lacking, key=len)
    raise FormatError(f"{_not_a_table(texts[start] if texts[start:] else '', name, source)}; missing: {', '.join(missing)}")


def preamble(texts: Sequence[str]) -> tuple[int, str | None]:
    """Number of lines of comment before a table, and the separator that a line ``sep=;`` names."""
    mark = None
    for number, text in enumerate(texts):
        if found := _separator(text.strip("\r\ufeff ")):
            mark = found[1]
        elif not text.startswith("#"):
            return number, mark
    return len(texts), mark


def split(line: str, mark: str) -> list[str]:
    """Fields of one line, without blanks around them."""
    try:
        return [field.strip() for field in next(csv.reader([line], delimiter=mark), [])]
    except csv.Error:
        return []


def _not_a_table(line: str, name: str, source: Source) -> str:
    where = "a header with the columns" if source.has_header else "no header and the columns"
    return f"{name} is no {source.name} file: expected {where} {', '.join(source.reads or source.columns)}"


def _fields(texts: list[str], width: int, mark: str) -> list[str] | None:
    """All fields, row after row, or None where some line does not have `width` of them.

    One flat list, because a list per row would keep the garbage collector busy for a third of the time.
    """
    fields: list[str] = []
    reader = csv.reader(texts, delimiter=mark)
    try:
        while rows := list(islice(reader, CSV_ROWS)):
            if any(len(row) != width for row in rows):
                return None
            fields.extend(chain.from_iterable(rows))
    except csv.Error:
        return None
    return fields if len(fields) == len(texts) * width else None


def _fields_one_by_one(
    texts: list[str], numbers: list[int], form: tuple[int, str], unreadable: list[Unreadable]
) -> tuple[list[str], list[int]]:
    """Fields of the lines that are rows; a quoted field may go on over some lines, where that makes a whole row."""
    width, mark = form
    fields: list[str] = []
    lines: list[int] = []
    at = 0
    while at < len(texts):
        n_lines, row = 1, _row(texts[at], mark)
        if row is None:
            joined = ((n, _row("\n".join(texts[at : at + n]), mark)) for n in range(2, min(MOST_LINES, len(texts) - at) + 1))
            n_lines, row = next(((n, found) for n, found in joined if found is not None and len(found) == width), (1, None))
        if row is None:
            unreadable.append(Unreadable(numbers[at], texts[at], "the quotes of the line must be closed on it"))
        elif len(row) == width:
            fields.extend(row)
            lines.append(numbers[at])
        else:
            unreadable.append(Unreadable(numbers[at], texts[at], f"the line must have {width} fields, found {len(row)}"))
        at += n_lines
    return fields, lines


def _row(text: str, mark: str) -> list[str] | None:
    """Fields of one row, None while a quote is open."""
    try:
        return next(csv.reader(text.splitlines(keepends=True) if "\n" in text else [text], delimiter=mark, strict=True), [])
    except csv.Error:
        return None


# ---- JSON lines ---------------------------------------------------------------------------------------------------


def json_parser(name: str, source: Source) -> Callable[[bytes, int], Batch]:
    def parse(block: bytes, first: int) -> Batch:
        documents, lines, unreadable = _documents(block, first)
        if first == 1 and not documents and unreadable:
            documents = whole_documents(block)
            lines, unreadable = [1] * len(documents), [] if documents else unreadable
        if first == 1 and not documents and unreadable and not unreadable[0].text.lstrip("\x1e [").startswith("{"):
            raise FormatError(f"{name} is no {source.name} file: expected JSON lines, one object a line")
        return flat_batch(documents, lines, source, unreadable)

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
        objects = _objects(text)
        if objects is None:
            unreadable.append(Unreadable(line, text.rstrip("\r"), "the line must be one JSON object"))
        else:
            documents.extend(objects)
            lines.extend([line] * len(objects))
    return documents, lines, unreadable


def documents_of(block: bytes) -> list[dict[str, Any]]:
    """The objects in a block of lines."""
    return list(_documents(block, 1)[0])


def _objects(text: str) -> list[dict[str, Any]] | None:
    """The objects of a line: one (perhaps of a list that spans the lines), those of a whole list, or several in a row."""
    text = text.strip("\x1e\r\n\t ")
    if text in _OF_A_LIST:
        return []
    inner = text.rstrip(",")
    for whole in (inner, inner.removeprefix("["), inner.removesuffix("]"), inner.removeprefix(",")):
        found = _decoded_json(whole.strip())
        if isinstance(found, dict):
            return [found]
        if isinstance(found, list) and found and all(isinstance(one, dict) for one in found):
            return found
    return _one_after_another(inner) or None


_OF_A_LIST: Final = frozenset({"[", "]", "],", ",", "[]"})


def _decoded_json(text: str) -> Any:
    try:
        try:
            return _DECODER.decode(text)
        except msgspec.DecodeError:
            return _DECODER.decode(with_whole_characters(text.encode()))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


_PYTHON: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _one_after_another(text: str) -> list[dict[str, Any]]:
    """Objects that follow each other without a comma; none if anything else is among them."""
    found, at = [], 0
    while at < len(text):
        if text[at].isspace() or text[at] in "\x1e,":
            at += 1
            continue
        if text[at] != "{":
            return []
        try:
            document, at = _PYTHON.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        found.append(document)
    return found


def whole_documents(block: bytes) -> list[dict[str, Any]]:
    """Objects of a file that is written over several lines each, if it fits in one block; else none."""
    try:
        text = block.decode("utf-8-sig").strip("\x1e \r\n\t")
    except UnicodeDecodeError:
        return []
    found = _decoded_json(text)
    if isinstance(found, list):
        return found if all(isinstance(one, dict) for one in found) else []
    return [found] if isinstance(found, dict) else _one_after_another(text)


def flat_batch(documents: list[Any], lines: Sequence[int], source: Source, unreadable: list[Unreadable]) -> Batch:
    assert source.flatten is not None, source.name
    flat = source.flatten(documents)
    raw = {name: object_array(values) for name, values in zip(source.columns, flat.columns, strict=True)}
    return Batch(raw_chunk(raw), np.repeat(np.array(lines, dtype=np.int64), flat.n_rows), unreadable)
