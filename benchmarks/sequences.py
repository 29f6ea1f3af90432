"""Sequence files: sessions as lists of item ids, and prefixes with what came next; read, checked, turned into events."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Ints
from models.events.encode import EVENT_DTYPE, NO_CODE, EventArray

SPAN_US = 30 * 86_400_000_000  # the files hold an order but no times: the sessions are spread over thirty days


class Log(NamedTuple):
    """Sessions as item views, oldest session first; item codes run by first appearance."""

    events: EventArray
    starts: npt.NDArray[np.bool_]
    begins: Ints  # (n_sessions + 1,)
    item_ids: npt.NDArray[np.object_]

    def first(self, n_sessions: int) -> "Log":
        """The oldest sessions, over the same catalogue."""
        end = self.begins[n_sessions]
        return Log(self.events[:end], self.starts[:end], self.begins[: n_sessions + 1], self.item_ids)


class Case(NamedTuple):
    """A prefix and the item that came next, as codes; `NO_CODE` for an item that no training session holds."""

    prefix: Ints
    following: int


def read_train(path: Path) -> Log:
    """Training sessions; empty ones are left out.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read, holds no item, or a line is not a list of ids.
    """
    sessions = [_ids(value, path, number) for number, value in _lines(path)]
    sessions = [session for session in sessions if session]
    if not sessions:
        raise ValueError(f"{path.name}: expected at least one session with an item")
    codes = {item: code for code, item in enumerate(dict.fromkeys(item for session in sessions for item in session))}
    begins = np.cumsum([0, *map(len, sessions)], dtype=np.int64)
    events = np.zeros(begins[-1], dtype=EVENT_DTYPE)
    events["item"] = [codes[item] for session in sessions for item in session]
    starts = np.zeros(len(events), dtype=bool)
    starts[begins[:-1]] = True
    events["occurred_at_us"] = (np.cumsum(starts) * (SPAN_US / len(sessions))).astype(np.int64)
    return Log(events, starts, begins, np.array(list(codes), dtype=object))


def read_test(path: Path, item_ids: npt.NDArray[np.object_]) -> list[Case]:
    """Test cases, in codes of the training catalogue.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read, holds no case, or a line is not ``{"prefix": [...], "next": id}``.
    """
    codes = {item: code for code, item in enumerate(item_ids)}
    cases = []
    for number, value in _lines(path):
        if not isinstance(value, dict) or not {"prefix", "next"} <= value.keys():
            raise ValueError(f'{path.name} line {number}: expected {{"prefix": [ids], "next": id}}')
        prefix, following = _ids(value["prefix"], path, number), _ids([value["next"]], path, number)[0]
        known = np.array([codes.get(item, NO_CODE) for item in prefix], dtype=np.int64)
        cases.append(Case(known, codes.get(following, NO_CODE)))
    if not cases:
        raise ValueError(f"{path.name}: expected at least one case")
    return cases


def cases_of(log: Log, first_session: int, at_most: int, rng: np.random.Generator) -> list[Case]:
    """Prefixes of the sessions from one on, at most so many drawn at random."""
    where = [(b, w) for b, e in zip(log.begins[first_session:-1], log.begins[first_session + 1 :], strict=True)
             for w in range(b + 1, e)]  # fmt: skip
    if len(where) > at_most:
        where = [where[k] for k in np.sort(rng.choice(len(where), at_most, replace=False))]
    items = np.ascontiguousarray(log.events["item"])
    return [Case(items[b:w], int(items[w])) for b, w in where]


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Line numbers and values of a file of JSON lines, packed or plain."""
    if not path.is_file():
        raise ValueError(f"{path} is no file")
    with path.open("rb") as head:
        packed = head.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _value(line, path, number)
    except (EOFError, gzip.BadGzipFile, UnicodeDecodeError) as problem:
        raise ValueError(f"{path.name} is damaged or no text: {problem}") from problem


def _value(line: str, path: Path, number: int) -> Any:
    try:
        return json.loads(line)
    except (json.JSONDecodeError, RecursionError) as problem:
        raise ValueError(f"{path.name} line {number}: expected JSON, {problem}") from problem


def _ids(value: Any, path: Path, number: int) -> list[str]:
    """Ids as texts: whole numbers of any size and texts; 7 and "7" are the same item."""
    if not isinstance(value, list) or not all(isinstance(item, int | str) and not isinstance(item, bool) for item in value):
        raise ValueError(f"{path.name} line {number}: expected a list of ids, each a whole number or a text")
    return [str(item) for item in value]
