"""One writer per home: a file lock that the operating system drops when its holder dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_ours: Final[set[Path]] = set()


@contextmanager
def held(path: Path, work: str) -> Iterator[None]:
    """Hold the lock at a path, or refuse at once if another process holds it. A flow within a flow holds its parent's lock.

    Parameters
    ----------
    path
        The lock's file; it stays, empty or with the last holder's process id.
    work
        What the lock is for, said in the refusal.

    Raises
    ------
    BlockingIOError
        If another process holds the lock.
    """
    path = path.absolute()
    if path in _ours:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise BlockingIOError(
                f"another {work} is running on {path.parent} (process {file.read().strip() or 'unknown'}); wait until it ends"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        _ours.add(path)
        try:
            yield
        finally:
            _ours.discard(path)
