"""Parser of a block of lines of a CSV file.

A line is a row, but for a quoted field that goes on and is closed within `MOST_LINES`: a stray quote can cost one line, never
the rest of the file.
"""

import csv
import re
from collections.abc import Callable, Sequence
from itertools import chain, islice, product
from typing import Any, Final, NamedTuple

import numpy as np

from flows.parse import Batch, FormatError, Unreadable, flat_batch, lines_of
from models.events.sources import Source, object_array, raw_chunk
from models.events.sources.opened import with_inner_names

MOST_LINES: Final = 20  # that one row may span
MOST_TITLES: Final = 20  # lines of a title before a header
CSV_ROWS: Final = 500  # that are lists at one time
csv.field_size_limit(8 << 20)  # a line may be that long


def csv_parser(name: str, source: Source) -> Callable[[bytes, int], Batch]:
    """Parser of a table: column by column, or row by row as documents where a field lies inside a cell."""
    found: list[Table] = []
    is_swapped = False

    def parse(block: bytes, first: int) -> Batch:
        nonlocal is_swapped
        texts, numbers, unreadable = lines_of(block, first)
        is_swapped = is_swapped or (not found and has_single_quotes(texts))
        texts = [text.translate(SWAPPED) for text in texts] if is_swapped else texts
        if not found:
            table = _with_index(_table(texts, name, source), texts)
            found.append(table)
            texts, numbers = texts[table.n_before :], numbers[table.n_before :]
        header, mark, picks = found[0].header, found[0].mark, found[0].picks
        texts, mark = _with_one_character(texts, mark)
        fields = _fields(texts, len(header), mark)
        if fields is None:
            fields, numbers = _fields_one_by_one(texts, numbers, (len(header), mark), unreadable)
        fields = [field.translate(SWAPPED) for field in fields] if is_swapped else fields
        if picks is None:
            names, n = found[0].names, len(header)
            rows = (fields[at : at + n] for at in range(0, len(fields), n))
            documents = [with_inner_names(dict(zip(names, row, strict=True))) for row in rows]
            return flat_batch(documents, numbers, source, unreadable)
        raw = {column: object_array(fields[i :: len(header)]) for column, i in zip(_wanted(source), picks, strict=True)}
        chunk = raw_chunk(raw)
        return Batch(source.own(chunk) if source.own else chunk, np.array(numbers, dtype=np.int64), unreadable)

    return parse


def _wanted(source: Source) -> Sequence[str]:
    """Columns that a file must have: of a source of documents its fields."""
    return source.needs if source.flatten is not None and source.own is None else source.reads or source.columns


class Table(NamedTuple):
    """Layout of a CSV file.

    Attributes
    ----------
    mark
        Between two fields.
    header
        Names of its columns.
    picks
        Which of them are wanted, in the order of the source; None where rows are read as documents.
    n_before
        Lines before its first row.
    """

    mark: str
    header: list[str]
    picks: list[int] | None
    n_before: int

    @property
    def names(self) -> list[str]:
        """Names of the columns without the blanks around them, those without a name by their place."""
        return [name or f"_{i}" for i, name in enumerate(self.header)]


MARKS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", "::": "colons in pairs", "\x01": "Hive's ^A"}
_STAND_IN: Final = "\x1f"  # for a mark of several characters, which the reader of CSV does not know
_separator: Final = re.compile(r"sep=(.)", re.IGNORECASE).fullmatch


def _table(texts: Sequence[str], name: str, source: Source) -> Table:
    """Find the header, behind lines of comment, and the separator with which it has the columns of a source."""
    columns = _wanted(source)
    start, told = preamble(texts)
    marks = [mark for mark in (source.separator, told) if mark] or list(MARKS)
    if not source.has_header:
        for mark in marks:
            if any(len(split(text, mark)) == len(columns) for text in texts[start : start + 20]):
                return Table(mark, list(columns), list(range(len(columns))), start)
        raise FormatError(_not_a_table(texts[start] if texts[start:] else "", name, source))
    missing: list[str] = list(columns)
    for at, mark in product(range(start, min(start + MOST_TITLES, len(texts))), marks):
        found, lacking = _with_header(split(texts[at].removeprefix("\ufeff"), mark), mark, source, at + 1)
        if found is not None:
            return found
        missing = min(missing, lacking, key=len)
    raise FormatError(f"{_not_a_table(texts[start] if texts[start:] else '', name, source)}; missing: {', '.join(missing)}")


def _with_index(table: Table, texts: Sequence[str]) -> Table:
    """The table with a first column without a name, where its rows have one field more than its header: R writes them so."""
    rows = texts[table.n_before : table.n_before + 20]
    if not rows or not all(len(split(text, table.mark)) == len(table.header) + 1 for text in rows):
        return table
    picks = None if table.picks is None else [at + 1 for at in table.picks]
    return table._replace(header=["", *table.header], picks=picks)


def _with_header(header: list[str], mark: str, source: Source, n_before: int) -> tuple[Table | None, list[str]]:
    """The table under a header, or the columns that the header lacks."""
    columns = _wanted(source)
    place = {column.casefold(): i for i, column in reversed(list(enumerate(header)))}
    lacking = [column for column in columns if column.casefold() not in place]
    if source.flatten is not None and (source.own is None or lacking):
        lacking = [column for column in lacking if column.partition(".")[0].casefold() not in place]
        own = {column.casefold(): column for column in source.needs or columns}
        names = [own.get(column.casefold(), column) for column in header]
        return (None if lacking else Table(mark, names, None, n_before)), lacking
    exact = {column: i for i, column in reversed(list(enumerate(header)))}
    found = None if lacking else Table(mark, header, [exact.get(c, place[c.casefold()]) for c in columns], n_before)
    return found, lacking


SWAPPED: Final = str.maketrans("'\"", "\"'")
_in_single_quotes: Final = re.compile(r"\ufeff?'[^']*'([,;\t|]'[^']*')+\s*").fullmatch


def has_single_quotes(texts: Sequence[str]) -> bool:
    """Whether the fields of a table stand in single quotes: with these and the usual ones swapped it can be read.

    Examples
    --------
    >>> has_single_quotes(["'user','time'", "'u','2023-11-01'"]), has_single_quotes(["user,time"])
    (True, False)
    """
    return bool(texts) and _in_single_quotes(texts[0]) is not None


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
        (line,), mark = _with_one_character([line], mark)
        return [field.strip() for field in next(csv.reader([line], delimiter=mark), [])]
    except csv.Error:
        return []


def _with_one_character(texts: list[str], mark: str) -> tuple[list[str], str]:
    """Lines whose separator is one character."""
    return (texts, mark) if len(mark) == 1 else ([text.replace(mark, _STAND_IN) for text in texts], _STAND_IN)


def _not_a_table(line: str, name: str, source: Source) -> str:
    where = "a header with the columns" if source.has_header else "no header and the columns"
    return f"{name} is no {source.name} file: expected {where} {', '.join(_wanted(source))}"


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
        if (row is None or len(row) != width) and '\\"' in texts[at]:  # MySQL's and Hive's way of quoting quotes
            row = _row(texts[at], mark, escape="\\") or row
        if row is None:
            unreadable.append(Unreadable(numbers[at], texts[at], "the quotes of the line must be closed on it"))
        elif len(row) == width:
            fields.extend(row)
            lines.append(numbers[at])
        else:
            unreadable.append(Unreadable(numbers[at], texts[at], f"the line must have {width} fields, found {len(row)}"))
        at += n_lines
    return fields, lines


def _row(text: str, mark: str, escape: str | None = None) -> list[str] | None:
    """Fields of one row, None while a quote is open."""
    form: dict[str, Any] = {"delimiter": mark, "strict": True, "escapechar": escape, "doublequote": escape is None}
    try:
        return next(csv.reader([f"{line}\n" for line in text.split("\n")], **form), [])
    except csv.Error:
        return None
