"""Store watch: whether anything was committed since the last look, asked rarely and without waiting for anybody."""

import logging
from collections.abc import Callable, Collection
from typing import Final

from infra.store.errors import StoreUnavailable
from infra.store.protocol import Store

log: Final = logging.getLogger("attune.store")


class StoreWatch:
    """Watch over what was read from the store once: keeps it up to date.

    Parameters
    ----------
    store
        Used by whoever calls `look`, and by nobody else.
    what
        Is kept up to date; for the log.
    check_s
        The store is asked at most so often, seconds.
    topics
        Tables that matter, as `Store.stamp` takes them.
    """

    def __init__(self, store: Store, what: str, check_s: float = 0.0, topics: Collection[str] = ()) -> None:
        self._store = store
        self._what = what
        self._check_s = check_s
        self._topics = topics
        self._looked_at_s = float("-inf")
        self._seen: int | None = None  # None: there is something to take in, whatever the stamp says

    def look(self, now_s: float, take: Callable[[], object], *, anyway: bool = False) -> bool:
        """Call `take` if something was committed since it was last done. While the store cannot be read, nothing happens.

        Parameters
        ----------
        now_s
            Any clock, seconds.
        take
            Reads anew; a true result means that there is more to take in, and it is called again at the next look.
        anyway
            Call it whether something was committed or not.

        Returns
        -------
        Whether there is more.
        """
        if not anyway and 0 <= now_s - self._looked_at_s < self._check_s:
            return False
        self._looked_at_s = now_s
        try:
            stamp = self._store.stamp(self._topics)  # before: what is committed meanwhile is taken in at the next look
            if anyway or stamp != self._seen:
                self._seen = None if take() else stamp
                return self._seen is None
        except StoreUnavailable as error:  # locked, or the disk is full: what is known goes on serving
            log.warning("%s cannot be read again: %s", self._what, error.kind)
            self._seen = None
        return False
