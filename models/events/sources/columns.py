"""Columns of a raw chunk read as texts, numbers and times; what cannot be read is a reason to refuse its row."""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.arrays import Objects
from models.events.plain import EARLIEST_US, LATEST_US, text_of
from models.events.rules import instant_text
from models.schema import DEVICES, EVENT_COLUMNS, MEASURES, REFERRERS

__all__ = [
    "Reasons",
    "blank_events",
    "clock",
    "epoch",
    "kept",
    "numbers",
    "object_array",
    "text_of",
    "texts",
]

_MAX_EXACT: Final = 2.0**53  # integers above are not exact in float64


class Reasons:
    """Collects the first reason to refuse each row.

    Examples
    --------
    >>> reasons = Reasons(2)
    >>> reasons.add(np.array([True, False]), "first")
    >>> reasons.add(np.array([True, True]), "second")
    >>> reasons.found.tolist()
    ['first', 'second']
    """

    def __init__(self, n_rows: int) -> None:
        self.found: Objects = np.full(n_rows, None, dtype=object)
        self._open = np.ones(n_rows, dtype=bool)

    def add(self, rows: npt.NDArray[np.bool_], reason: str) -> None:
        """Refuse rows that have no reason yet."""
        rows = rows & self._open
        if rows.any():
            self.found[rows] = reason
            self._open &= ~rows

    def add_each(self, reasons: Objects) -> None:
        """Refuse rows that have no reason yet where `reasons` has one."""
        rows = np.array([reason is not None for reason in reasons], dtype=bool) & self._open
        self.found[rows] = reasons[rows]
        self._open &= ~rows


def object_array(values: Sequence[object]) -> Objects:
    """Values as a one-dimensional object array, whatever they are."""
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def texts(column: "pd.Series[Any]") -> Objects:
    """A raw column with None for the empty text."""
    return object_array([value or None for value in column.tolist()])


def kept(values: Objects, rows: npt.NDArray[np.bool_]) -> Objects:
    """A copy of an object array with None where `rows` is false."""
    out = values.copy()
    out[~rows] = None
    return out


def numbers(column: "pd.Series[Any]", reasons: Reasons) -> npt.NDArray[np.float64]:
    """A raw column as float64, missing as NaN; a text that is no number refuses its row."""
    values = column.to_numpy(dtype=object)
    if not (given := values != "").any():
        return np.full(len(values), np.nan)
    found = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    reasons.add(given & np.isnan(found), f"{column.name}: must be a number")
    return found


_UNITS: Final = {1_000_000: "seconds", 1_000: "milliseconds", 1: "microseconds"}
_NANO: Final = "nanoseconds"
_EXCEL_DAYS: Final = (32_874, 73_051)  # 1990 to 2100 in days since 1900, as spreadsheets keep a date
# An offset or a Z behind a time of day.
_OFFSET: Final = r"[0-9]:?[0-9]{2}(?:[.,][0-9]+)?\s*(?:[zZ]|[+-][0-9]{2}(?::?[0-9]{2})?)$"


def epoch(unit_us: int) -> Callable[["pd.Series[Any]", Reasons], npt.NDArray[np.int64]]:
    """Reader of a column of Unix times in steps of `unit_us` microseconds; missing and unreadable ones become 0, refused.

    A time that cannot be meant, but could in another unit, is refused, and the unit is named.
    """

    def read(column: "pd.Series[Any]", reasons: Reasons) -> npt.NDArray[np.int64]:
        values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
        found = values * unit_us
        for rows, unit in _other_units(values, unit_us):
            expected = f"{column.name}: looks like {unit}; {_UNITS[unit_us]} since 1970 are expected"
            reasons.add(rows, f"{expected}: convert it, or read the file with a map (attune ingest --guess)")
        wrong = ~(np.abs(found) < _MAX_EXACT)
        reasons.add(wrong, f"{column.name}: must be a Unix time, 1970 to 2255, in steps of {unit_us} microseconds")
        return np.rint(np.where(wrong, 0.0, found)).astype(np.int64)

    return read


def _other_units(values: npt.NDArray[np.float64], unit_us: int) -> Iterator[tuple[npt.NDArray[np.bool_], str]]:
    """Rows whose time is none in this unit, and one in another: which, and the name of that."""

    def possible(step_us: float) -> npt.NDArray[np.bool_]:
        return (values * step_us >= EARLIEST_US) & (values * step_us < LATEST_US)

    strange = ~possible(unit_us)
    if not strange.any():
        return
    for step_us, unit in (*_UNITS.items(), (0.001, _NANO)):
        if step_us != unit_us:
            yield strange & possible(step_us), unit
    low, high = _EXCEL_DAYS
    yield strange & (values >= low) & (values < high), "days of a spreadsheet"


def clock(ahead_min: int) -> Callable[["pd.Series[Any]", Reasons], npt.NDArray[np.int64]]:
    """Reader of a column of times such as 2019-10-01 00:00:00, written `ahead_min` minutes ahead of UTC.

    An offset, a Z or UTC that is written behind a time wins.
    """

    def read(column: "pd.Series[Any]", reasons: Reasons) -> npt.NDArray[np.int64]:
        written = column.str.strip()
        plain = written.str.replace(r"\s*(?:UTC|GMT)$", "", regex=True)
        plain = plain.str.replace(
            r"([0-9]:?[0-9]{2}(?:[.,][0-9]+)?)\s+([zZ]|[+-][0-9]{2}(?::?[0-9]{2})?)$", r"\1\2", regex=True
        )
        plain = _with_offsets(plain)
        found = pd.to_datetime(plain, format="ISO8601", utc=True, errors="coerce").to_numpy(dtype="datetime64[us]")
        days = pd.to_numeric(written, errors="coerce").to_numpy(dtype=np.float64)
        number = ~np.isnan(days) & (np.char.str_len(written.to_numpy(dtype=str)) != len("20191001"))
        example = f"{column.name}: must be a time such as 2019-10-01 00:00:00"
        low, high = _EXCEL_DAYS
        reasons.add((days >= low) & (days < high), f"{example}; this is a spreadsheet's number of days: export dates as texts")
        reasons.add(number, f"{example}; numbers need a map: attune ingest --guess")
        reasons.add(np.isnat(found), example)
        said = (plain != written).to_numpy() | plain.str.contains(_OFFSET).to_numpy(dtype=bool)
        return np.where(np.isnat(found), 0, found.astype(np.int64) - np.where(said, 0, ahead_min * 60_000_000))

    return read


def _with_offsets(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Times behind which a zone is named with its offset instead: 2019-10-27 02:30:00 Europe/Berlin, or CET."""
    named = column.str.contains(r"[A-Za-z]{3}\]?$")
    if not named.any():
        return column
    found = column.copy()
    found[named] = [instant_text(text) for text in column[named]]
    return found


def blank_events(n_rows: int) -> dict[str, Any]:
    """Columns of an event frame in which nothing is known, to be filled by an adapter."""
    columns: dict[str, Any] = {name: np.full(n_rows, None, dtype=object) for name in EVENT_COLUMNS}
    columns |= {name: np.full(n_rows, np.nan) for name in MEASURES}
    columns["occurred_at_us"] = np.zeros(n_rows, dtype=np.int64)
    columns["utc_offset_min"] = np.zeros(n_rows, dtype=np.int16)
    columns["device"] = object_array(list(repeat(DEVICES[0], n_rows)))
    columns["referrer"] = object_array(list(repeat(REFERRERS[0], n_rows)))
    return columns
