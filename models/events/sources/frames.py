"""Frame of every adapter: the shape of a source, the protection of its rows, and ids made of their content.

A *raw chunk* is a frame with the source's columns, one row per event. Except for `attune`, whose values keep their JSON types,
every cell is a text and the empty text means missing: a CSV file is so by nature, JSON and Parquet values are written as texts
first. One reading rule then serves all containers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import chain
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.arrays import Objects
from models.events.identity import pseudonym
from models.events.plain import text_of
from models.events.public_form import REFUSED_USER
from models.events.sources.cells import Times, plain_cells, plain_numbers, plain_times
from models.events.sources.columns import object_array
from models.schema import MAX_ID_LENGTH

Json = dict[str, Any]

MADE: Final = "\x02"  # before a fingerprint, until it is hashed under the partner's key


class Mapped(NamedTuple):
    """Mapped chunk: its events, and the rows that were refused.

    Attributes
    ----------
    events
        Event frame with a row for every raw row; rows with a reason hold whatever could be read.
    reasons
        First reason to refuse each row, or None; shape (n_rows,), dtype object.
    """

    events: pd.DataFrame
    reasons: Objects


class Flat(NamedTuple):
    """JSON documents as columns.

    Attributes
    ----------
    columns
        Values of each column of a raw chunk, in its order.
    n_rows
        Rows that each document gave, none where nothing of it may be kept; shape (n_documents,).
    """

    columns: Sequence[Sequence[Any]]
    n_rows: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """One format of event data.

    Attributes
    ----------
    name
        As in ``attune ingest --format``.
    container
        How a plain file holds it.
    columns
        Columns of a raw chunk; for CSV also the columns that a file must have.
    user
        Column of the user id.
    event_types
        The source's name of each action, mapped to ours.
    to_events
        Maps a protected raw chunk; takes the chunk and the receiver's clock in microseconds.
    has_header
        Whether the first line of a CSV file names the columns.
    needs
        Fields of a JSON document; a Parquet file must have them as columns.
    flatten
        For JSON lines: makes columns of documents.
    mask
        Replaces what must not be kept (query texts) before anything is stored.
    times, numbers
        How times are written, None where every time says its offset; columns of numbers.
    keyed
        Columns in which values that begin with `MADE` are hashed under the partner's key: they were made of what must not be
        guessed.
    added
        Columns that earlier versions did not have; see `content_ids`.
    reads, own
        Columns of a table (`columns`, if empty), and what makes a chunk with `columns` of them.
    separator, encoding
        Of the fields of a CSV file, None to go by its first line; of a text file.
    joins
        Anonymous visitor and user that a JSON document says are one, instead of being an event.
    """

    name: str
    container: Literal["csv", "jsonl"]
    columns: tuple[str, ...]
    user: str
    event_types: Mapping[str, str]
    to_events: Callable[[pd.DataFrame, int], Mapped]
    has_header: bool = True
    needs: tuple[str, ...] = ()
    flatten: Callable[[Sequence[Json]], Flat] | None = None
    mask: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    times: Times | None = None
    numbers: tuple[str, ...] = ()
    keyed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    own: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    separator: str | None = None
    encoding: str = "utf-8"
    joins: Callable[[Json], tuple[str, str] | None] | None = None


def by_document(width: int, rows: Callable[[Json], Sequence[tuple[Any, ...]]]) -> Callable[[Sequence[Json]], Flat]:
    """Make `Source.flatten` of a function that gives the rows, each of `width` values, of one document."""

    def flatten(documents: Sequence[Json]) -> Flat:
        groups = [rows(document) for document in documents]
        columns = list(zip(*chain.from_iterable(groups), strict=True)) or [()] * width
        return Flat(columns, np.fromiter(map(len, groups), dtype=np.int64, count=len(groups)))

    return flatten


def as_lines(source: Source) -> Source:
    """The source of a table whose rows stand in JSON lines: the same columns, a document a row."""

    def rows(document: Json) -> list[tuple[str, ...]]:
        return [tuple(text_of(document.get(name)) for name in source.columns)]

    return replace(source, container="jsonl", needs=source.columns, flatten=by_document(len(source.columns), rows))


def protect(source: Source, raw: pd.DataFrame, key: bytes, plain: pd.DataFrame | None = None) -> pd.DataFrame:
    """Replace users by pseudonyms and mask query texts: the form in which a row may be hashed, kept and replayed.

    A user id that is too long, or no text, keeps a mark before its pseudonym, so that the mapping refuses it. `plain` is the
    chunk in plain form, if that is known already.

    Examples
    --------
    >>> source = Source("s", "csv", ("who",), "who", {}, lambda raw, now_us: Mapped(raw, np.array([])))
    >>> protect(source, pd.DataFrame({"who": ["ann", ""]}), bytes(32))["who"].str.len().tolist()
    [32, 0]
    """
    return _without_names(source, in_plain_form(source, raw) if plain is None else plain, key)


def in_plain_form(source: Source, raw: pd.DataFrame) -> pd.DataFrame:
    """Cells as any container would write them (`models.events.sources.cells`); values with JSON types stay."""
    if source.times is None:
        return raw
    columns: dict[str, Objects] = {name: plain_cells(raw[name].to_numpy(dtype=object)) for name in raw.columns}
    columns |= {name: plain_numbers(columns[name]) for name in source.numbers}
    columns[source.times.column] = plain_times(columns[source.times.column], source.times)
    return raw_chunk(columns)


def _without_names(source: Source, raw: pd.DataFrame, key: bytes) -> pd.DataFrame:
    keys = [_user_key(user) for user in raw[source.user].tolist()]
    names = {user: _protected_user(user, key) for user in set(keys)}
    hidden = {source.user: object_array([names[user] for user in keys])}
    for column in source.keyed:
        hidden[column] = object_array([_hidden(value, key) for value in raw[column].tolist()])
    protected = replaced(raw, hidden)
    return source.mask(protected) if source.mask else protected


def _hidden(value: Any, key: bytes) -> Any:
    return pseudonym(key, value) if isinstance(value, str) and value.startswith(MADE) else value


def canonical(value: object) -> str:
    """A JSON value as one text, the same for all ways in which it is kept: order of fields, missing or null, 5 or "5".

    Examples
    --------
    >>> canonical({"a": [5, None], "b": None}) == canonical({"b": "", "a": ["5", ""]})
    True
    """
    if isinstance(value, Mapping):
        pairs = ((str(name), canonical(inner)) for name, inner in value.items())
        return "".join(f"{name}\x1e{text}\x1d" for name, text in sorted(pairs) if text)
    if isinstance(value, list):
        texts = [canonical(inner) for inner in value]
        return "".join(f"{text}\x1c" for text in texts) if any(texts) else ""
    return text_of(value)


def fingerprint(text: str) -> str:
    """A value for a column of `Source.keyed`, made of whatever tells a row from others."""
    return MADE + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def former_ids(source: Source, raw: pd.DataFrame, key: bytes, plain: pd.DataFrame | None = None) -> Objects:
    """Ids under which earlier versions kept the rows of an unprotected chunk, where they are others than today's.

    Earlier versions took cells as they stood and did not have the columns `Source.added`. Where such an id is in the log, its
    row is there, and must not be added again.

    Returns
    -------
    32 hexadecimal digits, or None, shape (n_rows,), dtype object.
    """
    found: Objects = np.full(len(raw), None, dtype=object)
    if source.times is None or not len(raw):
        return found
    plain = in_plain_form(source, raw) if plain is None else plain
    differ = np.zeros(len(raw), dtype=bool)
    for name in raw.columns:
        before, after = raw[name].to_numpy(dtype=object), plain[name].to_numpy(dtype=object)
        differ |= (after != "") if name in source.added else (before != after) if before is not after else False
    if differ.any():
        former = raw.loc[differ, [name for name in raw.columns if name not in source.added]].reset_index(drop=True)
        found[differ] = content_ids(source.name, _without_names(replace(source, keyed=()), former, key))
    return found


def replaced(raw: pd.DataFrame, columns: Mapping[str, Objects]) -> pd.DataFrame:
    """A chunk with some columns replaced; the others are shared, not copied."""
    return raw_chunk({name: columns.get(name, raw[name].to_numpy()) for name in raw.columns})


def raw_chunk(columns: Mapping[str, Objects]) -> pd.DataFrame:
    """A frame over these columns as they are: pandas must not guess types, and cannot hold an integer of 400 digits."""
    return pd.DataFrame(dict(columns), dtype=object, copy=False)


def _user_key(user: object) -> str | tuple[str] | None:
    # A tuple sets what is no text apart: 1, True and "1" are three users, and a list cannot be looked up.
    return user if user is None or isinstance(user, str) else (repr(user),)


def _protected_user(user: str | tuple[str] | None, key: bytes) -> str | None:
    if user is None or user == "":
        return user if user is None else ""
    if isinstance(user, tuple):
        return REFUSED_USER + pseudonym(key, user[0])
    name = pseudonym(key, user)
    return name if len(user) <= MAX_ID_LENGTH else REFUSED_USER + name


def content_ids(source: str, raw: pd.DataFrame, added: Sequence[str] = ()) -> Objects:
    """Event ids for rows that bring none: a hash of the source's name and of every field of the protected row.

    The same row gives the same id in every file and on every run, so a file that is read twice adds nothing, and two rows
    that are equal in every field are one event.

    Parameters
    ----------
    added
        Columns at the end that count only where they hold something: rows that were kept before there were such columns keep
        their ids.

    Returns
    -------
    32 hexadecimal digits per row, shape (n_rows,), dtype object.

    Examples
    --------
    >>> ids = content_ids("s", pd.DataFrame({"a": ["1", "1", "2"], "b": ["x", "x", "x"]}))
    >>> ids[0] == ids[1], ids[0] == ids[2]
    (True, False)
    >>> one, more = pd.DataFrame({"a": ["1"]}), pd.DataFrame({"a": ["1"], "b": [""]})
    >>> content_ids("s", one)[0] == content_ids("s", more, added=("b",))[0]
    True
    """
    start = blake2b(source.encode() + b"\x1f", digest_size=16)
    ids = np.empty(len(raw), dtype=object)
    columns = [raw[name].tolist() for name in raw.columns if name not in added]
    more = [[text and f"\x1f{text}" for text in raw[name].tolist()] for name in added]
    rows = map("\x1f".join, zip(*columns, strict=True))
    for i, text in enumerate(map("".join, zip(rows, *more, strict=True)) if more else rows):
        row = start.copy()
        row.update(text.encode("utf-8", "surrogatepass"))
        ids[i] = row.hexdigest()
    return ids
