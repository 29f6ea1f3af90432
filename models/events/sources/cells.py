"""Columns of cells in the form of `models.events.plain`, and times as a text file of their source would have them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from models.arrays import Objects
from models.events.plain import NA, PLACEHOLDERS, plain, text_of
from models.events.sources.columns import object_array

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_may_differ: Final = re.compile(r"(?:\A|\x1f)(?:\s|[+-]?[0-9]+(?:\.|[eE]))|\s(?:\x1f|\Z)")


class Times(NamedTuple):
    """Form in which a source writes its times.

    Attributes
    ----------
    column
        That holds them.
    unit_us
        Microseconds that a step of a Unix time is; 0 for a clock such as 2019-10-01 00:00:00.
    ahead_min
        Minutes that the clock is ahead of UTC, where a time says no offset itself.
    suffix
        Behind every time of a clock.
    """

    column: str
    unit_us: int = 0
    ahead_min: int = 0
    suffix: str = ""

    def text(self, at_us: int, is_wall: bool) -> str:
        """Write an instant, or a wall clock without a zone, as a text file of this source has it.

        Examples
        --------
        >>> Times("time", ahead_min=480).text(2_000_000, is_wall=False)
        '1970-01-01 08:00:02'
        >>> Times("time", ahead_min=480).text(2_000_000, is_wall=True)
        '1970-01-01 00:00:02'
        >>> Times("ts", unit_us=1_000).text(2_500_000, is_wall=True)
        '2500'
        """
        if self.unit_us:
            return text_of(at_us / self.unit_us) if at_us % self.unit_us else str(at_us // self.unit_us)
        try:
            wall = _EPOCH + timedelta(microseconds=at_us, minutes=0 if is_wall else self.ahead_min)
        except OverflowError:
            return str(at_us)  # no time at all: refused as such
        return wall.replace(tzinfo=None).isoformat(" ") + self.suffix


def plain_cells(cells: Objects) -> Objects:
    """All cells of a column in `plain` form; the same array where none of them changes.

    Examples
    --------
    >>> plain_cells(object_array(["7.0", "x"])).tolist()
    ['7', 'x']
    """
    different = set(cells.tolist())
    return _changed(cells, {cell: plain(cell) for cell in different}) if _may_change(different) else cells


def plain_numbers(cells: Objects) -> Objects:
    """The same for a column of numbers: 35.50 is 35.5."""

    def one(cell: str) -> str:
        text = plain(cell)
        return text.rstrip("0") if _fraction.fullmatch(text) else text

    return _changed(cells, {cell: one(cell) for cell in set(cells.tolist())})


_fraction: Final = re.compile(r"[+-]?[0-9]+\.[0-9]*[1-9]0+")


def plain_times(cells: Objects, times: Times) -> Objects:
    """Unix times where a column of them holds clocks (a frame with typed times writes them); others stay.

    Examples
    --------
    >>> plain_times(object_array(["1500", "1970-01-01 00:00:02"]), Times("ts", unit_us=1_000)).tolist()
    ['1500', '2000']
    """
    if not times.unit_us or "-" not in "".join(cells.tolist()):
        return cells
    return _changed(cells, {cell: _unix(cell, times) for cell in set(cells.tolist())})


def _unix(cell: str, times: Times) -> str:
    try:
        instant = datetime.fromisoformat(cell.removesuffix(" UTC"))
    except ValueError:
        return cell
    instant = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return times.text((instant - _EPOCH) // timedelta(microseconds=1), is_wall=False)


def _may_change(different: set[str]) -> bool:
    joined = "\x1f".join(different)
    if _may_differ.search(joined):
        return True
    small = f"\x1f{joined}\x1f".casefold()
    return any(f"\x1f{word}\x1f" in small for word in (*PLACEHOLDERS - {""}, NA.casefold()))


def _changed(cells: Objects, found: dict[str, str]) -> Objects:
    if all(before == after for before, after in found.items()):
        return cells
    return object_array(list(map(found.__getitem__, cells.tolist())))
