"""Sample of a file: its first rows, whatever holds them, for guesses about what it is."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from flows.columnar import MAGIC, table_chunks
from flows.parse import EmptyFileError
from flows.parse_csv import MARKS, SWAPPED, has_single_quotes, preamble, split
from flows.parse_json import documents_of, whole_documents
from flows.read import open_file, text_blocks
from models.events.plain import text_of
from models.events.sources.guess import Container, Sample
from models.events.sources.maps import TableMap, table_map
from models.events.sources.opened import NUMBER, lists_of_rows, with_inner_names, with_open_cells, with_rows
from models.events.sources.typed import without_types

ROWS: Final = 500
FIRST: Final = 50  # rows in which lists are looked for
SAMPLE_BYTES: Final = 512 << 10
DEEPEST: Final = 6  # levels of a JSON document whose fields are told apart


def sample(path: Path) -> Sample:
    """Read the first rows of a file.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, is empty, or is neither a table nor JSON.
    """
    with open_file(path) as file:
        if (magic := file.peek(4)[:4]) in MAGIC:
            names, chunks = table_chunks(path, MAGIC[magic], None)
            rows = list(islice((row for batch in chunks for row in batch.to_pylist()), ROWS))
            return _of_documents("parquet", [{name: _iso(value) for name, value in row.items()} for row in rows], names)
        block = next(text_blocks(path.name, file, SAMPLE_BYTES), b"")
    if not block.strip():
        raise EmptyFileError(f"{path.name} is empty: it holds no events")
    encoding = _encoding(block)
    return _json_sample(block) or _table_sample(path.name, block.decode(encoding, "replace"), encoding)


def _encoding(block: bytes) -> str:
    """UTF-8, or the letters of Windows where it is not that."""
    try:
        block.decode()
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _json_sample(block: bytes) -> Sample | None:
    if not block.lstrip(b"\x1e \r\n\t").startswith((b"{", b"[", b'"{')):
        return None
    documents = (documents_of(block) or whole_documents(block))[:ROWS]
    if not documents:
        if re.match(rb"\s*\[\s*\[", block):
            raise ValueError("the file holds lists without names: write each row as an object, or the table as CSV")
        return None
    return _of_documents("jsonl", documents)


def _of_documents(container: Container, documents: list[dict[str, Any]], names: Sequence[str] = ()) -> Sample:
    """A sample of documents, each a row for every entry of its lists."""
    documents = list(without_types([with_open_cells(document) for document in documents]))
    lists = lists_of_rows(documents[:FIRST])
    rows = [dict(_leaves(row)) for document in documents for row in with_rows(document, lists)][:ROWS]
    header = list(dict.fromkeys([*names, *(name for row in rows for name in row if name != NUMBER)]))
    return Sample(container, ",", header, rows, documents, lists=lists)


def _leaves(document: Mapping[str, Any], before: str = "", level: int = 1) -> Iterator[tuple[str, str]]:
    """Path and text of every value that is neither an object nor a list."""
    for name, value in document.items():
        if isinstance(value, Mapping) and level < DEEPEST:
            yield from _leaves(value, f"{before}{name}.", level + 1)
        elif not isinstance(value, Mapping | list):
            yield before + name, text_of(value)


def _table_sample(name: str, text: str, encoding: str) -> Sample:
    lines = [line.rstrip("\r") for line in text.split("\n") if line.strip()][: ROWS + 20]
    if has_single_quotes(lines):
        lines = [line.translate(SWAPPED) for line in lines]
    start, told = preamble(lines)
    lines = [line.removeprefix("\ufeff") for line in lines[start:]]
    mark = told or max(MARKS, key=lambda mark: _fit(lines[:50], mark)[:2])
    first = _fit(lines[:50], mark)[2]
    before = split(lines[first - 1], mark) if first else []
    rows = [split(line, mark) for line in lines[first:]]
    if len(before) > 1 and rows and len(before) == len(rows[0]) - 1:
        rows = [["", *before], *rows]  # R names no column for the labels of its rows
    width = len(rows[0]) if rows else 0
    if width < 2:
        raise ValueError(f"{name} is no table: expected a line of column names, separated by {', '.join(MARKS.values())}")
    is_short = rows[0][-1] == "" and any(row[-1:] != [""] for row in rows[1:])  # the last of its cells is empty, no name
    has_header = not any(_is_number(cell) or _is_clock(cell) for cell in rows[0]) and not is_short
    if has_header and (twice := [column for column, n in Counter(rows[0]).items() if n > 1 and column]):
        raise ValueError(f"{name} has two columns {twice[0]!r}: give each a name of its own")
    names = rows[0] if has_header else [str(i) for i in range(width)]
    found = [dict(zip(names, row, strict=True)) for row in rows[has_header:] if len(row) == width and row != names]
    if has_header and any(map(_has_json, found[:FIRST])):
        inner = _of_documents("csv", [with_inner_names(row) for row in found])
        return inner._replace(separator=mark, encoding=encoding)
    return Sample("csv", mark, names if has_header else [], found, encoding=encoding)


def _has_json(row: Mapping[str, str]) -> bool:
    return with_open_cells(dict(row)) != row


def _fit(lines: list[str], mark: str) -> tuple[int, int, int]:
    """How many lines have as many fields as most of them, how many those are, and which line is the first of them.

    Lines before that one are a title.
    """
    widths = [len(split(line, mark)) for line in lines]
    common = [(n, width) for width, n in Counter(widths).items() if width > 1]
    if not common:
        return (0, 0, 0)
    n, width = max(common)
    first = widths.index(width)
    return (n, width, first if max(widths[:first], default=0) < width else 0)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_clock(cell: str) -> bool:
    return re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:", cell) is not None


def _iso(value: Any) -> Any:
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat() if isinstance(value, datetime) else value


# ---- maps as files -------------------------------------------------------------------------------------------------------


def read_map(path: Path) -> TableMap | str:
    """A map from its file; the name of a format, where the file says ``format = "…"`` and nothing else.

    Raises
    ------
    ValueError, OSError
        In one line that says what is wrong with the file.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no map {path}: write one, or let it be guessed with: attune ingest FILE --guess") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is no TOML: {error}") from error
    if isinstance(document.get("format"), str) and len(document) == 1:
        return str(document["format"])
    return table_map(document)


def form_of(format: str | None, map_file: Path | None) -> tuple[str, TableMap | None]:
    """The format and the map that a command names; a map may name the format."""
    found = read_map(map_file) if map_file is not None else format or "attune"
    return (found, None) if isinstance(found, str) else ("attune", found)


def map_text(guessed: TableMap | str) -> str:
    """A map as the text of its file.

    Examples
    --------
    >>> print(map_text("ga4"), end="")
    format = "ga4"
    """
    if isinstance(guessed, str):
        return f"format = {_toml(guessed)}\n"
    lines = [f"times = {_toml(guessed.times)}", f"zone = {_toml(guessed.zone)}"]
    lines += [f"clock = {_toml(guessed.clock)}"] if guessed.clock else []
    lines += [f"separator = {_toml(guessed.separator)}"] if guessed.separator else []
    lines += [f"decimal = {_toml(guessed.decimal)}"] if guessed.decimal != "." else []
    lines += [f"encoding = {_toml(guessed.encoding)}"] if guessed.encoding != "utf-8" else []
    lines += [f"names = {_toml(list(guessed.names))}"] if guessed.names else []
    lines += [f"rows = {_toml(list(guessed.rows))}"] if guessed.rows else []
    tables = {
        name: getattr(guessed, name) for name in ("columns", "patterns", "factors", "flags", "splits", "events", "defaults")
    }
    for title, table in tables.items():
        if table:
            lines += ["", f"[{title}]", *(f"{_toml(name)} = {_toml(value)}" for name, value in table.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A text, a number, or a list of texts, as TOML: its basic strings are those of JSON."""
    import json

    return json.dumps(value if isinstance(value, str | float) else list(value), ensure_ascii=False)
