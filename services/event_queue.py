"""Event queue: the partner's side of ``POST /v1/events``, in batches and from any thread. Standard library only."""

import threading
from collections import deque
from collections.abc import Callable
from itertools import islice
from types import TracebackType
from typing import Any, Self

from services.client import MAX_BATCH, MAX_BYTES, Attune, AttuneError, EventVerdict, Json, complete, size_of


class EventQueue:
    """Queue that collects events and sends them in batches from a thread; `close`, or the end of a ``with``, sends the rest.

    Parameters
    ----------
    size
        A batch is sent when so many wait, or when the oldest has waited `seconds`.
    limit
        Most that may wait while the service cannot be reached.
    on_rejected
        Is told every event that the service does not take.
    """

    def __init__(
        self,
        client: Attune,
        *,
        size: int = 100,
        seconds: float = 1.0,
        limit: int = 10_000,
        on_rejected: Callable[[EventVerdict], None] | None = None,
    ) -> None:
        self._client, self._size, self._seconds, self._limit, self._on_rejected = client, size, seconds, limit, on_rejected
        self._waiting: deque[Json] = deque()
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="attune-events", daemon=True)
        self._thread.start()

    def add(self, **event: Any) -> str:
        """Put one event in; its id.

        Raises
        ------
        OverflowError
            If the service could not be reached for so long that `limit` events wait.
        TypeError, ValueError
            If it is not JSON, or too large to be sent: it would stand in the way of all others.
        """
        ready = complete(event)
        if size_of(ready) > MAX_BYTES:
            raise ValueError(f"an event may have {MAX_BYTES} bytes at most")
        with self._changed:
            if len(self._waiting) >= self._limit:
                raise OverflowError(f"{self._limit} events wait for a service that cannot be reached")
            self._waiting.append(ready)
            if len(self._waiting) in (1, self._size):
                self._changed.notify()
        return str(ready["event_id"])

    def flush(self) -> None:
        """Send all that waits; it is on disk when this returns. What cannot be sent goes on waiting.

        Raises
        ------
        AttuneError
            If the service cannot be reached or refuses a batch.
        """
        with self._sending:
            while batch := self._next():
                for verdict in self._client.send_events(batch)["results"]:
                    if verdict["status"] == "rejected" and self._on_rejected is not None:
                        self._on_rejected(verdict)
                for _ in batch:
                    self._waiting.popleft()

    def close(self) -> None:
        """Send the rest and end the thread; raises as `flush` does."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _next(self) -> list[Json]:
        with self._changed:
            return list(islice(self._waiting, MAX_BATCH))

    def _run(self) -> None:
        while not self._closed:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or len(self._waiting) > 0)
                self._changed.wait_for(lambda: self._closed or len(self._waiting) >= self._size, self._seconds)
            if not self._closed:
                try:
                    self.flush()
                except AttuneError:  # what waits is sent with the next batch, or by `close`, which tells
                    with self._changed:
                        self._changed.wait_for(lambda: self._closed, self._seconds)
