"""Copies of SQLite files that others write meanwhile: each is one committed state, by SQLite's own backup."""

from contextlib import closing
from pathlib import Path

import apsw

from infra.store.embedded.connection import BUSY_MS, ours
from infra.store.embedded.migrate import revision_of


def copy_database(source: Path, target: Path) -> None:
    """Copy a database as it stands now, what waits in its write-ahead log included; the source is only read.

    Raises
    ------
    StoreUnavailable
        If one of the files cannot be used.
    """
    with ours(source), closing(apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)) as open_source:
        open_source.set_busy_timeout(BUSY_MS)
        with closing(apsw.Connection(str(target))) as open_target, open_target.backup("main", open_source, "main") as copying:
            copying.step(-1)  # all at once, within one reading transaction: writers go on, and none of theirs is half in it


def revision_at(path: Path) -> int:
    """Revision of the store in a file that nobody writes."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    with ours(path), closing(apsw.Connection(f"{path.absolute().as_uri()}?immutable=1", flags=flags)) as connection:
        return revision_of(connection)
