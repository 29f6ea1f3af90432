"""Lengths of visitors' histories: who has so many events that reading them again for each new one would make all others wait.

To count them reads them. So what was counted is remembered, and what is passed is added: an upper bound, since events may have
been there already when the others were counted. They are counted again only where that bound is too high, or where an anonymous
visitor has become the user.
"""

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from infra.store.identities import Joins
from infra.store.protocol import Read

USERS_KEPT: Final = 50_000


class Lengths:
    """Lengths of the histories of those who did something lately.

    Parameters
    ----------
    read
        Of the store.
    statement
        Counts the events of some users, given as a JSON list: `COUNT_OF_USERS`, or one like it.
    most
        Events of a visitor who is no machine.
    users_kept
        Visitors that are remembered at most.
    """

    def __init__(self, read: Read, statement: str, most: int, users_kept: int = USERS_KEPT) -> None:
        self._read, self._statement = read, statement
        self._most, self._users_kept = most, users_kept
        self._joins = Joins(read)
        self._until: int | None = None
        self._bounds: dict[str, int] = {}  # by user, who was met last in the end

    def passed(self, after: int, until: int, n_events: Mapping[str, int]) -> None:
        """Add the events of a stretch of the log, by user; who has not passed all that is before it remembers nothing."""
        if after != self._until:
            self._bounds.clear()
        self._until = until
        for user, n in n_events.items():
            if user in self._bounds:
                self._bounds[user] = self._bounds.pop(user) + n

    def busy(self, users: Collection[str]) -> set[str]:
        """Those of some users who have more events than `most`."""
        for user in self._joins.lately():
            self._bounds.pop(user, None)
        unsure = [user for user in users if self._bounds.get(user, self._most + 1) > self._most]
        if unsure:
            counted: dict[str, int] = dict(self._read(self._statement, (msgspec.json.encode(unsure).decode(),)))
            self._bounds.update({user: counted.get(user, 0) for user in unsure})
        found = {user for user in users if self._bounds[user] > self._most}
        for user in list(self._bounds)[: max(len(self._bounds) - self._users_kept, 0)]:
            del self._bounds[user]
        return found
