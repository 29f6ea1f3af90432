"""Live associations: the champion's, kept up to date by the events that arrive, in one thread of every service process.

It follows the log from the event up to which the champion was built. For every user with new events it reads that user's events
again, so that sessions are whole whatever order events arrive in, and `models.associations.live` exchanges old for new.
Then one reference is assigned; requests never wait. A process that begins anew folds the same tail again.

What happens beyond `Bounds` lets the rarest new pairs go, and `/readyz` says so; events are counted on.

An event that validation quarantines after it was folded stays counted until the next champion, which never saw it. An erasure
makes the tail be folded anew, without the user. Who has more than `MOST_EVENTS` believed events is a machine, and waits for the
next champion too: reading such a history again for every event would make all others wait.
"""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from infra.store.engines import closed_store
from infra.store.errors import StoreUnavailable
from infra.store.protocol import Store
from infra.store.statements import events as sql
from infra.store.statements.erasure import N_ERASED
from infra.store.watch import StoreWatch
from models.associations.eviction import Bounds
from models.associations.live import LiveAssociations, rehearse
from models.associations.model import AssociationStore
from models.model_set import ModelSet
from services.serving.model_watch import ChampionWatcher

POLL_S: Final = 0.1
SETTLE_S: Final = 1.0  # gates know newer totals after this time, or after ten times what it takes if that is longer
EVENTS_A_STEP: Final = 5_000
MOST_EVENTS: Final = 20_000  # of one user
_EVER_US: Final = 2**62
_MOST: Final = Bounds()
LET_GO: Final = (
    "associations: more has happened since the build than is kept live, so the rarest new pairs were let go; "
    "new events are counted on, and the next build counts all"
)
STOPPED: Final = "associations: new events are not counted, the service's log says why; run: attune retrain"
log = logging.getLogger("attune.associations")


class _Answer(NamedTuple):
    """Answer of `current`, and what it was made from; replaced as a whole."""

    source: ModelSet
    champions: ModelSet


class Tail:
    """Tail of the log that brings associations up to its end.

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
    """

    def __init__(
        self, store: Store, associations: AssociationStore, most_events: int = MOST_EVENTS, most: Bounds = _MOST
    ) -> None:
        self._store = store
        self._most_events = most_events
        self._built_to = associations.built_to_seq
        self.live = LiveAssociations(associations, most)
        self._as_of_us = _EVER_US if associations.as_of_us is None else associations.as_of_us
        self._position = associations.built_to_seq if associations.as_of_us is None else 0
        self._settled_s, self._took_s = 0.0, 0.0

    def step(self, last: int = _EVER_US) -> bool:
        """Fold the next events, at most `EVENTS_A_STEP`; whether there may be more.

        Parameters
        ----------
        last
            No event after this number is folded: what a decision knew is known again by the number that it names.
        """
        newest = min(self._store.tail("associations").end(), last)
        self._position = min(self._position, newest)  # where the newest events were erased, their numbers are given again
        until = min(newest, self._position + EVENTS_A_STEP)
        if until <= self._position:
            return False
        since = (self._position, until, self._built_to, self._as_of_us)
        users = [user for (user,) in self._store.read(sql.USERS_SINCE, since)]
        busy = self._store.read(sql.BUSY_BELIEVED, (_json(users), self._most_events)) if users else []
        followed = [user for user in users if (user,) not in busy]
        if followed:
            self._fold(followed, until)
        self._position = until
        return until < newest

    def _fold(self, users: list[object], until: int) -> None:
        touches = self._store.read(sql.READ_TOUCHES, (_json(users), max(until, self._built_to)))
        frame = pd.DataFrame(touches, columns=list(sql.TOUCH_COLUMNS), dtype=object)
        frame = frame.astype({"seq": np.int64, "occurred_at_us": np.int64, "browser": np.int8})
        seq, at_us = frame["seq"].to_numpy(), frame["occurred_at_us"].to_numpy()
        known = (seq <= self._position) | ((seq <= self._built_to) & (at_us <= self._as_of_us))
        counted = known | (seq <= until)
        self.live.fold(frame[counted], ~known[counted])

    def settle(self, now_s: float) -> None:
        """Let all gates know the newest totals, if it is time for that."""
        if self.live.is_settled or now_s - self._settled_s < max(SETTLE_S, 10 * self._took_s):
            return
        began = time.perf_counter()
        self.live.settle()
        self._settled_s, self._took_s = now_s, time.perf_counter() - began


def _json(users: list[object]) -> str:
    return msgspec.json.encode(users).decode()


class LiveChampions:
    """Champion source of a home, its associations up to date.

    Parameters
    ----------
    home
        ``ATTUNE_HOME``.
    watcher
        Where the champions come from; started and stopped with this.
    most
        What is kept beside a build.
    """

    def __init__(self, home: Path, watcher: ChampionWatcher, poll_s: float = POLL_S, most: Bounds = _MOST) -> None:
        self._store = closed_store(home)  # of the thread
        self._watcher = watcher
        self._poll_s, self._most = poll_s, most
        self._answer = _Answer(watcher.current(), watcher.current())
        self._tail: Tail | None = None
        self._followed: AssociationStore | None = None
        self._erased: object = None
        self._problems: Mapping[str, str] = MappingProxyType({})
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def current(self) -> ModelSet:
        """The models that serve now."""
        now = self._watcher.current()
        source, champions = self._answer
        if now is source:
            return champions
        if now.associations is source.associations:  # another model was exchanged a moment ago
            return replace(now, associations=champions.associations)
        return now

    def problems(self) -> Mapping[str, str]:
        """Models whose champion could not be loaded or cannot be kept up to date, and why."""
        return {**self._watcher.problems(), **self._problems}

    def start(self) -> None:
        """Load the champions, then watch and follow in daemon threads."""
        self._watcher.start()
        self._thread = threading.Thread(target=self._run, name="associations", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the threads."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        self._watcher.stop()

    def _run(self) -> None:
        rehearse()
        watch = StoreWatch(self._store, "associations")
        while True:
            is_another = self._watcher.current().associations is not self._followed
            more = watch.look(time.monotonic(), self.follow, anyway=is_another)
            if self._tail is not None:
                self._tail.settle(time.monotonic())
            self._publish()
            if self._stopping.wait(0.0 if more else self._poll_s):
                break
        self._store.close()

    def follow(self) -> bool:
        """Take in what is new, from the beginning of the tail if the champion is another one; whether there may be more."""
        champion = self._watcher.current().associations
        erased = self._store.read(N_ERASED)
        try:
            if champion is not self._followed or erased != self._erased:
                self._erased = erased
                self._followed, self._tail, self._problems = champion, None, MappingProxyType({})
                self._tail = None if champion is None else Tail(self._store, champion, most=self._most)
            more = self._tail is not None and self._tail.step()
        except StoreUnavailable:
            raise
        except (ValueError, KeyError, IndexError, TypeError) as error:
            # Whatever it is that cannot be folded, the answer is the same: what was folded so far goes on serving.
            # Without its message, which may hold an id.
            told = log.isEnabledFor(logging.DEBUG)
            log.error("associations are not kept up to date: %s", type(error).__name__, exc_info=told)
            self._tail, self._problems = None, MappingProxyType({"associations": STOPPED})
            return False
        if self._tail is not None and self._tail.live.n_evicted:
            self._problems = MappingProxyType({"associations": LET_GO})
        return more

    def _publish(self) -> None:
        source = self._watcher.current()
        if self._tail is not None and source.associations is self._followed:
            view = self._tail.live.view
            if self._answer.source is not source or self._answer.champions.associations is not view:
                self._answer = _Answer(source, replace(source, associations=view))
