"""Group commit: many requests, one durable transaction, whatever engine is behind it.

Requests hand over what is to be written and wait; a thread takes all that is waiting, does it in one transaction and then
answers everyone. While it writes, the next group gathers; a failed commit acknowledges nothing.
"""

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final, NamedTuple, TypeVar

from infra.store.errors import StoreBusy, StoreFull, StoreUnavailable
from infra.store.free_space import FreeSpace
from infra.store.protocol import Work
from infra.store.statements.events import FROM_SERVER
from infra.store.transaction import Row

MAX_WAITING: Final = 1_000  # jobs; above it the door answers 503 at once
MAX_GROUP: Final = 200  # jobs in one commit
Result = TypeVar("Result")


class _Waiting(NamedTuple):
    work: Work[Any]
    done: "Future[Any]"


class GroupWriter(ABC):
    """Writer of a process: a queue, and a thread that commits what waits; an engine says how.

    Parameters
    ----------
    now_us
        The clock that dates `received_at_us`.
    space
        While it is short, nothing is taken: a commit that finds the disk full may leave no room to recover in.
    """

    def __init__(self, now_us: Callable[[], int], space: FreeSpace) -> None:
        self._now_us = now_us
        self._space = space
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    @abstractmethod
    def commit(self, works: Sequence[Work[Any]]) -> list[Any]:
        """Do pieces of work durably, in the writer's thread; per piece its result, or what it raised.

        Raises
        ------
        StoreUnavailable
            If they were not kept.
        """

    @abstractmethod
    def let_go(self) -> None:
        """Close what the engine holds; called in the writer's thread at its end."""

    def submit(self, work: Work[Result]) -> "Future[Result]":
        """Hand over something to write."""
        done: Future[Result] = Future()
        try:
            self._space.require()
        except StoreFull as error:
            done.set_exception(error)
            return done
        # Not the queue's own limit: the writer's thread puts into it too, and would wait for itself.
        if self._waiting.qsize() < MAX_WAITING:
            self._waiting.put(_Waiting(work, done))
        else:
            done.set_exception(StoreBusy("too many writes wait for the store"))
        return done

    def append(self, partner: str, rows: Sequence[Row]) -> "Future[list[bool]]":
        """Hand over events in the order of `EVENT_COLUMNS`."""
        sent = (self._now_us(), *FROM_SERVER)
        return self.submit(lambda transaction: transaction.append((partner, *row, *sent) for row in rows))

    def close(self) -> None:
        """Write what is waiting, then end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            group = self._group(first)
            if not group:
                continue
            try:
                outcomes = self.commit([one.work for one in group])
            except StoreUnavailable as error:
                for one in group:
                    one.done.set_exception(error)
                continue
            for one, outcome in zip(group, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    one.done.set_exception(outcome)
                else:
                    one.done.set_result(outcome)
        self.let_go()

    def _group(self, first: _Waiting) -> list[_Waiting]:
        """All that waits, without what nobody waits for any more."""
        group = [first]
        while len(group) < MAX_GROUP and not self._waiting.empty():
            if (more := self._waiting.get()) is None:
                self._waiting.put(None)
                break
            group.append(more)
        return [one for one in group if one.done.set_running_or_notify_cancel()]
