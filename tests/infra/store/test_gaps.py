"""Gaps of pages: rows that were moved and then deleted are in no byte of the file, and those that stay are as they were."""

import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import apsw
import numpy as np
import pytest

from infra import layout
from infra.store.embedded import gaps
from infra.store.embedded.connection import connect
from infra.store.embedded.migrate import immediate
from infra.store.engines import open_store
from infra.store.protocol import Store, Transaction
from tests.stores import embedded_only

pytestmark = embedded_only("pages of the file")

CHANGE = "UPDATE tried SET filler = filler || 'w' WHERE visitor = ?"
EVERY_ROW = "SELECT * FROM tried ORDER BY visitor"
VISITORS = [f"{nth:x}-{np.random.default_rng(nth).bytes(12).hex()}" for nth in range(1_500)]
GONE = VISITORS[::2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with rows of many lengths, in no order, so that pages were split and merged; half of the visitors are deleted."""
    store, rng = open_store(tmp_path), np.random.default_rng(0)
    rows = [(visitor, "x" * n) for visitor, n in zip(VISITORS, rng.integers(0, 900, len(VISITORS)).tolist(), strict=True)]
    connection = connect(tmp_path)
    connection.execute("CREATE TABLE tried (visitor TEXT PRIMARY KEY, filler TEXT) WITHOUT ROWID")
    store.write(lambda transaction: transaction.executemany("INSERT INTO tried VALUES (?, ?)", rng.permutation(rows).tolist()))
    some = [(visitor,) for visitor in rng.permutation(GONE).tolist()]
    store.write(lambda transaction: transaction.executemany("DELETE FROM tried WHERE visitor = ?", some))
    assert store.scrub()
    assert n_left(tmp_path) > 0  # or these tests show nothing
    return store


def insert(row: tuple[str, str], transaction: Transaction) -> int:
    return transaction.execute("INSERT INTO tried VALUES (?, ?)", row)


def n_left(home: Path) -> int:
    raw = (home / layout.STORE).read_bytes()
    return sum(raw.count(visitor.encode()) for visitor in GONE)


def test_what_sqlite_left_of_deleted_rows_is_cleared_and_nothing_else(store: Store, tmp_path: Path) -> None:
    kept = store.read(EVERY_ROW)
    assert store.scrub_pages()
    assert n_left(tmp_path) == 0
    assert (store.read(EVERY_ROW), store.read("PRAGMA integrity_check")) == (kept, [("ok",)])
    again = (tmp_path / layout.STORE).read_bytes()
    assert store.scrub_pages()
    assert (tmp_path / layout.STORE).read_bytes() == again  # nothing was left to do


def test_a_connection_that_read_a_page_before_does_not_bring_its_gap_back(store: Store, tmp_path: Path) -> None:
    other = connect(tmp_path)
    other.execute("PRAGMA cache_size = -65536")
    assert len(other.execute(EVERY_ROW).fetchall()) == len(VISITORS) - len(GONE)
    assert store.scrub_pages()
    other.execute("UPDATE tried SET filler = 'y' || substr(filler, 2) WHERE filler <> ''")  # writes every page
    assert store.scrub()
    assert n_left(tmp_path) == 0


def test_others_write_meanwhile_and_lose_nothing(store: Store, tmp_path: Path) -> None:
    stop, n_done, n_rows = threading.Event(), 0, len(store.read(EVERY_ROW))

    def write() -> None:
        nonlocal n_done
        mine = open_store(tmp_path)
        while not stop.wait(0.005):
            mine.write(partial(insert, (f"meanwhile-{n_done}", "z" * (n_done % 900))))
            n_done += 1

    writing = threading.Thread(target=write)
    writing.start()
    try:
        while n_done < 5 or not store.scrub_pages():
            pass
    finally:
        stop.set()
        writing.join()
    assert store.scrub()
    assert n_left(tmp_path) == 0
    assert (len(store.read(EVERY_ROW)), store.read("PRAGMA integrity_check")) == (n_rows + n_done, [("ok",)])


def test_a_page_that_waits_in_the_write_ahead_log_is_left_until_it_is_in_the_file(store: Store, tmp_path: Path) -> None:
    reader = connect(tmp_path)
    reader.execute("BEGIN")
    kept = reader.execute(EVERY_ROW).fetchall()  # from now on the log cannot be emptied
    store.write(lambda transaction: transaction.execute("UPDATE tried SET filler = filler || 'y'"))
    assert not gaps.clear_gaps(tmp_path / layout.STORE, 0, store.scrub)
    assert reader.execute(EVERY_ROW).fetchall() == kept
    reader.execute("COMMIT")
    assert store.scrub_pages()
    assert n_left(tmp_path) == 0


def test_a_database_that_vacuums_itself_has_pages_of_another_kind_and_is_left_alone(tmp_path: Path) -> None:
    with closing(apsw.Connection(str(tmp_path / "other.db"))) as connection:
        connection.pragma("auto_vacuum", 1)
        connection.execute("CREATE TABLE t (x)")
    with pytest.raises(ValueError, match="auto_vacuum = NONE"):
        gaps.clear_gaps(tmp_path / "other.db", 0, lambda: True)


def test_the_log_is_read_on_from_the_last_transaction_and_anew_when_it_began_anew(store: Store, tmp_path: Path) -> None:
    path = tmp_path / layout.STORE
    with closing(apsw.Connection(str(path))) as connection:
        size = int(connection.pragma("page_size"))
        kept = gaps._Log(connection, path, size)

        def pages(log: gaps._Log) -> set[int]:
            with immediate(connection):
                return set(log.pages())

        def change(n_rows: int) -> None:
            some = tuple(VISITORS[1 : 2 * n_rows : 2])
            store.write(lambda transaction: [transaction.execute(CHANGE, (visitor,)) for visitor in some])

        assert pages(kept) == set()
        for n_rows in (1, 40):
            change(n_rows)
            assert pages(kept) == pages(gaps._Log(connection, path, size)) == in_log(path, size) != set()
        assert store.scrub()
        change(1)
        assert pages(kept) == in_log(path, size)


def in_log(path: Path, size: int) -> set[int]:
    raw = path.with_name(f"{path.name}-wal").read_bytes()[32:]
    return {int.from_bytes(raw[at : at + 4]) - 1 for at in range(0, len(raw), size + 24)}
