"""Migrations of the embedded store: numbered SQL files, applied in one transaction; `user_version` is the revision.

Two processes that migrate at once queue at ``BEGIN IMMEDIATE``, and the second finds nothing left to do; a process that is
killed in the middle leaves the revision of before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from infra.store.errors import NewerStore

FOLDER: Final = Path(__file__).parents[1] / "migrations" / "sqlite"
FIRST_MARK: Final = (
    1_028_152_247  # `user_version` of revision 1 in homes of before there were numbers: a checksum of its tables
)


class Revision(NamedTuple):
    """One step of the store's history; `name` is its file's, `sql` its text."""

    number: int
    name: str
    sql: str


class Migrated(NamedTuple):
    """Revisions before and after a migration, and the names of those that were applied."""

    before: int
    after: int
    applied: tuple[str, ...]


@cache
def revisions() -> tuple[Revision, ...]:
    """All revisions that this Attune knows, oldest first."""
    found = sorted(FOLDER.glob("*.sql"))
    return tuple(Revision(int(path.stem.partition("_")[0]), path.stem, path.read_text(encoding="utf-8")) for path in found)


def newest() -> int:
    """The revision that the statements of this Attune are written for."""
    return revisions()[-1].number


def revision_of(connection: apsw.Connection) -> int:
    """Revision of an open store; 0 for an empty one."""
    mark = int(connection.pragma("user_version"))
    return 1 if mark == FIRST_MARK else mark


def known_revision_of(connection: apsw.Connection) -> int:
    """Revision of an open store that this Attune understands.

    Raises
    ------
    NewerStore
        In one line that says what to do.
    """
    found = revision_of(connection)
    if found > newest():
        where = f"{connection.filename} was made by a newer Attune"
        raise NewerStore(f"{where} (revision {found}, this one knows {newest()}): upgrade Attune")
    return found


def migrate(connection: apsw.Connection) -> Migrated:
    """Bring an open store to the newest revision, in one transaction; an empty one gets all tables.

    Raises
    ------
    NewerStore
        If its revision is not known here; then nothing was changed.
    """
    with immediate(connection):
        before = known_revision_of(connection)  # only now: another process may have been faster
        pending = [revision for revision in revisions() if revision.number > before]
        for revision in pending:
            connection.execute(revision.sql)
        connection.pragma("user_version", newest())
    return Migrated(before, newest(), tuple(revision.name for revision in pending))


@contextmanager
def immediate(connection: apsw.Connection) -> Iterator[None]:
    """Write transaction that takes its lock at once: two writers queue instead of failing at commit."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk ends it by itself
            connection.execute("ROLLBACK")
        raise
