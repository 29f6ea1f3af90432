"""Pace: how many rows of a log came in each second. A log only grows, so each row is counted once, however often one looks."""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from infra.store.protocol import Read
from models.arrays import Floats

MOST: Final = 100_000  # rows that the first look goes back
KEPT_S: Final = 3_600


class Pace:
    """Pace of a log; for several threads, one at a time.

    Parameters
    ----------
    before
        Statement that tells the number of the row before the newest so many.
    by_second
        Statement that tells seconds since 1970 and the rows of each, after one number up to another.
    """

    def __init__(self, before: str, by_second: str) -> None:
        self._before, self._by_second = before, by_second
        self._until: int | None = None
        self._n: Counter[int] = Counter()
        self._known_from_s = 0  # nothing was left out since
        self._lock = threading.Lock()

    def look(self, read: Read, end: int) -> None:
        """Count what has come up to a row's number."""
        with self._lock:
            is_first = self._until is None
            after = int(read(self._before, (MOST,))[0][0]) if self._until is None else self._until
            rows = [(int(second), int(n)) for second, n in read(self._by_second, (after, end))]
            if is_first and after > 0 and rows:
                self._known_from_s = min(second for second, _ in rows) + 1
            self._n.update(dict(rows))
            newest = max(self._n, default=0)
            for second in [one for one in self._n if one < newest - KEPT_S]:
                del self._n[second]
            self._until = max(after, end)

    def within(self, from_s: int, until_s: int) -> int:
        """Rows from one second to before another."""
        return sum(n for second, n in self._n.copy().items() if from_s <= second < until_s)

    def per_span(self, edges_s: Sequence[int]) -> list[float | None]:
        """Rows between each two edges; None where not all of them are known."""
        kept = self._n.copy()
        seconds: Floats = np.array(sorted(kept), dtype=np.float64)
        rows, _ = np.histogram(seconds, edges_s, weights=[kept[int(second)] for second in seconds])
        return [float(n) if edge >= self._known_from_s else None for n, edge in zip(rows, edges_s, strict=False)]

    @property
    def newest_s(self) -> int | None:
        """Second of the newest row, since 1970; None where there is none."""
        return max(self._n.copy(), default=None)
