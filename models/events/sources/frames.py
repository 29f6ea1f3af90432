"""Frame of every adapter: the shape of a source, the protection of its rows, and ids made of their content.

A *raw chunk* is a frame with the source's columns, one row per event. Except for `attune`, whose values keep their JSON types,
every cell is a text and the empty text means missing: a CSV file is so by nature, JSON and Parquet values are written as texts
first. One reading rule then serves all containers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.arrays import Objects
from models.events.identity import pseudonym
from models.events.sources.columns import object_array
from models.schema import MAX_ID_LENGTH

Json = dict[str, Any]

REFUSED_USER: Final = "!"  # before the pseudonym of a user id that breaks the rules: the row stays refused when replayed


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


def by_document(width: int, rows: Callable[[Json], Sequence[tuple[Any, ...]]]) -> Callable[[Sequence[Json]], Flat]:
    """Make `Source.flatten` of a function that gives the rows, each of `width` values, of one document."""

    def flatten(documents: Sequence[Json]) -> Flat:
        groups = [rows(document) for document in documents]
        columns = list(zip(*chain.from_iterable(groups), strict=True)) or [()] * width
        return Flat(columns, np.fromiter(map(len, groups), dtype=np.int64, count=len(groups)))

    return flatten


def protect(source: Source, raw: pd.DataFrame, key: bytes) -> pd.DataFrame:
    """Replace users by pseudonyms and mask query texts: the form in which a row may be hashed, kept and replayed.

    A user id that is too long, or no text, keeps a mark before its pseudonym, so that the mapping refuses it.

    Examples
    --------
    >>> source = Source("s", "csv", ("who",), "who", {}, lambda raw, now_us: Mapped(raw, np.array([])))
    >>> protect(source, pd.DataFrame({"who": ["ann", ""]}), bytes(32))["who"].str.len().tolist()
    [32, 0]
    """
    keys = [_user_key(user) for user in raw[source.user].tolist()]
    names = {user: _protected_user(user, key) for user in set(keys)}
    protected = replaced(raw, {source.user: object_array([names[user] for user in keys])})
    return source.mask(protected) if source.mask else protected


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


def content_ids(source: str, raw: pd.DataFrame) -> Objects:
    """Event ids for rows that bring none: a hash of the source's name and of every field of the protected row.

    The same row gives the same id in every file and on every run, so a file that is read twice adds nothing, and two rows
    that are equal in every field are one event.

    Returns
    -------
    32 hexadecimal digits per row, shape (n_rows,), dtype object.

    Examples
    --------
    >>> ids = content_ids("s", pd.DataFrame({"a": ["1", "1", "2"], "b": ["x", "x", "x"]}))
    >>> ids[0] == ids[1], ids[0] == ids[2]
    (True, False)
    """
    start = blake2b(source.encode() + b"\x1f", digest_size=16)
    ids = np.empty(len(raw), dtype=object)
    columns = [raw[name].tolist() for name in raw.columns]
    for i, text in enumerate(map("\x1f".join, zip(*columns, strict=True))):
        row = start.copy()
        row.update(text.encode("utf-8", "surrogatepass"))
        ids[i] = row.hexdigest()
    return ids
