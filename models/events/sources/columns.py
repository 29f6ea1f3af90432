"""Columns of a raw chunk read as texts, numbers and times; what cannot be read is a reason to refuse its row."""

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.arrays import Objects
from models.schema import DEVICES, EVENT_COLUMNS, MEASURES, REFERRERS

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


def text_of(value: object) -> str:
    """Write one JSON or Parquet value as the text that a CSV file would hold; missing becomes the empty text.

    Examples
    --------
    >>> [text_of(v) for v in (None, float("nan"), 7, 7.0, 7.5, "x", pd.Timestamp("2019-10-01", tz="UTC"))]
    ['', '', '7', '7', '7.5', 'x', '2019-10-01 00:00:00+00:00']
    """
    if isinstance(value, str):
        return value
    if value is None or value is pd.NaT or value is pd.NA:
        return ""
    if isinstance(value, float):
        return "" if value != value else str(int(value)) if value.is_integer() else repr(value)
    return str(value)


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


def epoch(unit_us: int) -> Callable[["pd.Series[Any]", Reasons], npt.NDArray[np.int64]]:
    """Reader of a column of Unix times in steps of `unit_us` microseconds; missing and unreadable ones become 0, refused."""

    def read(column: "pd.Series[Any]", reasons: Reasons) -> npt.NDArray[np.int64]:
        found = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64) * unit_us
        wrong = ~(np.abs(found) < _MAX_EXACT)
        reasons.add(wrong, f"{column.name}: must be a Unix time, 1970 to 2255, in steps of {unit_us} microseconds")
        return np.rint(np.where(wrong, 0.0, found)).astype(np.int64)

    return read


def clock(ahead_min: int) -> Callable[["pd.Series[Any]", Reasons], npt.NDArray[np.int64]]:
    """Reader of a column of times such as 2019-10-01 00:00:00, written `ahead_min` minutes ahead of UTC."""

    def read(column: "pd.Series[Any]", reasons: Reasons) -> npt.NDArray[np.int64]:
        plain = column.str.removesuffix(" UTC")
        found = pd.to_datetime(plain, format="ISO8601", utc=True, errors="coerce").to_numpy(dtype="datetime64[us]")
        reasons.add(np.isnat(found), f"{column.name}: must be a time such as 2019-10-01 00:00:00")
        return np.where(np.isnat(found), 0, found.astype(np.int64) - ahead_min * 60_000_000)

    return read


def blank_events(n_rows: int) -> dict[str, Any]:
    """Columns of an event frame in which nothing is known, to be filled by an adapter."""
    columns: dict[str, Any] = {name: np.full(n_rows, None, dtype=object) for name in EVENT_COLUMNS}
    columns |= {name: np.full(n_rows, np.nan) for name in MEASURES}
    columns["occurred_at_us"] = np.zeros(n_rows, dtype=np.int64)
    columns["utc_offset_min"] = np.zeros(n_rows, dtype=np.int16)
    columns["device"] = object_array(list(repeat(DEVICES[0], n_rows)))
    columns["referrer"] = object_array(list(repeat(REFERRERS[0], n_rows)))
    return columns
