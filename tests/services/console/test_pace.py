"""Pace of a log: rows by second, each counted once."""

from collections import Counter
from typing import Any

from services.console.pace import MOST, Pace

ROWS = {1: 100, 2: 100, 3: 101, 4: 160}  # second of each row


class Log:
    """A log of which each row is noted when it is read."""

    def __init__(self, before: int) -> None:
        self.before = before
        self.read_rows: list[int] = []

    def read(self, statement: str, bindings: Any = ()) -> list[Any]:
        if statement == "before":
            assert bindings == (MOST,)
            return [(self.before,)]
        after, until = bindings
        found = [row for row in ROWS if after < row <= until]
        self.read_rows += found
        return sorted(Counter(ROWS[row] for row in found).items())


def test_each_row_is_counted_once() -> None:
    log, pace = Log(before=0), Pace("before", "by second")
    pace.look(log.read, 3)
    assert (pace.within(100, 101), pace.within(100, 160), pace.newest_s) == (2, 3, 101)
    pace.look(log.read, 4)
    pace.look(log.read, 4)
    assert log.read_rows == [1, 2, 3, 4]
    assert pace.per_span([60, 120, 180]) == [3.0, 1.0]


def test_what_was_left_out_is_not_zero() -> None:
    log, pace = Log(before=1), Pace("before", "by second")
    pace.look(log.read, 4)
    assert pace.per_span([60, 120, 180]) == [None, 1.0], "more may have come in the first minute"


def test_nothing_is_no_newest_row() -> None:
    pace = Pace("before", "by second")
    pace.look(Log(before=0).read, 0)
    assert pace.newest_s is None
    assert pace.per_span([0, 60]) == [0.0]
