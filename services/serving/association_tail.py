"""Tail of the log that keeps associations up to date: everybody's events, or those of some partners.

Who counts follows the log from the event up to which the associations were built. For every user with new events it takes all
of that user's events, so that sessions are whole whatever order events come in; `models.associations.live` exchanges old for
new. The events of those who did something lately are kept (`services.serving.touches`): each is read once.

Who has more than `MOST_EVENTS` believed events is a machine, and waits for the next build: reading such a history again for
every event would make all others wait.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from infra.store.protocol import Row, Store
from infra.store.statements import events as sql
from infra.store.statements.identities import NEWEST_JOIN, SPLIT_SINCE
from models.associations.deltas import Delta
from models.associations.eviction import Bounds
from models.associations.live import LiveAssociations
from models.associations.model import AssociationStore
from models.shops import LEAST_EVENTS
from services.serving.touches import Touches

SETTLE_S: Final = 5.0  # gates know newer totals after this time, or after `SETTLE_SHARE` times what it takes if that is longer
SETTLE_SHARE: Final = 50  # all rows are made again, for totals that hardly move: a fiftieth of the thread's time at most
EVENTS_A_STEP: Final = 5_000
MOST_EVENTS: Final = 20_000  # of one user
LEAST_BYTES: Final = 1_000_000  # of deltas that are not worth a whole
WHOLE_SHARE: Final = 2  # and times the whole before: wholes are at most 1.5 times the bytes of deltas
_EVER_US: Final = 2**62
_INTS: Final = {"seq": np.int64, "occurred_at_us": np.int64, "browser": np.int8}  # of the columns; all others are texts
_MOST: Final = Bounds()


class Followed(NamedTuple):
    """Partners whose events a tail follows.

    Attributes
    ----------
    built
        Those whose events are in the build.
    unbuilt
        One of whom the build has nothing; "" for none.
    """

    built: tuple[str, ...]
    unbuilt: str = ""


class Kept(NamedTuple):
    """Deltas of a tail as others read them.

    Attributes
    ----------
    number
        Of the last one that is in the associations.
    n_bytes, n_whole
        Of the deltas since the last whole, and of that one.
    """

    number: int = 0
    n_bytes: int = 0
    n_whole: int = 0


Keep = Callable[[int, int, Delta, bool], int]  # number, last event that was counted, delta, whether it is whole; its bytes


class Tail:
    """Tail of the log that brings associations up to its end.

    Deltas come from whoever counts (`take`), or are counted here (`step`), written for all, and only then added.

    Parameters
    ----------
    store
        With the log; used by one thread.
    associations
        With a ledger.
    most_events
        Of one user.
    most
        What is kept beside the build.
    followed
        Whose events; everybody's if None.
    keep
        Writes a delta for others; nobody else reads them, if not given.
    """

    def __init__(
        self, store: Store, associations: AssociationStore, most_events: int = MOST_EVENTS, most: Bounds = _MOST,
        followed: Followed | None = None, keep: Keep = lambda number, until, delta, is_whole: 0,
    ) -> None:  # fmt: skip
        self._store = store
        self._followed = followed
        self._touches = Touches(store.read, most_events)
        self._built_to = associations.built_to_seq
        self.live = LiveAssociations(associations, most)
        self._as_of_us = _EVER_US if associations.as_of_us is None else associations.as_of_us
        self._position = associations.built_to_seq if associations.as_of_us is None else 0
        self.unbuilt_from = 0
        self._keep, self._kept = keep, Kept()
        if followed and followed.unbuilt:
            self._begin(followed.unbuilt)
        self._settled_s, self._took_s = 0.0, 0.0
        self.joined = int(store.read(NEWEST_JOIN)[0][0])

    def _begin(self, partner: str) -> None:
        """Begin where the newest events of a partner do that are as many as are not worth a build."""
        passed = self._store.read(sql.NTH_OF_PARTNER, (partner, self._built_to, LEAST_EVENTS))
        self.unbuilt_from = passed[0][0] if passed else 0
        first = self._store.read(sql.FIRST_OF_PARTNER, (partner, self.unbuilt_from))[0][0]
        if first is not None:
            self._position = min(self._position, first - 1)

    def step(self, last: int = _EVER_US) -> bool:
        """Fold the next events, at most `EVENTS_A_STEP`; whether there may be more.

        Parameters
        ----------
        last
            No event after this number is folded: what a decision knew is known again by the number that it names.
        """
        tail = self._store.tail("associations")
        newest = min(tail.end(), last)
        self._position = min(self._position, newest)  # where the newest events were erased, their numbers are given again
        until = min(newest, tail.until(self._position, EVENTS_A_STEP))
        if until <= self._position:
            return False
        since = (self._position, until, self._built_to, self._as_of_us)
        split = {user for (user,) in self._store.read(SPLIT_SINCE, (self.joined,))}  # counted as two: they wait for a new run
        n_new = {user: n for user, n in self._since(*since) if user not in split}
        touches = self._touches.of(n_new, self._position, until, max(until, self._built_to))
        if touches:
            self._fold(touches, until)
        self._position = until
        return until < newest

    def _since(self, *since: int) -> list[Row]:
        """Who did something that is not in the live associations, and how much."""
        if self._followed is None:
            return self._store.read(sql.USERS_SINCE, since)
        built, unbuilt = self._followed
        partners = msgspec.json.encode(built).decode()
        return self._store.read(sql.USERS_SINCE_OF, (*since, partners, unbuilt))

    def _fold(self, touches: list[Row], until: int) -> None:
        told = _columns(touches)
        seq, at_us, partner = told["seq"], told["occurred_at_us"], told["partner"]
        is_built = is_followed = np.ones(len(seq), np.bool_)
        if self._followed is not None:
            is_built = np.array([name in self._followed.built for name in partner], np.bool_)
            is_followed = is_built | ((partner == self._followed.unbuilt) & (seq > self.unbuilt_from))
        known = (seq <= self._position) | (is_built & (seq <= self._built_to) & (at_us <= self._as_of_us))
        counted = is_followed & (known | (seq <= until))
        is_new = ~known[counted]
        if is_new.any():
            self._add(self.live.counted({name: column[counted] for name, column in told.items()}, is_new), until)

    def _add(self, delta: Delta, until: int) -> None:
        """Write a delta and add it; its sum with all before in its place, where they are many by now."""
        number, n_bytes, n_whole = self._kept
        n_bytes += self._keep(number + 1, until, delta, False)
        self.live.take([delta])
        self._kept = Kept(number + 1, n_bytes, n_whole)
        if n_bytes > max(LEAST_BYTES, WHOLE_SHARE * n_whole):
            self._keep_whole(until)

    def _keep_whole(self, until: int) -> None:
        n_whole = self._keep(self._kept.number, until, self.live.whole(), True)
        self._kept = Kept(self._kept.number, 0, n_whole)

    def bound(self, most: Bounds) -> None:
        """Keep at most so much from now on; what is let go is let go by all."""
        n_evicted = self.live.n_evicted
        self.live.bound(most)
        if self.live.n_evicted != n_evicted:
            self._kept = self._kept._replace(number=self._kept.number + 1)
            self._keep_whole(self._position)

    def take(self, number: int, until: int, deltas: Sequence[Delta], *, is_whole: bool) -> None:
        """Add what another process has counted up to an event: deltas up to a number, or one instead of all."""
        if is_whole:
            self.live.restore(deltas[0])
        else:
            self.live.take(deltas)
        self._kept = self._kept._replace(number=number)
        self._position = until

    @property
    def number(self) -> int:
        """Number of the last delta that was added."""
        return self._kept.number

    def settle(self, now_s: float) -> None:
        """Let all gates know the newest totals, if it is time for that."""
        if self.live.is_settled or now_s - self._settled_s < max(SETTLE_S, SETTLE_SHARE * self._took_s):
            return
        began = time.perf_counter()
        self.live.settle()
        self._settled_s, self._took_s = now_s, time.perf_counter() - began


def _columns(touches: list[Row]) -> dict[str, npt.NDArray[Any]]:
    """Columns of rows of the log."""
    found: dict[str, npt.NDArray[Any]] = {name: np.empty(len(touches), _INTS.get(name, object)) for name in sql.TOUCH_COLUMNS}
    for place, column in enumerate(found.values()):
        column[:] = [row[place] for row in touches]
    return found
