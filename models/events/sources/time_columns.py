"""Guess of the time in a table that nobody described: its column, how it is written, and where the time of day stands."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from models.events.plain import EARLIEST_US, LATEST_US
from models.events.rules import parse_instant_us
from models.events.sources.written import AUTO, DAYS, UNITS, day_and_clock, number_in, time_text

Column = Sequence[str]  # cells of all rows, in their order; empty where there is nothing

LEAST_SHARE: Final = 0.8  # of a column's values that must be what it is taken for
MOST_WAYS: Final = 3  # of writing times in one column
_AMERICAN: Final = ("%m/%d", "%m-%d")
_PATTERNS: Final = (
    *("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y"),
    *("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%m/%d/%Y", "%d-%m-%Y %H:%M:%S"),
    *("%d.%m.%y %H:%M", "%d.%m.%y", "%d/%m/%y %H:%M", "%d/%m/%y", "%m/%d/%y %H:%M", "%m/%d/%y"),
    *("%d-%m-%Y %H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y%m%d%H%M%S", "%d %b %Y %H:%M:%S"),
    *("%d-%b-%Y %H:%M:%S", "%b %d, %Y %H:%M:%S", "%a %b %d %H:%M:%S %Y", "%d/%b/%Y:%H:%M:%S %z"),
    *("%d/%m/%Y %I:%M:%S %p", "%d/%m/%Y %I:%M %p", "%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %I:%M %p", "%d.%m.%Y, %H:%M:%S"),
    *("%d.%m.%Y, %H:%M", "%d/%m/%Y, %H:%M:%S", "%d/%m/%Y, %H:%M", "%m/%d/%Y, %I:%M:%S %p", "%m/%d/%Y, %I:%M %p"),
    *("%m-%d-%Y %H:%M:%S", "%m-%d-%Y %H:%M", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d %H:%M:%S", "%Y.%m.%d", "%Y%m%d %H:%M:%S"),
    *("%Y%m%d %H:%M", "%Y%m%d%H%M", "%d-%b-%Y %H:%M", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y %H:%M", "%d %b %Y", "%d %B %Y"),
    *("%B %d, %Y %H:%M", "%B %d, %Y", "%b %d, %Y", "%b %d, %Y, %I:%M %p", "%b %d, %Y %I:%M %p", "%b %d, %Y %I:%M:%S %p"),
    *("%a, %d %b %Y %H:%M:%S %z", "%a, %d %b %Y %H:%M:%S %Z", "%a %b %d %Y %H:%M:%S GMT%z", "%a %b %d %H:%M:%S %Z %Y"),
    *("%d %b %Y, %H:%M", "%d %b %Y %I:%M %p", "%d %b, %Y %H:%M"),
    *("%d-%b-%y %I.%M.%S.%f %p", "%d-%b-%y %I.%M.%S %p", "%d-%b-%Y %I.%M.%S.%f %p", "%d-%b-%y %H.%M.%S.%f"),
    *("%Y年%m月%d日 %H:%M:%S", "%Y年%m月%d日 %H:%M", "%Y年%m月%d日", "%Y年%m月%d日 %H时%M分%S秒", "%Y年%m月%d日 %H時%M分%S秒"),
    *("%Y년 %m월 %d일 %H:%M:%S", "%Y년 %m월 %d일 %H:%M", "%Y년 %m월 %d일"),
    *("%m %d, %Y", "%d.%m.%Y %H.%M", "%Y-%m-%d %H.%M.%S", "%Y-%m-%dT%H%M%S"),
)
_clock: Final = re.compile(r"\d\d?:\d\d(:\d\d(\.\d+)?)?\s*([AaPp]\.?[Mm]\.?)?").fullmatch
_CLOCK_WORDS: Final = ("time", "zeit", "uhr", "heure", "hora", "tijd", "ora", "clock", "hourmin")


class TimeColumn(NamedTuple):
    """Where the time stands.

    Attributes
    ----------
    column, clock
        That of the time, and that of the time of day where it stands alone.
    times
        How it is written: `models.events.sources.maps.TableMap.times`.
    notes
        What was not sure.
    """

    column: str
    clock: str | None
    times: str | tuple[str, ...]
    notes: list[str]


def time_column(cells: Mapping[str, Column], named: Sequence[str], has_header: bool = True) -> TimeColumn:
    """Find the time: a column with a name for it, else any whose values are times with a time of day.

    Parameters
    ----------
    named
        Columns whose name is a word for a time, the best first.

    Raises
    ------
    ValueError
        If there is none.

    Examples
    --------
    >>> time_column({"Date": ["11/13/2023"], "Time": ["10:15:30"]}, ["Date"])[:3]
    ('Date', 'Time', '%m/%d/%Y %H:%M:%S')
    >>> time_column({"at": ["11/30/2023 10:00", "1.12.2023 11:00"]}, ["at"]).times
    ('%d.%m.%Y %H:%M', '%m/%d/%Y %H:%M')
    """
    others = [name for name in cells if name not in named and _share(cells[name], _has_clock) >= LEAST_SHARE]
    if not has_header:
        others += [name for name in reversed(list(cells)) if _share(cells[name], _is_unix) == 1.0]
    for name in (*named, *others):
        clock = _clock_beside(name, cells)
        column = [day_and_clock(*pair) or "" for pair in zip(cells[name], cells[clock], strict=True)] if clock else cells[name]
        if ways := _ways(column, any("$" in cell for row in cells.values() for cell in row[:50])):
            times = tuple(_unit(column) if way == AUTO and len(ways) == 1 else way for way in ways)
            return TimeColumn(name, clock, times[0] if len(times) == 1 else times, _doubts(column, times[0]))
    listed = ", ".join(list(cells)[:20])
    raise ValueError(f"no column seems to be the time among {listed}: write a map with [columns] ts")


def _clock_beside(name: str, cells: Mapping[str, Column]) -> str | None:
    """The column with the time of day, for one that has only the day."""
    if _share(cells[name], _is_day) < LEAST_SHARE:
        return None
    named = [other for other in cells if other != name and any(word in other.casefold() for word in _CLOCK_WORDS)]
    return next((other for other in named if _share(cells[other], _is_day_time) == 1.0), None)


def _is_day(cell: str) -> bool:
    """Whether a cell is a date without a time of day, or with midnight."""
    if cell.isdecimal():
        return len(cell) == len("20231101")
    return len(cell) > len("1.1.") and ":" not in re.sub(r"[T ]00:00(:00(\.0+)?)?$", "", cell)


def _is_day_time(cell: str) -> bool:
    return _clock(cell) is not None


def _ways(column: Column, is_american: bool) -> list[str]:
    """How the times of a column are written, the commonest way first; none where too few are times."""
    some = [cell for cell in column if cell][:500]
    found: list[str] = []
    while some and len(found) < MOST_WAYS:
        shares = {way: _share(some, _reads(way)) for way in (AUTO, *_PATTERNS, *([] if found else [DAYS]))}
        best = max(shares.values())
        if best == 0 or (found and best * len(some) < 2 and len(column) > 10):
            break
        way = _one_of([way for way, share in shares.items() if share == best], some, is_american)
        found.append(way)
        some = [cell for cell in some if not _reads(way)(cell)]
    n_cells = min(sum(map(bool, column)), 500)
    return found if n_cells and n_cells - len(some) >= LEAST_SHARE * n_cells else []


def _one_of(ways: Sequence[str], cells: Column, is_american: bool) -> str:
    """Of ways that read as many cells, the one by which rows are in the order of times and of few days; else the usual one."""
    american = [way for way in ways if way.startswith(_AMERICAN)]
    if len(ways) == len(american) or not american or ways[0] in (AUTO, DAYS):
        return ways[0]
    pair = (ways[0], american[0])
    first, second = (_disorder(cells, way) for way in pair)
    return pair[1] if second < first or (second == first and is_american) else pair[0]


def _disorder(cells: Column, way: str) -> tuple[int, int]:
    """Steps against the order of times in a column, whichever order that is; and how long it takes, microseconds."""
    instants = np.array([parse_instant_us(time_text(cell, way, "UTC")) for cell in cells if _reads(way)(cell)], dtype=np.int64)
    steps = np.diff(instants)
    return min(int((steps < 0).sum()), int((steps > 0).sum())), int(np.ptp(instants))


def _doubts(column: Column, way: str) -> list[str]:
    """A note where day and month could change places in every cell."""
    if "%d/%m" not in way and "%m/%d" not in way:
        return []
    other = way.replace("%d/%m", "%m/%d") if "%d/%m" in way else way.replace("%m/%d", "%d/%m")
    if _share(column, _reads(other)) < 1.0:
        return []
    return [f"day and month could change places: {way} is taken; set times in the map if that is wrong"]


def _reads(way: str) -> Callable[[str], bool]:
    return lambda cell: _is_time(cell, way)


def _is_time(cell: str, way: str) -> bool:
    try:
        return EARLIEST_US <= parse_instant_us(time_text(cell, way, "UTC")) < LATEST_US
    except (ValueError, OverflowError):
        return False


def _unit(cells: Column) -> str:
    """Unit of Unix times in which most of them can be; `auto` for clocks."""
    if _share(cells, lambda cell: cell.isdecimal() or isinstance(number_in(cell, "."), float)) < LEAST_SHARE:
        return AUTO
    return max(UNITS, key=lambda unit: _share(cells, _reads(unit)))


def is_clock(cell: str) -> bool:
    """Whether a cell begins as a date with a time of day."""
    return re.match(r"\d{4}-\d\d-\d\d[T ]\d\d", cell) is not None


def _has_clock(cell: str) -> bool:
    """Whether a cell could be a date with a time of day, however it is written."""
    return is_clock(cell) or re.search(r"\d.*[\sT,]\d\d?[:.]\d\d", cell) is not None


def _is_unix(cell: str) -> bool:
    return cell.isdecimal() and len(cell) in (9, 10, 13, 16) and _is_time(cell, AUTO)


def _share(cells: Column, holds: Callable[[str], bool]) -> float:
    some = [cell for cell in cells if cell][:500]
    return sum(map(holds, some)) / len(some) if some else 0.0
