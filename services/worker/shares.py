"""Shares of the work where several workers are on one server: each duty is done by one of them at a time, and all have as many.

A worker shows that it is there by a lease of its own, and holds a lease for each duty that it does; whatever the duty writes
is written under that lease, and not any more once another worker has it. Who has more than its share gives one back, and who
has less takes what is free. So a worker that comes is given work within seconds, and what a killed one did lapses. All keep one
lease more, under one name: that of the worker which did everything in earlier releases.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from infra.store.errors import StoreBusy, StoreUnavailable, WrongRevision
from infra.store.protocol import Store
from infra.store.statements.leases import N_HELD
from services.worker.runner import Duty, log, open_and_follow

LEASE_S: Final = 5.0
ASK_S: Final = 1.0  # how often leases are kept, or asked for
ALONE: Final = "worker"  # lease of a worker that does all duties: of a home's file, or of a release without shares
TOGETHER: Final = "shares"  # who holds it where workers share
THERE: Final = "worker "  # before a worker's name, in the name of the lease that shows that it is there
DOES: Final = "duty "  # before a duty's
_Open = Callable[[], Duty]


class Held(NamedTuple):
    """Duty that is done here: its thread, how that is told to end, and the epoch of the lease that it works under."""

    thread: threading.Thread
    ended: threading.Event
    epoch: int


class Shares:
    """Share of a worker.

    Parameters
    ----------
    store
        Of a server, for leases; any thread may use it.
    holder
        The worker's name, that of no other one.
    duties
        What opens each duty, by its name. It is called in the duty's thread, under the duty's lease.
    failures
        Of stores: a duty that meets one is tried again.
    rng
        In which order free duties are asked for.
    """

    def __init__(
        self,
        store: Store,
        holder: str,
        duties: Mapping[str, _Open],
        failures: tuple[type[Exception], ...],
        rng: random.Random,
    ) -> None:
        self._store = store
        self._holder = holder
        self._duties = duties
        self._failures = failures
        self._rng = rng
        self._held: dict[str, Held] = {}
        self._ending: dict[str, threading.Thread] = {}  # told to, and still in their last step
        self._kept_at_s = time.monotonic()

    def names(self) -> list[str]:
        """Duties that are done here."""
        return sorted(self._held)

    def run(self, stopped: threading.Event) -> None:
        """Do a share of the duties until `stopped`, then give all back.

        Raises
        ------
        WrongRevision
            If the store is of a revision that is not known here.
        """
        while not stopped.is_set():
            try:
                self.step()
                self._kept_at_s = time.monotonic()
            except WrongRevision:
                raise
            except StoreUnavailable as error:
                log.warning("the store is asked for leases again: %s", error.kind)
                if time.monotonic() - self._kept_at_s > LEASE_S - 2 * ASK_S:
                    self._end(self.names())
            stopped.wait(ASK_S)
        self._end(self.names(), give_back=True)
        with suppress(StoreUnavailable):
            self._store.lease(THERE + self._holder, self._holder, 0)

    def step(self) -> None:
        """Keep what is held, give back what is more than a share, and take what is free until there is one.

        While a worker of an earlier release does all duties, none is done here; while they are shared, it does none.
        """
        if self._store.lease(ALONE, TOGETHER, LEASE_S) is None:
            self._end(self.names(), give_back=True)
            return
        self._store.lease(THERE + self._holder, self._holder, LEASE_S)
        self._end([name for name, held in self._held.items() if self._ask(name) != held.epoch or not held.thread.is_alive()])
        ((n_workers,),) = self._store.read(N_HELD, (THERE, _behind(THERE), time.time_ns() // 1_000))
        share = -(-len(self._duties) // max(n_workers, 1))
        if len(self._held) > share:
            self._end([self._rng.choice(self.names())], give_back=True)
        self._ending = {name: thread for name, thread in self._ending.items() if thread.is_alive()}
        free = [name for name in self._duties if name not in self._held and name not in self._ending]
        self._rng.shuffle(free)
        for name in free:
            if len(self._held) < share and (epoch := self._ask(name)) is not None:
                self._begin(name, epoch)

    def _ask(self, name: str) -> int | None:
        """Take or keep the lease of a duty; stores that this thread opens from now on write under it alone."""
        return self._store.lease(DOES + name, self._holder, LEASE_S)

    def _begin(self, name: str, epoch: int) -> None:
        ended = threading.Event()
        thread = threading.Thread(target=self._do, args=(name, epoch, ended), name=name, daemon=True)
        self._held[name] = Held(thread, ended, epoch)
        thread.start()

    def _do(self, name: str, epoch: int, ended: threading.Event) -> None:
        def opened() -> Duty:
            if self._ask(name) != epoch:
                raise StoreBusy(f"another worker has taken the lease of {name}")
            return self._duties[name]()

        open_and_follow(name, opened, ended, self._failures)

    def _end(self, names: list[str], *, give_back: bool = False) -> None:
        """Let duties end; their leases are given to others once they have, if the store can be reached."""
        ended = {name: self._held.pop(name) for name in names}
        for one in ended.values():
            one.ended.set()
        for name, one in ended.items():
            one.thread.join(ASK_S)  # no longer: the other leases must be kept
            if one.thread.is_alive():
                self._ending[name] = one.thread  # its lease lapses
            elif give_back:
                with suppress(StoreUnavailable):
                    self._store.lease(DOES + name, self._holder, 0)


def _behind(prefix: str) -> str:
    """The first text, in the order of bytes, behind all that begin with a prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
