"""Live associations: the champion's, kept up to date by the events that arrive, in one thread of every process that answers.

New events are counted once: by the process that holds the lease, which writes what they change (`models.associations.deltas`).
All add it in the same order, so that all have the same, to the bit, as soon as their gates have settled; a process that begins
anew adds the same. One reference is assigned, and requests never wait. A holder that is killed is followed by another one: at
once on one machine, after `LEASE_S` on several.

Where partners are shops of their own (`models.shops`), each has a tail of its own, of the operator's events and its own. A
partner with too few events to be built has the base, and on it all that it has sent.

What happens beyond `Bounds` lets the rarest new pairs go, for all, and `/readyz` says so; events are counted on.

An event that validation quarantines after it was counted stays counted until the next champion, which never saw it. An erasure
makes the tail be counted anew, without the user; so does, before long, an anonymous visitor who became a user in one session.
"""

import logging
import secrets
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from infra.store.engines import closed_store
from infra.store.errors import StoreUnavailable
from infra.store.events import partners_of
from infra.store.protocol import Store
from infra.store.statements.erasure import N_ERASED
from infra.store.statements.identities import N_SPLIT, NEWEST_JOIN
from infra.store.watch import StoreWatch
from models.associations.deltas import Delta
from models.associations.eviction import Bounds, for_each
from models.associations.live import rehearse
from models.associations.model import AssociationStore
from models.model_set import ModelSet
from models.schema import LOCAL_PARTNER
from services.serving import association_deltas
from services.serving.association_deltas import UNBUILT_FROM, Run, Written
from services.serving.association_tail import Followed, Tail
from services.serving.model_watch import ChampionWatcher

POLL_S: Final = 0.1
REJOIN_S: Final = 600.0  # the tail is folded anew at most so often for visitors who are one by now
LEASE: Final = "associations"
LEASE_S: Final = 5.0
ASK_S: Final = 1.0  # how often the lease is kept, or asked for
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
        self._home, self._store = home, closed_store(home)  # the store is the thread's
        self._holder, self._asked_at_s = secrets.token_hex(8), float("-inf")
        self._epoch: int | None = None  # of the lease, while this process has it
        self._counting: Store | None = None  # under the lease, while this process counts
        self._run_now: Run | None = None
        self._last = 0  # row that was read last
        self._watcher = watcher
        self._poll_s, self._most = poll_s, most
        self._answer = _Answer(watcher.current(), watcher.current())
        self._tails: dict[str, Tail] | None = {}  # by partner, the base's or everybody's by the operator's name; None: stopped
        self._views: dict[str, AssociationStore] = {}
        self._followed: AssociationStore | None = None
        self._began_at_s = 0.0
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
            more = watch.look(time.monotonic(), self.follow, anyway=is_another or self._is_to_ask())
            for tail in (self._tails or {}).values():
                tail.settle(time.monotonic())
            self._publish()
            poll_s = self._poll_s if self._counting is None else min(self._poll_s, POLL_S)  # the others wait for who counts
            if self._stopping.wait(0.0 if more else poll_s):
                break
        with suppress(StoreUnavailable):
            self._store.lease(LEASE, self._holder, 0)
        for store in filter(None, (self._counting, self._store)):
            store.close()

    def _is_to_ask(self) -> bool:
        return time.monotonic() - self._asked_at_s >= ASK_S

    def follow(self) -> bool:
        """Take in what is new, from the beginning of the tail if the champion is another one; whether there may be more."""
        now = self._watcher.current()
        champion, version = now.associations, now.versions.get("associations", 0)
        if champion is not self._followed:
            self._followed, self._problems = champion, MappingProxyType({})
            self._forget()
        try:
            if champion is None or self._tails is None:
                return False
            if self._is_to_ask():
                self._ask()
            more = self._take(champion, version)
            if self._counting is not None and not more:
                more = self._count(self._counting, champion, version)
        except StoreUnavailable:
            self._forget()  # what was written, if anything was, is read again
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

    def _forget(self) -> None:
        """Stand before the first delta."""
        self._tails, self._run_now, self._last = {}, None, 0

    def _ask(self) -> None:
        """Ask for the lease, or keep it; who has it counts, in a store that writes under it only."""
        self._asked_at_s = time.monotonic()
        epoch = None
        try:
            epoch = self._store.lease(LEASE, self._holder, LEASE_S)
        except StoreUnavailable as error:
            log.warning("new events are not counted for now: %s", error.kind)
        if epoch == self._epoch:
            return
        if self._counting is not None:
            self._counting.close()
        # Opened by the thread that holds the lease: it writes under it alone.
        self._counting, self._epoch = None if epoch is None else closed_store(self._home), epoch

    # ---- adding what was counted -----------------------------------------------------------------------------------

    def _take(self, champion: AssociationStore, version: int) -> bool:
        """Add the next deltas; whether there may be more."""
        run = association_deltas.run_of(self._store)
        if run is None or run.version != version:
            return False
        if run != self._run_now:
            self._forget()
            self._run_now, self._began_at_s = run, time.monotonic()
            for partner in (LOCAL_PARTNER, *(champion.shops or ())):  # as they were built, until there is a delta
                self._tail(champion, partner)
        rows = association_deltas.since(self._store, self._last)
        if any(row.run != run.name for row in rows):  # it began anew meanwhile
            return True
        ready: dict[str, list[Written]] = {}
        for row in rows:
            if row.is_whole:
                ready[row.partner] = []
            ready.setdefault(row.partner, []).append(row)
            self._last = row.id
        for partner, each in ready.items():
            self._add(champion, partner, each)
        return len(rows) == association_deltas.ROWS_A_READ

    def _add(self, champion: AssociationStore, partner: str, rows: list[Written]) -> None:
        """Add a partner's rows, the first of which may be the sum of all before."""
        tail = self._tail(champion, partner)
        tail.unbuilt_from = rows[0].parts.meta[UNBUILT_FROM]
        rows = [row for row in rows if row.number > tail.number]
        if rows and rows[0].is_whole:
            tail.take(rows[0].number, rows[0].until_seq, [rows[0].delta], is_whole=True)
            del rows[0]
        if rows:
            if [row.number for row in rows] != list(range(tail.number + 1, tail.number + 1 + len(rows))):
                raise ValueError("deltas are missing")
            tail.take(rows[-1].number, rows[-1].until_seq, [row.delta for row in rows], is_whole=False)

    # ---- counting --------------------------------------------------------------------------------------------------

    def _count(self, store: Store, champion: AssociationStore, version: int) -> bool:
        """Count the next events, write what they change, and add it; whether there may be more."""
        (erased,), ((n_split,),) = store.read(N_ERASED), store.read(N_SPLIT)
        run = self._run_now
        is_due = run is not None and n_split != run.n_split and time.monotonic() - self._began_at_s > REJOIN_S
        if run is None or list(erased) != run.erased or is_due:
            ((joined,),) = store.read(NEWEST_JOIN)
            self._forget()
            self._run_now = association_deltas.begin(store, version, list(erased), joined, n_split)
            self._began_at_s = time.monotonic()
        partners: Mapping[str, object] = {LOCAL_PARTNER: None}
        if champion.shops is not None:
            partners = {LOCAL_PARTNER: None, **champion.shops, **dict.fromkeys(partners_of(store))}
        tails = [self._tail(champion, partner) for partner in partners]
        more = any([tail.step() for tail in tails])
        most = for_each([tail.live.kept for tail in tails], self._most)
        for tail in tails:
            tail.bound(most)
        return more

    def _tail(self, champion: AssociationStore, partner: str) -> Tail:
        """Tail of one partner, or of the base's events or everybody's under the operator's name; begun where it is missing."""
        assert self._tails is not None
        if partner in self._tails:
            return self._tails[partner]
        followed, built = None, champion
        if champion.shops is not None:
            whose = (LOCAL_PARTNER, partner) if partner in champion.shops else (LOCAL_PARTNER,)
            followed, built = Followed(whose, "" if partner in whose else partner), champion.of(partner)
        tail = Tail(self._store, built, most=self._most, followed=followed, keep=partial(self._keep, partner))
        assert self._run_now is not None
        tail.joined = self._run_now.joined
        self._tails[partner] = tail
        return tail

    def _keep(self, partner: str, number: int, until: int, delta: Delta, is_whole: bool) -> int:
        """Write a delta of a partner under the lease; its bytes."""
        assert self._counting is not None
        assert self._run_now is not None
        assert self._tails is not None
        place = (self._run_now.name, partner, number, until)
        unbuilt_from = self._tails[partner].unbuilt_from
        self._last, n_bytes = association_deltas.add(self._counting, place, delta, unbuilt_from, is_whole=is_whole)
        return n_bytes

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
