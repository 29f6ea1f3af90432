"""Free space under a home, held against a watermark: a store that is nearly full refuses writes while it still can answer."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from infra.store.errors import StoreFull

LOOK_S: Final = 1.0  # the file system is asked at most so often


def free_bytes(folder: Path) -> int:
    """Bytes that an ordinary user may still write on a folder's file system.

    Raises
    ------
    OSError
        If the folder is not there.
    """
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class FreeSpace:
    """Watermark on the free space of a folder's file system; any thread may ask.

    Parameters
    ----------
    least_bytes
        With less than that, space is short; 0 is never short.
    probe
        Bytes that are free.
    clock
        Seconds.
    """

    def __init__(
        self,
        folder: Path,
        least_bytes: int,
        probe: Callable[[Path], int] = free_bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self.least_bytes = least_bytes
        self._probe = probe
        self._clock = clock
        self._looked_at_s = float("-inf")
        self._short = False

    def is_short(self) -> bool:
        """Whether there is less than the watermark, as of at most `LOOK_S` ago."""
        now_s = self._clock()
        if now_s - self._looked_at_s >= LOOK_S:
            self._looked_at_s = now_s
            try:
                self._short = self._probe(self._folder) < self.least_bytes
            except OSError:  # what is wrong with the folder, the store itself will say
                self._short = False
        return self._short

    def require(self) -> None:
        """Refuse to write.

        Raises
        ------
        StoreFull
            If space is short.
        """
        if self.is_short():
            raise StoreFull(f"less than {self.least_bytes >> 20} MiB are free on the disk of the store")
