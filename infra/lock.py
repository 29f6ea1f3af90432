"""File locks: one holder at a time; the operating system drops them when their holder dies, however it dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

LOOKS: Final = 5  # somebody may only look whether the lock is free, and hold it for that moment
LOOK_S: Final = 0.02
_ours: Final[set[Path]] = set()


def _taken(descriptor: int) -> bool:
    """Take a lock now, or see that somebody holds it for longer than a look."""
    for look in range(LOOKS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if look + 1 < LOOKS:
                time.sleep(LOOK_S)
        else:
            return True
    return False


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
        if not _taken(file.fileno()):
            file.seek(0)
            raise BlockingIOError(
                f"another {work} is running on {path.parent} (process {file.read().strip() or 'unknown'}); wait until it ends"
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        _ours.add(path)
        try:
            yield
        finally:
            _ours.discard(path)


def kept(path: Path, note: str) -> int | None:
    """Take the lock at a path for the life of this process, of the program it may become and of its children.

    Parameters
    ----------
    note
        Written into the file, if the disk has room for it: who holds the lock.

    Returns
    -------
    A file descriptor, whose end is the lock's too; None if another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if not _taken(descriptor):
        os.close(descriptor)
        return None
    os.set_inheritable(descriptor, True)
    with suppress(OSError):  # a full disk is no reason not to hold it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note.encode(), 0)
    return descriptor


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock at a path for a moment, waiting for whoever holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock at a path."""
    if not path.exists():
        return True
    with path.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def noted(path: Path) -> str:
    """Note of a lock's last holder; ``unknown`` if there is none."""
    with suppress(OSError):
        return path.read_text().strip() or "unknown"
    return "unknown"
