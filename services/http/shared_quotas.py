"""Quotas of keys over replicas: counted in each process, told to all every `EXCHANGE_S`.

A request never waits for the server of the quotas. Between two exchanges a process admits half its share of what was left at
the last one; what all have admitted together beyond a quota is owed, and taken from the next minute. While the server is away,
each process admits its share of what was left and of what comes in again, and tells of it later. (Slices that are taken in
advance would lie unused where nobody asks.)
"""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from infra.quotas import WINDOW_S, Quota, QuotasAwayError

EXCHANGE_S: Final = 0.02
TRY_S: Final = 1.0  # how long a server that was away is left alone
MOST: Final = 10_000  # quotas that are remembered
log = logging.getLogger("attune.quotas")


class Exchange(Protocol):
    """Where processes meet. `infra.quotas.RedisQuotas` is one."""

    def exchange(self, used: Mapping[Quota, int]) -> tuple[dict[Quota, float], int]:
        """Tell what was used; what is left of each, and how many processes there are."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class _Known:
    """What is known of a quota: what is left, of it or of this process's share, and when; what was used and not yet told."""

    __slots__ = ("at_us", "level", "used")

    def __init__(self, level: float, at_us: int) -> None:
        self.level, self.at_us, self.used = level, at_us, 0

    def refill(self, now_us: int, per_minute: float) -> float:
        """Let the time go by; what is left now."""
        refilled = max(0, now_us - self.at_us) * per_minute / (WINDOW_S * 1e6)
        self.level, self.at_us = min(per_minute, self.level + refilled), now_us
        return self.level


class SharedQuotas:
    """Quotas that the processes of an installation use up together.

    Parameters
    ----------
    workers
        Processes of this replica, before any other is known.
    now_us
        The requests' clock, microseconds since 1970.
    """

    def __init__(self, server: Exchange, workers: int, now_us: Callable[[], int]) -> None:
        self._server = server
        self._now_us = now_us
        self._n_processes = workers
        self._is_away = True  # until the first exchange
        self._known: dict[Quota, _Known] = {}
        self._asked: set[Quota] = set()  # since the last exchange
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="quotas", daemon=True)

    def take(self, quota: Quota, now_us: int) -> tuple[bool, float]:
        """Count a request: whether it is admitted, and what is left; of this process's share, while the server is away."""
        with self._lock:
            n_parts = self._n_processes if self._is_away else 1
            known = self._known.get(quota)
            if known is None:
                if len(self._known) >= MOST:
                    self._known.clear()
                known = self._known[quota] = _Known(quota.per_minute / n_parts, now_us)
            self._asked.add(quota)
            level = known.refill(now_us, quota.per_minute / n_parts)
            if self._is_away:
                # Less than one would never be whole.
                admitted = level >= 1 or (quota.per_minute < n_parts and level == quota.per_minute / n_parts)
                known.level -= admitted
                known.used += admitted
                return admitted, max(0.0, known.level)
            # Half a share, since others may be using theirs; with less than one for each process, whoever comes first has it.
            share = level if self._n_processes == 1 else level / (2 * self._n_processes)
            admitted = level >= 1 and known.used < max(1.0, share)
            known.used += admitted
            return admitted, max(0.0, level - known.used)

    def start(self) -> None:
        """Begin to exchange, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Tell what was used, and end the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._server.close()

    def exchange(self) -> bool:
        """Exchange once; whether the server answered."""
        with self._lock:
            used = {quota: self._known[quota].used for quota in self._asked if quota in self._known}
            self._asked.clear()
        try:
            levels, n_processes = self._server.exchange(used)
        except QuotasAwayError as error:
            if not self._is_away:
                log.warning("each process admits its share of a quota: the server of quotas is away (%s)", error)
            with self._lock:
                self._asked |= used.keys()  # what was used is told when it is back
                self._leave()
            return False
        with self._lock:
            self._n_processes = max(1, n_processes)
            if self._is_away:
                self._known = {quota: known for quota, known in self._known.items() if quota in levels}
            for quota, level in levels.items():
                if known := self._known.get(quota):
                    known.used -= used[quota]
                    known.level, known.at_us = level, self._now_us()
            self._is_away = False
        return True

    def _leave(self) -> None:
        """Go on with this process's share of what was left."""
        if not self._is_away:
            self._is_away = True
            for known in self._known.values():
                known.level = known.level / self._n_processes - known.used

    def _run(self) -> None:
        while not self._stopping.wait(EXCHANGE_S if self.exchange() else TRY_S):
            pass
        self.exchange()
