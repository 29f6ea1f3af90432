"""Touches of visitors: what associations need of all their events, kept from one step along the log to the next.

Whoever does something new has done something before, most often a moment ago. So the events of those who were met lately stay
in memory, and what is new in the log is read once, for all of them together. Visitors beyond `ROWS_KEPT` are let go, those who
were met longest ago first, and read again when they come back; so is a user with whom an anonymous visitor was joined.
"""

from collections.abc import Mapping
from itertools import chain
from operator import itemgetter
from sys import intern
from typing import Final

import msgspec

from infra.store.identities import Joins
from infra.store.lengths import Lengths
from infra.store.protocol import Read, Row
from infra.store.statements.events import COUNT_BELIEVED, READ_TOUCHES, TOUCH_COLUMNS, TOUCHES_BETWEEN

ROWS_KEPT: Final = 50_000
_USER: Final = TOUCH_COLUMNS.index("user_id")


class Touches:
    """Touches of those who did something lately; they are right for whoever goes along the log stretch by stretch.

    Parameters
    ----------
    read
        Of the store.
    most_events
        Of one visitor; who has more is left out.
    rows_kept
        Events that are kept at most.
    """

    def __init__(self, read: Read, most_events: int, rows_kept: int = ROWS_KEPT) -> None:
        self._read, self._most_events, self._rows_kept = read, most_events, rows_kept
        self._lengths = Lengths(read, COUNT_BELIEVED, most_events)
        self._joins = Joins(read)
        self._rows: dict[str, list[Row]] = {}  # by user, who was met last in the end
        self._n_rows = 0
        self._passed: int | None = None  # event up to which stretches were passed
        self._until = 0  # event up to which they are whole

    def of(self, n_new: Mapping[str, int], after: int, until: int, known_until: int) -> list[Row]:
        """All touches of some users, in the order of the log.

        Parameters
        ----------
        n_new
            Those who did something in a stretch of the log, and how many events it has of them.
        after, until
            The stretch: behind an event, up to another.
        known_until
            All events up to this one are looked at, which may lie behind the stretch.
        """
        if after != self._passed:
            self._rows, self._n_rows, self._until = {}, 0, after
        self._passed = until
        self._lengths.passed(after, until, n_new)
        for user in filter(self._rows.__contains__, self._joins.lately()):
            self._taken(user)
        kept = {user: self._taken(user) for user in n_new if user in self._rows}
        others = n_new.keys() - kept.keys()
        others -= self._lengths.busy(others)
        if kept and known_until > self._until:
            for row in self._read(TOUCHES_BETWEEN, (self._until, known_until)):
                if row[_USER] in kept:
                    kept[row[_USER]].append(_small(row))
        self._until = known_until
        if others:
            kept.update({user: [] for user in others})
            for row in self._read(READ_TOUCHES, (msgspec.json.encode(sorted(others)).decode(), known_until)):
                kept[row[_USER]].append(_small(row))
        followed = {user: rows for user, rows in kept.items() if len(rows) <= self._most_events}
        self._keep(followed)
        return sorted(chain.from_iterable(followed.values()), key=itemgetter(0))

    def _taken(self, user: str) -> list[Row]:
        rows = self._rows.pop(user)
        self._n_rows -= len(rows)
        return rows

    def _keep(self, touches: Mapping[str, list[Row]]) -> None:
        self._rows |= touches
        self._n_rows += sum(map(len, touches.values()))
        while self._n_rows > self._rows_kept:
            self._taken(next(iter(self._rows)))


def _small(row: Row) -> Row:
    """The same, its texts shared with other rows."""
    return tuple(intern(value) if type(value) is str else value for value in row)
