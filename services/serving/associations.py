"""Live associations: the champion's, kept up to date by the events that arrive, in one thread of every service process.

`services.serving.association_tail` folds what is new; then one reference is assigned, and requests never wait. A process that
begins anew folds the same tail again.

Where partners are shops of their own (`models.shops`), each has a tail of its own, of the operator's events and its own. A
partner with too few events to be built has the base, and on it all that it has sent.

What happens beyond `Bounds` lets the rarest new pairs go, and `/readyz` says so; events are counted on.

An event that validation quarantines after it was folded stays counted until the next champion, which never saw it. An erasure
makes the tail be folded anew, without the user; so does, before long, an anonymous visitor who became a user in one session.
"""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from infra.store.engines import closed_store
from infra.store.errors import StoreUnavailable
from infra.store.events import partners_of
from infra.store.statements.erasure import N_ERASED
from infra.store.statements.identities import N_SPLIT
from infra.store.watch import StoreWatch
from models.associations.eviction import Bounds, for_each
from models.associations.live import rehearse
from models.associations.model import AssociationStore
from models.model_set import ModelSet
from models.schema import LOCAL_PARTNER
from services.serving.association_tail import Followed, Tail
from services.serving.model_watch import ChampionWatcher

POLL_S: Final = 0.1
REJOIN_S: Final = 600.0  # the tail is folded anew at most so often for visitors who are one by now
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


class LiveChampions:
    """Champion source of a home, its associations up to date.

    Parameters
    ----------
    home
        ``ATTUNE_HOME``.
    watcher
        Where the champions come from; started and stopped with this.
    most
        What is kept beside a build, by all shops together.
    """

    def __init__(self, home: Path, watcher: ChampionWatcher, poll_s: float = POLL_S, most: Bounds = _MOST) -> None:
        self._store = closed_store(home)  # of the thread
        self._watcher = watcher
        self._poll_s, self._most = poll_s, most
        self._answer = _Answer(watcher.current(), watcher.current())
        self._tails: dict[str, Tail] | None = {}  # by partner, the base's or everybody's by the operator's name; None: stopped
        self._views: dict[str, AssociationStore] = {}
        self._followed: AssociationStore | None = None
        self._erased: object = None
        self._joined: object = None
        self._joined_at_s = 0.0
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
            for tail in (self._tails or {}).values():
                tail.settle(time.monotonic())
            self._publish()
            if self._stopping.wait(0.0 if more else self._poll_s):
                break
        self._store.close()

    def follow(self) -> bool:
        """Take in what is new, from the beginning of the tail if the champion is another one; whether there may be more."""
        champion = self._watcher.current().associations
        erased, joined = self._store.read(N_ERASED), self._store.read(N_SPLIT)
        is_due = joined != self._joined and time.monotonic() - self._joined_at_s > REJOIN_S
        try:
            if champion is not self._followed or erased != self._erased or is_due:
                self._erased, self._joined, self._joined_at_s = erased, joined, time.monotonic()
                self._followed, self._tails, self._problems = champion, {}, MappingProxyType({})
            if champion is None or self._tails is None:
                return False
            self._begin(champion, self._tails)
            more = any([tail.step() for tail in self._tails.values()])
            most = for_each([tail.live.kept for tail in self._tails.values()], self._most)
            for tail in self._tails.values():
                tail.live.bound(most)
        except StoreUnavailable:
            raise
        except (ValueError, KeyError, IndexError, TypeError) as error:
            # Whatever it is that cannot be folded, the answer is the same: what was folded so far goes on serving.
            # Without its message, which may hold an id.
            told = log.isEnabledFor(logging.DEBUG)
            log.error("associations are not kept up to date: %s", type(error).__name__, exc_info=told)
            self._tails, self._problems = None, MappingProxyType({"associations": STOPPED})
            return False
        if any(tail.live.n_evicted for tail in self._tails.values()):
            self._problems = MappingProxyType({"associations": LET_GO})
        return more

    def _begin(self, champion: AssociationStore, tails: dict[str, Tail]) -> None:
        """Begin the tails that are missing: one for all, or the base's, those of shops that were built, and of new senders."""
        if champion.shops is None:
            if not tails:
                tails[LOCAL_PARTNER] = Tail(self._store, champion, most=self._most)
            return
        for partner in {LOCAL_PARTNER: None, **champion.shops, **dict.fromkeys(partners_of(self._store))}:
            if partner not in tails:
                built = (LOCAL_PARTNER, partner) if partner in champion.shops else (LOCAL_PARTNER,)
                followed = Followed(built, "" if partner in built else partner)
                tails[partner] = Tail(self._store, champion.of(partner), most=self._most, followed=followed)

    def _publish(self) -> None:
        source = self._watcher.current()
        if not self._tails or source.associations is not self._followed:
            return
        views = {partner: tail.live.view for partner, tail in self._tails.items()}
        if self._answer.source is source and views == self._views:
            return
        self._views = dict(views)
        base = views.pop(LOCAL_PARTNER)
        shops = None if self._followed is None or self._followed.shops is None else views
        self._answer = _Answer(source, replace(source, associations=base if shops is None else base.beside(shops)))
