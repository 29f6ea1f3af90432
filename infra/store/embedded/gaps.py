"""Gaps of pages: what SQLite leaves there of rows that it moved, and how they are cleared while others read and write.

A page of a table or index holds pointers to its rows at the beginning and the rows at the end. When SQLite moves rows between
pages it lays both out anew and does not clear the gap between them, `secure_delete` or not, so a copy of a row may stay there
after the row is deleted. `VACUUM` would lay out every page anew and let nobody write meanwhile. Here the gaps alone are
overwritten in the file, where nothing of theirs is ever read. Others may read at any time. Nobody can write or bring an older
copy of a page back, since

- a page is cleared while this connection holds the lock of writers, and only if the write-ahead log has no version of it;
- the same transaction commits a change of the first page, after which every connection reads its pages anew.

(https://www.sqlite.org/fileformat2.html, sections 1.6 and 4.)
"""

import struct
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Final

import apsw

from infra.store.embedded.migrate import immediate

POINTERS_AT: Final = {2: 12, 5: 12, 10: 8, 13: 8}  # first byte of a table's or index's page to where its pointers begin
HEAD: Final = struct.Struct(">BHHH")  # kind, first freed room, rows, where the rows begin
MOST_PAGES: Final = 2 * 2**24 - 1  # in a larger file, 137 GB, other pages may begin with such a byte
LOG_HEAD, SALT_AT = 32, 16  # bytes of the write-ahead log before its frames, and where in them its salt is
FRAME: Final = struct.Struct(">II8s")  # page, pages of the file where a transaction ends, salt; 8 bytes follow
PAGES_A_READ: Final = 256
MOST_BYTES: Final = 65_536  # of a write, each of which may have to wait for another thread; SQLite takes less than 128 KiB
HOLD_S: Final = 0.05  # for so long a transaction keeps others from writing
PAUSE_S: Final = 0.01  # for them, in between
TRIES: Final = 5  # at pages that others have just written
DATABASE, LOG = 0, 1  # which file `apsw.Connection.read` reads


def gap(page: bytes | bytearray | memoryview) -> tuple[int, int]:
    """Where the gap of a page begins and ends; an empty one for pages of other kinds.

    Examples
    --------
    >>> gap(bytes([13, 0, 0, 0, 2, 15, 160]) + bytes(4089))
    (12, 4000)
    >>> gap(bytes(4096))
    (0, 0)
    """
    kind, _, n_rows, rows_at = HEAD.unpack_from(page)
    begins = POINTERS_AT.get(kind, 0) + 2 * n_rows
    return (begins, rows_at) if kind in POINTERS_AT and begins < rows_at <= len(page) else (0, 0)


def clear_gaps(path: Path, busy_ms: int, empty_log: Callable[[], bool]) -> bool:
    """Clear the gaps that hold anything as of now, some pages a transaction; all rows deleted before are then in no page.

    Parameters
    ----------
    path
        A database with a write-ahead log that was just brought into the file.
    busy_ms
        How long a step waits for another connection's lock, milliseconds.
    empty_log
        Brings the write-ahead log into the file; False where somebody still reads a state of before.

    Returns
    -------
    False if pages were left, since others wrote them again and again.

    Raises
    ------
    ValueError
        If the database vacuums itself, which those that we make do not.
    apsw.Error
        As any statement.
    """
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection, _opened(path) as file:
        connection.set_busy_timeout(busy_ms)
        if connection.pragma("auto_vacuum"):  # then there are pages that begin like a table's and are none
            raise ValueError(f"{path.name} vacuums itself, so no gap can be cleared; mend: PRAGMA auto_vacuum = NONE; VACUUM")
        connection.pragma("synchronous", "NORMAL")  # a change of the counter that is lost takes no row with it
        size, n_pages = int(connection.pragma("page_size")), int(connection.pragma("page_count"))
        left, log = list(_unclean(connection, size, min(n_pages, MOST_PAGES))), _Log(connection, path, size)
        for _ in range(TRIES):
            left = _waiting(connection, file, log, size, left)
            if not left or not empty_log():
                break
        file.xSync(apsw.SQLITE_SYNC_NORMAL)
        return not left


def _unclean(connection: apsw.Connection, size: int, n_pages: int) -> Iterator[int]:
    """Numbers of pages behind the first whose gap holds anything, from 0; the first one names tables, and no user."""
    for first in range(0, n_pages, PAGES_A_READ):
        n = min(PAGES_A_READ, n_pages - first)
        _, found = connection.read("main", DATABASE, first * size, n * size)
        pages = memoryview(found)
        for nth in range(first == 0, n):
            page = pages[nth * size : (nth + 1) * size]
            begins, ends = gap(page)
            if found.count(0, nth * size + begins, nth * size + ends) < ends - begins:
                yield first + nth


def _waiting(connection: apsw.Connection, file: apsw.VFSFile, log: "_Log", size: int, pages: Sequence[int]) -> list[int]:
    """Clear the gaps of pages; those that must wait until the write-ahead log is in the file."""
    waiting, left = list[int](), (list(some) for _, some in groupby(pages, lambda page: page // PAGES_A_READ))
    near = next(left, None)
    while near is not None:
        with immediate(connection):
            until, in_log = time.monotonic() + HOLD_S, log.pages()
            while near is not None and time.monotonic() < until:
                waiting += [page for page in near if page in in_log]
                for some in _together([page for page in near if page not in in_log], in_log, MOST_BYTES // size):
                    _clear(connection, file, size, some)
                near = next(left, None)
            connection.pragma("user_version", connection.pragma("user_version"))
        time.sleep(PAUSE_S)
    return waiting


def _together(pages: Sequence[int], in_log: Collection[int], most: int) -> Iterator[list[int]]:
    """Pages that are written at once: among so many that follow each other, none of which is in the write-ahead log.

    Examples
    --------
    >>> list(_together([1, 2, 5, 9, 90], {7}, 8))
    [[1, 2, 5], [9], [90]]
    """
    some = list[int]()
    for page in pages:
        if some and (page - some[0] >= most or any(between in in_log for between in range(some[-1], page))):
            yield some
            some = []
        some.append(page)
    if some:
        yield some


def _clear(connection: apsw.Connection, file: apsw.VFSFile, size: int, pages: Sequence[int]) -> None:
    """Clear the gaps of pages in one stretch of the file, in which nobody else can write now; all else stays as it is."""
    first, n = pages[0], pages[-1] - pages[0] + 1
    found = bytearray(connection.read("main", DATABASE, first * size, n * size)[1])
    for page in pages:
        at = (page - first) * size
        begins, ends = gap(found[at : at + size])
        found[at + begins : at + ends] = bytes(ends - begins)
    file.xWrite(found, first * size)


@contextmanager
def _opened(path: Path) -> Iterator[apsw.VFSFile]:
    """The file by SQLite's own means: closing any other descriptor would drop the locks that this process has on it."""
    file = apsw.VFSFile("", str(path.absolute()), [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READWRITE, 0])
    try:
        yield file
    finally:
        file.xClose()


class _Log:
    """Pages of which the write-ahead log has a version; asked again, it reads on from the last transaction that it saw.

    Ask only while nobody else can write. What lies behind the log's own frames, of before it began anew, counts for nothing.
    """

    def __init__(self, connection: apsw.Connection, path: Path, size: int) -> None:
        self._connection, self._path, self._frame = connection, path.with_name(f"{path.name}-wal"), FRAME.size + 8 + size
        self._salt, self._n, self._pages = b"", 0, set[int]()

    def pages(self) -> Collection[int]:
        """Numbers of the pages, from 0."""
        salt = self._connection.read("main", LOG, SALT_AT, 8)[1]
        if salt != self._salt:
            self._salt, self._n, self._pages = salt, 0, set()
        n_frames = max(self._path.stat().st_size - LOG_HEAD, 0) // self._frame
        for first in range(self._n, n_frames, PAGES_A_READ):
            n = min(PAGES_A_READ, n_frames - first)
            _, frames = self._connection.read("main", LOG, LOG_HEAD + first * self._frame, n * self._frame)
            for nth in range(n):
                page, n_pages, its_salt = FRAME.unpack_from(frames, nth * self._frame)
                if its_salt != salt:
                    return self._pages
                self._pages.add(page - 1)
                if n_pages:  # the last frame of a transaction
                    self._n = first + nth + 1
        return self._pages
