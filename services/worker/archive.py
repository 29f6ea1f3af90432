"""Archive duty: closed ranges of the log into object storage, where flows read them and retention and erasures reach them."""

from typing import Final

from infra import archive, object_store
from infra.object_store import ObjectStore
from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.protocol import Store
from infra.store.statements.archive import WAITING_SINCE
from models.schema import DAY_US

POLL_S: Final = 10.0
ROWS_A_RANGE: Final = 100_000
LONGEST_WAIT_S: Final = 3_600.0  # of an event for a range to be full


class ArchiveDuty:
    """Duty that archives what is new once it is much, or old; its place is the archive's cursor.

    Parameters
    ----------
    days
        How long anything is kept; None keeps all.
    rows_a_range
        Events of a range, at most.
    longest_wait_s
        After so long, a range is closed with what there is.
    """

    name = archive.CURSOR
    poll_s = POLL_S

    def __init__(
        self,
        store: Store,
        objects: ObjectStore,
        days: int | None = None,
        rows_a_range: int = ROWS_A_RANGE,
        longest_wait_s: float = LONGEST_WAIT_S,
    ) -> None:
        self._store = store
        self._objects = objects
        self._days = days
        self._rows_a_range = rows_a_range
        self._longest_wait_us = round(longest_wait_s * 1e6)
        self._tail = store.tail(archive.CURSOR)

    def step(self, now_us: int) -> int:
        """Remove what does not count any more, and archive a range; how many events that were."""
        if self._days is not None:
            archive.forget_days(self._store, now_us - self._days * DAY_US, now_us)
        archive.sweep(self._store, self._objects, now_us)
        after = self._tail.position()
        if after is None:  # from now on it is told how far behind it is
            self._store.write(lambda transaction: self._tail.move_from(transaction, 0, 0, now_us))
            after = 0
        until = self._tail.until(after, self._rows_a_range)
        n_rows = self._tail.passed(after, until)
        if n_rows < self._rows_a_range and not self._has_waited(after, now_us):
            return 0
        return n_rows if archive.keep(self._store, self._objects, self._tail, after, until, now_us) else 0

    def _has_waited(self, after: int, now_us: int) -> bool:
        ((since_us,),) = self._store.read(WAITING_SINCE, (after,))
        return since_us is not None and since_us <= now_us - self._longest_wait_us


def open_duty(settings: Settings) -> ArchiveDuty:
    """The duty on a store of its own.

    Raises
    ------
    ValueError
        If there is no object store.
    """
    objects = object_store.opened()
    if objects is None:
        raise ValueError(f"an archive needs an object store: set {object_store.URL}")
    return ArchiveDuty(open_store(settings.home), objects, settings.retention_days)
